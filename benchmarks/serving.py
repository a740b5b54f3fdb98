"""Load on `infer.py serve`: latency and throughput by clients, overload, memory, batching.

uv run python benchmarks/serving.py --products 50000 --seconds 10
uv run python benchmarks/serving.py --requests 10000      # memory over many requests, too

The catalog holds random embeddings and made attributes, and shares a thousand product photos; every
query is the same 480 x 640 JPEG of noise and shapes, so that decoding costs what a phone's shrunk
photo costs, and the product photos that it is compared with are known by then. Clients are
processes' threads on the same machine and take a share of its cores: the figures are lower bounds.
Each client waits for its answer before it asks again; overload is measured with as many clients as
twice the queue.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parent.parent))

from siamese.catalog import Catalog, Product
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import SHIPPED
from siamese.embedding import embed_all
from siamese.errors import UserError

ROOT = Path(__file__).parent.parent
BOUNDARY = "siamese-benchmark"
PHOTOS = 1000  # of products


def main() -> None:
    """All measurements, one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--products", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--requests", type=int, default=0, help="at the end, for the memory")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        catalog = str(Path(folder) / "catalog")
        make_catalog(Path(catalog), arguments.products)
        body = form(photo(0))
        with running(catalog, "--queue", "64") as server:
            print(f"start: {server.seconds:.1f} s, {server.memory():.0f} MiB")
            load(server, body, 8, 2.0)  # warm
            for clients in arguments.clients:
                print(f"{clients:>3} clients: {load(server, body, clients, arguments.seconds)}")
            if arguments.requests:
                print(memory_over(server, body, arguments.requests))
        with running(catalog, "--queue", "64", "--no-comparison") as server:
            load(server, body, 8, 2.0)
            for clients in arguments.clients:
                figures = load(server, body, clients, arguments.seconds)
                print(f"{clients:>3} clients, not compared: {figures}")
        for batch in (1, 16, 1, 16):  # twice each, for a busy machine changes its mind
            with running(catalog, "--batch", str(batch)) as server:
                load(server, body, 8, 2.0)
                figures = load(server, body, 8, arguments.seconds)
                print(f"  8 clients, at most {batch:>2} in a batch: {figures}")
        with running(catalog, "--queue", "16") as server:
            load(server, body, 8, 2.0)
            print(f"overload, 32 clients, queue of 16: {load(server, body, 32, arguments.seconds)}")
            print(f"  afterwards, 8 clients: {load(server, body, 8, arguments.seconds)}")


class Server:
    """A running server.

    Args:
        process: Of it.
        port: Where it listens.
        seconds: It took to answer.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
        self.process, self.port, self.seconds = process, port, seconds

    def memory(self) -> float:
        """Resident MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise OSError("no VmRSS")


class Load:
    """What clients saw.

    Args:
        seconds: Of each answer with status 200.
        statuses: How many answers of each status.
        wall: Seconds that it took altogether.
    """

    def __init__(self, seconds: list[float], statuses: dict[int, int], wall: float) -> None:
        self.seconds, self.statuses, self.wall = seconds, statuses, wall

    def __str__(self) -> str:
        if not self.seconds:
            return f"no answer; statuses {self.statuses}"
        p50, p95, p99 = np.percentile(np.array(self.seconds) * 1000, [50, 95, 99])
        return (
            f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, "
            f"{len(self.seconds) / self.wall:.1f} answers/s, statuses {self.statuses}"
        )


def make_catalog(folder: Path, count: int) -> None:
    """Random unit embeddings with attributes of usual kinds; photos lie beside the catalog, which
    keeps what the comparison sees in them."""
    checkpoint = load_checkpoint(SHIPPED)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((count, checkpoint.embedding_size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shown = [folder.parent / f"{number}.jpg" for number in range(PHOTOS)]
    for number, path in enumerate(shown):
        path.write_bytes(photo(number))
    paths = [str(path) for path in shown]
    seen = embed_all(checkpoint, paths, comparison=checkpoint.comparison).sights_as_bytes()
    assert seen is not None
    kinds, colours = [f"kind {n}" for n in range(60)], [f"colour {n}" for n in range(40)]
    products = [
        Product(
            f"p{number:06d}",
            [paths[number % PHOTOS]],
            vectors[number : number + 1],
            {"articleType": kinds[number % 60], "baseColour": colours[number % 37], "price": 9.5},
            [seen[number % PHOTOS]],
        )
        for number in range(count)
    ]
    assert checkpoint.comparison is not None
    sees, size = checkpoint.comparison.fingerprint, checkpoint.embedding_size
    Catalog.create(folder, checkpoint.fingerprint, size, products, comparison=sees)


def photo(seed: int) -> bytes:
    """A photo as a page sends it."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(90, 160, (80, 60, 3), np.uint8)).resize((480, 640))
    ImageDraw.Draw(image).rectangle((120, 160, 360, 480), fill="teal")
    stream = BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def form(content: bytes) -> bytes:
    """The body of a search."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def running(catalog: str, *words: str) -> Iterator[Server]:
    """`infer.py serve` until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    given = ["--catalog", os.path.abspath(catalog), "--port", str(port), "--rate", "0", *words]
    process = subprocess.Popen(
        [sys.executable, "infer.py", "serve", *given],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env=os.environ,
    )
    try:
        while not answers(port):
            if process.poll() is not None:
                raise UserError(f"{catalog}: cannot be served, see above")
            time.sleep(0.05)
        yield Server(process, port, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Whether the server is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def load(server: Server, body: bytes, clients: int, seconds: float, most: int = 10**9) -> Load:
    """Ask from so many threads for so long, or until `most` answers."""
    taken: list[float] = []
    statuses: dict[int, int] = {}
    guard = threading.Lock()
    began = time.perf_counter()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while time.perf_counter() - began < seconds and len(taken) < most:
            start = time.perf_counter()
            connection.request("POST", "/v1/search", body, headers)
            answer = connection.getresponse()
            answer.read()
            with guard:
                statuses[answer.status] = statuses.get(answer.status, 0) + 1
                if answer.status == 200:
                    taken.append(time.perf_counter() - start)
            if answer.status == 429:  # impatient: asks again after a tenth of the time it was told
                time.sleep(float(answer.headers["Retry-After"]) * 0.1)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(taken, statuses, time.perf_counter() - began)


def memory_over(server: Server, body: bytes, requests: int) -> str:
    """Resident memory at tenths of so many requests."""
    sizes = [server.memory()]
    for _ in range(10):
        load(server, body, 8, 10**9, requests // 10)
        sizes.append(server.memory())
    return f"memory over {requests} requests, MiB: {', '.join(f'{size:.0f}' for size in sizes)}"


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"serving.py: {error}")

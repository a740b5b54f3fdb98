"""The server as a process: it ends politely, survives being killed, and works in several copies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from helpers_catalog import ROOT
from helpers_serving import ADMIN, TOKEN, make_shop, photo_of

from siamese.catalog import Catalog


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@contextmanager
def running(shop: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """`infer.py serve` and a client of it, once it answers; killed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = ["--catalog", f"{shop}/catalog", "--checkpoint", f"{shop}/model.safetensors"]
    given = ["--folder", f"{shop}/serving", "--port", str(port), "--rate", "0", *places, *words]
    process = subprocess.Popen(
        [sys.executable, "infer.py", "serve", *given],
        cwd=ROOT,
        env={**os.environ, "SIAMESE_ADMIN_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            wait_for(client, process)
            yield process, client
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def wait_for(client: httpx2.Client, process: subprocess.Popen[str]) -> None:
    """Until it answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("/health").raise_for_status()
            return
        except httpx2.TransportError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_it_logs_json_and_answers_what_was_begun_when_it_is_told_to_end(shop: Path) -> None:
    content, answers = photo_of(shop, "003"), []
    with running(shop) as (process, client):
        client.get("/v1/about", headers={"X-Request-ID": "my-id"})

        def ask() -> None:
            answers.append(client.post("/v1/search", files={"photo": content}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        while not answers:
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        out, _ = process.communicate(timeout=20)
        assert process.returncode in (0, -signal.SIGTERM)
    assert answers == [200] * 8
    lines = [json.loads(line) for line in out.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "my-id"]
    assert line.items() >= {"route": "/v1/about", "status": 200, "level": "info"}.items()
    assert TOKEN not in out


def test_nothing_that_was_acknowledged_is_lost_by_a_kill_under_load(shop: Path) -> None:
    content, kept, said = photo_of(shop, "003"), [], []
    with running(shop) as (process, client):

        def work(worker: int) -> None:
            for number in range(1000):
                name = f"k{worker}-{number}"
                try:
                    answer = client.put(
                        f"/v1/products/{name}",
                        files={"photos": content},
                        data={"attributes": json.dumps({"price": number})},
                        headers=ADMIN,
                    )
                    assert answer.status_code == 201
                    kept.append(name)
                    mark = {"product_id": name, "verdict": "right"}
                    assert client.post("/v1/feedback", json=mark).status_code == 201
                    said.append(name)
                except httpx2.TransportError:
                    return

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        while len(kept) < 6:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    table = Catalog.open(shop / "catalog").products().set_index("product_id")
    assert set(kept) <= set(table.index)
    assert all(Path(path).is_file() for path in table.loc[kept, "path"])
    lines = (shop / "serving" / "feedback.jsonl").read_text().splitlines()
    assert set(said) <= {json.loads(line)["product_id"] for line in lines}
    Catalog.open(shop / "catalog").remove(kept)  # no lock of the dead process stayed


def test_several_workers_share_catalog_and_metrics(shop: Path) -> None:
    with running(shop, "--workers", "2") as (_, client):
        content = photo_of(shop, "005")
        added = client.put("/v1/products/shared", files={"photos": content}, headers=ADMIN)
        assert added.status_code == 201
        deadline = time.monotonic() + 10  # a second is promised, a busy machine may be slower
        in_a_row = 0
        while in_a_row < 20:  # connections of their own reach either worker
            with httpx2.Client(base_url=client.base_url, timeout=30) as other:
                found = other.get("/v1/products/shared").status_code == 200
            in_a_row = in_a_row + 1 if found else 0
            assert time.monotonic() < deadline
        text = client.get("/metrics").text
        counted = [float(line.split()[-1]) for line in text.splitlines() if is_product_get(line)]
        assert sum(counted) >= 20


def is_product_get(line: str) -> bool:
    """Whether a line of the metrics counts requests for one product."""
    return line.startswith("siamese_requests_total") and 'GET",route="/v1/products/{' in line


def test_a_catalog_that_is_not_there_is_one_line(tmp_path: Path, shop: Path) -> None:
    done = subprocess.run(
        [sys.executable, "infer.py", "serve", "--catalog", f"{tmp_path}/none"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "SIAMESE_ADMIN_TOKEN"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no such catalog" in done.stderr

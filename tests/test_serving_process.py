"""The server as a process: it ends politely, survives being killed, and works in several copies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from helpers_catalog import ROOT
from helpers_serving import ADMIN, TOKEN, make_shop, photo_of

from siamese.catalog import Catalog
from siamese.serving.telemetry import MULTIPROCESS, forget_dead_workers


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
    left = set(Path(tempfile.gettempdir()).glob("siamese-metrics-*"))
    with running(shop, "--captions", "nosuch") as (process, client):
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
    (told,) = [line for line in lines if "no such columns" in line["event"]]
    assert told["columns"] == ["nosuch"]
    assert set(Path(tempfile.gettempdir()).glob("siamese-metrics-*")) == left


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


def test_several_workers_share_the_catalog_and_outlive_one_that_is_killed(shop: Path) -> None:
    content = photo_of(shop, "005")
    with running(shop, "--workers", "2") as (process, client):
        added = client.put("/v1/products/shared", files={"photos": content}, headers=ADMIN)
        assert added.status_code == 201
        # A second is promised, a busy machine may be slower. The lower of the workers' versions:
        version = f"siamese_catalog_version {added.json()['catalog_version']}.0"
        wait_until(lambda: version in client.get("/metrics").text)
        statuses, broken = asked_during(client, content, lambda: kill_one(process))
        assert set(statuses) == {200}
        assert len(statuses) > 2 * broken  # only what the killed one had
        wait_until(lambda: len(workers_of(process)) == 2)
        client.close()
        with httpx2.Client(base_url=client.base_url, timeout=30) as other:
            assert other.get("/v1/products/shared").status_code == 200
            # Of the dead worker's metrics the counts stay, what it was doing does not.
            wait_until(lambda: "requests_in_progress 0.0" in other.get("/metrics").text)
            counted = re.findall(
                r'route="/v1/search",status="200"} (.*)', other.get("/metrics").text
            )
            assert sum(map(float, counted)) >= len(statuses)


def test_what_a_dead_worker_was_doing_is_forgotten_and_what_it_did_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MULTIPROCESS, str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for worker in (ended.pid, os.getpid()):
        for kind in ("gauge_livesum", "gauge_livemin", "counter"):
            (tmp_path / f"{kind}_{worker}.db").touch()
    forget_dead_workers()
    left = {path.name for path in tmp_path.iterdir()}
    living = {f"{kind}_{os.getpid()}.db" for kind in ("gauge_livesum", "gauge_livemin", "counter")}
    assert left == {*living, f"counter_{ended.pid}.db"}


def wait_until(holds: Callable[[], bool]) -> None:
    """For something that is to become true; fails if it does not."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def asked_during(
    client: httpx2.Client, content: bytes, event: Callable[[], None]
) -> tuple[list[int], int]:
    """Statuses of searches from three threads while something happens, and how many were cut."""
    statuses: list[int] = []
    broken: list[str] = []

    def ask() -> None:
        for _ in range(20):
            with httpx2.Client(base_url=client.base_url, timeout=30) as other:
                try:
                    statuses.append(other.post("/v1/search", files={"photo": content}).status_code)
                except httpx2.TransportError as error:
                    broken.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(statuses) > 5)
    event()
    for thread in threads:
        thread.join()
    return statuses, len(broken)


def kill_one(process: subprocess.Popen[str]) -> None:
    """Of the workers, as the system does when memory is short."""
    os.kill(min(workers_of(process)), signal.SIGKILL)


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """Process ids of the children that serve."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            words = (place / "cmdline").read_text()
        except OSError:  # it ended meanwhile
            continue
        if parent == process.pid and "spawn_main" in words:
            found.add(int(place.name))
    return found


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

"""Several writers, killed writers and a full disk: nothing is lost, and nothing half done."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers_catalog import (
    ROOT,
    environment,
    ids,
    new_catalog,
    product,
    rows,
    run_python,
)

import siamese.catalog
import siamese.storage
from siamese.catalog import Catalog, CatalogError


@contextmanager
def no_lock(uri: str) -> Iterator[None]:
    """As on object storage."""
    yield


def test_writers_without_a_lock_lose_nothing_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On object storage only Lance's commits keep writers apart."""
    monkeypatch.setattr(siamese.catalog, "one_writer", no_lock)
    new_catalog(tmp_path / "c")
    refused: list[str] = []

    def write(writer: int) -> None:
        catalog = Catalog.open(tmp_path / "c")
        for number in range(8):
            catalog.add([product(f"own-{writer}-{number}")])
            try:
                catalog.add([product(f"shared-{number}", 2)])
            except CatalogError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [row["photo_key"] for row in rows(Catalog.open(tmp_path / "c"))]
    assert len(keys) == len(set(keys)) == 2 * 8 + 8 * 2
    assert len(refused) == 8


WRITER = """
import sys
from helpers_catalog import product
from siamese.catalog import Catalog, CatalogError
place, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
catalog = Catalog.open(place)
won = 0
for number in range(count):
    catalog.add([product(f"{writer}-{number}")])
    catalog.update([product(f"{writer}-{number}", 2)])
    try:
        catalog.add([product(f"shared-{number}", 2)])
        won += 1
    except CatalogError as error:
        assert "already" in str(error), error
print(won)
"""


def test_two_writing_processes_lose_nothing_and_an_open_reader_sees_both(tmp_path: Path) -> None:
    reader = new_catalog(tmp_path / "c", product("first"))
    assert reader.snapshot().product_ids == ["first"]
    count = 10
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "c"), name, str(count)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("x", "y")
    ]
    won = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert sum(won) == count
    expected = {"first", *(f"{w}-{n}" for w in ("x", "y", "shared") for n in range(count))}
    assert set(reader.snapshot().product_ids) == expected
    keys = [row["photo_key"] for row in rows(reader)]
    assert len(keys) == len(set(keys)) == 1 + 3 * count * 2


ENDLESS_WRITER = """
import sys
from helpers_catalog import product
from siamese.catalog import Catalog
catalog, writer = Catalog.open(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
for number in range(10**6):
    batch = f"{writer}-{number}"
    catalog.add([product(f"{batch}-{i}", 2, batch=batch) for i in range(5)])
    photos = 1 + number % 3
    catalog.update([product(f"fixed-{i}", photos, batch=batch) for i in range(5)])
    catalog.remove([f"{batch}-{i}" for i in range(5)] if number % 2 else [])
"""


def test_a_killed_writer_leaves_whole_batches_and_a_usable_catalog(tmp_path: Path) -> None:
    """Five products at a time are added and removed, and the five fixed ones get other photos.

    Whenever the writer is killed, all five or none are there, and the fixed ones are all there,
    with the same number of photos, of the same round.
    """
    seed = random.randrange(10**6)
    print("seed", seed)
    delays = random.Random(seed)
    fixed = [product(f"fixed-{i}", 2, batch="first") for i in range(5)]
    reader = new_catalog(tmp_path / "c", *fixed)
    for kill in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, str(tmp_path / "c"), str(kill)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delays.uniform(0.05, 0.4))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        keys = [row["photo_key"] for row in rows(reader)]
        assert len(keys) == len(set(keys))
        frame = Catalog.open(tmp_path / "c").products()
        is_fixed = frame["product_id"].str.startswith("fixed-")
        assert len(frame[is_fixed]) == 5
        assert len(frame[is_fixed][["batch", "photos"]].drop_duplicates()) == 1
        assert (frame[~is_fixed].groupby("batch").size() == 5).all()
        assert (frame[~is_fixed]["photos"] == 2).all()
        reader.add([product(f"after-{kill}")])
        reader.remove([f"after-{kill}"])


FULL_DISK = """
import resource, sys
from helpers_catalog import product
from siamese.catalog import Catalog, CatalogError
catalog = Catalog.open(sys.argv[1])
sys.dont_write_bytecode = True  # it would be cut off, and stay so
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
many = [product(f"{i:05d}" * 20, 3) for i in range(500)]
for write in (catalog.add, catalog.update):
    try:
        write(many)
    except CatalogError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_catalog_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: both fail in the middle."""
    catalog = new_catalog(tmp_path / "c", product("a", 2, price=1))
    before = rows(catalog)
    done = run_python(FULL_DISK, tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("could not be written") == 2, done.stdout
    assert len(done.stdout.splitlines()) == 2
    assert rows(catalog) == before
    catalog.add([product("b")])
    assert ids(catalog) == ["a", "b"]


HALF_MADE = """
import os, signal, sys
import siamese.catalog, siamese.storage
from helpers_catalog import new_catalog, product
from pathlib import Path
siamese.catalog.commit = lambda uri, write: os.kill(os.getpid(), signal.SIGKILL)
new_catalog(Path(sys.argv[1]), product("a"))
"""


def test_a_catalog_killed_before_its_commit_is_none_and_can_be_made_again(tmp_path: Path) -> None:
    assert run_python(HALF_MADE, tmp_path / "c").returncode == -signal.SIGKILL
    with pytest.raises(CatalogError, match="no such catalog"):
        Catalog.open(tmp_path / "c")
    assert ids(new_catalog(tmp_path / "c", product("b"))) == ["b"]


def test_a_loaded_package_called_datasets_does_not_break_the_import(tmp_path: Path) -> None:
    """LanceDB takes any module `datasets` for Hugging Face's."""
    code = """
import sys
import datasets.manifest
from helpers_catalog import new_catalog, product
from pathlib import Path
catalog = new_catalog(Path(sys.argv[1]), product("a"))
catalog.add([product("b")])
print(catalog.count(), sys.modules["datasets"].__file__)
"""
    done = run_python(code, tmp_path / "c")
    assert done.stdout.split() == ["2", str(ROOT / "datasets" / "__init__.py")], done.stderr

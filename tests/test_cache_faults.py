"""What other processes, kills and full disks do to the cache: nothing that lasts."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from helpers_cache import PHOTO, PLACE, ROOT, SMALL, assert_right, draw, table

from datasets.cache import INDEX, PIXELS, cache_photos
from siamese.preprocessing import Preprocessing


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Six PNGs of noise."""
    (tmp_path / "photos").mkdir()
    return [draw(tmp_path / "photos" / f"{number}.png", number) for number in range(6)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is decoded from now on."""
    seen: list[Any] = []
    read = Preprocessing.read

    def counted(self: Preprocessing, source: Any, box: Any = None) -> Any:
        seen.append(source)
        return read(self, source, box)

    monkeypatch.setattr(Preprocessing, "read", counted)
    return seen


WRITER = """
    import os, sys, time
    from pathlib import Path
    import pandas as pd
    import datasets.cache as cache
    from siamese.preprocessing import Preprocessing
    cache.CHUNK = 8
    read = Preprocessing.read
    def slowly(*photo):
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return read(*photo)
    Preprocessing.read = slowly
    paths = sorted(Path(sys.argv[1]).iterdir(), key=str, reverse=len(sys.argv) > 3)
    frame = pd.DataFrame({"path": [str(path) for path in paths]})
    print("start", flush=True)
    cached = cache.cache_photos(frame, Preprocessing(24, 16), sys.argv[2])
    print(len(cached.pixels), (cached.slot >= 0).sum(), flush=True)
"""


def writer(*arguments: str | Path, pause: float = 0.0) -> subprocess.Popen[bytes]:
    """A process that caches photos, after a pause for each, in seconds."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PAUSE": str(pause)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """300 photos."""
    folder = tmp_path_factory.mktemp("many")
    return [draw(folder / f"{number:03d}.png", number, (100, 150)) for number in range(300)]


def indexed(folder: Path) -> int:
    """Photos that the index names now."""
    path = folder / PLACE / INDEX
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as index:
        try:
            return int(index.execute("SELECT count(*) FROM photo").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_a_cache_survives_kills_of_its_writer(many: list[Path], tmp_path: Path) -> None:
    """Killed three times once some more photos are indexed; each start goes on from there."""
    reached = [0]
    for _ in range(3):
        # Without a pause it may be done with all before a busy machine looks again.
        with writer(many[0].parent, tmp_path, pause=0.03) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"start\n"
            while indexed(tmp_path) < reached[-1] + 20 and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
        reached.append(indexed(tmp_path))
    assert reached[1] >= 20
    assert reached == sorted(set(reached))
    assert reached[-1] < 300  # it was in the middle, or nothing was tested
    cached = cache_photos(table(many), SMALL, tmp_path)
    assert_right(cached, many)
    assert len(cached.pixels) == 300  # no slot is lost to the kills


def test_two_writers_at_once_share_the_work(many: list[Path], tmp_path: Path) -> None:
    """From both ends: whichever is first, no photo is decoded into two slots."""
    with (
        writer(many[0].parent, tmp_path) as first,
        writer(many[0].parent, tmp_path, "back") as other,
    ):
        outputs = [process.communicate(timeout=60) for process in (first, other)]
    assert [out.split() for out, _ in outputs] == [[b"start", b"300", b"300"]] * 2, outputs
    assert_right(cache_photos(table(many), SMALL, tmp_path), many)


FULL = """
    import resource, sys
    from pathlib import Path
    import pandas as pd
    import datasets.cache as cache
    from siamese.preprocessing import Preprocessing
    cache.CHUNK = 8
    frame = pd.DataFrame({"path": sorted(map(str, Path(sys.argv[1]).iterdir()))})
    limit = int(sys.argv[3])
    sys.dont_write_bytecode = True  # it would be cut off, and stay so
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        cache.cache_photos(frame, Preprocessing(24, 16), sys.argv[2])
    except OSError as error:
        print("OSError:", error)
"""


@pytest.mark.parametrize("limit", [100 * PHOTO + 7, 30_000, 5000])
def test_a_full_disk_is_one_message_and_leaves_a_usable_cache(
    limit: int, many: list[Path], tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: 100 photos fit, then the index, then none.

    The smaller limits are reached by the index first.
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), many[0].parent, tmp_path, str(limit)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("OSError:")
    assert done.stdout.count("\n") == 1
    assert PLACE in done.stdout
    assert "make room" in done.stdout
    pixels = tmp_path / PLACE / PIXELS
    before = indexed(tmp_path)
    assert before == (96 if limit > 30_000 else before)  # whole chunks of 8
    assert not pixels.exists() or pixels.stat().st_size == before * PHOTO  # no torn rest
    cached = cache_photos(table(many), SMALL, tmp_path)
    assert_right(cached, many)
    assert len(cached.pixels) == 300


def test_a_folder_that_cannot_be_written_is_one_message(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot cache photos") as caught:
        cache_photos(table(photos), SMALL, tmp_path / "cache")
    assert "\n" not in str(caught.value)

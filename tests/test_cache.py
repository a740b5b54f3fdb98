"""The cache holds just the pixels that decoding gives, whatever happened to its writer."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from datasets.cache import INDEX, LOCK, PIXELS, CachedPhotos, cache_photos
from siamese.preprocessing import Preprocessing

ROOT = Path(__file__).parent.parent
SMALL = Preprocessing(24, 16)
PLACE = "24x16-pad"
PHOTO = 24 * 16 * 3  # bytes


def draw(path: Path, seed: int, size: tuple[int, int] = (40, 60)) -> Path:
    """A photo of noise; no two seeds look alike."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def table(paths: Sequence[Path | str]) -> pd.DataFrame:
    return pd.DataFrame({"path": [str(path) for path in paths]})


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


def assert_right(
    cached: CachedPhotos, paths: Sequence[Path | str], size: Preprocessing = SMALL
) -> None:
    assert cached.faults == {}
    for path, slot in zip(paths, cached.slot, strict=True):
        assert slot >= 0
        assert (cached.pixels[slot] == size.read(str(path))).all()


def test_cached_pixels_are_those_of_decoding(photos: list[Path], tmp_path: Path) -> None:
    for size in (SMALL, Preprocessing(16, 24, "stretch")):
        cached = cache_photos(table(photos), size, tmp_path / "cache")
        assert cached.pixels.shape == (6, size.height, size.width, 3)
        assert cached.pixels.dtype == np.uint8
        assert not cached.pixels.flags.writeable
        assert_right(cached, photos, size)


def test_a_second_call_decodes_nothing(
    photos: list[Path], tmp_path: Path, decoded: list[Any]
) -> None:
    for _ in range(2):
        cached = cache_photos(table(photos), SMALL, tmp_path / "cache")
        assert len(decoded) == 6
    assert_right(cached, photos)


def test_mean_and_deviation_do_not_matter_to_pixels(
    photos: list[Path], tmp_path: Path, decoded: list[Any]
) -> None:
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    cache_photos(table(photos), Preprocessing(24, 16, mean=(0, 0, 0)), tmp_path / "cache")
    assert len(decoded) == 6


def test_new_photos_alone_are_decoded(
    photos: list[Path], tmp_path: Path, decoded: list[Any]
) -> None:
    cache_photos(table(photos[:4]), SMALL, tmp_path / "cache")
    cached = cache_photos(table(photos[::-1]), SMALL, tmp_path / "cache")
    assert len(decoded) == 6
    assert_right(cached, photos[::-1])


def test_a_copy_or_another_name_costs_nothing(
    photos: list[Path], tmp_path: Path, decoded: list[Any]
) -> None:
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    renamed = photos[0].rename(photos[0].with_name("renamed.png"))
    copied = Path(shutil.copy(photos[1], photos[1].with_name("copied.png")))
    cached = cache_photos(table([renamed, copied, photos[1]]), SMALL, tmp_path / "cache")
    assert len(decoded) == 6
    assert_right(cached, [renamed, copied, photos[1]])
    assert cached.slot[1] == cached.slot[2]


def test_copies_within_a_table_share_one_slot(photos: list[Path], tmp_path: Path) -> None:
    cached = cache_photos(table([photos[0], photos[1], photos[0]]), SMALL, tmp_path / "cache")
    assert len(cached.pixels) == 2
    assert cached.slot[0] == cached.slot[2] != cached.slot[1]


def test_a_changed_file_of_the_same_name_is_decoded_anew(
    photos: list[Path], tmp_path: Path
) -> None:
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    draw(photos[2], seed=99)
    assert_right(cache_photos(table(photos), SMALL, tmp_path / "cache"), photos)


def test_a_changed_file_is_seen_even_with_its_old_size_and_time(tmp_path: Path) -> None:
    """As `cp -p` or rsync may leave it; uncompressed BMPs are equally long."""
    path = draw(tmp_path / "photo.bmp", 0)
    before = path.stat()
    cache_photos(table([path]), SMALL, tmp_path / "cache")
    time.sleep(0.02)  # the clock of the disk ticks
    draw(path, 1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert_right(cache_photos(table([path]), SMALL, tmp_path / "cache"), [path])


def test_boxes_are_respected_and_kept_apart(photos: list[Path], tmp_path: Path) -> None:
    """One photo in two boxes, and whole."""
    frame = table([photos[0]] * 3)
    boxes = [(0.0, 0.0, 20.0, 30.0), (20.0, 30.0, 40.0, 60.0), None]
    for place, name in enumerate(("x1", "y1", "x2", "y2")):
        frame[name] = [np.nan if box is None else box[place] for box in boxes]
    cached = cache_photos(frame, SMALL, tmp_path / "cache")
    assert len(set(cached.slot.tolist())) == 3
    for slot, box in zip(cached.slot, boxes, strict=True):
        assert (cached.pixels[slot] == SMALL.read(photos[0], box)).all()


def test_broken_photos_are_listed_by_row_and_the_rest_is_cached(
    photos: list[Path], tmp_path: Path
) -> None:
    photos[1].write_bytes(photos[1].read_bytes()[:400])
    photos[3].write_text("no photo")
    photos[4].unlink()
    twice = [*photos, photos[1]]
    for _ in range(2):
        cached = cache_photos(table(twice), SMALL, tmp_path / "cache")
        assert list(cached.faults) == [1, 3, 4, 6]
        assert "damaged" in cached.faults[1]
        assert "not a photo" in cached.faults[3]
        assert "No such file" in cached.faults[4]
        assert all("\n" not in fault for fault in cached.faults.values())
        assert cached.slot[[1, 3, 4, 6]].tolist() == [-1] * 4
        assert len(cached.pixels) == 3
        for row in (0, 2, 5):
            assert (cached.pixels[cached.slot[row]] == SMALL.read(photos[row])).all()


def test_a_mended_photo_is_cached_after_all(photos: list[Path], tmp_path: Path) -> None:
    photos[1].write_text("no photo")
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    draw(photos[1], seed=50)
    assert_right(cache_photos(table(photos), SMALL, tmp_path / "cache"), photos)


def test_tables_without_a_usable_photo_have_no_pixels(tmp_path: Path) -> None:
    for paths in ([], [tmp_path / "missing.png"]):
        cached = cache_photos(table(paths), SMALL, tmp_path / "cache")
        assert cached.pixels.shape == (0, 24, 16, 3)
        assert cached.slot.tolist() == [-1] * len(paths)


def test_other_processes_map_the_file_and_get_no_copy(photos: list[Path], tmp_path: Path) -> None:
    """Workers that are not forked are sent the cache: paths and slots, not gigabytes."""
    cached = cache_photos(table(photos), SMALL, tmp_path / "cache")
    sent = pickle.dumps(cached)
    assert len(sent) < 1500 < cached.pixels.nbytes
    received = pickle.loads(sent)
    assert isinstance(received.pixels, np.memmap)
    assert_right(received, photos)
    empty = pickle.loads(pickle.dumps(cache_photos(table([]), SMALL, tmp_path / "none")))
    assert empty.pixels.shape == (0, 24, 16, 3)


# ---- damage


def test_what_a_kill_left_behind_the_last_indexed_photo_is_dropped(
    photos: list[Path], tmp_path: Path
) -> None:
    """Two whole photos and a torn one were written, but no index names them."""
    cache_photos(table(photos[:3]), SMALL, tmp_path / "cache")
    with (tmp_path / "cache" / PLACE / PIXELS).open("ab") as file:
        file.write(b"\7" * (2 * PHOTO + 100))
    assert_right(cache_photos(table(photos[:3]), SMALL, tmp_path / "cache"), photos[:3])
    cached = cache_photos(table(photos), SMALL, tmp_path / "cache")
    assert_right(cached, photos)
    assert cached.pixels.shape[0] == 6


@pytest.mark.parametrize("kept", [0, PHOTO, 3 * PHOTO + 5, 6 * PHOTO - 1])
def test_pixels_that_the_file_has_lost_are_decoded_again_and_no_others(
    kept: int, photos: list[Path], tmp_path: Path, decoded: list[Any]
) -> None:
    """A file shorter than the index says would otherwise end the process with a bus error."""
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    os.truncate(tmp_path / "cache" / PLACE / PIXELS, kept)
    decoded.clear()
    assert_right(cache_photos(table(photos), SMALL, tmp_path / "cache"), photos)
    assert len(decoded) - 6 == 6 - kept // PHOTO  # assert_right decodes six itself


@pytest.mark.parametrize("lost", [[PIXELS], [INDEX], [INDEX, PIXELS]])
def test_lost_files_are_made_again(lost: list[str], photos: list[Path], tmp_path: Path) -> None:
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    for name in lost:
        (tmp_path / "cache" / PLACE / name).unlink()
    cached = cache_photos(table(photos), SMALL, tmp_path / "cache")
    assert_right(cached, photos)
    assert len(cached.pixels) == 6


def test_a_reader_keeps_its_pixels_when_the_index_is_lost_and_made_again(
    photos: list[Path], tmp_path: Path
) -> None:
    """The old file is replaced rather than emptied: mapped pixels do not go away."""
    first = cache_photos(table(photos), SMALL, tmp_path / "cache")
    (tmp_path / "cache" / PLACE / INDEX).unlink()
    cache_photos(table(photos[:1]), SMALL, tmp_path / "cache")
    assert_right(first, photos)


@pytest.mark.parametrize("content", [b"no database\n" * 100, b"SQLite format 3\0" + b"\1" * 5000])
@pytest.mark.parametrize("whole", [0, 4096])
def test_a_damaged_index_is_made_again(
    content: bytes, whole: int, photos: list[Path], tmp_path: Path
) -> None:
    """From its beginning, or behind its first page, which says what is in it."""
    cache_photos(table(photos), SMALL, tmp_path / "cache")
    index = tmp_path / "cache" / PLACE / INDEX
    before = index.read_bytes()
    index.write_bytes(before[:whole] + (content * len(before))[: len(before) - whole])
    assert_right(cache_photos(table(photos), SMALL, tmp_path / "cache"), photos)


def test_an_index_of_another_program_is_made_again(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / PLACE).mkdir()
    with sqlite3.connect(tmp_path / PLACE / INDEX) as index:
        index.execute("CREATE TABLE photo (name TEXT)")
    index.close()
    assert_right(cache_photos(table(photos), SMALL, tmp_path), photos)


def test_who_waits_for_another_writer_is_told(
    photos: list[Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datasets.cache.PATIENCE", 0.05)
    (tmp_path / PLACE).mkdir()
    taken = threading.Event()

    def other() -> None:
        with FileLock(tmp_path / PLACE / LOCK):
            taken.set()
            time.sleep(0.5)

    threading.Thread(target=other).start()
    assert taken.wait(10)
    assert_right(cache_photos(table(photos), SMALL, tmp_path), photos)
    assert "waiting for another process that caches photos in" in caplog.text


# ---- other processes, kills, full disks

WRITER = """
    import sys
    from pathlib import Path
    import pandas as pd
    import datasets.cache as cache
    from siamese.preprocessing import Preprocessing
    cache.CHUNK = 8
    paths = sorted(Path(sys.argv[1]).iterdir(), key=str, reverse=len(sys.argv) > 3)
    frame = pd.DataFrame({"path": [str(path) for path in paths]})
    print("start", flush=True)
    cached = cache.cache_photos(frame, Preprocessing(24, 16), sys.argv[2])
    print(len(cached.pixels), (cached.slot >= 0).sum(), flush=True)
"""


def writer(*arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
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
        with writer(many[0].parent, tmp_path) as process:
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

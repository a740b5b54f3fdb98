"""The cache holds just the pixels that decoding gives, whatever happened to its writer."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from helpers_cache import PHOTO, PLACE, SMALL, assert_right, draw, table

from datasets.cache import INDEX, LOCK, PIXELS, cache_photos
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


@pytest.mark.parametrize("which", [0, 2, 5])
def test_overwritten_pixels_are_decoded_again_and_told(
    which: int,
    photos: list[Path],
    tmp_path: Path,
    decoded: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first, one between and the last, of one byte; who has them mapped keeps all others."""
    first = cache_photos(table(photos), SMALL, tmp_path / "cache")
    with (tmp_path / "cache" / PLACE / PIXELS).open("r+b") as file:
        file.seek(int(first.slot[which]) * PHOTO + 7)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    decoded.clear()
    second = cache_photos(table(photos), SMALL, tmp_path / "cache")
    assert len(decoded) == 1
    assert "1 photos were overwritten" in caplog.text
    assert_right(second, photos)
    assert (np.delete(second.slot, which) == np.delete(first.slot, which)).all()
    caplog.clear()
    assert_right(cache_photos(table(photos), SMALL, tmp_path / "cache"), photos)
    assert not caplog.text


def test_a_cache_without_checksums_is_made_again(photos: list[Path], tmp_path: Path) -> None:
    """As it was until November 2026."""
    cache_photos(table(photos), SMALL, tmp_path)
    with sqlite3.connect(tmp_path / PLACE / INDEX) as index:
        index.execute("ALTER TABLE photo DROP COLUMN checksum")
    index.close()
    cached = cache_photos(table(photos), SMALL, tmp_path)
    assert_right(cached, photos)
    assert len(cached.pixels) == 6


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

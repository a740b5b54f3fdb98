"""Photos decoded and shrunk once: a file of pixels that training maps into memory.

Each photo is found by the hash of its content, its box and the preprocessing, so that renamed or
copied files cost nothing and changed ones are decoded again. Pixels reach the disk before the
index names them: a kill at any moment loses at most the photos of the last few seconds. The index
knows their checksums, so that pixels which something else has overwritten are decoded again.

Shapes: R rows of the manifest, H height, W width.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from siamese.boxes import boxes_of
from siamese.photos import PhotoError
from siamese.preprocessing import Box, Preprocessing

CHUNK = 512  # photos between two commits of the index
PATIENCE = 2.0  # seconds that somebody may wait for another process without a word
log = logging.getLogger(__name__)
INDEX, PIXELS, LOCK = "index.sqlite", "pixels.bin", "lock"

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CachedPhotos:
    """The pixels of a manifest's photos.

    Args:
        pixels: uint8 (slots, H, W, 3), mapped from the file, read-only.
        slot: int64 (R,), the slot of each row; −1 for a photo that cannot be used.
        faults: Row number → why its photo cannot be used.
    """

    pixels: Pixels
    slot: Integers
    faults: dict[int, str]

    def __reduce__(self) -> tuple[Callable[..., CachedPhotos], tuple[Any, ...]]:
        # Other processes map the file themselves; NumPy would send them a copy of all pixels.
        if isinstance(self.pixels, np.memmap):
            source: Any = (self.pixels.filename, self.pixels.shape[1:])
            return _mapped_again, (*source, self.slot, self.faults)
        return CachedPhotos, (self.pixels, self.slot, self.faults)


def cache_photos(
    frame: pd.DataFrame, preprocessing: Preprocessing, folder: str | Path, workers: int = 2
) -> CachedPhotos:
    """Decode what is not in the cache yet, and map the rest.

    Args:
        frame: Manifest of R rows; `path` and, if there, the box `x1, y1, x2, y2` are read.
        preprocessing: Size and fit of the cached pixels; others get a file of their own.
        folder: Where caches lie; made if missing. Writers take turns by a lock file.
        workers: Decoding threads (Pillow decodes outside of the interpreter lock).

    Raises:
        OSError: The disk is full or the folder cannot be written; what was cached stays usable.
    """
    fit = f"{preprocessing.height}x{preprocessing.width}-{preprocessing.fit}"
    place = Path(folder) / fit
    with _one_message(place):
        place.mkdir(parents=True, exist_ok=True)
        with (
            _turn_at(place),
            closing(_open_index(place, preprocessing)) as index,
            ThreadPoolExecutor(max(1, workers)) as pool,
        ):
            keys, faults = _keys_of(frame, index, pool)
            rows = defaultdict(list)  # a key may be that of many rows
            for row, key in keys.items():
                rows[key].append(row)
            stored = index.execute("SELECT key, slot, checksum FROM photo")
            wanted = {key: (slot, checksum) for key, slot, checksum in stored if key in rows}
            slots = _sound(wanted, _map(place / PIXELS, _shape(preprocessing)), pool)
            if changed := len(wanted) - len(slots):
                log.warning("%s: %d photos were overwritten; decoded again", place, changed)
            boxes = boxes_of(frame)
            jobs = [
                (key, str(frame["path"].iloc[first]), boxes[first])
                for key, (first, *_) in rows.items()
                if key not in slots
            ]
            for key, outcome in _decode(jobs, preprocessing, place / PIXELS, index, pool):
                if isinstance(outcome, int):
                    slots[key] = outcome
                else:
                    faults |= dict.fromkeys(rows[key], outcome)
    slot = np.full(len(frame), -1, dtype=np.int64)
    for row, key in keys.items():
        slot[row] = slots.get(key, -1)
    faults = dict(sorted(faults.items()))
    return CachedPhotos(_map(place / PIXELS, _shape(preprocessing)), slot, faults)


@contextmanager
def _turn_at(place: Path) -> Iterator[None]:
    """The writer's lock; who must wait for it is told."""
    lock = FileLock(place / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        log.warning("waiting for another process that caches photos in %s", place)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sound(
    wanted: Mapping[str, tuple[int, int]], pixels: Pixels, pool: ThreadPoolExecutor
) -> dict[str, int]:
    """Key → slot of those whose pixels have their checksum still."""

    def is_sound(place: tuple[int, int]) -> bool:
        slot, checksum = place
        return zlib.crc32(pixels[slot].data) == checksum

    sound = pool.map(is_sound, wanted.values())
    pairs = zip(wanted.items(), sound, strict=True)
    return {key: slot for (key, (slot, _)), is_the_same in pairs if is_the_same}


def _shape(preprocessing: Preprocessing) -> tuple[int, int, int]:
    return preprocessing.height, preprocessing.width, 3


def _map(path: Path, shape: tuple[int, ...]) -> Pixels:
    """All whole photos of the file, read-only."""
    count = path.stat().st_size // int(np.prod(shape)) if path.exists() else 0
    if not count:
        return np.empty((0, *shape), np.uint8)
    return np.memmap(path, np.uint8, mode="r", shape=(count, *shape))


def _mapped_again(
    path: Path, shape: tuple[int, ...], slot: Integers, faults: dict[int, str]
) -> CachedPhotos:
    return CachedPhotos(_map(path, shape), slot, faults)


@contextmanager
def _one_message(place: Path) -> Iterator[None]:
    """Whatever stops the writing becomes an OSError that names the place and the remedy."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            getattr(error, "errno", None) or errno.EIO,
            f"cannot cache photos ({reason}); make room there, or set another folder as data.cache",
            str(place),
        ) from error


def _open_index(place: Path, preprocessing: Preprocessing) -> sqlite3.Connection:
    """The index, without photos that the file of pixels has lost; a damaged one starts anew."""
    try:
        index = _connect(place)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_of_another_shape(error):
            raise  # locked, no permission, full
        (place / INDEX).unlink()  # no database any more, or of another program
        index = _connect(place)
    pixels = place / PIXELS
    size = pixels.stat().st_size if pixels.exists() else 0
    held = size // int(np.prod(_shape(preprocessing)))
    index.execute("DELETE FROM photo WHERE slot >= ?", (held,))
    index.commit()
    return index


def _connect(place: Path) -> sqlite3.Connection:
    index = sqlite3.connect(place / INDEX)
    index.execute(
        "CREATE TABLE IF NOT EXISTS photo (key TEXT PRIMARY KEY, slot INTEGER, checksum INTEGER)"
    )
    # A file whose size and times are unchanged is not read again to be hashed.
    index.execute("CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, stamp TEXT, hash TEXT)")
    index.execute("SELECT key, slot, checksum FROM photo LIMIT 1")
    index.execute("SELECT path, stamp, hash FROM file LIMIT 1")
    (sound,) = index.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise sqlite3.DatabaseError(sound)
    return index


def _is_of_another_shape(error: sqlite3.Error) -> bool:
    """Whether it is that a table has other columns."""
    return "no such column" in str(error)


def _keys_of(
    frame: pd.DataFrame, index: sqlite3.Connection, pool: ThreadPoolExecutor
) -> tuple[dict[int, str], dict[int, str]]:
    """Row → key of its content and box; and row → fault where the file cannot be read."""
    known = {path: (stamp, digest) for path, stamp, digest in index.execute("SELECT * FROM file")}

    def hash_of(path: str) -> tuple[str, str] | OSError:
        try:
            status = os.stat(path)
            # The time of change, unlike that of modification, cannot be set back by a copy.
            stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
            seen = known.get(path)
            if seen and seen[0] == stamp:
                return seen
            return stamp, hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            return error

    keys: dict[int, str] = {}
    faults: dict[int, str] = {}
    paths = [str(path) for path in frame["path"]]
    rows = zip(paths, boxes_of(frame), pool.map(hash_of, paths), strict=True)
    for row, (path, box, outcome) in enumerate(rows):
        if isinstance(outcome, OSError):
            faults[row] = f"{path}: {outcome.strerror}"
            continue
        keys[row] = f"{outcome[1]}{box or ''}"
        if known.get(path) != outcome:
            index.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?)", (path, *outcome))
    index.commit()
    return keys, faults


def _decode(
    jobs: list[tuple[str, str, Box | None]],
    preprocessing: Preprocessing,
    path: Path,
    index: sqlite3.Connection,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[str, int | str]]:
    """Key and slot, or key and fault, of each job; pixels and index are on disk by then."""

    def decode(job: tuple[str, str, Box | None]) -> Pixels | str:
        try:
            return preprocessing.read(job[1], job[2])
        except PhotoError as error:
            return str(error)

    if not jobs:
        return
    size = int(np.prod(_shape(preprocessing)))
    (used,) = index.execute("SELECT coalesce(max(slot) + 1, 0) FROM photo").fetchone()
    if not used:  # no file yet, or a lost index: other processes may still look at the old file
        path.unlink(missing_ok=True)
    queue = iter(jobs)
    with (
        FileIO(path, "r+" if used else "w+") as file,
        tqdm(total=len(jobs), desc="caching photos", unit="photo") as progress,
    ):
        while chunk := list(islice(queue, CHUNK)):
            decoded = list(pool.map(decode, chunk))
            _append(
                file, used * size, [pixels for pixels in decoded if not isinstance(pixels, str)]
            )
            outcomes: list[tuple[str, int | str]] = []
            stored: list[tuple[str, int, int]] = []
            for (key, _, _), result in zip(chunk, decoded, strict=True):
                outcomes.append((key, result if isinstance(result, str) else used))
                if not isinstance(result, str):
                    stored.append((key, used, zlib.crc32(result.data)))
                    used += 1
            # Overwritten pixels stay where they are, unused: others may have mapped them.
            index.executemany("INSERT OR REPLACE INTO photo VALUES (?, ?, ?)", stored)
            index.commit()
            progress.update(len(chunk))
            yield from outcomes


def _append(file: FileIO, end: int, photos: list[Pixels]) -> None:
    """Put photos behind the `end` of those indexed, onto the disk; after an error `end` is kept."""
    file.truncate(end)  # what a kill left behind it
    file.seek(end)
    try:
        for pixels in photos:
            left = memoryview(pixels.tobytes())
            while left:  # a nearly full disk takes a part
                left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise

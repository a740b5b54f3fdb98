"""Photos decoded and shrunk once: a file of pixels that training maps into memory.

Each photo is found by the hash of its content, its box and the preprocessing, so that renamed or
copied files cost nothing and changed ones are decoded again. Pixels reach the disk before the
index names them: a kill at any moment loses at most the photos of the last few seconds.

Shapes: R rows of the manifest, H height, W width.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from datasets.manifest import boxes_of
from siamese.photos import PhotoError
from siamese.preprocessing import Box, Preprocessing

CHUNK = 512  # photos between two commits of the index


@dataclass(frozen=True)
class CachedPhotos:
    """The pixels of a manifest's photos.

    Args:
        pixels: uint8 (slots, H, W, 3), mapped from the file, read-only.
        slot: int64 (R,), the slot of each row; −1 for a photo that cannot be used.
        faults: Row number → why its photo cannot be used.
    """

    pixels: np.ndarray
    slot: np.ndarray
    faults: dict[int, str]


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
    place.mkdir(parents=True, exist_ok=True)
    shape = (preprocessing.height, preprocessing.width, 3)
    with FileLock(place / "lock"), closing(_open_index(place / "index.sqlite")) as index:
        with ThreadPoolExecutor(workers) as pool:
            keys, faults = _keys_of(frame, index, pool)
            slots = dict(index.execute("SELECT key, slot FROM photo"))
            boxes = _boxes_of(frame)
            missing = {key: row for row, key in keys.items() if key not in slots}
            jobs = [(key, frame["path"].iloc[row], boxes[row]) for key, row in missing.items()]
            for key, outcome in _decode(jobs, preprocessing, place / "pixels.bin", index, pool):
                if isinstance(outcome, int):
                    slots[key] = outcome
                else:
                    faults |= {row: outcome for row, other in keys.items() if other == key}
    slot = np.full(len(frame), -1, dtype=np.int64)
    for row, key in keys.items():
        slot[row] = slots.get(key, -1)
    count = (place / "pixels.bin").stat().st_size // int(np.prod(shape)) if slots else 0
    pixels = (
        np.memmap(place / "pixels.bin", np.uint8, mode="r", shape=(count, *shape))
        if count
        else np.empty((0, *shape), np.uint8)
    )
    return CachedPhotos(pixels, slot, faults)


def _boxes_of(frame: pd.DataFrame) -> list[Box | None]:
    """The box of each row, None where it has none."""
    return [None if np.isnan(box).any() else tuple(box.tolist()) for box in boxes_of(frame)]


def _open_index(path: Path) -> sqlite3.Connection:
    index = sqlite3.connect(path)
    index.execute("CREATE TABLE IF NOT EXISTS photo (key TEXT PRIMARY KEY, slot INTEGER)")
    # A file whose size and time are unchanged is not read again to be hashed.
    index.execute("CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, stamp TEXT, hash TEXT)")
    return index


def _keys_of(
    frame: pd.DataFrame, index: sqlite3.Connection, pool: ThreadPoolExecutor
) -> tuple[dict[int, str], dict[int, str]]:
    """Row → key of its content and box; and row → fault where the file cannot be read."""
    known = {path: (stamp, digest) for path, stamp, digest in index.execute("SELECT * FROM file")}

    def hash_of(path: str) -> tuple[str, str] | OSError:
        try:
            status = os.stat(path)
            stamp = f"{status.st_size}:{status.st_mtime_ns}"
            seen = known.get(path)
            if seen and seen[0] == stamp:
                return seen
            return stamp, hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            return error

    keys: dict[int, str] = {}
    faults: dict[int, str] = {}
    paths = [str(path) for path in frame["path"]]
    rows = zip(paths, _boxes_of(frame), pool.map(hash_of, paths, chunksize=64), strict=True)
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

    def decode(job: tuple[str, str, Box | None]) -> np.ndarray | str:
        try:
            return preprocessing.read(job[1], job[2])
        except PhotoError as error:
            return str(error)

    if not jobs:
        return
    size = preprocessing.height * preprocessing.width * 3
    (used,) = index.execute("SELECT coalesce(max(slot) + 1, 0) FROM photo").fetchone()
    queue = iter(jobs)
    with (
        path.open("r+b" if path.exists() else "w+b") as file,
        tqdm(total=len(jobs), desc="caching photos", unit="photo") as progress,
    ):
        file.truncate(used * size)  # what a kill left behind the last indexed photo
        file.seek(used * size)
        while chunk := list(islice(queue, CHUNK)):
            outcomes: list[tuple[str, int | str]] = []
            for job, decoded in zip(chunk, pool.map(decode, chunk), strict=True):
                if isinstance(decoded, str):
                    outcomes.append((job[0], decoded))
                    continue
                file.write(decoded.tobytes())
                outcomes.append((job[0], used))
                used += 1
            file.flush()
            os.fsync(file.fileno())
            stored = [outcome for outcome in outcomes if isinstance(outcome[1], int)]
            index.executemany("INSERT INTO photo VALUES (?, ?)", stored)
            index.commit()
            progress.update(len(chunk))
            yield from outcomes

"""Opening LanceDB, and commits to it: one writer at a time, and on the disk when it is done.

Lance commits whole versions but never calls fsync, so that a power cut could take back what was
reported as written; and it has no lock, so that "is this id free?" could be true for two writers.
Both are mended here for catalogs in a local folder; object storage needs no fsync and has no lock.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pyarrow as pa

from siamese.catalog_filter import brief
from siamese.files import check_writable
from siamese.products import StorageError

try:
    import fcntl
except ImportError:  # Windows: there Lance's own commits alone keep writers apart
    fcntl = None  # type: ignore[assignment]

LANCE_ERRORS = (RuntimeError, OSError, ValueError)  # LanceDB raises built-in errors only
LOCK = ".writer.lock"
CLOCK_SLACK = 0.05  # seconds that a file's time may be behind the clock
ATTEMPTS = 20  # at a commit, when writers on other machines come in between
KEPT = timedelta(hours=1)  # old versions, for readers that are in the middle of one
Result = TypeVar("Result")
Stamp = tuple[int, ...]


def folder_of(uri: str) -> Path | None:
    """The catalog's folder, `None` on object storage."""
    return None if "://" in uri else Path(uri)


def connect(uri: str, make: bool) -> Any:
    """LanceDB connection whose readers see every commit at once.

    Args:
        uri: Folder or URI of object storage.
        make: Whether to make the folder if it is missing.

    Raises:
        StorageError: There is no such folder, or it cannot be used.
    """
    folder = folder_of(uri)
    if folder is not None and not make and not folder.is_dir():
        raise StorageError(no_catalog(uri))
    try:
        return _lancedb().connect(uri, read_consistency_interval=timedelta(0))
    except LANCE_ERRORS as error:
        raise StorageError(f"{uri}: cannot be a catalog ({brief(error)})") from error


def _lancedb() -> ModuleType:
    """LanceDB, imported when first needed, for that takes a second.

    If a module called `datasets` is loaded, LanceDB takes it for Hugging Face's and fails to
    import; ours is hidden meanwhile. (So does `Table.add`, later on: use `merge_insert`.)
    """
    os.environ.setdefault("LANCEDB_LOG", "error")  # its warnings are about what is meant to be
    ours = sys.modules.pop("datasets", None)
    try:
        return importlib.import_module("lancedb")
    finally:
        if ours is not None:
            sys.modules["datasets"] = ours


def stamp(*paths: str | Path) -> Stamp:
    """Changes when a file is replaced, or anything that lies in a folder; () if one is missing."""
    values: list[int] = []
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            return ()
        values += [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return tuple(values)


def tables_of(uri: str, database: Any) -> list[str]:
    """Names of the tables in a database; `StorageError` if it cannot be read."""
    try:
        return list(database.table_names(limit=1000))
    except LANCE_ERRORS as error:
        raise StorageError(f"{uri}: cannot be read ({brief(error)})") from error


def no_catalog(uri: str) -> str:
    """The error of a catalog that is not there."""
    return f"{uri}: no such catalog; make one with infer.py index or name another --catalog"


def check_writer(uri: str) -> None:
    """Before long work: raise what would keep a catalog from being written.

    Raises:
        UserError: Its folder cannot be made or written.
    """
    if (folder := folder_of(uri)) is not None:
        check_writable(folder / LOCK)


@contextmanager
def one_writer(uri: str) -> Iterator[None]:
    """Wait for other writers, then keep them waiting; a killed one frees its place at once."""
    folder = folder_of(uri)
    if folder is None or fcntl is None:
        yield
        return
    try:
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise StorageError(f"{uri}: cannot be written ({error.strerror})") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back


def commit(uri: str, write: Callable[[], Result]) -> Result:
    """Do one commit, again if a writer on another machine was faster, and bring it to the disk.

    Raises:
        StorageError: It failed; the catalog is as it was before.
    """
    started = time.time()
    for attempt in range(ATTEMPTS):
        try:
            written = write()
            break
        except LANCE_ERRORS as error:
            if "conflict" not in str(error).lower() or attempt == ATTEMPTS - 1:
                raise StorageError(
                    f"{uri}: could not be written ({brief(error)}), nothing was changed; check "
                    "the disk's free space and permissions"
                ) from error
        time.sleep(0.02 * 2 ** min(attempt, 5))
    flush_to_disk(uri, started)
    return written


def add_columns(uri: str, table: Any, types: Mapping[str, pa.DataType]) -> None:
    """Columns, full of nulls, for those names that the table lacks.

    A commit of its own: if the next one fails, they are there, but still empty.
    """
    new = [pa.field(name, kind) for name, kind in types.items() if name not in table.schema.names]
    if new:
        commit(uri, lambda: table.add_columns(pa.schema(new)))


def data_files(table: Any) -> int:
    """How many files the rows lie in."""
    return int(table.stats()["fragment_stats"]["num_fragments"])


def tidy(uri: str, table: Any) -> None:
    """Join small data files and drop old versions; readers see no difference.

    A failure is none: whoever writes next tries again.
    """
    started = time.time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            table.optimize(cleanup_older_than=KEPT)
        except LANCE_ERRORS:
            return
    flush_to_disk(uri, started)


def flush_to_disk(uri: str, since: float) -> None:
    """Put all of the catalog's files that were written after the time `since` on the disk.

    Raises:
        OSError: The disk reports that it could not keep them.
    """
    folder = folder_of(uri)
    if folder is None:
        return
    files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    fresh = [path for path in files if _modified(path) >= since - CLOCK_SLACK]
    # Files first: that mostly brings the folders, which keep their names, to the disk as well.
    for path in [*fresh, *sorted({os.path.dirname(path) for path in fresh})]:
        _flush(path)


def _modified(path: str) -> float:
    """When the file was last written; 0 for one that is gone meanwhile."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _flush(path: str) -> None:
    """fsync of a file or folder, if it is still there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

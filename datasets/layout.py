"""What the readers of downloaded data sets share: finding their files, or saying what was found."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from datasets.manifest import ManifestError

log = logging.getLogger(__name__)


def find_path(folder: str | Path, candidates: Iterable[str], layout: str) -> Path:
    """The first of `candidates` that exists below `folder`, as an absolute path.

    Args:
        folder: the data set's folder as the user gave it.
        candidates: relative paths, the usual one first.
        layout: what the data set looks like, for the error.

    Raises:
        ManifestError: none exists; names what was expected and what is there.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; expected {layout}")
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    raise ManifestError(f"{folder}: expected {layout}; {found_in(folder)}")


def found_in(folder: Path) -> str:
    """The beginning of a folder's content, for errors."""
    names = sorted(entry.name for entry in os.scandir(folder))
    if not names:
        return "the folder is empty"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"found {', '.join(names[:5])}{more}"


def report_skipped(source: Path, count: int, what: str) -> None:
    """Say in the log what a reader had to leave out, if anything."""
    if count:
        log.warning("%s: left out %d %s", source, count, what)

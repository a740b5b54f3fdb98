"""Small folders for the tests of readers, and what their manifests are compared by."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from datasets.manifest import read_manifest, validate, write_manifest

photo_count = 0


def save_photo(path: Path, width: int = 24, height: int = 32) -> None:
    """A photo that differs from all others of the test run."""
    global photo_count
    photo_count += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    # steps of 16, for JPEG would make nearer colours equal
    colour = tuple(16 * (photo_count // step % 16) for step in (1, 16, 256))
    Image.new("RGB", (width, height), colour).save(path, quality=95)


def write(path: Path, content: str) -> None:
    """Text, with the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """The same of JSON."""
    write(path, json.dumps(content))


def rows_of(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Rows as tuples, with the path's name in place of the path, sorted."""
    named = frame.assign(path=frame["path"].map(lambda path: Path(path).name))
    return sorted(zip(*(named[column] for column in columns), strict=True))


def assert_is_a_manifest(frame: pd.DataFrame, folder: Path) -> None:
    """The validator accepts it, and it comes back from disk."""
    validate(frame)
    write_manifest(frame, folder / "manifest.parquet")
    assert read_manifest(folder / "manifest.parquet")["path"].tolist() == frame["path"].tolist()

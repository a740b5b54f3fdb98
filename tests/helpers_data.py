"""The small drawn data set of `conftest.py` as a data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets.module import ProductPhotos
from siamese.preprocessing import Preprocessing

SIZE = Preprocessing(32, 24)
# The drawn folder's own parameters, which reading it must repeat.
OPTIONS = {"products": 16, "person_photos": [2, 3], "validation": 4, "test": 4}


def data_of(drawn: Path, folder: Path, **arguments: Any) -> ProductPhotos:
    """Its photos in small batches, cached in `folder`."""
    settings: dict[str, Any] = {
        "path": str(drawn),
        "options": OPTIONS,
        "cache": str(folder / "cache"),
        "products_per_batch": 4,
        "workers": 0,
    }
    data = ProductPhotos(**settings | arguments)
    data.preprocessing = SIZE
    return data

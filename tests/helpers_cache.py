"""Photos of noise, and what a cache of them must hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from datasets.cache import CachedPhotos
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


def assert_right(
    cached: CachedPhotos, paths: Sequence[Path | str], size: Preprocessing = SMALL
) -> None:
    assert cached.faults == {}
    for path, slot in zip(paths, cached.slot, strict=True):
        assert slot >= 0
        assert (cached.pixels[slot] == size.read(str(path))).all()

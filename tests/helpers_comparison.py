"""A tiny comparison for the tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from helpers_catalog import save_checkpoint

from datasets.comparison_training import comparison_of
from siamese.comparison import Comparison
from siamese.extractors import extractor
from siamese.roles import Role


def tiny_comparison(folder: Path, seed: int = 0) -> Comparison:
    """An untrained comparison by an untrained network."""
    save_checkpoint(folder / "network.safetensors", seed=5)
    torch.manual_seed(seed)
    made = comparison_of(extractor(f"{folder}/network.safetensors"))
    with torch.no_grad():
        made.head.judgement.weight *= 20  # so that photos differ clearly
    return made


def sights_of(comparison: Comparison, photos: Sequence[str | Path], people: bool) -> torch.Tensor:
    """What it sees in photos of people, or of products, as a whole: int8 (len(photos), N, S)."""
    role = Role.PERSON if people else Role.PRODUCT
    pixels = np.stack([comparison.read(str(photo), None, role) for photo in photos])
    return comparison.sights(pixels, [role] * len(pixels))

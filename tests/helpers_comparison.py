"""A tiny comparison for the tests."""

from pathlib import Path

import torch
from helpers_catalog import save_checkpoint

from datasets.comparison_training import comparison_of
from siamese.comparison import Comparison
from siamese.extractors import extractor


def tiny_comparison(folder: Path, seed: int = 0) -> Comparison:
    """An untrained comparison by an untrained network."""
    save_checkpoint(folder / "network.safetensors", seed=5)
    torch.manual_seed(seed)
    made = comparison_of(extractor(f"{folder}/network.safetensors"))
    with torch.no_grad():
        made.head.judgement.weight *= 20  # so that photos differ clearly
    return made

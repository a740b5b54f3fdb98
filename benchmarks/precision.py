"""Training steps of the default network in bfloat16 and in float32, in turns.

uv run python benchmarks/precision.py [--pairs 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from siamese.encoder import Encoder, EncoderConfig
from siamese.runtime import available_cores, keep_freed_memory, training_precision

BATCH, HEIGHT, WIDTH = 128, 128, 96


def step(encoder: Encoder, photos: torch.Tensor, narrow: bool) -> float:
    """Seconds of one pass forward and backward."""
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
        embeddings = encoder(photos)
    embeddings.sum().backward()
    return time.perf_counter() - start


def main() -> None:
    """Images per second of both, the ratio of the pairs, and which one training takes here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(available_cores())
    encoder = Encoder(EncoderConfig(), HEIGHT, WIDTH).to(memory_format=torch.channels_last).train()
    photos = torch.randn(BATCH, 3, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    for narrow in (True, False):
        step(encoder, photos, narrow)
    pairs = [
        [step(encoder, photos, narrow) for narrow in (True, False)] for _ in range(arguments.pairs)
    ]
    narrow, wide = (BATCH / median(seconds) for seconds in zip(*pairs, strict=True))
    ratios = [bfloat16 / float32 for bfloat16, float32 in pairs]
    print(
        f"bfloat16 {narrow:.1f} images/s, float32 {wide:.1f}; ratio of pairs {min(ratios):.2f} to "
        f"{max(ratios):.2f}, median {median(ratios):.2f}; training takes {training_precision()}"
    )


if __name__ == "__main__":
    main()

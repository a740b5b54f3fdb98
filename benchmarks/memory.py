"""What keeping freed memory is worth in training, in pairs of processes that take turns.

uv run python benchmarks/memory.py [--pairs 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.runtime import available_cores, keep_freed_memory

BATCH, STEPS = 128, 10


def images_per_second() -> float:
    """Median over steps of the default network, forward and backward, on random pixels."""
    torch.set_num_threads(available_cores())
    encoder = Encoder(EncoderConfig(depth=1), 128, 96).to(memory_format=torch.channels_last)
    photos = torch.randn(BATCH, 3, 128, 96).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedding = encoder(photos)
        embedding[:, 0].sum().backward()
        seconds.append(time.perf_counter() - start)
    return BATCH / median(seconds[2:])


def main() -> None:
    """Run pairs of processes, or with `--keep` be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--keep", choices=("yes", "no"), help="measure in this very process")
    arguments = parser.parse_args()
    if arguments.keep:
        if arguments.keep == "yes":
            keep_freed_memory()
        print(images_per_second())
        return
    found: dict[str, list[float]] = {"no": [], "yes": []}
    for _ in range(arguments.pairs):
        for keep, speeds in found.items():
            command = [sys.executable, __file__, "--keep", keep]
            speeds.append(float(subprocess.run(command, check=True, capture_output=True).stdout))
    ratios = [yes / no for no, yes in zip(found["no"], found["yes"], strict=True)]
    print(
        f"images/s returned {median(found['no']):.0f}, kept {median(found['yes']):.0f}; "
        f"ratio of pairs {min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}"
    )


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"memory.py: {error}")

"""What float32 gradients of depthwise convolutions are worth, in turns with what PyTorch does.

uv run python benchmarks/depthwise.py [--backbones timm/tf_efficientnet_lite0 …] [--pairs 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import timm
import torch
from torch import nn

from siamese.depthwise import train_depthwise_quickly
from siamese.runtime import available_cores, keep_freed_memory

NAMES = (
    *("tf_efficientnet_lite0", "mobilenetv4_conv_small", "mobilenetv3_small_100"),
    *("efficientnet_b0", "convnext_atto", "resnet18"),
)
BATCH, HEIGHT, WIDTH = 32, 192, 144


def step(backbone: nn.Module, photos: torch.Tensor) -> float:
    """Seconds of one pass forward and backward under bfloat16 autocast."""
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = backbone(photos)
    features.float().square().mean().backward()
    return time.perf_counter() - start


def main() -> None:
    """Images per second of each backbone, and the ratio of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=NAMES, help="names of timm")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(available_cores())
    photos = torch.randn(BATCH, 3, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    for name in arguments.backbones:
        networks = [timm.create_model(name, num_classes=0).train() for _ in range(2)]
        train_depthwise_quickly(networks[1])
        for network in networks:
            step(network.to(memory_format=torch.channels_last), photos)
        pairs = [[step(network, photos) for network in networks] for _ in range(arguments.pairs)]
        plain, quick = (median(seconds) for seconds in zip(*pairs, strict=True))
        ratios = [before / after for before, after in pairs]
        print(
            f"{name}: images/s {BATCH / plain:.1f}, by us {BATCH / quick:.1f}; "
            f"ratio of pairs {min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

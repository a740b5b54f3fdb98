"""What a published network sees at each of its levels: colours and textures first, forms later.

Its last features were trained to name things, and leave out what tells two red tops apart. The mean
and the standard deviation of every level's channels still have it (as descriptions of style do:
Huang and Belongie 2017, Arbitrary Style Transfer in Real-time with Adaptive Instance
Normalization). They are many and raw: a linear map that was trained on pairs
(`siamese.joint_head`, or a neck) finds what matters in them. benchmarks/README.md has the figures.

Shapes: B batch, H height, W width, C channels of all levels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEAST_VARIANCE = 1e-6  # added to each, for the root's gradient at 0


class LevelStatistics(nn.Module):
    """Photos (B, 3, H, W) → mean and standard deviation of each level's channels, (B, 2C).

    Args:
        trunk: A model of timm; what follows its last level is cut off.
    """

    trunk: Any

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.trunk.prune_intermediate_layers(None, prune_norm=True, prune_head=True)

    def forward(self, photos: Tensor) -> Tensor:
        levels = self.trunk.forward_intermediates(
            photos, intermediates_only=True, output_fmt="NCHW"
        )
        statistics: list[Tensor] = []
        for level in levels:
            variance, mean = torch.var_mean(level.float(), dim=(2, 3), correction=0)
            statistics += [mean, (variance + LEAST_VARIANCE).sqrt()]
        return torch.cat(statistics, dim=1)

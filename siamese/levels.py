"""What a network sees at each of its levels: colours and textures first, forms later.

The last features of a published network were trained to name things, and leave out what tells two
red tops apart; those of a network of ours were trained on other products than a shop's. The mean
and the standard deviation of every level's channels still have it (as descriptions of style do:
Huang and Belongie 2017, Arbitrary Style Transfer in Real-time with Adaptive Instance
Normalization). They are many and raw: a linear map that was trained on pairs
(`siamese.joint_head`, or a neck) finds what matters in them. benchmarks/README.md has the figures.

Shapes: B batch, H height, W width, C channels of all levels, h x w positions of the last level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.backbones import GeneralisedMeanPooling, SmallResNet

BANDS = 3  # about as high as a sleeve, a waist and a hem
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
        return statistics_of(self.levels(photos))

    def levels(self, photos: Tensor) -> list[Tensor]:
        """Each (B, its C, its H, its W)."""
        found: list[Tensor] = self.trunk.forward_intermediates(
            photos, intermediates_only=True, output_fmt="NCHW"
        )
        return found


class PooledLevels(nn.Sequential):
    """Photos (B, 3, H, W) → a `small_resnet`'s pooled features, then statistics: (B, c + 2C + 6c).

    Those of all levels, and those of the upper, middle and lower band of the last one. Weights have
    the same names as without them.

    Args:
        trunk: Its levels are the stem and the stages.
        pool: Of the last level, of c channels.
    """

    def __init__(self, trunk: SmallResNet, pool: GeneralisedMeanPooling) -> None:
        super().__init__(trunk, pool)
        self.features = (1 + 2 * BANDS) * trunk.channels + 2 * sum(trunk.level_channels)

    @property
    def pool(self) -> GeneralisedMeanPooling:
        """Of the last level."""
        return cast(GeneralisedMeanPooling, self[1])

    def forward(self, photos: Tensor) -> Tensor:
        return self.pooled(self.levels(photos))

    def levels(self, photos: Tensor) -> list[Tensor]:
        """Each (B, its C, its H, its W)."""
        return cast(SmallResNet, self[0]).levels(photos)

    def pooled(self, levels: Sequence[Tensor]) -> Tensor:
        """What `levels` gives → (B, c + 2C + 6c)."""
        bands = [levels[-1][:, :, rows] for rows in bands_of(levels[-1])]
        return torch.cat([self.pool(levels[-1]), statistics_of([*levels, *bands])], dim=1)

    def shares(self, levels: Sequence[Tensor]) -> Tensor:
        """What each position adds to the statistics, (B, h, w, 2C + 6c), as of `shares_of`."""
        shares = [shares_of(levels)]
        for rows in bands_of(levels[-1]):
            band = shares_of([levels[-1][:, :, rows]])
            others = (rows.start, levels[-1].shape[2] - rows.stop)
            shares.append(functional.pad(band, (0, 0, 0, 0, *others)))
        return torch.cat(shares, dim=3)


def bands_of(level: Tensor) -> list[slice]:
    """The rows of the bands of a map, (B, C, H, W), which overlap where H is no multiple."""
    height = level.shape[2]
    return [
        slice(band * height // BANDS, -(-(band + 1) * height // BANDS)) for band in range(BANDS)
    ]


def statistics_of(levels: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation of each level's channels, level by level, float32 (B, 2C)."""
    statistics: list[Tensor] = []
    for level in levels:
        mean, squares = _moments(level.float())
        deviation = (squares.mean(dim=(2, 3)) + LEAST_VARIANCE).sqrt()
        statistics += [mean.flatten(1), deviation]
    return torch.cat(statistics, dim=1)


def shares_of(levels: Sequence[Tensor]) -> Tensor:
    """What each position adds to the statistics: float32 (B, h, w, 2C), summing to them.

    To a mean its activation over their number; to a deviation its squared distance from the mean
    over their number and the deviation. Positions of finer levels are added up within those of the
    last.
    """
    shares: list[Tensor] = []
    for level in levels:
        features = level.float()
        squares = _moments(features)[1] + LEAST_VARIANCE
        deviation = squares.mean(dim=(2, 3), keepdim=True).sqrt()
        positions = features.shape[2] * features.shape[3]
        mean, spread = (_added_up(each, levels[-1]) / positions for each in (features, squares))
        shares += [mean, spread / deviation]
    return torch.cat(shares, dim=1).permute(0, 2, 3, 1)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Channels' means, (B, C, 1, 1), and squared distances from them, (B, C, H, W).

    `torch.var_mean` takes four times as long where channels come last.
    """
    mean = features.mean(dim=(2, 3), keepdim=True)
    return mean, (features - mean).square()


def _added_up(fine: Tensor, coarse: Tensor) -> Tensor:
    """The sum of what lies within each position of a coarser map, (B, its C, h, w)."""
    height, width = (fine.shape[axis] // coarse.shape[axis] for axis in (2, 3))
    if (coarse.shape[2] * height, coarse.shape[3] * width) == fine.shape[2:]:
        return functional.avg_pool2d(fine, (height, width)) * (height * width)
    for axis in (2, 3):
        size = coarse.shape[axis]
        places = torch.arange(fine.shape[axis], device=fine.device) * size // fine.shape[axis]
        shape = [*fine.shape[:axis], size, *fine.shape[axis + 1 :]]
        fine = fine.new_zeros(shape).index_add(axis, places, fine)
    return fine

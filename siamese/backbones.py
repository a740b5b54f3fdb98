"""The networks of our own that make features of photos, and the pooling of these to a vector.

Shapes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.errors import UserError


class ReportCNN(nn.Sequential):
    """The LookBook report's network, (B, 3, 100, 100) → (B, 1000).

    Source: SYSTEMS 1 (Siamese network on LookBook): two convolutions with He initialisation,
    batch normalisation, dropout 0.5 and two linear layers with tanh between.
    """

    def __init__(self, height: int = 100, width: int = 100, embedding_size: int = 1000) -> None:
        first = nn.Conv2d(3, 3, kernel_size=3)
        second = nn.Conv2d(3, 10, kernel_size=3)
        for convolution in (first, second):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="leaky_relu")
        flat = 10 * (((height - 2) // 2 - 2) // 4) * (((width - 2) // 2 - 2) // 4)
        if not flat:
            raise UserError(
                f"report_cnn needs an input of 14x14 pixels or more, not {height}x{width}"
            )
        super().__init__(
            first,
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            second,
            nn.LeakyReLU(),
            nn.MaxPool2d(4),
            nn.BatchNorm2d(10),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(flat, 2000),
            nn.Tanh(),
            nn.Linear(2000, embedding_size),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016), (B, C, H, W) → (B, C', H', W')."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.body(features) + self.shortcut(features), inplace=True)


class SmallResNet(nn.Sequential):
    """A residual network sized for training from scratch on two cores.

    (B, 3, H, W) → (B, C, H/16, W/16). The stem folds 4x4 pixels into one position at once: fine
    stripes stay in its channels, and no convolution runs at the costly full resolution.
    Modules 0 to 2 are the stem; then come `depth` residual blocks for each of the widths.
    """

    STEM = 3  # modules

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256), depth: int = 2) -> None:
        stem = [
            nn.Conv2d(3, widths[0], kernel_size=6, stride=4, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        blocks: list[nn.Module] = []
        channels = widths[0]
        for stage, width in enumerate(widths):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(channels, width, stride))
                channels = width
        super().__init__(*stem, *blocks)
        self.channels, self.depth = channels, depth
        self.level_channels = (widths[0], *widths)

    def levels(self, photos: Tensor) -> list[Tensor]:
        """What the stem and each of the stages make of photos; the last is what `forward` gives."""
        found, features = [], photos
        for place, module in enumerate(self, start=1):
            features = module(features)
            if place >= self.STEM and (place - self.STEM) % self.depth == 0:
                found.append(features)
        return found


class GeneralisedMeanPooling(nn.Module):
    """(mean of x^p)^(1/p) over positions with a learned p, (B, C, H, W) → (B, C)."""

    least = 1e-4  # that a feature counts as: 0 has no logarithm, and so no gradient to p

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))

    def forward(self, features: Tensor) -> Tensor:
        # In float32: bfloat16 has too few digits for the powers and their gradient.
        positive = features.float().clamp(min=self.least)
        return positive.pow(self.power).mean(dim=(2, 3)).pow(1.0 / self.power)

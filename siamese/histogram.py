"""An untrained rival: the colours in the middle of a photo, as an encoder like any other."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ColourHistogram(nn.Module):
    """Square roots of the shares of 8 x 8 x 8 RGB colours in a box, (B, 3, H, W) → (B, 512).

    The cosine of two such vectors is the Bhattacharyya coefficient of their histograms. The box
    is placed by hand where the garment is in a studio photo of a standing person.

    Args:
        box: `left, top, right, bottom` as shares of width and height.
        bins: Per colour channel.
    """

    def __init__(
        self, box: tuple[float, float, float, float] = (0.3, 0.3, 0.7, 0.7), bins: int = 8
    ) -> None:
        super().__init__()
        self.box = box
        self.bins = bins

    def forward(self, photos: Tensor) -> Tensor:
        """Photos with values in [0, 1] → (B, bins³)."""
        height, width = photos.shape[2:]
        left, top, right, bottom = self.box
        part = photos[
            :, :, int(top * height) : int(bottom * height), int(left * width) : int(right * width)
        ]
        level = (part.float() * self.bins).long().clamp(0, self.bins - 1).flatten(2)
        colour = (level[:, 0] * self.bins + level[:, 1]) * self.bins + level[:, 2]
        counts = torch.zeros(len(photos), self.bins**3, device=photos.device)
        counts.scatter_add_(1, colour, torch.ones_like(colour, dtype=counts.dtype))
        return (counts / colour.shape[1]).sqrt()

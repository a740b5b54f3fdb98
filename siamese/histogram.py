"""The colours in the middle of a photo, untrained, as encoders like any other.

`colour_histogram` is the rival that every trained encoder is compared with. `lab_histogram` tells
more in fewer numbers; beside a trained encoder it remembers the very shade, which such encoders
learn to mistrust.

Shapes: B photos, H height, W width, h x w cells of 16 x 16 pixels.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

Box = tuple[float, float, float, float]
# By hand, where the garment is in a studio photo of a standing person.
HAND_PLACED: Box = (0.3, 0.3, 0.7, 0.7)


class ColourHistogram(nn.Module):
    """Square roots of the shares of 8 x 8 x 8 RGB colours in a box, (B, 3, H, W) → (B, 512).

    The cosine of two such vectors is the Bhattacharyya coefficient of their histograms.

    Args:
        box: `left, top, right, bottom` as shares of width and height.
        bins: Per colour channel.
    """

    def __init__(self, box: Box = HAND_PLACED, bins: int = 8) -> None:
        super().__init__()
        self.box = box
        self.bins = bins
        self.size = bins**3

    def forward(self, photos: Tensor) -> Tensor:
        """Photos with values in [0, 1] → (B, bins³)."""
        down, across = _pixels_of(self.box, photos)
        part = photos[:, :, down, across]
        level = (part.float() * self.bins).long().clamp(0, self.bins - 1).flatten(2)
        colour = (level[:, 0] * self.bins + level[:, 1]) * self.bins + level[:, 2]
        counts = torch.zeros(len(photos), self.size, device=photos.device)
        counts.scatter_add_(1, colour, torch.ones_like(colour, dtype=counts.dtype))
        return (counts / colour.shape[1]).sqrt()


class LabHistogram(nn.Module):
    """Square roots of the shares of 8 x 4 x 4 colours of CIE L*a*b*, (B, 3, H, W) → (B, 128).

    Equal steps look equally far apart, most of a garment's lie where a* and b* are small, and a
    pixel between two colours counts for both (trilinear shares), so that a little more light
    moves a little rather than into the next colour. Unit length, and cosine, as above.

    Args:
        box: `left, top, right, bottom` as shares of width and height.
    """

    bins = (8, 4, 4)  # of L*, a* and b*
    reach = 32.0  # of a* and b* to either side; what is more colourful counts as that
    size = 128
    cell = 16  # pixels, as of a position of `small_resnet`

    def __init__(self, box: Box = HAND_PLACED) -> None:
        super().__init__()
        self.box = box

    def forward(self, photos: Tensor) -> Tensor:
        """Photos with values in [0, 1] → (B, 128)."""
        return self.shares(photos).sum(dim=(1, 2))

    def shares(self, photos: Tensor) -> Tensor:
        """What each cell adds to the histogram, (B, h, w, 128); they sum to it.

        A colour's number is given to cells by how much of it they show.
        """
        height, width = (-(-side // self.cell) for side in photos.shape[2:])
        down, across = _pixels_of(self.box, photos)
        rows, columns = (
            torch.arange(pixels.start, pixels.stop, device=photos.device) // self.cell
            for pixels in (down, across)
        )
        first = (rows[:, None] * width + columns) * self.size  # of each pixel's cell
        bins = torch.tensor(self.bins, device=photos.device)[:, None, None]
        place = self._scaled(lab_of(photos[:, :, down, across])) * bins - 0.5
        low = place.floor()
        beyond = place - low
        counts = torch.zeros(len(photos), height * width * self.size, device=photos.device)
        for corner in product((0, 1), repeat=3):
            high = torch.tensor(corner, device=photos.device)[:, None, None]
            lightness, a, b = torch.minimum((low.long() + high).clamp(min=0), bins - 1).unbind(1)
            colour = (lightness * self.bins[1] + a) * self.bins[2] + b
            weight = torch.where(high > 0, beyond, 1 - beyond).prod(dim=1)
            counts.scatter_add_(1, (first + colour).flatten(1), weight.flatten(1))
        counts = counts.view(len(photos), height, width, self.size) / first.numel()
        total = counts.sum(dim=(1, 2), keepdim=True)
        return counts / total.sqrt().clamp(min=torch.finfo(total.dtype).tiny)

    def _scaled(self, colours: Tensor) -> Tensor:
        """L*a*b* (B, 3, ...) with each channel from 0 to 1."""
        lightness, chroma = colours[:, :1] / 100, colours[:, 1:] / self.reach / 2 + 0.5
        return torch.cat([lightness, chroma], dim=1).clamp(0, 1)


HISTOGRAMS = {"colour_histogram": ColourHistogram, "lab_histogram": LabHistogram}

# CIE 1931 from linear sRGB, each row divided by its white (D65), so that white is (1, 1, 1).
XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)


def lab_of(photos: Tensor) -> Tensor:
    """sRGB in [0, 1] → CIE L*a*b* (D65), float (B, 3, H, W) → float32 (B, 3, H, W).

    Source: CIE 15 and IEC 61966-2-1. L* is 0 to 100.
    """
    encoded = photos.float()
    linear = torch.where(
        encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=0) + 0.055) / 1.055) ** 2.4
    )
    matrix = torch.tensor(XYZ, device=photos.device)[:, :, None, None]
    xyz = (linear[:, None] * matrix).sum(dim=2)
    root = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _pixels_of(box: Box, photos: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the photos that are in the box."""
    height, width = photos.shape[2:]
    left, top, right, bottom = box
    down = slice(int(top * height), int(bottom * height))
    return down, slice(int(left * width), int(right * width))

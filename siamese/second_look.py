"""A second look at a person's photo: its middle, enlarged.

Where nobody says which part of a photo to look at, what a person wears is seldom at its edges. The
mean of the embeddings of the whole and of the middle finds more than either of them. Product
photos show one thing, and a photo with a box has been cut already: they get no second look.

Shapes: B photos, H height, W width, h x w positions, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DOWN, ACROSS = (0.2, 0.85), (0.15, 0.85)  # the middle, as shares of height and width


def middle_of(pixels: Tensor) -> Tensor:
    """The middle of each photo at the size of the whole, uint8 (B, H, W, 3) → the same."""
    height, width = pixels.shape[1:3]
    top, bottom = (round(height * share) for share in DOWN)
    left, right = (round(width * share) for share in ACROSS)
    middle = pixels[:, top:bottom, left:right].permute(0, 3, 1, 2).float()
    size = height, width
    enlarged = functional.interpolate(middle, size=size, mode="bicubic", antialias=True)
    return enlarged.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def back_in_place(parts: Tensor) -> Tensor:
    """What belongs to positions of the middle, moved to positions of the whole photo.

    Args:
        parts: Anything that may be summed over positions, float (B, h, w, D).

    Returns:
        float (B, h, w, D) with the same sum over positions.
    """
    rows, columns = _overlap(parts.shape[1], *DOWN), _overlap(parts.shape[2], *ACROSS)
    return torch.einsum("ri,cj,bijd->brcd", rows.to(parts), columns.to(parts), parts)


def _overlap(count: int, start: float, end: float) -> Tensor:
    """Of each position of the middle (column) the share that lies in one of the whole (row)."""
    edges = torch.linspace(0, 1, count + 1)
    inner = start + (end - start) * edges
    low = torch.maximum(edges[:-1, None], inner[None, :-1])
    high = torch.minimum(edges[1:, None], inner[None, 1:])
    return (high - low).clamp(min=0) * count / (end - start)

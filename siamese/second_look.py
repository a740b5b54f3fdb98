"""A second look at a person's photo: closer, at where the encoder sees the garment.

Where nobody says which part of a photo to look at, the encoder's own first look does: most of an
embedding comes from the positions that show what it was trained to tell apart (see
`siamese.parts`). The mean of the embeddings of the whole and of that part finds more than either
of them. Product photos show one thing, and a photo with a box has been cut already: they get no
second look.

Shapes: B photos, H height, W width, h x w positions, D embedding size. Boxes are left, top, right,
bottom as shares of a photo's width and height, float (B, 4).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REACH = 1.45  # standard deviations of the parts' places, from their mean to the box's sides
LEAST = 0.2  # of a photo's sides that a box has
MIDDLE = (0.15, 0.2, 0.85, 0.85)  # the box where nothing is known of parts: of people in the middle


def focus_of(parts: Tensor | None, count: int) -> Tensor:
    """The boxes that most of the embeddings come from, with the photos' own proportions.

    Args:
        parts: Float (B, h, w, D) as of `siamese.parts.parts_of`, or None if unknown.
        count: B.
    """
    if parts is None:
        return torch.tensor(MIDDLE).expand(count, 4)
    heat = parts.float().norm(dim=3)
    heat = heat / heat.sum(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)
    centres, reaches = [], []
    for along, other in ((2, 1), (1, 2)):  # x, then y
        share = heat.sum(dim=other)
        place = (torch.arange(heat.shape[along], device=heat.device) + 0.5) / heat.shape[along]
        mean = share @ place
        centres.append(mean)
        reaches.append(REACH * (share @ place**2 - mean**2).clamp(min=0).sqrt())
    side = (2 * torch.stack(reaches).amax(dim=0)).clamp(LEAST, 1)
    x, y = (torch.clamp(centre, min=side / 2, max=1 - side / 2) for centre in centres)
    return torch.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dim=1)


def closer(pixels: Tensor, boxes: Tensor) -> Tensor:
    """The boxes at the size of the whole photos, uint8 (B, H, W, 3) → float32, 0 to 255.

    Neither places nor values are rounded: a first look that differs in its last digits, as it does
    in another batch, shall not lead to another photo.
    """
    left, top, right, bottom = boxes.to(pixels.device).unbind(1)
    zero = torch.zeros_like(left)
    across = torch.stack([right - left, zero, left + right - 1], dim=1)
    down = torch.stack([zero, bottom - top, top + bottom - 1], dim=1)
    photos = pixels.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(
        torch.stack([across, down], dim=1), list(photos.shape), align_corners=False
    )
    enlarged = functional.grid_sample(
        photos, grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return enlarged.clamp(0, 255).permute(0, 2, 3, 1)


def back_in_place(parts: Tensor, boxes: Tensor) -> Tensor:
    """What belongs to positions of the boxes, moved to positions of the whole photos.

    Args:
        parts: Anything that may be summed over positions, float (B, h, w, D).
        boxes: Where it was seen. What lies outside of the photos goes to their outermost positions.

    Returns:
        float (B, h, w, D) with the same sum over positions.
    """
    left, top, right, bottom = boxes.to(parts).unbind(1)
    rows = _overlap(parts.shape[1], top, bottom)
    columns = _overlap(parts.shape[2], left, right)
    return torch.einsum("bri,bcj,bijd->brcd", rows, columns, parts)


def _overlap(count: int, start: Tensor, end: Tensor) -> Tensor:
    """Of each position of a box (column) the share that lies in one of the whole (row): (B, n, n).

    Args:
        count: n, positions along one side.
        start: Of the boxes, (B,).
        end: Of the boxes, (B,).
    """
    edges = torch.linspace(0, 1, count + 1, device=start.device)
    inner = start[:, None] + (end - start)[:, None] * edges  # (B, n + 1)
    outer = edges.clone()
    outer[0], outer[-1] = -torch.inf, torch.inf
    low = torch.maximum(outer[None, :-1, None], inner[:, None, :-1])
    high = torch.minimum(outer[None, 1:, None], inner[:, None, 1:])
    return (high - low).clamp(min=0) * count / (end - start)[:, None, None]

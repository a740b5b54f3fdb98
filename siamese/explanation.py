"""Why this product? What each part of the photo and of the products adds to their cosine.

With the parts q_i of the photo and p_j of a product (`siamese.local_embedding`), the cosine of the
two is Σ_i Σ_j q_i · p_j: a row sum is what position i of the photo adds, a column sum what position
j of the product adds, and a single entry what the two have in common. Where the parts are exact,
each of these maps sums to the cosine.

Shapes: P products, H height, W width, h x w positions, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from siamese.checkpoint import Checkpoint
from siamese.local_embedding import SecondLook, local_embeddings
from siamese.looks import Look, place_in
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.roles import Role, roles_of

HEAT = 96  # values along the longer side of a heat map
REGIONS = 4  # at most, that are shown as alike
FAINTEST = 0.4  # of the strongest region's contribution; fainter ones are not shown
TINY = 1e-6  # of a cosine: as good as nothing
APART = 2  # positions between the centres of two regions, at least
REACH = 0.8  # radius of a region, in positions

Position = tuple[int, int]  # row and column of a feature map


@dataclass(frozen=True)
class Region:
    """A round part of a photo.

    Args:
        number: From 1; the same where photo and product look alike.
        x: Of its centre, as a share of the photo's width.
        y: Of its centre, as a share of the photo's height.
        radius: As a share of the photo's width.
    """

    number: int
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Overlay:
    """What is to be laid over one photo.

    Args:
        heat: float32 in [0, 1] at the photo's proportions: 0 where nothing spoke for the match
            (or outside of the box), 1 where most did.
        contributions: To the cosine, of each position of the encoder's input, float32 (h, w).
            Positions may lie in the padding around the photo.
        regions: The parts that look alike, by number.
        part: What the encoder saw, `x1, y1, x2, y2` as shares of the photo's width and height;
            (0, 0, 1, 1) unless there was a box.
    """

    heat: np.ndarray
    contributions: np.ndarray
    regions: tuple[Region, ...]
    part: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Explanation:
    """Why a photo is like products.

    Args:
        query: Of the photo; contributions are the mean over the products.
        products: Of each product, `None` where its photo cannot be used.
        cosines: Of the photo and each product, `None` likewise.
        exact: Whether contributions sum to the cosine; otherwise each is the drop of the cosine
            where that part is hidden.
    """

    query: Overlay
    products: tuple[Overlay | None, ...]
    cosines: tuple[float | None, ...]
    exact: bool


def explain(
    checkpoint: Checkpoint,
    query: PhotoSource,
    products: Sequence[PhotoSource],
    query_box: Box | None = None,
    product_boxes: Sequence[Box | None] | None = None,
) -> Explanation:
    """Find what made the products match the photo.

    Args:
        checkpoint: The encoder.
        query: The photo of a person: a path, encoded bytes or an open binary file.
        products: P photos of products; the regions of the query are chosen for all of them.
        query_box: The part of the query to look at, in its own pixels, or None for all of it.
        product_boxes: Likewise of each product.

    Raises:
        PhotoError: The query cannot be used.
    """
    boxes = product_boxes or [None] * len(products)
    roles = roles_of([True], [query_box]) + [Role.PRODUCT] * len(products)
    seen = {-1: checkpoint.looks_at(query, query_box, roles[0])}
    for place, (product, box) in enumerate(zip(products, boxes, strict=True)):
        with suppress(PhotoError):
            seen[place] = checkpoint.looks_at(product, box, Role.PRODUCT)
    photos = [first for first, *_ in seen.values()]
    again = {
        row: SecondLook(second.pixels, place_in(first, second))
        for row, (first, *others) in enumerate(seen.values())
        for second in others
    }
    pixels = np.stack([photo.pixels for photo in photos])
    local = local_embeddings(checkpoint, pixels, roles[: len(photos)], again)
    parts, whole = local.parts, local.whole
    of_query = (parts[0] @ whole[1:].T).sum(dim=2) / max(len(whole) - 1, 1)
    contributions = [of_query.numpy(), *(parts[1:] @ whole[0]).numpy()]
    shown = [_shown(photo, *of_query.shape) for photo in photos]
    regions = matched_regions(parts.numpy(), contributions[0], shown)
    first, *others = map(_overlay, photos, contributions, regions)
    cosines = (whole[1:] @ whole[0]).tolist()
    of_product = dict(zip(list(seen)[1:], zip(others, cosines, strict=True), strict=True))
    found = [of_product.get(place, (None, None)) for place in range(len(products))]
    overlays, known = zip(*found, strict=True) if found else ((), ())
    return Explanation(first, overlays, known, local.exact)


def matched_regions(
    parts: np.ndarray, of_query: np.ndarray, shown: Sequence[np.ndarray]
) -> list[dict[int, Position]]:
    """The query's strongest regions that any product has something alike to, and where.

    Args:
        parts: Of the query and the products, float32 (1 + P, h, w, D).
        of_query: What the query's positions add to the cosines, float (h, w).
        shown: For each photo which positions may be chosen, bool (h, w).

    Returns:
        For each photo the position by the region's number, from 1, the query's strongest first.
    """
    anchors = strongest(of_query, shown[0])
    found = []
    for own, free in zip(parts[1:], shown[1:], strict=True):
        found.append(alike([own @ parts[0][anchor] for anchor in anchors], free))
    used = [place for place in range(len(anchors)) if any(place in each for each in found)]
    return [
        {n: each[place] for n, place in enumerate(used, 1) if place in each}
        for each in (dict(enumerate(anchors)), *found)
    ]


def strongest(contributions: np.ndarray, shown: np.ndarray) -> list[Position]:
    """Up to `REGIONS` positions with the largest contributions, no two of them neighbours.

    Args:
        contributions: float (h, w).
        shown: bool (h, w), which positions may be chosen.
    """
    left = np.where(shown, contributions, -np.inf)
    least = max(FAINTEST * left.max(), TINY)
    chosen: list[Position] = []
    while len(chosen) < REGIONS and left.max() >= least:
        chosen.append(_peak(left))
        left[_around(chosen[-1])] = -np.inf
    return chosen


def alike(shared: Sequence[np.ndarray], shown: np.ndarray) -> dict[int, Position]:
    """Where a product has what the query's regions have; each place goes to one region.

    Args:
        shared: For each region what it and each position of the product add to the cosine
            together, float (h, w).
        shown: bool (h, w), which positions may be chosen.

    Returns:
        Position by the region's place in the list, the strongest first; a region that adds little
        with any position that is left has none.
    """
    if not shared:
        return {}
    left = np.stack([np.where(shown, each, -np.inf) for each in shared])
    least = max(FAINTEST * left.max(), TINY)
    found: dict[int, Position] = {}
    while left.max() >= least:
        number = int(left.max(axis=(1, 2)).argmax())
        found[number] = _peak(left[number])
        left[(slice(None), *_around(found[number]))] = -np.inf
        left[number] = -np.inf
    return found


def _peak(values: np.ndarray) -> Position:
    """Where the largest value of (h, w) is."""
    row, column = divmod(int(values.argmax()), values.shape[1])
    return row, column


def _around(position: Position) -> tuple[slice, slice]:
    """The positions that are too near to be a region of their own."""
    row, column = position
    return slice(max(0, row - APART + 1), row + APART), slice(
        max(0, column - APART + 1), column + APART
    )


def _shown(photo: Look, rows: int, columns: int) -> np.ndarray:
    """Which positions have their centre on the photo and not on the padding, bool (h, w)."""
    height, width = photo.pixels.shape[:2]
    x1, y1, x2, y2 = photo.placement.target
    x = (np.arange(columns) + 0.5) * width / columns
    y = (np.arange(rows) + 0.5) * height / rows
    return ((y1 <= y) & (y < y2))[:, None] & ((x1 <= x) & (x < x2))


def _overlay(photo: Look, contributions: np.ndarray, positions: Mapping[int, Position]) -> Overlay:
    """Contributions and positions of the input, (h, w), as places of the photo."""
    rows, columns = contributions.shape
    regions = [_region(photo, number, *place, rows, columns) for number, place in positions.items()]
    x1, y1, x2, y2 = photo.placement.part
    part = (x1 / photo.width, y1 / photo.height, x2 / photo.width, y2 / photo.height)
    return Overlay(_heat(photo, contributions), contributions, tuple(regions), part)


def _region(photo: Look, number: int, row: int, column: int, rows: int, columns: int) -> Region:
    """The place in the photo of one of h x w positions."""
    height, width = photo.pixels.shape[:2]
    (x1, y1, x2, y2), (left, top, right, bottom) = photo.placement.part, photo.placement.target
    scale_x, scale_y = (x2 - x1) / (right - left), (y2 - y1) / (bottom - top)
    x = x1 + ((column + 0.5) * width / columns - left) * scale_x
    y = y1 + ((row + 0.5) * height / rows - top) * scale_y
    radius = REACH * width / columns * scale_x
    return Region(number, x / photo.width, y / photo.height, radius / photo.width)


def _heat(photo: Look, contributions: np.ndarray) -> np.ndarray:
    """Positive contributions, (h, w), as a smooth map of the whole photo in [0, 1]."""
    scale = HEAT / max(photo.width, photo.height)
    heat = np.zeros((max(1, round(photo.height * scale)), max(1, round(photo.width * scale))))
    x1, y1, x2, y2 = (round(side * scale) for side in photo.placement.part)
    x1, y1 = min(x1, heat.shape[1] - 1), min(y1, heat.shape[0] - 1)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    height, width = photo.pixels.shape[:2]
    rows, columns = contributions.shape
    left, top, right, bottom = photo.placement.target
    across, down = columns / width, rows / height
    target = (left * across, top * down, min(right * across, columns), min(bottom * down, rows))
    grid = Image.fromarray(contributions.astype(np.float32))
    part = grid.resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC, box=target)
    heat[y1:y2, x1:x2] = np.asarray(part).clip(min=0)
    return (heat / max(heat.max(), TINY)).astype(np.float32)

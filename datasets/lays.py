"""Where torso and sleeves lie in a cut-out garment that was laid or hung flat."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datasets.rendered_brushes import Image, Points
from datasets.rendered_figures import SIDES

SLEEVE_SHARE = 0.02  # least share of the garment's area that makes a sleeve
SLEEVE_ROWS = 0.85  # sleeves begin above this share of the height
FLARE = 1.15  # of the torso's half width; what reaches further out is a sleeve


@dataclass(frozen=True)
class Sleeve:
    """A straight sleeve: from shoulder to tip, in pixels of the cut-out.

    Args:
        start: (2,) x, y of the shoulder.
        end: (2,) x, y of the cuff.
        half_start: Half its width at the shoulder.
        half_end: Half its width at the cuff.
    """

    start: Points
    end: Points
    half_start: float
    half_end: float

    @property
    def length(self) -> float:
        """Pixels from shoulder to cuff."""
        return float(np.hypot(*(self.end - self.start)))


@dataclass(frozen=True)
class Lay:
    """A garment's parts.

    Args:
        middle: x of the torso's middle, pixels of the cut-out.
        half_width: Of the torso, pixels.
        height: Of the garment, pixels.
        sleeves: By side, −1 for the picture's left; missing where there is none.
    """

    middle: float
    half_width: float
    height: int
    sleeves: dict[int, Sleeve] = field(default_factory=dict)


def lay_of(alpha: Image, kind: str) -> Lay:
    """Find the parts of a garment in its alpha, uint8 (H, W), the garment upright.

    A top or dress is as wide as its rows below the armpits, where the run of garment around the
    middle has no sleeves in it (or is widened by some that touch it: hence a low quantile); what
    sticks out of it further up is a sleeve. A bottom is as wide as its hip.
    """
    solid = alpha > 127
    height, width = solid.shape
    first, last = (0.05, 0.3) if kind == "bottom" else (0.45, 0.85)
    rows = range(int(first * height), max(int(last * height), int(first * height) + 1))
    runs = [run for run in (_run_around(solid[row], width / 2) for row in rows) if run]
    if not runs:
        return Lay(width / 2, width / 2, height)
    ends = np.array(runs)
    middle = float(np.median(ends.mean(axis=1)))
    half = max(4.0, float(np.quantile(np.diff(ends, axis=1), 0.35)) / 2)
    sleeves: dict[int, Sleeve] = {}
    if kind == "bottom":
        return Lay(middle, half, height)
    for side in SIDES:
        sleeve = _sleeve(solid, middle, half, side)
        if sleeve is not None:
            sleeves[side] = sleeve
    return Lay(middle, half, height, sleeves)


def _run_around(row: NDArray[np.bool_], middle: float) -> tuple[int, int] | None:
    """First and last column of the run of garment that is nearest to the middle."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
    if not len(edges):
        return None
    starts, ends = edges[::2], edges[1::2]
    distance = np.maximum(starts - middle, 0) + np.maximum(middle - ends, 0)
    nearest = int(distance.argmin())
    return int(starts[nearest]), int(ends[nearest])


def _sleeve_end(solid: NDArray[np.bool_], middle: float, half: float, side: int) -> int:
    """The row below the sleeve: where the garment first comes back to its torso.

    Below, a torso that flares sticks out again, which would pass for the end of a long sleeve.
    """
    rows = int(SLEEVE_ROWS * solid.shape[0])
    outward = side * (np.arange(solid.shape[1]) - middle)
    reach = np.where(solid[:rows], outward, 0).max(axis=1)
    out = reach > FLARE * half
    first = int(out.argmax())
    if not out[first]:
        return rows
    back = np.flatnonzero(~out[first:])
    return first + int(back[0]) if len(back) else rows


def _sleeve(solid: NDArray[np.bool_], middle: float, half: float, side: int) -> Sleeve | None:
    """The sleeve at one side, or None where the garment hardly sticks out."""
    y, x = np.nonzero(solid[: _sleeve_end(solid, middle, half, side)])
    outward = side * (x - middle)
    outside = outward > half
    if outside.sum() < SLEEVE_SHARE * solid.sum():
        return None
    points = np.stack((x[outside], y[outside]), axis=1).astype(float)
    start = np.array((middle + side * 0.85 * half, np.quantile(points[:, 1], 0.1)))
    distance = np.hypot(*(points - start).T)
    end = points[distance >= np.quantile(distance, 0.95)].mean(axis=0)
    length = float(np.hypot(*(end - start)))
    if length < 0.25 * half:
        return None
    along = (end - start) / length
    across = np.abs((points - start) @ np.array((-along[1], along[0])))
    position = (points - start) @ along / length
    # The widest points of both halves; 0.9 leaves a rag of background out.
    near, far = across[position < 0.5], across[position >= 0.6]
    half_start = float(np.quantile(near, 0.9)) if len(near) else 0.4 * half
    half_end = float(np.quantile(far, 0.9)) if len(far) else half_start
    return Sleeve(start, end, max(half_start, half_end), max(half_end, 2.0))

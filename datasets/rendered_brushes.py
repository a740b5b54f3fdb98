"""Small drawing tools on canvases: polygons, shadows, noise. Coordinates are canvas pixels."""

import math
from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]
Field = NDArray[np.float32]
Points = NDArray[np.float64]


def to_pixels(points: Points) -> NDArray[np.int32]:
    """Canvas points as OpenCV's polygons want them."""
    return np.round(points).astype(np.int32)


def as_colour(values: Iterable[float]) -> Colour:
    """Any three numbers as a colour, clipped to 0..255."""
    red, green, blue = (min(255, max(0, int(value))) for value in values)
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker (factor < 1) or lighter."""
    return as_colour([part * factor for part in colour])


def polygon(canvas: Image, points: Points, colour: Colour) -> None:
    """A filled polygon, in place."""
    cv2.fillPoly(canvas, [to_pixels(points)], colour, cv2.LINE_AA)


def line(
    canvas: Image, points: Points, colour: Colour, thickness: int = 1, closed: bool = False
) -> None:
    """A line through points, in place."""
    cv2.polylines(canvas, [to_pixels(points)], closed, colour, thickness, cv2.LINE_AA)


def bounds(canvas: Image, points: Points) -> tuple[int, int, int, int] | None:
    """The box left, top, right, bottom of the points on the canvas; None if it lies outside."""
    xs, ys = points.T.tolist()
    left, top = max(0, math.floor(min(xs)) - 1), max(0, math.floor(min(ys)) - 1)
    right = min(canvas.shape[1], math.ceil(max(xs)) + 2)
    bottom = min(canvas.shape[0], math.ceil(max(ys)) + 2)
    return None if right <= left or bottom <= top else (left, top, right, bottom)


def darken(canvas: Image, points: Points, factor: float) -> None:
    """A shadow: what lies within the polygon gets darker, in place."""
    box = bounds(canvas, points)
    if box is None:
        return
    left, top, right, bottom = box
    region = canvas[top:bottom, left:right]
    mask = np.zeros(region.shape[:2], np.uint8)
    cv2.fillPoly(mask, [to_pixels(points - (left, top))], 255)
    cv2.copyTo(cv2.convertScaleAbs(region, alpha=factor), mask, region)


def limb_quad(start: Points, end: Points, half_start: float, half_end: float) -> Points:
    """Corners start-left, start-right, end-right, end-left of a limb segment: (4, 2)."""
    (x0, y0), (x1, y1) = start.tolist(), end.tolist()  # plain floats: faster than tiny arrays
    length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
    x, y = (y0 - y1) / length, (x1 - x0) / length
    return np.array(
        (
            (x0 - x * half_start, y0 - y * half_start),
            (x0 + x * half_start, y0 + y * half_start),
            (x1 + x * half_end, y1 + y * half_end),
            (x1 - x * half_end, y1 - y * half_end),
        )
    )


def smooth_noise(
    random: np.random.Generator, height: int, width: int, cells: tuple[float, float]
) -> Field:
    """Smooth noise of about unit deviation, (height, width) float32; cells: its grain (y, x)."""
    small = random.standard_normal(
        (int(height / cells[0]) + 3, int(width / cells[1]) + 3), np.float32
    )
    enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.float32)


@lru_cache(maxsize=1)
def _grain_bank() -> Field:
    return np.random.default_rng(7).standard_normal((640, 480, 3)).astype(np.float32)


def grain(random: np.random.Generator, height: int, width: int) -> Field:
    """Fine noise of unit deviation, (height, width, 3) float32, at most 512 x 256 large.

    A random window of one bank: drawing fresh noise would cost more than all else.
    """
    bank = _grain_bank()
    top = int(random.integers(bank.shape[0] - height))
    left = int(random.integers(bank.shape[1] - width))
    return bank[top : top + height, left : left + width]


def multiply(image: Image, light: Field) -> Image:
    """The image times a field of light (height, width), uint8."""
    product = cv2.multiply(image, cv2.merge([light] * 3), dtype=cv2.CV_8U)
    return np.asarray(product, np.uint8)

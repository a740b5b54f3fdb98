"""Patterns of cloth: stripes, checks, dots, flowers ..., drawn in garment coordinates."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.rendered_brushes import Colour, Field, Image, Points, as_colour, smooth_noise
from datasets.rendered_garments import Garment

DENSITY = 2.0  # cloth pixels per body unit
FRONT_WIDTH = 200  # cloth pixels, the body's middle at half of it


def pixel(point: Points) -> tuple[int, int]:
    """A point as OpenCV's circles want it."""
    return int(point[0]), int(point[1])


@lru_cache(maxsize=4)
def grid(height: int) -> tuple[Field, Field]:
    """x (from the body's middle) and y of every cloth pixel, float32."""
    y, x = np.mgrid[0:height, 0:FRONT_WIDTH].astype(np.float32)
    return x - FRONT_WIDTH / 2, y


def _choose(mask: NDArray[np.bool_], yes: Colour, no: Colour | Image) -> Image:
    """`yes` where the mask holds, else `no`."""
    if isinstance(no, tuple):
        image = np.empty((*mask.shape, 3), np.uint8)
        image[:] = no
    else:
        image = no
    cv2.copyTo(np.full_like(image, yes), mask.astype(np.uint8), image)
    return image


def _solid(garment: Garment, random: np.random.Generator, height: int) -> Image:
    image = np.empty((height, FRONT_WIDTH, 3), np.uint8)
    image[:] = garment.base
    return image


def _stripes(angle: float) -> Callable[[Garment, np.random.Generator, int], Image]:
    def draw(garment: Garment, random: np.random.Generator, height: int) -> Image:
        x, y = grid(height)
        along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
        period = 8 + 28 * garment.pattern_scale
        phase = along % period
        image = _choose(phase < period * random.uniform(0.2, 0.55), garment.second, garment.base)
        if random.random() < 0.35:
            thin = (phase > period * 0.7) & (phase < period * 0.7 + 2.5)
            image = _choose(thin, garment.third, image)
        return image

    return draw


def _checks(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = grid(height)
    size = 6 + 16 * garment.pattern_scale
    across, down = (x // size) % 2, (y // size) % 2
    middle = as_colour((np.array(garment.base) + garment.second) / 2)
    image = _choose(across + down == 1, middle, garment.base)
    return _choose(across + down == 2, garment.second, image)


def _plaid(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = grid(height)
    period = 26 + 34 * garment.pattern_scale
    image = _solid(garment, random, height).astype(np.float32)
    for colour, share in ((garment.second, 0.5), (garment.third, 0.35), (garment.second, 0.5)):
        offset, width = random.uniform(0, period), random.uniform(2, period * 0.36)
        weight = ((x + offset) % period < width) * share * 0.6 + ((y + offset) % period < width) * (
            share * 0.6
        )
        image += (np.array(colour, np.float32) - image) * weight.astype(np.float32)[..., None]
    return image.astype(np.uint8)


def _dots(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = grid(height)
    period = 11 + 22 * garment.pattern_scale
    row = y // period
    dx = (x + (row % 2) * period / 2) % period - period / 2
    dy = y % period - period / 2
    return _choose(
        dx * dx + dy * dy < (period * random.uniform(0.2, 0.36)) ** 2, garment.second, garment.base
    )


def _colour_blocks(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = grid(height)
    tilt = random.choice((0.0, 0.0, 0.5, -0.5, 1.0))
    edge = y + tilt * x
    cut = random.uniform(30, 110)
    if random.random() < 0.2:  # left and right halves
        return _choose(x > random.uniform(-20, 20), garment.second, garment.base)
    image = _choose(edge > cut, garment.second, garment.base)
    if random.random() < 0.6:
        image = _choose(edge > cut + random.uniform(20, 60), garment.third, image)
    return image


def _gradient(garment: Garment, random: np.random.Generator, height: int) -> Image:
    y = np.clip((np.arange(height) - 30) / (height - 70), 0, 1)[:, None, None]
    rows = np.array(garment.base) * (1 - y) + np.array(garment.second) * y
    return np.repeat(rows.astype(np.uint8), FRONT_WIDTH, axis=1)


def _floral(garment: Garment, random: np.random.Generator, height: int) -> Image:
    image = _solid(garment, random, height)
    size = 4 + 8 * garment.pattern_scale
    count = int(height * FRONT_WIDTH / (size * size * 22))
    centres = random.uniform((0, 0), (FRONT_WIDTH, height), (count, 2))
    turns = random.uniform(0, np.pi, count)
    petals = int(random.integers(4, 7))
    for number, (centre, turn) in enumerate(zip(centres, turns, strict=True)):
        angles = turn + np.arange(petals) * 2 * np.pi / petals
        colour = garment.second if number % 3 else garment.third
        for angle in angles:
            spot = centre + size * 0.75 * np.array((np.cos(angle), np.sin(angle)))
            cv2.circle(image, pixel(spot), int(size * 0.55), colour, -1)
        cv2.circle(image, pixel(centre), max(1, int(size * 0.4)), garment.third, -1)
    return image


def _camouflage(garment: Garment, random: np.random.Generator, height: int) -> Image:
    cell = 12 + 16 * garment.pattern_scale
    image = _solid(garment, random, height)
    for colour in (garment.second, garment.third):
        image = _choose(
            smooth_noise(random, height, FRONT_WIDTH, (cell, cell)) > 0.45, colour, image
        )
    return image


def _houndstooth(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = grid(height)
    size = 7 + 8 * garment.pattern_scale
    across, down = (x // size) % 2, (y // size) % 2
    diagonal = ((x + y) // (size / 2)) % 2
    dark = np.where(across == down, across == 1, diagonal == 1)
    return _choose(dark, garment.second, garment.base)


def _zigzag(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = grid(height)
    period = 14 + 18 * garment.pattern_scale
    shifted = y + np.abs(x % period - period / 2)
    image = _choose(shifted % period < period * 0.4, garment.second, garment.base)
    return _choose(shifted % (2 * period) > period * 1.7, garment.third, image)


def _speckles(garment: Garment, random: np.random.Generator, height: int) -> Image:
    image = _solid(garment, random, height)
    size = 1 + 3 * garment.pattern_scale
    for colour in (garment.second, garment.third):
        for x, y in random.uniform((0, 0), (FRONT_WIDTH, height), (height // 2, 2)):
            cv2.circle(image, (int(x), int(y)), int(size), colour, -1)
    return image


PATTERN_DRAWERS: dict[str, Callable[[Garment, np.random.Generator, int], Image]] = {
    "solid": _solid,
    "horizontal stripes": _stripes(np.pi / 2),
    "vertical stripes": _stripes(0.0),
    "diagonal stripes": _stripes(np.pi / 4),
    "checks": _checks,
    "plaid": _plaid,
    "dots": _dots,
    "colour blocks": _colour_blocks,
    "gradient": _gradient,
    "floral": _floral,
    "camouflage": _camouflage,
    "houndstooth": _houndstooth,
    "zigzag": _zigzag,
    "speckles": _speckles,
}

"""The cloth of a garment, drawn once in garment coordinates and shared by all its photos.

The front cloth holds pattern, print, pocket and closure; the tube cloth (sleeves and trouser
legs) holds the pattern alone. Both are later warped onto a flat shape or a posed body.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.rendered_garments import BOTTOMS, Colour, Garment

Image = NDArray[np.uint8]
Field = NDArray[np.float32]

DENSITY = 2.0  # cloth pixels per body unit
FRONT_WIDTH = 200  # cloth pixels, the body's middle at half of it
TUBE_WIDTH = 56


@dataclass(frozen=True)
class Cloth:
    """front: (height, FRONT_WIDTH, 3); tube: (height, TUBE_WIDTH, 3); both uint8 RGB."""

    front: Image
    tube: Image


@lru_cache(maxsize=8)
def weave(garment: Garment) -> Cloth:
    """The cloth of a garment; cached because all photos of a product follow each other."""
    random = np.random.default_rng(garment.texture_seed)
    height = int((garment.hem + 14) * DENSITY)
    pattern = PATTERN_DRAWERS[garment.pattern](garment, random, height)
    tube = np.ascontiguousarray(pattern[:, 70 : 70 + TUBE_WIDTH])
    if garment.contrast_sleeves:
        tube[:] = garment.second
    front = pattern
    draw_print(front, garment, random)
    draw_fittings(front, garment)
    if garment.kind == "sweater":
        rib = (_grid(height)[0] % 5 < 1.5).astype(np.float32)
        front = _darken(front, rib * 0.16)
    return Cloth(_mottle(front, random), _round_off(_mottle(tube, random)))


@lru_cache(maxsize=4)
def _grid(height: int) -> tuple[Field, Field]:
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
        x, y = _grid(height)
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
    x, y = _grid(height)
    size = 6 + 16 * garment.pattern_scale
    across, down = (x // size) % 2, (y // size) % 2
    middle = tuple((a + b) // 2 for a, b in zip(garment.base, garment.second, strict=True))
    image = _choose(across + down == 1, middle, garment.base)  # type: ignore[arg-type]
    return _choose(across + down == 2, garment.second, image)


def _plaid(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = _grid(height)
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
    x, y = _grid(height)
    period = 11 + 22 * garment.pattern_scale
    row = y // period
    dx = (x + (row % 2) * period / 2) % period - period / 2
    dy = y % period - period / 2
    return _choose(
        dx * dx + dy * dy < (period * random.uniform(0.2, 0.36)) ** 2, garment.second, garment.base
    )


def _colour_blocks(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = _grid(height)
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
            cv2.circle(image, _pixel(spot), int(size * 0.55), colour, -1)
        cv2.circle(image, _pixel(centre), max(1, int(size * 0.4)), garment.third, -1)
    return image


def _smooth_noise(random: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Smooth noise of about unit deviation, (height, width) float32."""
    small = random.standard_normal((int(height / cell) + 3, int(width / cell) + 3))
    return cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def _camouflage(garment: Garment, random: np.random.Generator, height: int) -> Image:
    cell = 12 + 16 * garment.pattern_scale
    image = _solid(garment, random, height)
    for colour in (garment.second, garment.third):
        image = _choose(_smooth_noise(random, height, FRONT_WIDTH, cell) > 0.45, colour, image)
    return image


def _houndstooth(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = _grid(height)
    size = 7 + 8 * garment.pattern_scale
    across, down = (x // size) % 2, (y // size) % 2
    diagonal = ((x + y) // (size / 2)) % 2
    dark = np.where(across == down, across == 1, diagonal == 1)
    return _choose(dark, garment.second, garment.base)


def _zigzag(garment: Garment, random: np.random.Generator, height: int) -> Image:
    x, y = _grid(height)
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


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def draw_print(front: Image, garment: Garment, random: np.random.Generator) -> None:
    """Paints the print onto the chest of the front cloth, in place."""
    centre = np.array((FRONT_WIDTH / 2, 62.0)) + np.array(garment.print_offset)
    reach = 16 + 26 * garment.print_size
    if garment.print_kind in ("word", "number"):
        _draw_words(front, garment, centre, reach, random)
    elif garment.print_kind == "emblem":
        _draw_emblem(front, garment.print_text, garment.print_colour, centre, reach * 0.85)
    elif garment.print_kind == "band":
        top, size = int(centre[1] - 10), int(8 + 22 * garment.print_size)
        front[top : top + size] = garment.print_colour
        if random.random() < 0.6:
            front[top + size + 4 : top + size + 8] = garment.third
    elif garment.print_kind == "picture":
        _draw_picture(front, garment, centre, reach * 0.8, random)


def _draw_words(
    front: Image,
    garment: Garment,
    centre: NDArray[np.float64],
    reach: float,
    random: np.random.Generator,
) -> None:
    face = int(random.choice((cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)))
    lines = garment.print_text.split()
    for number, line in enumerate(lines):
        thickness = 3
        (width, height), _ = cv2.getTextSize(line, face, 1.0, thickness)
        limit = 2.0 if garment.print_kind == "word" else 3.4
        scale = min(limit, 2 * reach / width)
        (width, height), _ = cv2.getTextSize(line, face, scale, thickness)
        down = (number - (len(lines) - 1) / 2) * (height + 8) + height / 2
        origin = (int(centre[0] - width / 2), int(centre[1] + down))
        cv2.putText(front, line, origin, face, scale, garment.print_colour, thickness, cv2.LINE_AA)


def _draw_emblem(
    front: Image, name: str, colour: Colour, centre: NDArray[np.float64], radius: float
) -> None:
    if name in ("circle", "ring"):
        thickness = -1 if name == "circle" else max(3, int(radius * 0.3))
        cv2.circle(front, _pixel(centre), int(radius), colour, thickness, cv2.LINE_AA)
    elif name == "flower":
        for angle in np.arange(6) * np.pi / 3:
            spot = centre + radius * 0.6 * np.array((np.cos(angle), np.sin(angle)))
            cv2.circle(front, _pixel(spot), int(radius * 0.38), colour, -1, cv2.LINE_AA)
    else:
        points = centre + radius * EMBLEM_OUTLINES[name]
        cv2.fillPoly(front, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)


def _star() -> NDArray[np.float64]:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)


def _heart() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 24)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((x, -y), axis=1) / 16


EMBLEM_OUTLINES: dict[str, NDArray[np.float64]] = {
    "star": _star(),
    "heart": _heart(),
    "triangle": np.array(((0, -1), (0.95, 0.8), (-0.95, 0.8))),
    "diamond": np.array(((0, -1), (0.7, 0), (0, 1), (-0.7, 0))),
    "bolt": np.array(
        ((0.3, -1), (-0.6, 0.2), (-0.05, 0.2), (-0.3, 1), (0.6, -0.25), (0.05, -0.25))
    ),
    "cross": np.array(
        ((-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1))
        + ((-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3))
    ),
}


def _draw_picture(
    front: Image,
    garment: Garment,
    centre: NDArray[np.float64],
    reach: float,
    random: np.random.Generator,
) -> None:
    """A framed print: a coloured box with a few shapes, like a photo or poster on a shirt."""
    low, high = _pixel(centre - reach), _pixel(centre + reach)
    cv2.rectangle(front, low, high, garment.print_colour, -1)
    for colour in (garment.second, garment.third, garment.base):
        spot = centre + random.uniform(-0.55, 0.55, 2) * reach
        if random.random() < 0.5:
            cv2.circle(front, _pixel(spot), int(reach * random.uniform(0.2, 0.42)), colour, -1)
        else:
            points = (
                spot + reach * random.uniform(0.25, 0.45) * _star()[:: 2 if spot[0] > 99 else 1]
            )
            cv2.fillPoly(front, [np.round(points).astype(np.int32)], colour)


def draw_fittings(front: Image, garment: Garment) -> None:
    """Closure, pockets and belt on the front cloth, in place."""
    middle = FRONT_WIDTH // 2
    height = front.shape[0]
    dark = tuple(int(c * 0.62) if sum(garment.base) > 160 else c + 42 for c in garment.base)
    top = 0 if garment.kind not in BOTTOMS else 150
    if garment.closure == "buttons":
        cv2.line(front, (middle - 7, top), (middle - 7, height), dark, 1)
        cv2.line(front, (middle + 7, top), (middle + 7, height), dark, 1)
        for y in range(34, height - 20, 22):
            cv2.circle(front, (middle, y), 3, garment.third, -1)
            cv2.circle(front, (middle, y), 3, dark, 1)
    elif garment.closure == "zip":
        cv2.line(front, (middle, top), (middle, height), dark, 5)
        cv2.line(front, (middle, top), (middle, height), (206, 206, 200), 2)
    if garment.pocket in ("chest", "two") and garment.kind not in BOTTOMS:
        places = (38,) if garment.pocket == "chest" else (38, -38)
        y = 50 if garment.kind != "jacket" else 128
        for x in places:
            box = (middle + x - 14, y), (middle + x + 14, y + (34 if y == 50 else 8))
            cv2.rectangle(front, *box, garment.second if garment.trim else garment.base, -1)
            cv2.rectangle(front, *box, dark, 1)
            cv2.line(front, (box[0][0], y + 6), (box[1][0], y + 6), dark, 1)
    elif garment.pocket == "kangaroo":
        corners = np.array(((-24, 118), (24, 118), (38, 158), (-38, 158))) + (middle, 0)
        cv2.fillPoly(front, [corners.astype(np.int32)], garment.base)
        cv2.polylines(front, [corners.astype(np.int32)], True, dark, 2)


def _darken(image: Image, amount: Field) -> Image:
    return (image * (1 - amount)[..., None]).astype(np.uint8)


def _mottle(image: Image, random: np.random.Generator) -> Image:
    """Fine weave, so that solid cloth is not perfectly flat."""
    noise = random.standard_normal(image.shape[:2]).astype(np.float32) * 3
    return cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)


def _round_off(tube: Image) -> Image:
    """Bakes a tube's shading, darker towards both edges, into its cloth."""
    across = np.abs(np.linspace(-1, 1, tube.shape[1], dtype=np.float32)) ** 2.4
    return _darken(tube, np.broadcast_to(across * 0.26, tube.shape[:2]))

"""The cloth of a garment, drawn once in garment coordinates and shared by all its photos.

The front cloth holds pattern, print, pocket and closure; the tube cloth of the sleeves holds the
pattern alone. Both are later warped onto a flat shape or a posed body.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from datasets.rendered_brushes import Colour, Image, Points, grain, multiply
from datasets.rendered_details import draw_details
from datasets.rendered_garments import BOTTOMS, Garment
from datasets.rendered_patterns import DENSITY, FRONT_WIDTH, PATTERN_DRAWERS, grid, pixel

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
    front = draw_details(front, garment, random)
    if garment.kind == "sweater":
        rib = grid(height)[0] % 5 < 1.5
        front = multiply(front, np.where(rib, 0.84, 1.0).astype(np.float32))
    return Cloth(_mottle(front, random), _round_off(_mottle(tube, random)))


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
    centre: Points,
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


def _draw_emblem(front: Image, name: str, colour: Colour, centre: Points, radius: float) -> None:
    if name in ("circle", "ring"):
        thickness = -1 if name == "circle" else max(3, int(radius * 0.3))
        cv2.circle(front, pixel(centre), int(radius), colour, thickness, cv2.LINE_AA)
    elif name == "flower":
        for angle in np.arange(6) * np.pi / 3:
            spot = centre + radius * 0.6 * np.array((np.cos(angle), np.sin(angle)))
            cv2.circle(front, pixel(spot), int(radius * 0.38), colour, -1, cv2.LINE_AA)
    else:
        points = centre + radius * EMBLEM_OUTLINES[name]
        cv2.fillPoly(front, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)


def _star() -> Points:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 24)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((x, -y), axis=1) / 16


EMBLEM_OUTLINES: dict[str, Points] = {
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
    centre: Points,
    reach: float,
    random: np.random.Generator,
) -> None:
    """A framed print: a coloured box with a few shapes, like a photo or poster on a shirt."""
    low, high = pixel(centre - reach), pixel(centre + reach)
    cv2.rectangle(front, low, high, garment.print_colour, -1)
    for colour in (garment.second, garment.third, garment.base):
        spot = centre + random.uniform(-0.55, 0.55, 2) * reach
        if random.random() < 0.5:
            cv2.circle(front, pixel(spot), int(reach * random.uniform(0.2, 0.42)), colour, -1)
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


def _mottle(image: Image, random: np.random.Generator) -> Image:
    """Fine weave, so that solid cloth is not perfectly flat."""
    noise = grain(random, *image.shape[:2])
    return np.asarray(cv2.scaleAdd(noise, 3.0, image.astype(np.float32)).clip(0, 255), np.uint8)


def _round_off(tube: Image) -> Image:
    """Bakes a tube's shading, darker towards both edges, into its cloth."""
    across = np.abs(np.linspace(-1, 1, tube.shape[1], dtype=np.float32)) ** 2.4
    light = np.broadcast_to(1 - across * np.float32(0.26), tube.shape[:2])
    return multiply(tube, np.ascontiguousarray(light))

"""What tells one plain top from the next: gathers, plackets, wrapped fronts, sheer yokes."""

import cv2
import numpy as np

from datasets.rendered_brushes import Colour, Image, multiply, smooth_noise
from datasets.rendered_garments import Garment
from datasets.rendered_patterns import DENSITY, FRONT_WIDTH

NECK_ROW = 8  # of the front cloth, where the neck is
SKIN = (214, 182, 160)  # what sheer cloth lets through, on anybody about this
SHEER = 0.45  # share of it
BUTTONS_APART = 13  # cloth pixels


def draw_details(front: Image, garment: Garment, random: np.random.Generator) -> Image:
    """The front cloth with its details: uint8 (height, FRONT_WIDTH, 3); may be drawn in place."""
    seam = _seam(garment)
    if garment.yoke:
        _draw_yoke(front, garment, seam, random)
    if garment.wrap:
        _draw_wrap(front, garment, seam)
    if garment.placket:
        _draw_placket(front, garment, seam)
    return _gathered(front, garment, seam, random) if garment.gathers else front


def _seam(garment: Garment) -> Colour:
    """A line that can just be seen on the cloth."""
    factor, more = (0.72, 0) if sum(garment.base) > 160 else (1.0, 34)
    red, green, blue = (int(value * factor) + more for value in garment.base)
    return red, green, blue


def _row(height: float) -> int:
    """The cloth's row of a height in body units below the neck."""
    return int(NECK_ROW + DENSITY * height)


def _draw_yoke(front: Image, garment: Garment, seam: Colour, random: np.random.Generator) -> None:
    """Sheer or lace cloth above a seam, in place."""
    end = _row(garment.yoke)
    above = front[:end].astype(np.float32)
    thin = smooth_noise(random, len(above), FRONT_WIDTH, (3.0, 3.0)) > random.uniform(-0.9, 0.6)
    share = np.where(thin, SHEER, SHEER * 0.4)[..., None]
    front[:end] = (above * (1 - share) + np.array(SKIN) * share).astype(np.uint8)
    cv2.line(front, (0, end), (FRONT_WIDTH, end), seam, 2)


def _draw_wrap(front: Image, garment: Garment, seam: Colour) -> None:
    """The edge of the half that lies on top, from one side of the neck to the other hip."""
    middle = FRONT_WIDTH // 2
    end = _row(garment.gathers or garment.hem * 0.75)
    start = (middle + 16, 0)
    cv2.line(front, start, (middle - 46, end), seam, 3)
    shadow = tuple(int(value * 0.9) for value in seam)
    cv2.line(front, (start[0] - 4, start[1]), (middle - 50, end), shadow, 1)


def _draw_placket(front: Image, garment: Garment, seam: Colour) -> None:
    """A short closure with buttons, below where necklines end, in place."""
    middle = FRONT_WIDTH // 2
    top = _row(4.0)
    end = top + 10 + BUTTONS_APART * garment.placket
    cv2.rectangle(front, (middle - 6, 0), (middle + 6, end), seam, 1)
    for number in range(garment.placket):
        cv2.circle(front, (middle, top + 8 + BUTTONS_APART * number), 2, seam, -1)


def _gathered(front: Image, garment: Garment, seam: Colour, random: np.random.Generator) -> Image:
    """Folds that fall from a seam and fade."""
    start = _row(garment.gathers)
    below = np.arange(front.shape[0]) - start
    depth = np.where(below > 0, np.exp(-below / 45.0), 0.0)
    ripples = np.sin(np.cumsum(random.uniform(0.3, 0.9, FRONT_WIDTH)))
    light = 1 - 0.2 * depth[:, None] * ripples[None, :]
    gathered = multiply(front, light.astype(np.float32))
    cv2.line(gathered, (0, start), (FRONT_WIDTH, start), seam, 2)
    return gathered

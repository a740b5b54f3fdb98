"""Puts a cut-out garment onto a posed body: the torso bends with it, sleeves follow the arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from datasets.cutouts import Cutout
from datasets.lays import Lay, Sleeve
from datasets.rendered_brushes import (
    Field,
    Image,
    Points,
    bounds,
    darken,
    limb_quad,
    multiply,
    smooth_noise,
)
from datasets.rendered_figures import HIP_Y, WAIST_Y, Figure
from datasets.rendered_wear import SLEEVE_WIDTHS, folds_of, light_of

Box = tuple[int, int, int, int]
ARM = 70.0  # body units from shoulder to wrist
# Sleeves, as shares of the arm. Garments laid out at home hide theirs, long ones are folded away:
# what a garment is says more than its outline.
SLEEVES = {"long-sleeved": (0.88, 1.0), "short-sleeved": (0.25, 0.45), "sleeveless": (0.0, 0.0)}


class Worn(NamedTuple):
    """Where on the canvas a garment lies: without what sticks out from the body, and all of it."""

    body: Box
    whole: Box


@dataclass(frozen=True)
class Fit:
    """How a flat garment sits on a body.

    Args:
        top: Body height of its upper edge, in units.
        bottom: Of its lower edge.
        ease: Its width over that of the body.
        hug: How far its width follows the body's, 0 to 1.
        sleeve: Share of the arm that it covers; 0 has no sleeves.
    """

    top: float
    bottom: float
    ease: float
    hug: float
    sleeve: float = 0.0


def draw_fit(random: np.random.Generator, kind: str, lay: Lay) -> Fit:
    """A random fit of a garment of some `datasets.composed_photos.Kind`.

    The length follows from the flat proportions, within what is worn: a garment that was
    photographed crumpled or from aside would end anywhere.
    """
    width = 21.0 if kind == "bottom" else 20.0
    natural = lay.height / lay.half_width * width * random.uniform(0.95, 1.25)
    if kind == "bottom":
        top = WAIST_Y + random.uniform(4, 15)
        bottom = float(np.clip(top + natural, 100, 186))
        return Fit(top, bottom, random.uniform(1.0, 1.12), 0.3)
    top = random.uniform(-5, 0)
    low, high = (105, 180) if kind == "dress" else (62 + random.uniform(0, 18), 104)
    bottom = float(np.clip(top + natural, low, high))
    ease = random.uniform(1.0, 1.25)
    shown = max((sleeve.length for sleeve in lay.sleeves.values()), default=0.0)
    outline = min(1.0, shown / lay.half_width * width / ARM)
    shares = SLEEVES.get(kind, (outline, min(1.0, 1.15 * outline)))
    return Fit(top, bottom, ease, random.uniform(0.2, 0.9), random.uniform(*shares))


def draw_worn(
    canvas: Image,
    figure: Figure,
    cutout: Cutout,
    lay: Lay,
    fit: Fit,
    random: np.random.Generator,
) -> Worn:
    """The garment without its sleeves, in place."""
    widths = fit.ease * float(np.mean(figure.half_widths[1:]))
    units = widths / lay.half_width  # body units per pixel of the cut-out
    bottom = fit.bottom
    reach = 1.15 * units * max(lay.middle, cutout.pixels.shape[1] - lay.middle)
    corners = np.array(((-reach, fit.top), (reach, fit.top), (-reach, bottom), (reach, bottom)))
    box = bounds(canvas, figure.place(corners))
    if box is None:
        outside = 0, 0, canvas.shape[1], canvas.shape[0]
        return Worn(outside, outside)
    left, top, right, low = box
    y: Points = (np.arange(top, low, dtype=np.float64) - figure.origin[1]) / figure.scale
    x = (np.arange(left, right)[None, :] - figure.origin[0]) / figure.scale
    x = x - figure.shift(y)[:, None]
    own = figure.half_width(np.clip(y, 20.0, HIP_Y)) * fit.ease
    half = fit.hug * own + (1 - fit.hug) * widths
    across = (x / half[:, None]).astype(np.float32)
    folds = folds_of(random, low - top, right - left, figure)
    round_ = np.clip(across, -1.2, 1.2)
    # A body is round: cloth turns away at the sides, and a turned body shows more of one.
    u = across + 0.12 * round_**3 - 0.1 * across + 0.22 * figure.turn * (1 - 0.5 * round_**2)
    warp = _wobble(random, low - top, right - left) * 0.05
    map_x = lay.middle + lay.half_width * (u + warp + 0.015 * folds)
    map_y = ((y - fit.top) / (bottom - fit.top) * lay.height)[:, None] + lay.half_width * (
        0.03 * folds + _wobble(random, low - top, right - left) * 0.05
    )
    maps = map_x.astype(np.float32), map_y.astype(np.float32)
    alpha = _without_sleeves(cutout.alpha, lay)
    light = light_of(figure, folds, np.clip(across, -1.1, 1.1))
    mask = _paint(canvas, box, cutout.pixels, alpha, maps, light, shadow=figure.scale)
    x1, y1, x2, y2 = box_of(mask)
    whole = (left + x1, top + y1, left + x2, top + y2)
    body = np.array(((-widths, fit.top), (widths, fit.top), (-widths, bottom), (widths, bottom)))
    return Worn(bounds(canvas, figure.place(body)) or box, whole)


def draw_sleeve_of(
    canvas: Image, figure: Figure, cutout: Cutout, lay: Lay, fit: Fit, side: int
) -> list[Box]:
    """The sleeve along one arm, in place: its own cloth, the other's if hidden, or the torso's.

    The boxes of its upper and lower part, as far as there are such: garments without sleeves have
    none.
    """
    if not fit.sleeve:
        return []
    mirrored = side not in lay.sleeves and -side in lay.sleeves
    sleeve = lay.sleeves.get(-side if mirrored else side) or _strip_of_torso(lay, side)
    units = fit.ease * float(np.mean(figure.half_widths[1:])) / lay.half_width
    covered = fit.sleeve
    joints = figure.arms[side].copy()
    joints[0] -= (side * 4.0, 3.0)  # under the torso's edge, so that no skin shows between
    placed = figure.place(joints)
    lengths = np.linalg.norm(np.diff(joints, axis=0), axis=1)
    wide = np.interp((0, 1, 2), (0, 2), (sleeve.half_start, sleeve.half_end)) * units * 0.95
    least = np.array(SLEEVE_WIDTHS) * 0.9
    halves = np.clip(wide, least, 2.2 * least) * figure.scale
    left, first = covered * lengths.sum(), 0.0
    boxes = []
    for number in range(2):
        part = min(1.0, left / lengths[number])
        if part <= 0.05:
            break
        end = placed[number] + part * (placed[number + 1] - placed[number])
        half_end = halves[number] + part * (halves[number + 1] - halves[number])
        quad = limb_quad(placed[number], end, float(halves[number]), float(half_end))
        if number == 0:
            quad[:2] -= 0.5 * halves[0] * (end - placed[0]) / np.linalg.norm(end - placed[0])
        last = first + part * lengths[number] / (covered * lengths.sum())
        darken(canvas, quad + np.array((-side * 1.6, 1.4)) * figure.scale, 0.82)
        box = bounds(canvas, quad)
        if box is not None:
            shares = (first, min(last, 1.0))
            _paint_sleeve(canvas, cutout, sleeve, quad, box, shares, mirrored)
            boxes.append(box)
        left, first = left - part * lengths[number], last
    return boxes


def _strip_of_torso(lay: Lay, side: int) -> Sleeve:
    """Cloth for a sleeve that was folded away."""
    x = lay.middle + side * 0.6 * lay.half_width
    start, end = (np.array((x, share * lay.height)) for share in (0.2, 0.8))
    return Sleeve(start, end, 0.3 * lay.half_width, 0.25 * lay.half_width)


def _paint_sleeve(
    canvas: Image,
    cutout: Cutout,
    sleeve: Sleeve,
    quad: Points,
    box: Box,
    shares: tuple[float, float],
    mirrored: bool,
) -> None:
    """Warps a stretch of the flat sleeve onto a limb's corners, which lie in the box, in place."""
    left, top, right, bottom = box
    ends = [sleeve.start + share * (sleeve.end - sleeve.start) for share in shares]
    half = [sleeve.half_start + s * (sleeve.half_end - sleeve.half_start) for s in shares]
    source = limb_quad(ends[0], ends[1], half[0] * 0.9, half[1] * 0.9)
    if mirrored:
        source = source[[1, 0, 3, 2]]
    target = (quad - (left, top)).astype(np.float32)
    transform = cv2.getPerspectiveTransform(source.astype(np.float32), target)
    size = (right - left, bottom - top)
    patch = cv2.warpPerspective(cutout.pixels, transform, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpPerspective(cutout.alpha, transform, size)
    limb = np.zeros(alpha.shape, np.uint8)
    cv2.fillConvexPoly(limb, np.round(target).astype(np.int32), 255, cv2.LINE_AA)
    middle, axis = quad.mean(axis=0) - (left, top), quad[1] - quad[0]
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    across = ((columns - middle[0]) * axis[0] + (rows - middle[1]) * axis[1]) * 2 / (axis @ axis)
    light = (1.0 - 0.22 * np.abs(across.clip(-1, 1)) ** 3).astype(np.float32)
    lit = multiply(np.asarray(patch, np.uint8), light)
    blend(canvas[top:bottom, left:right], lit, np.asarray(cv2.min(alpha, limb), np.uint8))


def _without_sleeves(alpha: Image, lay: Lay) -> Image:
    """Alpha of the torso: sleeves are drawn along the arms."""
    kept = alpha.copy()
    for side, sleeve in lay.sleeves.items():
        edge = int(lay.middle + side * 1.02 * lay.half_width)
        rows = slice(0, int(max(sleeve.start[1], sleeve.end[1]) + 2 * sleeve.half_end))
        if side < 0:
            kept[rows, : max(edge, 0)] = 0
        else:
            kept[rows, edge:] = 0
    return kept


def _wobble(random: np.random.Generator, height: int, width: int) -> Field:
    """Slow noise of about unit deviation: no two bodies pull a cloth alike."""
    grain = (max(height, 8) / 3, max(width, 8) / 3)
    return smooth_noise(random, height, width, grain)


def _paint(
    canvas: Image,
    box: Box,
    pixels: Image,
    alpha: Image,
    maps: tuple[Field, Field],
    light: Field,
    shadow: float,
) -> Image:
    """The warped cut-out with a shadow under it, in place; its alpha within the box."""
    left, top, right, bottom = box
    patch = cv2.remap(pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.remap(alpha, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    under = canvas[top:bottom, left:right]
    offset = max(1, round(2.0 * shadow))
    below = np.zeros_like(mask)
    below[offset:] = mask[:-offset]
    cv2.copyTo(cv2.convertScaleAbs(under, alpha=0.76), below, under)
    painted = np.asarray(mask, np.uint8)
    blend(under, multiply(np.asarray(patch, np.uint8), light), painted)
    return painted


def box_of(alpha: Image) -> Box:
    """The box of what is more opaque than not."""
    left, top, width, height = cv2.boundingRect(np.asarray(alpha > 127, np.uint8))
    return left, top, left + width, top + height


def blend(under: Image, over: Image, alpha: Image) -> None:
    """`over` where alpha is 255, in place."""
    weight = cv2.merge([alpha] * 3).astype(np.float32) * np.float32(1 / 255)
    under[:] = (under + (over.astype(np.float32) - under) * weight).astype(np.uint8)

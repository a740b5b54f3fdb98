"""Puts a garment onto a figure: warps its cloth to front and sleeves, with folds and seams.

The same code draws the flat product photo and the worn garment; only the figure differs.
Canvases are uint8 RGB at twice the photo's size, so that hard masks become smooth edges.
"""

import cv2
import numpy as np

from datasets.rendered_brushes import (
    Colour,
    Field,
    Image,
    Points,
    bounds,
    darken,
    limb_quad,
    line,
    multiply,
    polygon,
    shade,
    smooth_noise,
    to_pixels,
)
from datasets.rendered_cuts import (
    BOTTOMS_TOP,
    NECK_PARTS,
    front_edges,
    front_outline,
    has_legs,
    hem_curve,
    neck_curve,
    neck_half_width,
    opening,
    roundness,
)
from datasets.rendered_figures import SIDES, WAIST_Y, Figure
from datasets.rendered_garments import BOTTOMS, Garment
from datasets.rendered_patterns import DENSITY, FRONT_WIDTH
from datasets.rendered_textures import TUBE_WIDTH, weave

SLEEVE_WIDTHS = (8.6, 7.4, 5.8)  # half widths at shoulder, elbow and wrist


def draw_laid_flat(
    canvas: Image, figure: Figure, garment: Garment, random: np.random.Generator
) -> None:
    """The whole garment on a flat figure, in place: sleeves, then the front on top."""
    outline = figure.place(front_outline(figure, garment))
    darken(canvas, outline + (2.0, 3.0) * np.array(figure.scale), 0.94)
    if garment.sleeve > 0:
        for side in SIDES:
            draw_sleeve(canvas, figure, garment, side)
    inside = shade(garment.base, 0.6)
    if garment.kind not in BOTTOMS:
        _draw_back_neck(canvas, figure, garment)
    if garment.closure == "open":
        polygon(canvas, figure.place(opening(garment) - (0, 3)), inside)
    draw_front(canvas, figure, garment, random, opened=garment.closure == "open")


def seam_colour(garment: Garment) -> Colour:
    """A line that can be seen on the garment: darker, or lighter on black."""
    if sum(garment.base) > 130:
        return shade(garment.base, 0.72)
    red, green, blue = garment.base
    return red + 24, green + 24, blue + 24


def draw_front(
    canvas: Image,
    figure: Figure,
    garment: Garment,
    random: np.random.Generator,
    opened: bool = False,
) -> None:
    """The front (of skirts and trousers: all of it), in place; opened: as an unbuttoned jacket."""
    outline = figure.place(front_outline(figure, garment))
    box = bounds(canvas, outline)
    if box is None:
        return
    if not figure.flat and garment.kind not in BOTTOMS:
        darken(canvas, outline + (0.0, 2.2 * figure.scale), 0.74)
    left, top, right, bottom = box
    patch = _warp_front(figure, garment, random, box)
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [to_pixels(outline - (left, top))], 255)
    seam = seam_colour(garment)
    if opened:
        gap = figure.place(opening(garment))
        cv2.fillPoly(mask, [to_pixels(gap - (left, top))], 0)
        darken(canvas, gap, 0.85)
    cv2.copyTo(patch, mask, canvas[top:bottom, left:right])
    if opened:
        for edge in (gap[[0, 3]], gap[[1, 2]]):
            line(canvas, edge, seam, max(2, int(figure.scale)))
    else:
        line(canvas, outline, seam, closed=True)
    if garment.kind in BOTTOMS:
        _draw_waistband(canvas, figure, garment)
    else:
        _draw_neck_details(canvas, figure, garment, opened)


def _warp_front(
    figure: Figure,
    garment: Garment,
    random: np.random.Generator,
    box: tuple[int, int, int, int],
) -> Image:
    """The front cloth as seen in the canvas box left, top, right, bottom: uint8 RGB."""
    left, top, right, bottom = box
    y: Points = (np.arange(top, bottom, dtype=np.float64) - figure.origin[1]) / figure.scale
    edge_left, edge_right = front_edges(figure, garment, y)
    half = (edge_right - edge_left) / 2
    middle = figure.shift(y) + (edge_right + edge_left) / 2
    x = (np.arange(left, right)[None, :] - figure.origin[0]) / figure.scale - middle[:, None]
    across = roundness(figure, garment, x, y, half).astype(np.float32)
    folds = folds_of(random, bottom - top, right - left, figure)
    cloth_x = (x * _stretch(figure, garment, half)[:, None]).astype(np.float32)
    if not figure.flat:  # a body is round: cloth turns away at the sides
        cloth_x = cloth_x * (1 + 0.14 * across**2) + 7 * figure.turn * (1 - 0.4 * across**2)
    wave = folds * np.float32(0.35 if figure.flat else 0.9)
    map_x = cloth_x * np.float32(DENSITY) + wave + np.float32(FRONT_WIDTH / 2)
    map_y = wave + (y[:, None] * DENSITY + 8).astype(np.float32)
    cloth = weave(garment).front
    patch = cv2.remap(cloth, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return multiply(np.asarray(patch, np.uint8), light_of(figure, folds, across))


def _stretch(figure: Figure, garment: Garment, half: Points) -> Points:
    """Cloth units per body unit at each row: the chest of every figure shows the same cloth."""
    chest = figure.half_widths[1] * (1.0 if figure.flat else 1.02)
    narrowing = (chest * garment.ease / half) ** (0.0 if has_legs(garment) else 0.35)
    return 25.5 / chest * narrowing


def folds_of(random: np.random.Generator, height: int, width: int, figure: Figure) -> Field:
    """Folds of about unit deviation: long ones as cloth falls; on bodies also slanting creases.

    Drawn at half size: they are smooth.
    """
    unit, rows, columns = figure.scale / 2, height // 2 + 1, width // 2 + 1
    folds = smooth_noise(random, rows, columns, (60 * unit, 22 * unit))
    if not figure.flat:
        creases = smooth_noise(random, rows, columns, (26 * unit, 7 * unit))
        slant = float(random.uniform(-0.9, 0.9))
        matrix = np.array(((1, slant, -slant * rows / 2), (0, 1, 0)), np.float32)
        edge = cv2.BORDER_REFLECT
        slanted = cv2.warpAffine(creases, matrix, (columns, rows), borderMode=edge)
        folds = np.asarray(cv2.addWeighted(folds, 0.75, slanted, 0.6, 0), np.float32)
    return np.asarray(cv2.resize(folds, (width, height)), np.float32)


def light_of(figure: Figure, folds: Field, across: Field) -> Field:
    """Light on the front: folds, darker sides, one side brighter when the body turns."""
    if figure.flat:
        deep, dark = 0.035 + 0.025 * figure.mannequin, 0.05 + 0.09 * figure.mannequin
        return 1 - np.float32(deep) * folds - np.float32(dark) * across * across
    light = 1 - np.float32(0.085) * folds - np.float32(0.24) * np.abs(across) ** 3
    return light + np.float32(0.12 * figure.turn) * across


def _draw_back_neck(canvas: Image, figure: Figure, garment: Garment) -> None:
    """The inside of the back, seen through the neck of a flat garment, in place."""
    t = np.linspace(-1, 1, 9)
    low = neck_curve(garment)[:, 1].max() * 0.6 if garment.neckline == "straps" else -1.0
    curve = np.stack((t * neck_half_width(garment), low - (low + 2.5) * t * t), axis=1)
    points = np.concatenate((curve, neck_curve(garment)[::-1]))
    polygon(canvas, figure.place(points), shade(garment.base, 0.6))


def _draw_neck_details(canvas: Image, figure: Figure, garment: Garment, opened: bool) -> None:
    """Rib, collar, roll neck or hood, trimmed hem and belt, in place."""
    colour = garment.second if garment.trim else garment.base
    seam = seam_colour(garment)
    thickness = max(2, int(figure.scale * 2.2))
    for part in NECK_PARTS.get(garment.neckline, ()):
        polygon(canvas, figure.place(part), colour)
        line(canvas, figure.place(part), seam, closed=True)
    if garment.neckline == "hood":
        for side in SIDES:
            cord = np.array(((side * 4.0, 7.0), (side * 4.6, 24.0)))
            line(canvas, figure.place(cord), garment.third, max(1, int(figure.scale * 0.9)))
    if garment.neckline not in NECK_PARTS and not opened:
        curve = figure.place(neck_curve(garment))
        line(canvas, curve, seam, thickness + 2)
        line(canvas, curve, colour, thickness)
    if garment.trim and not opened:
        line(canvas, figure.place(hem_curve(figure, garment, lift=1.5)), colour, thickness)
    if garment.belt:
        _draw_belt(canvas, figure, garment, WAIST_Y)


def _draw_waistband(canvas: Image, figure: Figure, garment: Garment) -> None:
    if garment.belt:
        _draw_belt(canvas, figure, garment, BOTTOMS_TOP + 3)
    else:
        y = np.array([BOTTOMS_TOP + 5.0])
        ends = np.stack(front_edges(figure, garment, y), axis=0)
        line(canvas, figure.place(np.hstack((ends, [y, y]))), seam_colour(garment))
    if has_legs(garment):
        fly = np.array(((0.0, BOTTOMS_TOP + 5), (0.0, BOTTOMS_TOP + 24)))
        line(canvas, figure.place(fly), seam_colour(garment))
    if garment.trim:
        colour = garment.second
        if not has_legs(garment):
            curve = hem_curve(figure, garment, lift=1.5)
            line(canvas, figure.place(curve), colour, max(2, int(figure.scale * 2.2)))


def _draw_belt(canvas: Image, figure: Figure, garment: Garment, y: float) -> None:
    left, right = (edge[0] for edge in front_edges(figure, garment, np.array([y])))
    band = ((left, y - 2.5), (right, y - 2.5), (right, y + 2.5), (left, y + 2.5))
    polygon(canvas, figure.place(np.array(band)), garment.second)
    buckle = np.array(((-3, y - 3), (3, y - 3), (3, y + 3), (-3, y + 3)))
    line(canvas, figure.place(buckle), garment.third, 2, closed=True)


def draw_sleeve(canvas: Image, figure: Figure, garment: Garment, side: int) -> None:
    """One sleeve along the figure's arm, over garment.sleeve of its length, in place."""
    joints = figure.arms[side].copy()
    joints[0, 0] += side * 9.0 * (garment.ease - 1)  # loose cloth drops over the shoulder
    placed = figure.place(joints)
    lengths = np.linalg.norm(np.diff(joints, axis=0), axis=1)
    wide = figure.scale * garment.sleeve_width * (1.1 if figure.flat else 0.94 * figure.build)
    halves = [width * wide for width in SLEEVE_WIDTHS]
    left = whole = garment.sleeve * lengths.sum()
    cloth, cloth_start = weave(garment).tube, 24.0
    quads: list[Points] = []
    for number in range(2):
        part = min(1.0, left / lengths[number])
        if part <= 0.02:
            break
        end = placed[number] + part * (placed[number + 1] - placed[number])
        half_end = halves[number] + part * (halves[number + 1] - halves[number])
        above, below = 1 - left / whole, 1 - (left - part * lengths[number]) / whole
        half_start = halves[number] * (1 + garment.sleeve_flare * above**2)
        half_end *= 1 + garment.sleeve_flare * below**2
        quads.append(limb_quad(placed[number], end, half_start, half_end))
        cloth_end = cloth_start + part * lengths[number] * DENSITY
        if not figure.flat:
            darken(canvas, quads[-1] + np.array((-side * 1.6, 1.2)) * figure.scale, 0.8)
        _paint_tube(canvas, cloth, quads[-1], (cloth_start, cloth_end))
        for edge in (quads[-1][[0, 3]], quads[-1][[1, 2]]):
            line(canvas, edge, seam_colour(garment))
        cloth_start, left = cloth_end, left - part * lengths[number]
    if quads:
        _draw_cuff(canvas, figure, garment, quads[-1])


def _paint_tube(canvas: Image, cloth: Image, quad: Points, rows: tuple[float, float]) -> None:
    """Warps cloth rows onto the limb segment, with a round cap at its start, in place."""
    half = float(np.hypot(*(quad[1] - quad[0]))) / 2
    length = float(np.hypot(*((quad[3] + quad[2] - quad[1] - quad[0]) / 2)))
    along = (quad[3] + quad[2] - quad[1] - quad[0]) / (2 * max(length, 1e-6))
    capped = quad.copy()
    capped[:2] -= along * half
    box = bounds(canvas, capped)
    if box is None:
        return
    left, top, right, bottom = box
    first = rows[0] - (rows[1] - rows[0]) * half / max(length, 1e-6)
    last = TUBE_WIDTH - 1
    source = np.array(((0, first), (last, first), (last, rows[1]), (0, rows[1])), np.float32)
    target = (capped - (left, top)).astype(np.float32)
    transform = cv2.getPerspectiveTransform(source, target)
    size = (right - left, bottom - top)
    patch = cv2.warpPerspective(cloth, transform, size, borderMode=cv2.BORDER_REFLECT)
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, to_pixels(quad - (left, top)), 255)
    centre = (quad[0] + quad[1]) / 2 - (left, top)
    cv2.circle(mask, (round(centre[0]), round(centre[1])), round(half), 255, -1)
    cv2.copyTo(patch, mask, canvas[top:bottom, left:right])


def _draw_cuff(canvas: Image, figure: Figure, garment: Garment, quad: Points) -> None:
    thickness = max(2, int(figure.scale * (3 if garment.trim else 1)))
    colour = garment.second if garment.trim else seam_colour(garment)
    line(canvas, quad[2:], colour, thickness)

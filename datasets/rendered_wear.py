"""Puts a garment onto a figure: warps its cloth to torso, sleeves and legs, with folds and seams.

The same code draws the flat product photo and the worn garment; only the figure differs.
Canvases are uint8 RGB at twice the photo's size, so that hard masks become smooth edges.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.rendered_figures import (
    CHEST_Y,
    CROTCH_Y,
    HIP_Y,
    SHOULDER_Y,
    SIDES,
    WAIST_Y,
    Figure,
    Points,
)
from datasets.rendered_garments import BOTTOMS, Colour, Garment
from datasets.rendered_textures import DENSITY, FRONT_WIDTH, TUBE_WIDTH, Image, weave

ARM_WIDTHS = (9.5, 7.5, 6.0)  # half widths of a sleeve at shoulder, elbow and wrist
LEG_WIDTHS = (13.0, 9.5, 8.0)


def wear(
    canvas: Image,
    figure: Figure,
    garment: Garment,
    random: np.random.Generator,
    before_sleeves: bool = False,
) -> None:
    """Draws the whole garment, in place: legs or sleeves as the kind asks, then the front."""
    if garment.kind in ("trousers", "shorts"):
        draw_legs(canvas, figure, garment)
    if garment.sleeve > 0:
        for side in SIDES:
            if figure.flat or side not in figure.arms_in_front:
                draw_sleeve(canvas, figure, garment, side)
    draw_front(canvas, figure, garment, random)
    if garment.sleeve > 0 and not figure.flat:
        for side in figure.arms_in_front:
            draw_sleeve(canvas, figure, garment, side)


def seam_colour(garment: Garment) -> Colour:
    """A line that can be seen on the garment: darker, or lighter on black."""
    red, green, blue = (int(c * 0.72) if sum(garment.base) > 130 else c + 26 for c in garment.base)
    return red, green, blue


def to_pixels(points: Points) -> NDArray[np.int32]:
    """Canvas points as OpenCV's polygons want them."""
    return np.round(points).astype(np.int32)


def draw_front(
    canvas: Image, figure: Figure, garment: Garment, random: np.random.Generator
) -> None:
    """The torso part (for skirts and trousers, the part from the waist down), in place."""
    outline = figure.place(front_outline(figure, garment))
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 2, canvas.shape[1::-1])
    if (high <= low).any():
        return
    if not _has_legs(garment) and garment.kind not in BOTTOMS:
        _draw_back_neck(canvas, figure, garment)
    patch = _warp_front(figure, garment, random, low, high)
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [to_pixels(outline - low)], 255)
    region = canvas[low[1] : high[1], low[0] : high[0]]
    cv2.copyTo(patch, mask, region)
    cv2.polylines(canvas, [to_pixels(outline)], True, seam_colour(garment), 1, cv2.LINE_AA)
    _draw_neck_details(canvas, figure, garment)


def _has_legs(garment: Garment) -> bool:
    return garment.kind in ("trousers", "shorts")


def _side_profile(figure: Figure, garment: Garment) -> Points:
    """Right edge of the front from below the arm (or the waist) to the hem: (N, 2)."""
    top = WAIST_Y + 14 if garment.kind in BOTTOMS else CHEST_Y
    bottom = CROTCH_Y + 2 if _has_legs(garment) else garment.hem
    y = np.linspace(top, bottom, 9)
    ease = 1 + (garment.ease - 1) * (0.8 if figure.flat else 1.0)
    half = figure.half_width(y) * ease
    if garment.ease > 1.15 and garment.kind not in BOTTOMS:  # loose cloth ignores the waist
        half = np.maximum(half, half[0] * 0.93)
    if not _has_legs(garment):
        half = half + garment.flare * np.clip((y - WAIST_Y) / (garment.hem - WAIST_Y), 0, 1) ** 1.3
    return np.stack((half, y), axis=1)


def neck_width(garment: Garment) -> float:
    """Half width of the neck opening (units)."""
    return {"boat": 15.0, "scoop": 11.5, "square": 11.0, "turtle": 7.0}.get(garment.neckline, 8.5)


def _neck_curve(garment: Garment) -> Points:
    """The neckline from the left to the right neck point: (N, 2)."""
    width, t = neck_width(garment), np.linspace(-1, 1, 9)
    x = t * width
    depth = {"crew": 5.0, "scoop": 12.0, "boat": 3.5, "v": 15.0, "square": 12.0}.get(
        garment.neckline, 5.0
    )
    if garment.neckline not in ("turtle", "hood"):
        depth += garment.neck_depth * (1.0 if depth > 6 else 0.25)
    if garment.neckline in ("v", "collar"):
        y = depth * (1 - np.abs(t))
    elif garment.neckline == "square":
        y = depth * np.clip((1 - np.abs(t)) * 6, 0, 1)
    else:
        y = depth * np.sqrt(np.clip(1 - t * t, 0, 1))
    return np.stack((x, y - 1.0), axis=1)


def front_outline(figure: Figure, garment: Garment) -> Points:
    """Closed outline of the front in body units, (N, 2)."""
    side = _side_profile(figure, garment)
    t = np.linspace(1, -1, 9)
    hem_y = side[-1, 1] + garment.hem_curve * (1 - t * t)
    hem = np.stack((t * side[-1, 0], hem_y), axis=1)
    mirrored = side[::-1] * (-1, 1)
    if garment.kind in BOTTOMS:
        return np.concatenate((side, hem[1:-1], mirrored))
    neck = _neck_curve(garment)
    shoulder = figure.half_width(np.array([SHOULDER_Y]))[0]
    if garment.sleeve == 0:  # straps, with an armhole
        tip = max(neck_width(garment) + 5.5, shoulder * 0.66)
        arm = np.array(
            ((tip, SHOULDER_Y - 2), (tip + 0.5, CHEST_Y - 10), (side[0, 0] - 2, CHEST_Y - 3))
        )
    else:
        drop = 1 + (garment.ease - 1) * 0.5
        arm = np.array(((shoulder * drop, SHOULDER_Y + 0.5), (side[0, 0] + 0.5, CHEST_Y - 6)))
    left_arm = arm[::-1] * (-1, 1)
    return np.concatenate((neck, arm, side, hem[1:-1], mirrored, left_arm))


def _warp_front(
    figure: Figure,
    garment: Garment,
    random: np.random.Generator,
    low: NDArray[np.int_],
    high: NDArray[np.int_],
) -> Image:
    """The front cloth as seen in the canvas box low..high (x, y), uint8 RGB."""
    width, height = high - low
    y = (np.arange(low[1], high[1]) - figure.origin[1]) / figure.scale
    middle = figure.origin[0] + figure.scale * figure.shift(y)
    x = (np.arange(low[0], high[0])[None, :] - middle[:, None]) / figure.scale
    profile = _side_profile(figure, garment)
    half = np.interp(y, profile[:, 1], profile[:, 0])
    across = np.clip(x / half[:, None], -1.2, 1.2).astype(np.float32)
    reference = 26.5 if figure.flat else figure.half_widths[1] * garment.ease * 0.96
    stretch = 26.5 / reference * (reference / half) ** 0.35
    folds = _folds(random, height, width, 26 if figure.flat else 17)
    cloth_x = x * stretch[:, None]
    if not figure.flat:  # a body is round: cloth turns away at the sides
        cloth_x = cloth_x * (1 + 0.14 * across**2) + 7 * figure.turn * (1 - 0.4 * across**2)
    wave = folds * (0.35 if figure.flat else 1.1)
    map_x = (FRONT_WIDTH / 2 + cloth_x * DENSITY + wave).astype(np.float32)
    map_y = (y[:, None] * DENSITY + 8 + wave).astype(np.float32)
    cloth = weave(garment).front
    patch = cv2.remap(cloth, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    strength = (0.035, 0.05) if figure.flat else (0.07, 0.2)
    light = 1 - strength[0] * folds - strength[1] * across * across
    if not figure.flat:
        light += 0.1 * figure.turn * across
    return cv2.multiply(patch, cv2.merge([light.astype(np.float32)] * 3), dtype=cv2.CV_8U)


def _folds(random: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float32]:
    """Smooth noise of about unit deviation, longer than wide, as cloth falls."""
    small = random.standard_normal((height // (cell * 4) + 3, width // (cell * 2) + 3))
    return cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def _draw_back_neck(canvas: Image, figure: Figure, garment: Garment) -> None:
    """The inside of the back, seen through the neck of a flat garment."""
    if not figure.flat:
        return
    width = neck_width(garment)
    t = np.linspace(-1, 1, 9)
    curve = np.stack((t * width, 1.5 - 1.5 * t * t), axis=1)
    points = np.concatenate((curve - (0, 2.5), _neck_curve(garment)[::-1]))
    inside = tuple(int(c * 0.6) + 8 for c in garment.base)
    cv2.fillPoly(canvas, [to_pixels(figure.place(points))], inside, cv2.LINE_AA)


def _draw_neck_details(canvas: Image, figure: Figure, garment: Garment) -> None:
    """Rib, collar, roll neck or hood, in place."""
    if garment.kind in BOTTOMS:
        _draw_waistband(canvas, figure, garment)
        return
    colour = garment.second if garment.trim else garment.base
    seam = seam_colour(garment)
    neck = _neck_curve(garment)
    thickness = max(2, int(figure.scale * 2.2))
    if garment.neckline in NECK_PARTS:
        for part in NECK_PARTS[garment.neckline]:
            points = to_pixels(figure.place(part))
            cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA)
            cv2.polylines(canvas, [points], True, seam, 1, cv2.LINE_AA)
        return
    curve = to_pixels(figure.place(neck))
    cv2.polylines(canvas, [curve], False, seam, thickness + 2, cv2.LINE_AA)
    cv2.polylines(canvas, [curve], False, colour, thickness, cv2.LINE_AA)
    if garment.trim:
        side = _side_profile(figure, garment)
        t = np.linspace(1, -1, 9)
        hem = np.stack(
            (t * side[-1, 0], side[-1, 1] + garment.hem_curve * (1 - t * t) - 1.5), axis=1
        )
        cv2.polylines(canvas, [to_pixels(figure.place(hem))], False, colour, thickness, cv2.LINE_AA)
    if garment.belt:
        _draw_belt(canvas, figure, garment, WAIST_Y)


def _draw_waistband(canvas: Image, figure: Figure, garment: Garment) -> None:
    if garment.belt:
        _draw_belt(canvas, figure, garment, WAIST_Y + 17)
        return
    half = figure.half_width(np.array([WAIST_Y + 19]))[0] * garment.ease
    band = np.array(((-half, WAIST_Y + 19.0), (half, WAIST_Y + 19.0)))
    cv2.polylines(
        canvas, [to_pixels(figure.place(band))], False, seam_colour(garment), 1, cv2.LINE_AA
    )


def _draw_belt(canvas: Image, figure: Figure, garment: Garment, y: float) -> None:
    side = _side_profile(figure, garment)
    half = np.interp(y, side[:, 1], side[:, 0]) + 0.5
    band = np.array(((-half, y - 2.5), (half, y - 2.5), (half, y + 2.5), (-half, y + 2.5)))
    cv2.fillPoly(canvas, [to_pixels(figure.place(band))], garment.second, cv2.LINE_AA)
    buckle = np.array(((-3, y - 3), (3, y - 3), (3, y + 3), (-3, y + 3)))
    cv2.polylines(canvas, [to_pixels(figure.place(buckle))], True, garment.third, 2, cv2.LINE_AA)


def _mirrored(points: Points) -> tuple[Points, Points]:
    return points, points * (-1, 1)


NECK_PARTS: dict[str, tuple[Points, ...]] = {
    "collar": _mirrored(np.array(((0.6, 7.5), (8.5, -3.5), (11.5, 0.5), (7.5, 11.5)))),
    "turtle": (
        np.array(((-7.5, 3), (-7.2, -7), (7.2, -7), (7.5, 3), (5, 5.5), (0, 6.8), (-5, 5.5))),
    ),
    "hood": (*_mirrored(np.array(((0.5, 9.5), (7.5, -5), (13.5, -3.5), (15, 3), (9, 8.5)))),),
}


def draw_sleeve(canvas: Image, figure: Figure, garment: Garment, side: int) -> None:
    """One sleeve, in place."""
    joints = figure.arms[side]
    widths = tuple(
        w * garment.sleeve_width * (1.15 if figure.flat else figure.build) for w in ARM_WIDTHS
    )
    draw_tube(canvas, figure, garment, joints, widths, garment.sleeve, side)


def draw_legs(canvas: Image, figure: Figure, garment: Garment) -> None:
    """Both legs of trousers or shorts, in place."""
    for side in SIDES:
        joints = figure.legs[side]
        length = joints[2, 1] - joints[0, 1]
        share = min(1.0, (garment.hem - HIP_Y) / length)
        scale = garment.ease * (1.02 if figure.flat else figure.half_widths[3] / 21.0)
        widths = (
            LEG_WIDTHS[0] * scale,
            LEG_WIDTHS[1] * scale + garment.flare * 0.4,
            LEG_WIDTHS[2] * scale + garment.flare,
        )
        draw_tube(canvas, figure, garment, joints, widths, share, side)


def draw_tube(
    canvas: Image,
    figure: Figure,
    garment: Garment,
    joints: Points,
    widths: tuple[float, ...],
    share: float,
    side: int,
) -> None:
    """Cloth around a limb (3 joints), from its start over `share` of its length, in place."""
    placed = figure.place(joints)
    lengths = np.linalg.norm(np.diff(joints, axis=0), axis=1)
    left = share * lengths.sum()
    cloth = weave(garment).tube
    start_v = 8.0
    pieces: list[Points] = []
    for number in range(2):
        if left <= 0.5:
            break
        part = min(1.0, left / lengths[number])
        start, end = placed[number], placed[number] + part * (placed[number + 1] - placed[number])
        half = widths[number], widths[number] + part * (widths[number + 1] - widths[number])
        if number == 1:
            _paint_joint(canvas, figure, garment, placed[1], widths[1])
        quad = _quad(start, end, half[0] * figure.scale, half[1] * figure.scale)
        _paint_quad(canvas, cloth, quad, start_v, start_v + part * lengths[number] * DENSITY)
        pieces.append(quad)
        start_v += part * lengths[number] * DENSITY
        left -= part * lengths[number]
    _finish_tube(canvas, figure, garment, pieces)


def _quad(start: Points, end: Points, half_start: float, half_end: float) -> Points:
    """Corners start-left, start-right, end-right, end-left of a limb segment: (4, 2)."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    across = np.array((-along[1], along[0]))
    return np.stack(
        (
            start - across * half_start,
            start + across * half_start,
            end + across * half_end,
            end - across * half_end,
        )
    )


def _paint_quad(canvas: Image, cloth: Image, quad: Points, top: float, bottom: float) -> None:
    """Warps cloth rows top..bottom onto the quad, in place."""
    low = np.maximum(np.floor(quad.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if (high <= low).any():
        return
    last = TUBE_WIDTH - 1
    source = np.array(((0, top), (last, top), (last, bottom), (0, bottom)), np.float32)
    transform = cv2.getPerspectiveTransform(source, (quad - low).astype(np.float32))
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    patch = cv2.warpPerspective(cloth, transform, size, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, to_pixels(quad - low), 255)
    cv2.copyTo(patch, mask, canvas[low[1] : high[1], low[0] : high[0]])


def _paint_joint(
    canvas: Image, figure: Figure, garment: Garment, place: Points, width: float
) -> None:
    colour = garment.second if garment.contrast_sleeves else garment.base
    centre = (int(place[0]), int(place[1]))
    cv2.circle(canvas, centre, int(width * figure.scale), colour, -1, cv2.LINE_AA)


def _finish_tube(canvas: Image, figure: Figure, garment: Garment, pieces: list[Points]) -> None:
    """Outline and cuff, in place."""
    if not pieces:
        return
    seam = seam_colour(garment)
    for quad in pieces:
        for edge in (quad[[0, 3]], quad[[1, 2]]):
            cv2.polylines(canvas, [to_pixels(edge)], False, seam, 1, cv2.LINE_AA)
    end = pieces[-1][2:]
    thickness = max(2, int(figure.scale * (3 if garment.trim else 1)))
    colour = garment.second if garment.trim else seam
    cv2.polylines(canvas, [to_pixels(end)], False, colour, thickness, cv2.LINE_AA)

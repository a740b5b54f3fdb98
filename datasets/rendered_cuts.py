"""Cuts of garments: outlines of their parts on a figure, in body units."""

import numpy as np

from datasets.rendered_brushes import Points
from datasets.rendered_figures import CHEST_Y, CROTCH_Y, HIP_Y, SHOULDER_Y, WAIST_Y, Figure
from datasets.rendered_garments import BOTTOMS, Garment

BOTTOMS_TOP = WAIST_Y + 14  # where skirts and trousers begin
LEG_WIDTHS = (9.0, 6.5)  # half widths of a trouser leg at knee and ankle
NECK_HALF_WIDTHS = {"boat": 15.0, "scoop": 11.5, "square": 11.0, "turtle": 7.5, "straps": 14.0}
NECK_DEPTHS = {"crew": 5.0, "scoop": 12.0, "boat": 3.5, "v": 15.0, "square": 12.0, "straps": 16.0}


def has_legs(garment: Garment) -> bool:
    """Whether the garment has trouser legs."""
    return garment.kind in ("trousers", "shorts")


def front_edges(figure: Figure, garment: Garment, y: Points) -> tuple[Points, Points]:
    """Left and right edge (x) of the front at the heights y, each of the shape of y."""
    if has_legs(garment):
        return -_leg_edge(figure, garment, y, -1, 1), _leg_edge(figure, garment, y, 1, 1)
    half = figure.half_width(y) * garment.ease
    if garment.ease > 1.15 and garment.kind not in BOTTOMS:  # loose cloth ignores the waist
        half = np.maximum(half, figure.half_width(np.array([CHEST_Y]))[0] * garment.ease * 0.93)
    start = garment.gathers or WAIST_Y
    half = half + garment.flare * np.clip((y - start) / (garment.hem - start), 0, 1) ** 1.3
    return -half, half


def _leg_edge(figure: Figure, garment: Garment, y: Points, side: int, outer: int) -> Points:
    """Distance from the middle of a leg's outer (1) or inner (-1) edge at the heights y."""
    knee, ankle = figure.legs[side][1:]
    scale = garment.ease * (figure.build if not figure.flat else 1.15)
    knee_half = LEG_WIDTHS[0] * scale + 0.4 * garment.flare
    ankle_half = LEG_WIDTHS[1] * scale + garment.flare
    ends = [side * knee[0] + outer * knee_half, side * ankle[0] + outer * ankle_half]
    if outer < 0:
        return np.interp(y, (CROTCH_Y + 1, knee[1], ankle[1]), (0.4, *ends))
    top = figure.half_width(np.array([BOTTOMS_TOP, HIP_Y])) * garment.ease
    return np.interp(y, (BOTTOMS_TOP, HIP_Y, knee[1], ankle[1]), (*top, *ends))


def roundness(figure: Figure, garment: Garment, x: Points, y: Points, half: Points) -> Points:
    """Where between its edges (-1..1) each place lies on the tube it belongs to (trunk or leg).

    x: (height, width) from the middle of the front; y, half: (height,). Same shape as x.
    """
    across = x / half[:, None]
    if has_legs(garment):
        rows = y > CROTCH_Y
        for side in (-1, 1):
            inner = _leg_edge(figure, garment, y[rows], side, -1)
            outer = _leg_edge(figure, garment, y[rows], side, 1)
            leg = (side * x[rows] - ((inner + outer) / 2)[:, None]) / ((outer - inner) / 2)[:, None]
            across[rows] = np.where(side * x[rows] > 0, leg, across[rows])
    return np.clip(across, -1.1, 1.1)


def neck_half_width(garment: Garment) -> float:
    """Half width of the neck opening."""
    return NECK_HALF_WIDTHS.get(garment.neckline, 8.5)


def neck_curve(garment: Garment) -> Points:
    """The neckline from the left to the right neck point: (N, 2)."""
    t = np.linspace(-1, 1, 13)
    depth = NECK_DEPTHS.get(garment.neckline, 5.0)
    if garment.neckline not in ("turtle", "hood"):
        depth += garment.neck_depth * (1.0 if depth > 6 else 0.25)
    if garment.neckline in ("v", "collar"):
        y = depth * (1 - np.abs(t))
    elif garment.neckline == "square":
        y = depth * np.clip((1 - np.abs(t)) * 6, 0, 1)
    else:
        y = depth * np.sqrt(np.clip(1 - t * t, 0, 1))
    return np.stack((t * neck_half_width(garment), y - 1.0), axis=1)


def hem_curve(figure: Figure, garment: Garment, lift: float = 0.0) -> Points:
    """The hem from the right to the left edge, `lift` units above its edge: (N, 2)."""
    left, right = (edge[0] for edge in front_edges(figure, garment, np.array([garment.hem])))
    t = np.linspace(1, -1, 9)
    y = garment.hem + garment.hem_curve * (1 - t * t) - lift
    return np.stack(((right + left) / 2 + t * (right - left) / 2, y), axis=1)


def front_outline(figure: Figure, garment: Garment) -> Points:
    """Closed outline of the front: (N, 2)."""
    if has_legs(garment):
        return _legs_outline(figure, garment)
    top = BOTTOMS_TOP if garment.kind in BOTTOMS else CHEST_Y
    y = np.linspace(top, garment.hem, 9)
    left_x, right_x = front_edges(figure, garment, y)
    right, left = np.stack((right_x, y), axis=1), np.stack((left_x, y), axis=1)[::-1]
    hem = hem_curve(figure, garment)[1:-1]
    if garment.kind in BOTTOMS:
        return np.concatenate((right, hem, left))
    arm = _armhole(figure, garment, right_x[0])
    return np.concatenate((neck_curve(garment), arm, right, hem, left, arm[::-1] * (-1, 1)))


def _armhole(figure: Figure, garment: Garment, chest: float) -> Points:
    """Right edge from the shoulder to below the arm: (N, 2)."""
    shoulder = figure.half_width(np.array([SHOULDER_Y]))[0]
    if garment.sleeve == 0:
        tip = max(neck_half_width(garment) + garment.strap, shoulder * garment.armhole)
        return np.array(
            (
                (tip, SHOULDER_Y - 2),
                (tip - 0.3, CHEST_Y - 14),
                (tip + 0.4 * (chest - tip), CHEST_Y - 5),
            )
        )
    drop = shoulder * (1 + (garment.ease - 1) * 0.45)
    return np.array(((drop - 4, SHOULDER_Y - 1.5), (drop, SHOULDER_Y + 2), (chest, CHEST_Y - 6)))


def _legs_outline(figure: Figure, garment: Garment) -> Points:
    y = np.linspace(BOTTOMS_TOP, garment.hem, 9)
    inside = np.array((garment.hem, (garment.hem + CROTCH_Y) / 2, CROTCH_Y + 1))
    edges = []
    for side in (1, -1):
        outer = np.stack((side * _leg_edge(figure, garment, y, side, 1), y), axis=1)
        inner = np.stack((side * _leg_edge(figure, garment, inside, side, -1), inside), axis=1)
        edges.append(np.concatenate((outer, inner)))
    return np.concatenate((edges[0], edges[1][::-1]))


def opening(garment: Garment) -> Points:
    """What an open jacket leaves open, from neck to hem: (4, 2)."""
    top = neck_half_width(garment) * 0.85
    low = 5.0 + 0.4 * garment.neck_depth
    bottom = garment.hem + abs(garment.hem_curve) + 2
    return np.array(((-top, -2.0), (top, -2.0), (low, bottom), (-low, bottom)))


def _mirrored(*points: tuple[float, float]) -> tuple[Points, Points]:
    return np.array(points), np.array(points) * (-1, 1)


NECK_PARTS: dict[str, tuple[Points, ...]] = {
    "collar": _mirrored((0.6, 7.5), (8.5, -3.5), (11.5, 0.5), (7.5, 11.5)),
    "turtle": (
        np.array(((-9, 1), (-7.6, -7), (7.6, -7), (9, 1), (6, 5), (0, 6.8), (-6, 5))),
        np.array(((-7.9, -4.5), (7.9, -4.5), (7.6, -7), (-7.6, -7))),
    ),
    "hood": _mirrored((0.5, 10.5), (6, -2), (9, -9), (14.5, -8), (18, 2), (12, 9.5)),
}

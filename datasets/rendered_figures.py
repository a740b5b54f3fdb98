"""Bodies and poses: where every joint lies, for people and for garments laid flat.

Body units: the neck is at (0, 0), y points down, a person is about 233 units tall. "left" and
"right" are as seen in the picture.
"""

from dataclasses import dataclass, field

import numpy as np

from datasets.rendered_brushes import Points

SHOULDER_Y, CHEST_Y, WAIST_Y, HIP_Y, CROTCH_Y = 6.0, 26.0, 55.0, 82.0, 94.0
UPPER_ARM, FORE_ARM = 37.0, 33.0
SIDES = (-1, 1)
FLAT = (27.0, 25.5, 24.0, 25.5)  # half widths of shoulder, chest, waist, hip of a garment laid flat
MANNEQUIN = (25.0, 21.0, 17.5, 21.5)

POSES = (
    "arms down",
    "hand on hip",
    "hands on hips",
    "arms crossed",
    "hands clasped",
    "hand in hair",
    "arms behind",
    "bag in hand",
    "shoulder bag",
    "phone",
)
POSE_WEIGHTS = (0.24, 0.14, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.06)


@dataclass(frozen=True)
class Figure:
    """A posed body (or a flat lay) and its place on the canvas."""

    scale: float  # canvas pixels per body unit
    origin: tuple[float, float]  # canvas place of the neck
    flat: bool = False
    mannequin: float = 0.0  # of a flat figure: 1 is formed as a body, 0 as a garment on a table
    pose: str = "arms down"
    lean: float = 0.0  # shear: sideways units per unit of height
    bend: float = 0.0  # sideways push of the waist
    turn: float = 0.0  # -1..1: how far the body turns to a side
    build: float = 1.0  # width over the average
    half_widths: tuple[float, ...] = (26.0, 21.5, 17.0, 21.5)  # shoulder, chest, waist, hip
    arms: dict[int, Points] = field(default_factory=dict)  # side -> shoulder, elbow, wrist
    arms_in_front: tuple[int, ...] = SIDES  # sides whose arm lies over the torso
    legs: dict[int, Points] = field(default_factory=dict)  # side -> hip, knee, ankle

    def shift(self, y: Points) -> Points:
        """Sideways shift of the body's middle at height y."""
        curve = np.sin(np.minimum(np.maximum(y, 0.0) * (np.pi / HIP_Y), 1.6 * np.pi))
        curve[y > HIP_Y] *= 0.3
        return self.bend * curve - self.lean * (y - HIP_Y)

    def place(self, points: Points) -> Points:
        """Body points (N, 2) to canvas pixels (N, 2)."""
        placed = points * self.scale + self.origin
        placed[:, 0] += self.scale * self.shift(points[:, 1])
        return placed

    def half_width(self, y: Points) -> Points:
        """Half width of the body at height y (units)."""
        knots = (SHOULDER_Y, CHEST_Y, WAIST_Y, HIP_Y)
        return np.interp(y, knots, self.half_widths)


def flat_figure(
    random: np.random.Generator,
    canvas: tuple[int, int],
    heights: tuple[float, float],
    half_width: float,
    sleeve: float,
    mannequin: float = 0.0,
) -> Figure:
    """A symmetrical lay that fills the canvas (height, width) with a garment.

    heights: body heights from..to that it covers; half_width: its reach to a side without
    sleeves; sleeve: share of the arm that its sleeves cover; mannequin: 0..1, how much of a body
    is inside.
    """
    spread = random.uniform(0.24, 0.42) + 0.006 * max(0.0, half_width - 28)
    spread *= 1 - 0.45 * mannequin
    reach = max(half_width, 30 + 70 * sleeve * np.sin(spread) + 6 * (sleeve > 0))
    top, bottom = heights[0], max(heights[1], 12 + 70 * sleeve * np.cos(spread) + 4)
    fit = min(canvas[0] * 0.94 / (bottom - top), canvas[1] * 0.48 / reach)
    scale = min(fit * random.uniform(0.88, 1.0), 4.2)
    origin = (
        canvas[1] * random.uniform(0.49, 0.51),
        canvas[0] * random.uniform(0.49, 0.51) - scale * (top + bottom) / 2,
    )
    arms, legs = {}, {}
    for side in SIDES:
        shoulder = np.array((side * 21.5, SHOULDER_Y + 7.0))
        down = np.array((side * np.sin(spread), np.cos(spread)))
        arms[side] = np.stack((shoulder, shoulder + UPPER_ARM * down, shoulder + 70 * down))
        legs[side] = np.array(((side * 12.5, HIP_Y), (side * 14.0, 138.0), (side * 16.0, 188.0)))
    body = np.array(FLAT) + mannequin * (np.array(MANNEQUIN) - FLAT)
    return Figure(
        scale,
        origin,
        flat=True,
        mannequin=mannequin,
        half_widths=tuple(body.tolist()),
        arms=arms,
        legs=legs,
    )


def posed_figure(
    random: np.random.Generator,
    canvas: tuple[int, int],
    lower: bool,
    poses: tuple[str, ...] = POSES,
) -> Figure:
    """A person; `lower` when the garment is worn below the waist, so that framing shows it."""
    build = float(np.clip(random.normal(1.0, 0.08), 0.85, 1.22))
    turn = float(np.clip(random.normal(0, 0.45), -1, 1))
    feminine = random.random()
    narrow = build * (1 - 0.12 * abs(turn))
    half_widths = (
        narrow * (27.5 - 4.0 * feminine),
        narrow * (22.5 - 2.5 * feminine),
        narrow * (20.5 - 5.0 * feminine) * random.uniform(0.95, 1.1),
        narrow * (20.0 + 2.0 * feminine),
    )
    weights = np.array([POSE_WEIGHTS[POSES.index(name)] for name in poses])
    pose = str(random.choice(poses, p=weights / weights.sum()))
    arms, front = _pose_arms(random, pose, half_widths)
    scale, origin = _frame(random, canvas, lower)
    return Figure(
        scale,
        origin,
        pose=pose,
        lean=float(random.normal(0, 0.04)),
        bend=float(random.normal(0, 2.0)),
        turn=turn,
        build=build,
        half_widths=half_widths,
        arms=arms,
        arms_in_front=front,
        legs=_pose_legs(random, half_widths[3]),
    )


def _frame(
    random: np.random.Generator, canvas: tuple[int, int], lower: bool
) -> tuple[float, tuple[float, float]]:
    """Camera distance and place: half body, three quarters or full body."""
    height, width = canvas
    full = random.random() < (0.75 if lower else 0.3)
    if full:
        scale = height / random.uniform(238, 275)
        y = height * 0.5 - scale * (78 + random.uniform(-5, 5))
    elif lower:
        scale = height / random.uniform(165, 200)
        y = height * random.uniform(-0.12, 0.08)
    else:
        scale = height / random.uniform(128, 190)
        y = scale * random.uniform(8, 46)
    return scale, (width * random.uniform(0.42, 0.58), y)


def _limb(start: Points, *steps: tuple[float, float]) -> Points:
    """Joints from a start and (angle from straight down, length) steps; + turns to the right."""
    joints = [start]
    for angle, length in steps:
        joints.append(joints[-1] + length * np.array((np.sin(angle), np.cos(angle))))
    return np.stack(joints)


def _pose_arms(
    random: np.random.Generator, pose: str, half_widths: tuple[float, ...]
) -> tuple[dict[int, Points], tuple[int, ...]]:
    """Shoulder, elbow and wrist per side, and which arms lie over the torso."""
    arms: dict[int, Points] = {}
    shoulder_x = half_widths[0] - 5.0
    busy = 1 if random.random() < 0.5 else -1  # the side that does something one-handed
    for side in SIDES:
        start = np.array((side * shoulder_x, SHOULDER_Y + 7.0))
        jitter = random.uniform(-0.06, 0.06)
        upper, fore = _arm_angles(random, pose, side == busy)
        arms[side] = _limb(
            start, (side * (upper + jitter), UPPER_ARM), (side * (fore + jitter), FORE_ARM)
        )
    if pose == "arms behind":
        return arms, ()
    if pose == "arms crossed":
        return arms, (busy, -busy)
    return arms, SIDES


def _arm_angles(random: np.random.Generator, pose: str, busy: bool) -> tuple[float, float]:
    """Angles of upper arm and forearm away from the body (radians; negative: inwards)."""
    relaxed = (random.uniform(0.1, 0.3), random.uniform(-0.08, 0.22))
    hip = (random.uniform(0.7, 0.95), random.uniform(-1.0, -0.75))
    if pose == "hands on hips" or (pose == "hand on hip" and busy):
        return hip
    if pose == "arms crossed":
        return random.uniform(0.2, 0.32), random.uniform(-1.75, -1.5)
    if pose == "hands clasped":
        return random.uniform(0.2, 0.35), random.uniform(-0.95, -0.7)
    if pose == "hand in hair" and busy:
        return random.uniform(1.5, 1.9), random.uniform(3.6, 3.9)
    if pose == "arms behind":
        return random.uniform(0.25, 0.4), random.uniform(-0.6, -0.4)
    if pose == "phone" and busy:
        return random.uniform(0.25, 0.4), random.uniform(-2.6, -2.2)
    if pose == "shoulder bag" and busy:
        return random.uniform(0.3, 0.45), random.uniform(-0.3, -0.1)
    return relaxed


def _pose_legs(random: np.random.Generator, hip: float) -> dict[int, Points]:
    """Hip, knee and ankle per side."""
    legs = {}
    for side in SIDES:
        start = np.array((side * hip * 0.52, HIP_Y + 2))
        out = random.uniform(-0.01, 0.15)
        legs[side] = _limb(start, (side * out, 53.0), (side * (out - random.uniform(0, 0.1)), 50.0))
    return legs

"""People: skin, face, hair, hats and bags around a figure."""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.rendered_figures import CHEST_Y, HIP_Y, SHOULDER_Y, SIDES, WAIST_Y, Figure, Points
from datasets.rendered_textures import Image
from datasets.rendered_wear import to_pixels

Colour = tuple[int, int, int]

SKINS: tuple[Colour, ...] = (
    (248, 218, 198),
    (240, 202, 176),
    (228, 184, 152),
    (212, 162, 124),
    (186, 134, 98),
    (152, 104, 74),
    (116, 78, 56),
    (84, 56, 42),
)
HAIRS: tuple[Colour, ...] = (
    (26, 22, 22),
    (44, 32, 26),
    (72, 48, 34),
    (112, 76, 48),
    (164, 122, 74),
    (214, 180, 122),
    (134, 58, 34),
    (150, 148, 148),
    (196, 92, 128),
)
HAIR_STYLES = ("short", "bob", "long", "front", "bun", "ponytail", "curls", "bald", "cap", "beanie")
HAIR_WEIGHTS = (0.16, 0.14, 0.16, 0.22, 0.08, 0.08, 0.06, 0.03, 0.04, 0.03)


@dataclass(frozen=True)
class Person:
    """Looks of a person beside the figure."""

    skin: Colour
    hair: Colour
    style: str
    hat: Colour
    bag: Colour
    shoes: Colour
    lips: Colour
    smile: float


def draw_person(random: np.random.Generator) -> Person:
    """A random person."""
    mix = random.random() * (len(SKINS) - 1)
    low = int(mix)
    skin = np.array(SKINS[low]) + (mix - low) * (
        np.array(SKINS[min(low + 1, len(SKINS) - 1)]) - np.array(SKINS[low])
    )
    lips = np.clip(skin * (0.9, 0.62, 0.62) + random.normal(0, 8, 3), 0, 255)
    return Person(
        skin=_as_colour(skin),
        hair=HAIRS[int(random.integers(len(HAIRS)))],
        style=str(random.choice(HAIR_STYLES, p=HAIR_WEIGHTS)),
        hat=_as_colour(random.integers(20, 235, 3)),
        bag=_as_colour(random.integers(20, 200, 3)),
        shoes=_as_colour(random.integers(15, 230, 3)),
        lips=_as_colour(lips),
        smile=float(random.uniform(0, 1)),
    )


def _as_colour(values: object) -> Colour:
    red, green, blue = (int(v) for v in np.asarray(values))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker or lighter."""
    return _as_colour(np.clip(np.array(colour) * factor, 0, 255))


def fill(canvas: Image, figure: Figure, points: Points, colour: Colour) -> None:
    """A filled body polygon, in place."""
    cv2.fillPoly(canvas, [to_pixels(figure.place(np.asarray(points, float)))], colour, cv2.LINE_AA)


def blob(
    canvas: Image,
    figure: Figure,
    centre: tuple[float, float],
    radii: tuple[float, float],
    colour: Colour,
) -> None:
    """A filled ellipse in body units, in place."""
    place = to_pixels(figure.place(np.array([centre], float)))[0]
    size = (max(1, int(radii[0] * figure.scale)), max(1, int(radii[1] * figure.scale)))
    cv2.ellipse(canvas, (int(place[0]), int(place[1])), size, 0, 0, 360, colour, -1, cv2.LINE_AA)


def draw_limb(
    canvas: Image, figure: Figure, joints: Points, widths: tuple[float, ...], colour: Colour
) -> None:
    """A bare limb through its joints, in place."""
    placed = figure.place(joints)
    dark = shade(colour, 0.86)
    for number in range(len(joints) - 1):
        along = placed[number + 1] - placed[number]
        across = np.array((-along[1], along[0])) / max(float(np.hypot(*along)), 1e-6)
        first, second = (across * widths[number + i] * figure.scale for i in (0, 1))
        a, b = placed[number], placed[number + 1]
        quad = np.stack((a - first, a + first, b + second, b - second))
        cv2.fillPoly(canvas, [to_pixels(quad)], colour, cv2.LINE_AA)
        inner = np.stack((a + 0.45 * first, a + first, b + second, b + 0.45 * second))
        cv2.fillPoly(canvas, [to_pixels(inner)], dark, cv2.LINE_AA)
        centre = (int(b[0]), int(b[1]))
        cv2.circle(canvas, centre, int(widths[number + 1] * figure.scale), colour, -1, cv2.LINE_AA)


def draw_body(canvas: Image, figure: Figure, person: Person) -> None:
    """Legs, shoes, torso and neck, in place."""
    leg = figure.half_widths[3] / 21.0
    for side in SIDES:
        joints = figure.legs[side]
        draw_limb(canvas, figure, joints, (11.5 * leg, 7.5 * leg, 4.8), person.skin)
        ankle = joints[2]
        blob(canvas, figure, (ankle[0] + side * 2.5, ankle[1] + 6), (6.5, 5), person.shoes)
        blob(canvas, figure, (ankle[0] + side * 1, ankle[1] + 2), (5, 5), person.shoes)
    y = np.linspace(CHEST_Y, HIP_Y + 8, 7)
    side_line = np.stack((figure.half_width(y) * 0.96, y), axis=1)
    shoulder = figure.half_widths[0]
    top = np.array(
        ((5.5, -6), (6.5, 0), (shoulder - 6, SHOULDER_Y - 1), (shoulder, SHOULDER_Y + 5))
    )
    right = np.concatenate((top, side_line))
    fill(canvas, figure, np.concatenate((right, right[::-1] * (-1, 1))), person.skin)
    fill(
        canvas,
        figure,
        np.array(((-5.5, -6), (5.5, -6), (5, -1), (-2, 1.5))),
        shade(person.skin, 0.82),
    )


def draw_arm(canvas: Image, figure: Figure, person: Person, side: int) -> None:
    """A bare arm with its hand, in place."""
    joints, build = figure.arms[side], figure.build
    draw_limb(canvas, figure, joints, (6.8 * build, 5.4 * build, 3.6 * build), person.skin)
    along = (joints[2] - joints[1]) / 33.0
    hand = joints[2] + along * 6
    blob(canvas, figure, (hand[0], hand[1]), (4.6, 5.6), person.skin)
    across = np.array((-along[1], along[0])) * -side
    thumb = joints[2] + along * 4 + across * 4
    blob(canvas, figure, (thumb[0], thumb[1]), (1.8, 3.0), shade(person.skin, 0.94))


def draw_back_hair(canvas: Image, figure: Figure, person: Person) -> None:
    """Hair behind head and shoulders, in place."""
    dark = shade(person.hair, 0.8)
    if person.style in ("long", "front", "cap"):
        fill(canvas, figure, _hair_curtain(13.5, 34), dark)
    elif person.style == "bob":
        fill(canvas, figure, _hair_curtain(14.0, -2), dark)
    elif person.style == "curls":
        blob(canvas, figure, (0, -24), (19, 20), dark)
    elif person.style == "ponytail":
        fill(canvas, figure, np.array(((4, -38), (17, -30), (16, -2), (11, 12), (9, -10))), dark)
    elif person.style == "bun":
        blob(canvas, figure, (0, -43), (7, 6.5), dark)


def _hair_curtain(half: float, bottom: float) -> Points:
    right = np.array(
        (
            (0, -41),
            (7, -40),
            (half - 2, -33),
            (half, -20),
            (half + 1, bottom - 6),
            (half - 3, bottom),
        )
    )
    return np.concatenate((right, right[::-1] * (-1, 1)))


def draw_head(canvas: Image, figure: Figure, person: Person) -> None:
    """Head, face and the hair on top, in place."""
    skin, turn = person.skin, figure.turn * 2.2
    for side in SIDES:
        blob(canvas, figure, (side * 11 - turn * 0.4, -21), (1.8, 3.4), shade(skin, 0.9))
    blob(canvas, figure, (0, -23.5), (11, 13.5), skin)
    fill(
        canvas, figure, np.array(((-10.4, -19), (10.4, -19), (5, -8.5), (0, -7), (-5, -8.5))), skin
    )
    _draw_face(canvas, figure, person, turn)
    _draw_top_hair(canvas, figure, person)


def _draw_face(canvas: Image, figure: Figure, person: Person, turn: float) -> None:
    dark = shade(person.skin, 0.78)
    for side in SIDES:
        x = side * 4.3 + turn
        blob(canvas, figure, (x, -23.2), (2.1, 1.15), (238, 236, 232))
        blob(canvas, figure, (x + turn * 0.15, -23.1), (0.95, 1.1), (52, 38, 32))
        brow = np.array(((x - 2.6, -26.2), (x, -27.1), (x + 2.6, -26.2), (x, -26.3)))
        fill(canvas, figure, brow, shade(person.hair, 0.8))
        lid = np.array(((x - 2.2, -23.6), (x, -24.6), (x + 2.2, -23.6), (x, -24.0)))
        fill(canvas, figure, lid, shade(person.skin, 0.5))
    nose = np.array(((turn - 0.4, -22), (turn + 1.9, -17.4), (turn - 1.6, -17.0)))
    fill(canvas, figure, nose, shade(person.skin, 0.9))
    fill(canvas, figure, np.array(((turn - 1.6, -17.2), (turn + 1.8, -17.4), (turn, -16.5))), dark)
    lift = person.smile
    mouth = np.array(
        ((-3.6, -13.6 - lift), (-1, -14.4), (0, -14.0), (1, -14.4), (3.6, -13.6 - lift), (0, -11.8))
    )
    fill(canvas, figure, mouth + (turn, 0), person.lips)


def _draw_top_hair(canvas: Image, figure: Figure, person: Person) -> None:
    if person.style == "bald":
        return
    if person.style in ("cap", "beanie"):
        colour = person.hat
        dome = np.array(((-11.8, -26), (-11, -34), (-6, -40), (0, -41.5)))
        fill(canvas, figure, np.concatenate((dome, dome[::-1] * (-1, 1))), colour)
        if person.style == "cap":
            peak = np.array(((-10, -28.5), (10, -28.5), (14, -24.5), (0, -27), (-14, -24.5)))
            fill(canvas, figure, peak, shade(colour, 0.75))
        else:
            rim = np.array(((-12.2, -31), (12.2, -31), (12.2, -25.5), (-12.2, -25.5)))
            fill(canvas, figure, rim, shade(colour, 0.85))
        return
    part = 5.0 if figure.turn > 0 else -5.0
    fringe = np.array(
        ((-11.6, -19), (-12.3, -28), (-10, -36), (-4, -40), (3, -40.5), (9, -37), (12.3, -29))
        + (
            (11.6, -19),
            (10.2, -26),
            (part + 5, -31.5),
            (part, -33.5),
            (part - 5, -31),
            (-10.2, -26),
        )
    )
    fill(canvas, figure, fringe, person.hair)
    if person.style in ("bob", "curls"):
        for side in SIDES:
            lock = np.array(
                ((10.3, -27), (13.8, -26), (14.6, -12), (12.5, -4), (9.8, -9), (10.4, -18))
            )
            fill(canvas, figure, lock * (side, 1), person.hair)


def draw_front_hair(
    canvas: Image, figure: Figure, person: Person, random: np.random.Generator
) -> None:
    """Long hair falling over the garment, in place."""
    if person.style != "front":
        return
    shine = shade(person.hair, 1.25)
    for side in SIDES if random.random() < 0.6 else (int(random.choice(SIDES)),):
        length = random.uniform(14, 44)
        lock = np.array(
            (
                (9.8, -29),
                (13, -27),
                (15.5, -8),
                (17.5, length * 0.5),
                (13, length),
                (8, length * 0.6),
            )
            + ((8.8, -4), (10.3, -16))
        )
        fill(canvas, figure, lock * (side, 1), person.hair)
        strand = to_pixels(
            figure.place(np.array(((11.8, -24), (12.5, 0), (13, length - 6))) * (side, 1))
        )
        cv2.polylines(canvas, [strand], False, shine, 2, cv2.LINE_AA)


def draw_strap(canvas: Image, figure: Figure, person: Person) -> None:
    """A bag over the shoulder: strap across the garment and the bag at the hip, in place."""
    side = 1 if figure.turn > 0 else -1
    width = max(3, int(2.6 * figure.scale))
    ends = np.array(((-side * 16, 2.0), (side * 4, 40.0), (side * 21, 74.0)))
    cv2.polylines(
        canvas, [to_pixels(figure.place(ends))], False, shade(person.bag, 0.8), width, cv2.LINE_AA
    )
    box = np.array(((10, 72), (33, 72), (35, 98), (9, 98))) * (side, 1)
    fill(canvas, figure, box, person.bag)
    fill(
        canvas,
        figure,
        np.array(((10, 72), (33, 72), (31, 84), (12, 84))) * (side, 1),
        shade(person.bag, 0.85),
    )


def draw_hand_bag(canvas: Image, figure: Figure, person: Person) -> None:
    """A bag hanging from one hand, in place."""
    side = 1 if figure.turn > 0 else -1
    x, y = figure.arms[side][2]
    handle = np.array(((x - 7, y + 22), (x - 4, y + 8), (x + 4, y + 8), (x + 7, y + 22)))
    cv2.polylines(
        canvas, [to_pixels(figure.place(handle))], False, shade(person.bag, 0.7), 4, cv2.LINE_AA
    )
    fill(
        canvas,
        figure,
        np.array(((x - 13, y + 20), (x + 13, y + 20), (x + 15, y + 44), (x - 15, y + 44))),
        person.bag,
    )


def draw_phone(canvas: Image, figure: Figure) -> None:
    """A phone in the raised hand, in place."""
    side = min(SIDES, key=lambda s: figure.arms[s][2][1])
    x, y = figure.arms[side][2]
    fill(
        canvas,
        figure,
        np.array(((x - 4, y - 15), (x + 4, y - 15), (x + 4, y), (x - 4, y))),
        (28, 28, 32),
    )


def waist_of(figure: Figure) -> float:
    """Half width of the waist, for tests and accessories."""
    return float(figure.half_width(np.array([WAIST_Y]))[0])

"""Heads: faces, hair and hats; long hair may fall over the garment."""

import numpy as np

from datasets.rendered_brushes import Image, Points, darken, line, shade
from datasets.rendered_figures import SIDES, Figure
from datasets.rendered_people import Person, blob, fill


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
        darken(canvas, figure.place(lock * (side, 1)) + (-side * 3, 2), 0.8)
        fill(canvas, figure, lock * (side, 1), person.hair)
        strand = np.array(((11.8, -24), (12.5, 0), (13, length - 6))) * (side, 1)
        line(canvas, figure.place(strand), shine, 2)

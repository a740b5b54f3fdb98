"""People: their looks, bare limbs, and what they carry. Heads are in `rendered_heads`."""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.rendered_brushes import (
    Colour,
    Image,
    Points,
    as_colour,
    darken,
    limb_quad,
    line,
    polygon,
    shade,
)
from datasets.rendered_figures import CHEST_Y, FORE_ARM, HIP_Y, SHOULDER_Y, SIDES, Figure

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
SHOES: tuple[Colour, ...] = (
    (24, 24, 26),
    (236, 236, 232),
    (110, 72, 48),
    (176, 136, 96),
    (34, 44, 80),
    (150, 36, 44),
    (128, 130, 134),
)


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
        skin=as_colour(skin),
        hair=HAIRS[int(random.integers(len(HAIRS)))],
        style=str(random.choice(HAIR_STYLES, p=HAIR_WEIGHTS)),
        hat=as_colour(random.integers(20, 235, 3)),
        bag=as_colour(random.integers(20, 200, 3)),
        shoes=SHOES[int(random.integers(len(SHOES)))],
        lips=as_colour(lips),
        smile=float(random.uniform(0, 1)),
    )


def fill(canvas: Image, figure: Figure, points: Points, colour: Colour) -> None:
    """A filled polygon given in body units, in place."""
    polygon(canvas, figure.place(points), colour)


def blob(
    canvas: Image,
    figure: Figure,
    centre: tuple[float, float],
    radii: tuple[float, float],
    colour: Colour,
) -> None:
    """A filled ellipse in body units, in place."""
    place = figure.place(np.array([centre], float))[0]
    size = (max(1, int(radii[0] * figure.scale)), max(1, int(radii[1] * figure.scale)))
    cv2.ellipse(canvas, (int(place[0]), int(place[1])), size, 0, 0, 360, colour, -1, cv2.LINE_AA)


def draw_limb(
    canvas: Image, figure: Figure, joints: Points, widths: tuple[float, ...], colour: Colour
) -> None:
    """A bare limb through its joints, one side in the shade, in place."""
    placed = figure.place(joints)
    dark = shade(colour, 0.9)
    for number in range(len(joints) - 1):
        halves = widths[number] * figure.scale, widths[number + 1] * figure.scale
        quad = limb_quad(placed[number], placed[number + 1], *halves)
        for end, half in zip(placed[number : number + 2], halves, strict=True):
            centre = (int(end[0]), int(end[1]))
            cv2.circle(canvas, centre, int(half), colour, -1, cv2.LINE_AA)
        polygon(canvas, quad, colour)
        inner = np.stack(
            (0.3 * quad[0] + 0.7 * quad[1], quad[1], quad[2], 0.3 * quad[3] + 0.7 * quad[2])
        )
        polygon(canvas, inner, dark)


def draw_body(canvas: Image, figure: Figure, person: Person) -> None:
    """Legs, shoes, torso and neck, in place."""
    for side in SIDES:
        joints = figure.legs[side]
        widths = (11.5 * figure.build, 7.5 * figure.build, 4.8)
        draw_limb(canvas, figure, joints, widths, person.skin)
        x, y = joints[2]
        blob(canvas, figure, (x + side * 2.5, y + 6), (6.5, 5), person.shoes)
        blob(canvas, figure, (x + side * 1, y + 2), (5, 5), person.shoes)
    y = np.linspace(CHEST_Y, HIP_Y + 8, 7)
    flank = np.stack((figure.half_width(y) * 0.96, y), axis=1)
    shoulder = figure.half_widths[0]
    top = ((5.6, -8), (6.4, -1), (shoulder - 7, SHOULDER_Y - 1.5), (shoulder - 1, SHOULDER_Y + 4))
    right = np.concatenate((np.array(top), flank))
    fill(canvas, figure, np.concatenate((right, right[::-1] * (-1, 1))), person.skin)
    chin_shadow = np.array(((-5.6, -8), (5.6, -8), (5.8, -3), (0, 1.5), (-5.8, -3)))
    fill(canvas, figure, chin_shadow, shade(person.skin, 0.8))


def draw_arm(
    canvas: Image, figure: Figure, person: Person, side: int, forearm_only: bool = False
) -> None:
    """A bare arm (or what is below the elbow) with its hand, in place."""
    joints, build = figure.arms[side], figure.build
    widths = (6.4 * build, 5.0 * build, 3.4 * build)
    placed = figure.place(joints)
    first = int(forearm_only)
    for number in range(first, 2):
        halves = widths[number] * figure.scale, widths[number + 1] * figure.scale
        quad = limb_quad(placed[number], placed[number + 1], *halves)
        darken(canvas, quad + np.array((-side * 1.6, 1.0)) * figure.scale, 0.84)
    draw_limb(canvas, figure, joints[first:], widths[first:], person.skin)
    along = (joints[2] - joints[1]) / FORE_ARM
    across = np.array((-along[1], along[0])) * side
    hand = ((-3.2, -1), (-4.0, 4), (-2.6, 11), (1.6, 12), (3.4, 7), (5.4, 8), (5.6, 5), (3.2, -1))
    points = np.array([joints[2] + a * across + b * along for a, b in hand])
    fill(canvas, figure, points, person.skin)
    gap = np.array([joints[2] + a * across + b * along for a, b in ((-0.6, 7), (-0.6, 11))])
    line(canvas, figure.place(gap), shade(person.skin, 0.8))


def draw_accessory(canvas: Image, figure: Figure, person: Person) -> None:
    """The bag or phone that the pose asks for, over the clothes, in place."""
    if figure.pose == "shoulder bag":
        _draw_shoulder_bag(canvas, figure, person)
    elif figure.pose == "bag in hand":
        _draw_hand_bag(canvas, figure, person)
    elif figure.pose == "phone":
        _draw_phone(canvas, figure)


def _draw_shoulder_bag(canvas: Image, figure: Figure, person: Person) -> None:
    """A strap across the garment and the bag at the hip, in place."""
    side = 1 if figure.turn > 0 else -1
    width = max(3, int(2.6 * figure.scale))
    ends = np.array(((-side * 15, 2.0), (side * 4, 40.0), (side * 21, 74.0)))
    line(canvas, figure.place(ends) + (0, 3), shade(person.bag, 0.5), width)
    line(canvas, figure.place(ends), shade(person.bag, 0.8), width)
    box = np.array(((10, 72), (33, 72), (35, 98), (9, 98))) * (side, 1)
    fill(canvas, figure, box, person.bag)
    flap = np.array(((10, 72), (33, 72), (31, 84), (12, 84))) * (side, 1)
    fill(canvas, figure, flap, shade(person.bag, 0.85))


def _draw_hand_bag(canvas: Image, figure: Figure, person: Person) -> None:
    """A bag hanging from one hand, in place."""
    side = 1 if figure.turn > 0 else -1
    x, y = figure.arms[side][2]
    handle = np.array(((x - 7, y + 22), (x - 4, y + 8), (x + 4, y + 8), (x + 7, y + 22)))
    line(canvas, figure.place(handle), shade(person.bag, 0.7), 4)
    box = ((x - 13, y + 20), (x + 13, y + 20), (x + 15, y + 44), (x - 15, y + 44))
    fill(canvas, figure, np.array(box), person.bag)


def _draw_phone(canvas: Image, figure: Figure) -> None:
    """A phone in the raised hand, in place."""
    side = min(SIDES, key=lambda one: figure.arms[one][2][1])
    x, y = figure.arms[side][2]
    box = ((x - 4, y - 17), (x + 4, y - 17), (x + 4, y - 2), (x - 4, y - 2))
    fill(canvas, figure, np.array(box), (28, 28, 32))

"""The photos made of a cut-out garment: alone as a shop shows it, or worn by a drawn person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from datasets.composed_camera import close_up, other_camera, seen
from datasets.composed_wear import (
    Box,
    Worn,
    blend,
    box_of,
    draw_fit,
    draw_sleeve_of,
    draw_worn,
)
from datasets.cutouts import Cutout, smoothed
from datasets.lays import Lay, lay_of
from datasets.rendered_brushes import Image, smooth_noise
from datasets.rendered_figures import SIDES, Figure, posed_figure
from datasets.rendered_garments import BOTTOMS, TOPS, Garment, random_garment
from datasets.rendered_heads import draw_back_hair, draw_front_hair, draw_head
from datasets.rendered_people import Person, draw_accessory, draw_arm, draw_body, draw_person
from datasets.rendered_scenes import aim, develop, draw_scene, expose
from datasets.rendered_wear import draw_front, draw_sleeve
from siamese.preprocessing import Box as BoxOfPhoto

HEIGHT, WIDTH = 256, 192
CANVAS = (2 * HEIGHT, 2 * WIDTH)

Style = Literal["training", "unlike"]
Top = Literal["top", "long-sleeved", "short-sleeved", "sleeveless"]  # top: sleeves by its outline
Kind = Literal[Top, "dress", "bottom", "object"]
POSES: dict[Style, tuple[str, ...]] = {
    "training": (
        "arms down",
        "hand on hip",
        "hands on hips",
        "arms crossed",
        "hands clasped",
        "arms behind",
        "shoulder bag",
    ),
    "unlike": ("hand in hair", "bag in hand", "phone"),
}
Dressed = tuple[Cutout, Kind]
CLOSE_UPS = 0.5  # share of training photos that are framed closely
# Share of training photos in a studio's even light: where light and white balance always differ,
# a network learns to mistrust colours, which tell a shop's garments apart.
STUDIOS = 0.5
PLAIN_SCENES = ("studio", "white")


class PersonPhoto(NamedTuple):
    """A photo of a person, uint8 (256, 192, 3) RGB; the worn garment's box in its pixels; and
    which of the other garments is worn beside it, if one is."""

    photo: Image
    box: BoxOfPhoto
    beside: int | None


def product_photo(cutout: Cutout, random: np.random.Generator) -> Image:
    """The garment alone on near-white, as a shop shows it: uint8 (256, 192, 3) RGB."""
    cutout = smoothed(cutout, random)
    canvas = np.full((*CANVAS, 3), int(random.uniform(246, 255)), np.uint8)
    height, width = cutout.alpha.shape
    scale = min(CANVAS[0] / height, CANVAS[1] / width) * random.uniform(0.84, 0.95)
    centre = (CANVAS[1] / 2, CANVAS[0] / 2)
    _paste(canvas, cutout, scale, centre, turn=float(random.normal(0, 1.5)))
    return develop(random, canvas, (HEIGHT, WIDTH), studio=True)


def person_photo(
    cutout: Cutout,
    kind: Kind,
    others: Sequence[Dressed],
    background: Image,
    style: Style,
    random: np.random.Generator,
) -> PersonPhoto:
    """A photo of a drawn person wearing the garment.

    Args:
        cutout: The garment, upright.
        kind: What it is; an `object` (a shoe, a hat, a bag) is shown alone, bent and tilted.
        others: Garments to wear beside it; drawn ones are worn where no kind fits.
        background: uint8 (h, w, 3) RGB of any size, used in every second photo (`training`).
        style: `unlike` takes other poses, real backgrounds only, and another camera.
        random: Of everything else.
    """
    studio = style == "training" and random.random() < STUDIOS
    canvas = _scene(background, style, studio, random)
    cutout = smoothed(cutout, random)
    matrix, beside = np.eye(3), None
    if kind == "object":
        worn = _draw_object(canvas, cutout, random)
    else:
        figure = posed_figure(random, CANVAS, kind == "bottom", POSES[style])
        person = draw_person(random)
        draw_back_hair(canvas, figure, person)
        if kind == "bottom":
            worn, beside = _draw_in_bottom(canvas, figure, person, cutout, others, random)
        else:
            worn, beside = _draw_in_top(canvas, figure, person, (cutout, kind), others, random)
        draw_head(canvas, figure, person)
        draw_front_hair(canvas, figure, person, random)
        draw_accessory(canvas, figure, person)
        if style == "training" and random.random() < CLOSE_UPS:
            canvas, matrix = close_up(canvas, worn.body, random)
    size = (HEIGHT, WIDTH)
    aimed = aim(random, canvas, size, studio)
    photo = expose(random, canvas, aimed, size, studio)
    matrix = np.vstack([aimed, (0, 0, 1)]) @ matrix
    if style == "unlike":
        photo, tilt = other_camera(photo, random)
        matrix = tilt @ matrix
    return PersonPhoto(photo, seen(worn.whole, matrix, size), beside)


def _scene(background: Image, style: Style, studio: bool, random: np.random.Generator) -> Image:
    """A drawn scene, or a part of a real background in the photo's proportions."""
    if studio and random.random() < 0.6:
        return draw_scene(random, CANVAS, PLAIN_SCENES)
    if style == "training" and random.random() < 0.5:
        return draw_scene(random, CANVAS)
    height, width = background.shape[:2]
    rows = max(4, int(min(height, width * HEIGHT / WIDTH) * random.uniform(0.5, 1.0)))
    columns = min(width, max(3, rows * WIDTH // HEIGHT))
    top = int(random.integers(height - rows + 1))
    left = int(random.integers(width - columns + 1))
    part = background[top : top + rows, left : left + columns]
    if random.random() < 0.5:
        part = part[:, ::-1]
    size = (CANVAS[1], CANVAS[0])
    enlarged = cv2.resize(np.ascontiguousarray(part), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, np.uint8)


def _draw_in_bottom(
    canvas: Image,
    figure: Figure,
    person: Person,
    cutout: Cutout,
    others: Sequence[Dressed],
    random: np.random.Generator,
) -> tuple[Worn, int | None]:
    """The body with the garment below the waist and another above it, in place; which of the
    others that is, or `None` for a drawn one."""
    for side in SIDES:
        draw_arm(canvas, figure, person, side)
    draw_body(canvas, figure, person)
    beside = _first(others, get_args(Top)) if random.random() < 0.5 else None
    if beside is None:
        garment = _another(random, TOPS[:6])
        tucked = replace(garment, hem=min(garment.hem, 78.0), hem_curve=0.0, flare=0.0)
        draw_front(canvas, figure, tucked, random)
        for side in SIDES:
            draw_sleeve(canvas, figure, tucked, side)
    else:
        top, kind = others[beside]
        lay = _lay_of_top(top, kind)
        fit = draw_fit(random, kind, lay)
        draw_worn(canvas, figure, top, lay, replace(fit, bottom=min(fit.bottom, 80.0)), random)
        for side in SIDES:
            draw_sleeve_of(canvas, figure, top, lay, fit, side)
    lay = lay_of(cutout.alpha, "bottom")
    worn = draw_worn(canvas, figure, cutout, lay, draw_fit(random, "bottom", lay), random)
    for side in figure.arms_in_front:
        draw_arm(canvas, figure, person, side, forearm_only=True)
    return worn, beside


def _draw_in_top(
    canvas: Image,
    figure: Figure,
    person: Person,
    dressed: Dressed,
    others: Sequence[Dressed],
    random: np.random.Generator,
) -> tuple[Worn, int | None]:
    """The body in a top or dress; with a top another garment below the waist, in place, and which
    of the others that is, or `None` for a drawn one."""
    cutout, kind = dressed
    lay = _lay_of_top(cutout, kind)
    fit = draw_fit(random, kind, lay)
    sleeveless = not fit.sleeve
    boxes: list[Box] = []
    for side in SIDES:
        if sleeveless or side not in figure.arms_in_front:
            draw_arm(canvas, figure, person, side)
            boxes += draw_sleeve_of(canvas, figure, cutout, lay, fit, side)
    draw_body(canvas, figure, person)
    tucked, beside = random.random() < 0.25, None
    if kind != "dress" and not tucked:
        beside = _draw_lower(canvas, figure, others, random)
    worn = draw_worn(canvas, figure, cutout, lay, fit, random)
    if kind != "dress" and tucked:
        beside = _draw_lower(canvas, figure, others, random)
    if random.random() < 0.08:
        draw_front(canvas, figure, _another(random, ("jacket",)), random, opened=True)
    for side in figure.arms_in_front:
        draw_arm(canvas, figure, person, side, forearm_only=sleeveless)
        boxes += draw_sleeve_of(canvas, figure, cutout, lay, fit, side)
    return Worn(worn.body, _around([worn.whole, *boxes])), beside


def _around(boxes: Sequence[Box]) -> Box:
    """The smallest box with all of these in it."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _draw_lower(
    canvas: Image, figure: Figure, others: Sequence[Dressed], random: np.random.Generator
) -> int | None:
    """Trousers or a skirt, real or drawn, in place; which of the others, `None` for a drawn one."""
    beside = _first(others, ("bottom",)) if random.random() < 0.5 else None
    if beside is None:
        draw_front(canvas, figure, _another(random, BOTTOMS), random)
        return None
    bottom, _ = others[beside]
    lay = lay_of(bottom.alpha, "bottom")
    draw_worn(canvas, figure, bottom, lay, draw_fit(random, "bottom", lay), random)
    return beside


def _lay_of_top(cutout: Cutout, kind: Kind) -> Lay:
    """Its parts; what sticks out of a sleeveless garment is no sleeve."""
    lay = lay_of(cutout.alpha, kind)
    return replace(lay, sleeves={}) if kind == "sleeveless" else lay


def _first(others: Sequence[Dressed], kinds: Sequence[str]) -> int | None:
    """Place of the first of these kinds."""
    return next((place for place, (_, kind) in enumerate(others) if kind in kinds), None)


def _another(random: np.random.Generator, kinds: tuple[str, ...]) -> Garment:
    """A drawn garment; most are plain, so that they seldom steal the show."""
    other = random_garment(random, str(random.choice(kinds)))
    return replace(other, pattern="solid", print_kind="none") if random.random() < 0.7 else other


def _draw_object(canvas: Image, cutout: Cutout, random: np.random.Generator) -> Worn:
    """What nobody can wear here, alone in the scene: bent, tilted and off the middle, in place."""
    cutout = bent(cutout, random)
    height, width = cutout.alpha.shape
    scale = min(CANVAS[0] / height, CANVAS[1] / width) * random.uniform(0.5, 0.95)
    centre = (CANVAS[1] * random.uniform(0.42, 0.58), CANVAS[0] * random.uniform(0.42, 0.58))
    box = _paste(canvas, cutout, scale, centre, turn=float(random.normal(0, 14)))
    return Worn(box, box)


def bent(cutout: Cutout, random: np.random.Generator, amount: float = 0.04) -> Cutout:
    """The garment as another pose or fold would show it: moved here and there by slow noise.

    amount: standard deviation of the way, as a share of the longer side.
    """
    height, width = cutout.alpha.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    grain, strength = (height / 2.5, width / 2.5), np.float32(amount * max(height, width))
    maps = (
        x + strength * smooth_noise(random, height, width, grain),
        y + strength * smooth_noise(random, height, width, grain),
    )
    pixels = cv2.remap(cutout.pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.remap(cutout.alpha, *maps, cv2.INTER_LINEAR)
    return Cutout(np.asarray(pixels, np.uint8), np.asarray(alpha, np.uint8))


def _paste(
    canvas: Image, cutout: Cutout, scale: float, centre: tuple[float, float], turn: float
) -> Box:
    """The cut-out, enlarged and turned by degrees, in place; its box."""
    height, width = cutout.alpha.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
    matrix[:, 2] += (centre[0] - width / 2, centre[1] - height / 2)
    size = (canvas.shape[1], canvas.shape[0])
    over = cv2.warpAffine(cutout.pixels, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cutout.alpha, matrix, size)
    blend(canvas, np.asarray(over, np.uint8), np.asarray(alpha, np.uint8))
    return box_of(np.asarray(alpha, np.uint8))

"""The two kinds of photo: a garment laid flat, and a person who wears it.

Every photo depends on (seed, product, photo) alone, so that counts and workers change nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from datasets.rendered_brushes import Image
from datasets.rendered_figures import SIDES, Figure, flat_figure, posed_figure
from datasets.rendered_garments import BOTTOMS, TOPS, Garment, design_garment, random_garment
from datasets.rendered_heads import draw_back_hair, draw_front_hair, draw_head
from datasets.rendered_people import Person, draw_accessory, draw_arm, draw_body, draw_person
from datasets.rendered_scenes import SCENES, STUDIO_SCENES, develop, draw_scene
from datasets.rendered_shop import design_shop_garment
from datasets.rendered_wear import draw_front, draw_laid_flat, draw_sleeve

Style = Literal["demo", "shop"]
STYLES: tuple[Style, ...] = get_args(Style)
HEIGHT, WIDTH = 256, 192
CANVAS = (2 * HEIGHT, 2 * WIDTH)


@dataclass(frozen=True)
class Worn:
    """One layer of an outfit; opened: a jacket that shows what is beneath."""

    garment: Garment
    opened: bool = False


def draw_product_photo(product: int, seed: int = 0, style: Style = "demo") -> Image:
    """The garment alone, laid flat on near-white: uint8 (256, 192, 3) RGB.

    Raises ValueError for a negative product or seed.
    """
    garment = _designed(product, seed, style)
    random = np.random.default_rng([seed, product, 2])
    canvas = np.full((*CANVAS, 3), int(random.uniform(240, 255)), np.uint8)
    top = 66.0 if garment.kind in BOTTOMS else -9.0
    bottom = garment.hem + max(garment.hem_curve, 0) + 2
    half_width = 26 * garment.ease + garment.flare + 2
    mannequin = 0.0
    if style == "shop":
        mannequin = float(np.random.default_rng([seed, product, 6]).uniform(0.3, 1))
    figure = flat_figure(random, CANVAS, (top, bottom), half_width, garment.sleeve, mannequin)
    draw_laid_flat(canvas, figure, garment, random)
    return develop(random, canvas, (HEIGHT, WIDTH), studio=True)


def draw_person_photo(product: int, photo: int, seed: int = 0, style: Style = "demo") -> Image:
    """Photo number `photo` (>= 1) of a person wearing the garment: uint8 (256, 192, 3) RGB.

    Two of three photos of the style "shop" are taken in its studio, which keeps the colours.

    Raises ValueError for a negative product, photo or seed.
    """
    garment = _designed(product, seed, style)
    random = np.random.default_rng([seed, product, 3, photo])
    studio = style == "shop" and photo % 3 != 0
    canvas = draw_scene(random, CANVAS, STUDIO_SCENES if studio else SCENES)
    figure = posed_figure(random, CANVAS, lower=garment.kind in BOTTOMS)
    person = draw_person(random)
    outfit = _dress_up(random, garment)
    draw_back_hair(canvas, figure, person)
    sleeveless = all(worn.garment.sleeve == 0 for worn in outfit)
    behind = [side for side in SIDES if sleeveless or side not in figure.arms_in_front]
    _draw_arms(canvas, figure, person, outfit, behind)
    draw_body(canvas, figure, person)
    for worn in outfit:
        draw_front(canvas, figure, worn.garment, random, worn.opened)
    _draw_arms(canvas, figure, person, outfit, figure.arms_in_front, forearm_only=sleeveless)
    draw_head(canvas, figure, person)
    draw_front_hair(canvas, figure, person, random)
    draw_accessory(canvas, figure, person)
    return develop(random, canvas, (HEIGHT, WIDTH), studio)


def _designed(product: int, seed: int, style: Style) -> Garment:
    return (design_shop_garment if style == "shop" else design_garment)(product, seed)


def _draw_arms(
    canvas: Image,
    figure: Figure,
    person: Person,
    outfit: list[Worn],
    sides: Iterable[int],
    forearm_only: bool = False,
) -> None:
    """Arms with every sleeve that no layer above hides, in place.

    forearm_only: the bare upper arm was drawn before, to stay behind the armhole.
    """
    for side in sides:
        draw_arm(canvas, figure, person, side, forearm_only)
        for number, worn in enumerate(outfit):
            if all(worn.garment.sleeve > over.garment.sleeve for over in outfit[number + 1 :]):
                draw_sleeve(canvas, figure, worn.garment, side)


def _dress_up(random: np.random.Generator, garment: Garment) -> list[Worn]:
    """The garment and what else the person wears, inner layers first."""
    if garment.kind in BOTTOMS:
        top = _another(random, TOPS[:6])
        tucked = replace(top, hem=min(top.hem, 78.0), hem_curve=0.0, flare=0.0)
        return [Worn(tucked), Worn(garment)]
    opened = garment.closure == "open" or (garment.kind == "jacket" and random.random() < 0.3)
    outfit = [Worn(garment, opened)]
    if opened:
        beneath = _another(random, ("t-shirt", "tank", "shirt"))
        outfit.insert(0, Worn(replace(beneath, ease=1.0, flare=0.0)))
    elif garment.kind not in ("jacket", "hoodie") and random.random() < 0.1:
        outfit.append(Worn(_another(random, ("jacket",)), opened=True))
    if garment.kind != "dress":
        outfit.insert(0, Worn(_another(random, BOTTOMS)))
    return outfit


def _another(random: np.random.Generator, kinds: tuple[str, ...]) -> Garment:
    """A garment that is no product; most are plain, so that they seldom steal the show."""
    other = random_garment(random, str(random.choice(kinds)))
    return replace(other, pattern="solid", print_kind="none") if random.random() < 0.7 else other

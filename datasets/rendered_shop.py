"""Garments as a shop has them: most are plain tops that differ in cut and by a shade of colour.

The demo's garments are told apart by pattern and print. Encoders that learn from those alone take
one black top for the next, which is most of what a real shop asks of them.
"""

from dataclasses import replace

import numpy as np

from datasets.rendered_brushes import Colour, as_colour
from datasets.rendered_garments import (
    EMBLEMS,
    NECKLINES,
    TOPS,
    Garment,
    design_garment,
    random_garment,
)

PLAIN_TOPS = 0.7  # share of the products; the others are as in the demo
KIND_WEIGHTS = (0.34, 0.26, 0.07, 0.19, 0.02, 0.09, 0.03)  # of TOPS
NECKLINE_WEIGHTS = (0.28, 0.26, 0.26, 0.14, 0.06)
FLARES = (0.0, 0.0, 3.0, 6.0, 10.0, 14.0)  # body units
LIGHTER, TINTED = 9.0, 4.0  # standard deviations, in levels of 255
PATTERNED = 0.2  # share of these tops that keep their pattern or print
SIMPLE_TOPS = ("t-shirt", "long-sleeve", "tank")
TEXTURED = 0.3  # share of the others whose cloth has a texture
TEXTURES = ("vertical stripes", "horizontal stripes", "dots", "floral", "speckles", "zigzag")
LOGOS = 0.15  # share with a small one


def design_shop_garment(product: int, seed: int = 0) -> Garment:
    """The garment of product number `product` (>= 0) in a shop of `seed` (>= 0)."""
    random = np.random.default_rng([seed, product, 5])
    return _plain_top(random) if random.random() < PLAIN_TOPS else design_garment(product, seed)


def _plain_top(random: np.random.Generator) -> Garment:
    """A top of a popular colour's shade, with a cut of its own."""
    kind = str(random.choice(TOPS, p=KIND_WEIGHTS))
    garment = random_garment(random, kind)
    garment = replace(garment, base=_shade_of(random, garment.base))
    if random.random() >= PATTERNED:
        garment = replace(
            garment,
            pattern="solid",
            print_kind="none",
            contrast_sleeves=False,
            trim=bool(random.random() < 0.08),
        )
    fitted = random.random() < 0.5
    garment = replace(
        garment,
        neck_depth=float(random.uniform(0, 16)),
        ease=float(random.uniform(1.0, 1.15) if fitted else random.uniform(1.15, 1.45)),
        flare=float(random.choice(FLARES)),
        sleeve_width=float(random.uniform(0.95, 1.6)),
    )
    if kind in SIMPLE_TOPS:
        neckline = str(random.choice(NECKLINES, p=NECKLINE_WEIGHTS))
        garment = replace(garment, neckline=neckline, hem=float(random.uniform(58, 112)))
        garment = _with_details(random, garment)
    if kind == "t-shirt":
        garment = replace(garment, sleeve=float(random.uniform(0.08, 0.6)))
    return _tone_on_tone(random, garment)


def _with_details(random: np.random.Generator, garment: Garment) -> Garment:
    """Some of the details that tell plain tops apart."""
    uniform, chance = random.uniform, random.random
    garment = replace(
        garment,
        armhole=float(uniform(0.42, 0.9)),
        hem_curve=float(random.choice((-8.0, -3.0, 0.0, 0.0, 5.0, 9.0, 14.0))),
        sleeve_flare=float(uniform(0.2, 1.3) if chance() < 0.25 else 0.0),
        gathers=float(random.choice((32.0, 50.0, 56.0, 62.0)) if chance() < 0.15 else 0.0),
        placket=int(random.integers(2, 6) if chance() < 0.15 else 0),
        wrap=bool(chance() < 0.1),
        yoke=float(uniform(8, 22) if chance() < 0.1 else 0.0),
    )
    if garment.gathers:
        garment = replace(garment, flare=float(uniform(2, 14)))
    if garment.kind == "tank" and chance() < 0.4:
        strap = float(uniform(1.5, 5))
        return replace(garment, neckline="straps", strap=strap, armhole=0.3, placket=0, yoke=0.0)
    if garment.pattern == "solid" and chance() < LOGOS:
        side = float(random.choice((-1, 1)) * uniform(12, 26))
        kind, text = ("emblem", str(random.choice(EMBLEMS))) if chance() < 0.5 else ("word", "NOVA")
        place = (side, float(uniform(-18, -4)))
        small = float(uniform(-0.45, -0.2))
        return replace(
            garment, print_kind=kind, print_text=text, print_size=small, print_offset=place
        )
    return garment


def _tone_on_tone(random: np.random.Generator, garment: Garment) -> Garment:
    """Some plain tops get a texture: a pattern in shades of their own colour."""
    if garment.pattern != "solid" or random.random() >= TEXTURED:
        return garment
    factors = random.choice((0.86, 0.92, 1.08, 1.14), 2, replace=False)
    darker = sum(garment.base) < 3 * 60  # black is textured by lighter threads alone
    second, third = (
        as_colour(np.array(garment.base) * factor + (14 if darker else 0)) for factor in factors
    )
    pattern, scale = str(random.choice(TEXTURES)), float(random.uniform(0, 0.4))
    return replace(garment, pattern=pattern, second=second, third=third, pattern_scale=scale)


def _shade_of(random: np.random.Generator, colour: Colour) -> Colour:
    """A colour that many would call the same."""
    moved = np.array(colour) + random.normal(0, LIGHTER) + random.normal(0, TINTED, 3)
    red, green, blue = moved.clip(4, 252).round().astype(int).tolist()
    return red, green, blue

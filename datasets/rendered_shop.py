"""Garments as a shop has them: most are plain tops that differ in cut and by a shade of colour.

The demo's garments are told apart by pattern and print. Encoders that learn from those alone take
one black top for the next, which is most of what a real shop asks of them.
"""

from dataclasses import replace

import numpy as np

from datasets.rendered_brushes import Colour
from datasets.rendered_garments import NECKLINES, TOPS, Garment, design_garment, random_garment

PLAIN_TOPS = 0.6  # share of the products; the others are as in the demo
KIND_WEIGHTS = (0.32, 0.26, 0.08, 0.16, 0.02, 0.12, 0.04)  # of TOPS
NECKLINE_WEIGHTS = (0.34, 0.22, 0.22, 0.12, 0.10)
FLARES = (0.0, 0.0, 3.0, 6.0, 10.0, 14.0)  # body units
LIGHTER, TINTED = 9.0, 4.0  # standard deviations, in levels of 255
PATTERNED = 0.2  # share of these tops that keep their pattern or print


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
    garment = replace(
        garment,
        neck_depth=float(random.uniform(0, 16)),
        ease=float(random.uniform(1.0, 1.4)),
        flare=float(random.choice(FLARES)),
        sleeve_width=float(random.uniform(0.92, 1.6)),
    )
    if kind in ("t-shirt", "long-sleeve", "tank"):
        neckline = str(random.choice(NECKLINES, p=NECKLINE_WEIGHTS))
        garment = replace(garment, neckline=neckline, hem=float(random.uniform(58, 108)))
    if kind == "t-shirt":
        garment = replace(garment, sleeve=float(random.uniform(0.14, 0.6)))
    return garment


def _shade_of(random: np.random.Generator, colour: Colour) -> Colour:
    """A colour that many would call the same."""
    moved = np.array(colour) + random.normal(0, LIGHTER) + random.normal(0, TINTED, 3)
    red, green, blue = moved.clip(4, 252).round().astype(int).tolist()
    return red, green, blue

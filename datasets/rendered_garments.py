"""What a drawn garment is: one frozen parameter object, designed from (seed, product number).

Base colours come from a short popular palette on purpose: many products share their colour and
differ in cut, pattern or print, so that a colour histogram cannot tell them apart.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from datasets.rendered_brushes import Colour

Choice = TypeVar("Choice")

TOPS = ("t-shirt", "long-sleeve", "shirt", "tank", "hoodie", "sweater", "jacket")
BOTTOMS = ("skirt", "trousers", "shorts")
KINDS = (*TOPS, "dress", *BOTTOMS)
KIND_WEIGHTS = (0.17, 0.10, 0.11, 0.07, 0.08, 0.10, 0.09, 0.11, 0.06, 0.07, 0.04)

PALETTE: dict[str, Colour] = {
    "black": (30, 30, 33),
    "white": (240, 239, 236),
    "navy": (34, 42, 74),
    "grey": (128, 130, 134),
    "light grey": (196, 197, 199),
    "denim": (84, 112, 152),
    "beige": (214, 196, 166),
    "red": (186, 38, 44),
    "burgundy": (104, 28, 44),
    "olive": (98, 102, 66),
    "pink": (228, 164, 176),
    "mustard": (212, 164, 54),
}
PALETTE_WEIGHTS = (0.20, 0.17, 0.12, 0.10, 0.07, 0.10, 0.06, 0.05, 0.03, 0.04, 0.03, 0.03)
ACCENTS: tuple[Colour, ...] = (
    PALETTE["red"],
    PALETTE["pink"],
    (246, 214, 70),
    (240, 122, 48),
    (58, 150, 92),
    (44, 138, 190),
    (128, 72, 150),
    (236, 92, 128),
    (122, 206, 196),
    (122, 80, 52),
)

PATTERNS = (
    "solid",
    "horizontal stripes",
    "vertical stripes",
    "diagonal stripes",
    "checks",
    "plaid",
    "dots",
    "colour blocks",
    "gradient",
    "floral",
    "camouflage",
    "houndstooth",
    "zigzag",
    "speckles",
)
PATTERN_WEIGHTS = (
    0.36,
    0.12,
    0.05,
    0.03,
    0.05,
    0.06,
    0.06,
    0.07,
    0.03,
    0.06,
    0.03,
    0.03,
    0.02,
    0.03,
)
PRINTS = ("none", "word", "number", "emblem", "band", "picture")
# fmt: off
WORDS = (
    "NOVA", "LOVE", "PARIS", "WILD", "OCEAN", "RIO", "SURF", "HELLO", "ROCK", "TOKYO", "PEACE",
    "VIBE", "MOON", "LUNA", "SUN", "BLUE", "ALPHA", "JAZZ", "CLUB", "TEAM", "KIND", "GOOD",
    "BOLD", "FREE", "DREAM", "URBAN", "MIAMI", "POLO", "COOL", "YES", "ZEN", "OSLO", "ROMA",
    "BERLIN", "SKY",
)
# fmt: on
EMBLEMS = ("circle", "ring", "star", "heart", "triangle", "diamond", "bolt", "cross", "flower")
NECKLINES = ("crew", "v", "scoop", "boat", "square")


@dataclass(frozen=True)
class Garment:
    """All that decides how a garment looks. Lengths are in body units (a person is about 233)."""

    kind: str
    base: Colour
    second: Colour
    third: Colour
    pattern: str
    pattern_scale: float  # 0 fine .. 1 coarse
    texture_seed: int
    print_kind: str
    print_text: str
    print_colour: Colour
    print_size: float  # 0 small .. 1 as wide as the chest
    print_offset: tuple[float, float]  # from the middle of the chest, body units
    neckline: str  # one of NECKLINES, or "turtle", "collar", "hood"
    neck_depth: float
    hem: float  # body units below the neck
    hem_curve: float  # how much lower the middle of the hem lies
    ease: float  # width over the body's own
    flare: float  # extra half width at the hem
    sleeve: float  # share of the arm it covers, 0 for none
    sleeve_width: float
    trim: bool  # neckline, cuffs and hem in the second colour
    contrast_sleeves: bool
    pocket: str  # "none", "chest", "kangaroo", "two"
    closure: str  # "none", "buttons", "zip", "open"
    belt: bool
    # What only the shop's tops have; the defaults are the demo's.
    strap: float = 6.0  # least width of a sleeveless shoulder, body units
    armhole: float = 0.78  # where a sleeveless shoulder ends, a share of the body's
    sleeve_flare: float = 0.0  # how much wider cuffs are, a share
    gathers: float = 0.0  # body units below the neck of a seam that cloth falls from; 0 for none
    placket: int = 0  # buttons of a short closure below the neck
    wrap: bool = False  # one half of the front lies over the other
    yoke: float = 0.0  # body units of sheer cloth below the neck; 0 for none

    def signature(self) -> tuple[object, ...]:
        """What an eye can tell apart, coarsely: two products must not share it."""
        shown = self.pattern not in ("solid",) or self.trim or self.contrast_sleeves or self.belt
        seeded = self.pattern in ("floral", "camouflage", "colour blocks", "plaid", "speckles")
        return (
            self.kind,
            self.base,
            self.pattern,
            round(self.pattern_scale * 3) if self.pattern != "solid" else 0,
            self.texture_seed if seeded else 0,
            self.second if shown else None,
            self.trim,
            self.contrast_sleeves,
            (self.print_kind, self.print_text, self.print_colour, round(self.print_size * 2))
            if self.print_kind != "none"
            else None,
            self.neckline,
            round(self.neck_depth / 5),
            round(self.hem / 12),
            round(self.hem_curve / 5),
            round(self.flare / 8),
            round(self.sleeve * 5),
            self.pocket,
            self.closure,
            self.belt,
        )


def design_garment(product: int, seed: int = 0) -> Garment:
    """The garment of product number `product` (>= 0) in the world of `seed` (>= 0)."""
    random = np.random.default_rng([seed, product, 1])
    return random_garment(random, _pick(random, KINDS, KIND_WEIGHTS))


def random_garment(random: np.random.Generator, kind: str) -> Garment:
    """A garment of one kind; everything else is drawn."""
    base = _pick(random, tuple(PALETTE.values()), PALETTE_WEIGHTS)
    second, third = _contrasting(random, base), _contrasting(random, base)
    pattern = _pick(random, PATTERNS, PATTERN_WEIGHTS)
    print_kind = _draw_print_kind(random, kind, pattern)
    garment = Garment(
        kind=kind,
        base=base,
        second=second,
        third=third,
        pattern=pattern,
        pattern_scale=float(random.random()),
        texture_seed=int(random.integers(1 << 31)),
        print_kind=print_kind,
        print_text=_draw_text(random, print_kind),
        print_colour=_contrasting(random, base),
        print_size=float(random.random()),
        print_offset=(float(random.uniform(-4, 4)), float(random.uniform(-5, 8))),
        trim=bool(random.random() < 0.22),
        contrast_sleeves=bool(random.random() < 0.12 and kind not in ("tank", *BOTTOMS)),
        pocket="none",
        closure="none",
        belt=False,
        **_draw_cut(random, kind),  # type: ignore[arg-type]
    )
    garment = replace(garment, **_draw_fittings(random, kind, print_kind))  # type: ignore[arg-type]
    return _avoid_nondescript(random, garment)


def _pick(
    random: np.random.Generator, choices: tuple[Choice, ...], weights: tuple[float, ...]
) -> Choice:
    edges = np.cumsum(weights)
    return choices[int(np.searchsorted(edges, random.random() * edges[-1], side="right"))]


def _contrasting(random: np.random.Generator, base: Colour) -> Colour:
    """A colour that can be seen on `base`; mostly a popular one, so that products share it."""
    while True:
        if random.random() < 0.65:
            accent = _pick(random, tuple(PALETTE.values()), PALETTE_WEIGHTS)
        else:
            accent = ACCENTS[int(random.integers(len(ACCENTS)))]
        if sum(abs(a - b) for a, b in zip(accent, base, strict=True)) > 130:
            return accent


def _draw_print_kind(random: np.random.Generator, kind: str, pattern: str) -> str:
    if kind in BOTTOMS:
        return "none"
    chance = 0.75 if pattern in ("solid", "colour blocks", "gradient") else 0.18
    chance *= {"shirt": 0.2, "jacket": 0.4, "dress": 0.4}.get(kind, 1.0)
    if random.random() > chance:
        return "none"
    return _pick(random, PRINTS[1:], (0.34, 0.14, 0.24, 0.12, 0.16))


def _draw_text(random: np.random.Generator, print_kind: str) -> str:
    if print_kind == "word":
        return " ".join(str(w) for w in random.choice(WORDS, 1 + int(random.random() < 0.35)))
    if print_kind == "number":
        return str(random.integers(1, 100))
    return EMBLEMS[int(random.integers(len(EMBLEMS)))]


def _draw_cut(random: np.random.Generator, kind: str) -> dict[str, object]:
    """Neckline, lengths and widths that fit the kind."""
    uniform = random.uniform
    cut: dict[str, object] = {
        "neckline": NECKLINES[int(random.choice(5, p=(0.42, 0.2, 0.18, 0.1, 0.1)))],
        "neck_depth": uniform(0, 10),
        "hem": uniform(72, 100),
        "hem_curve": float(random.choice((0.0, 0.0, 5.0, 9.0, -3.0))),
        "ease": uniform(1.02, 1.3),
        "flare": float(random.choice((0.0, 0.0, 4.0, 9.0))),
        "sleeve": 0.0,
        "sleeve_width": uniform(0.95, 1.3),
    }
    special: dict[str, dict[str, object]] = {
        "t-shirt": {"sleeve": uniform(0.2, 0.5)},
        "long-sleeve": {"sleeve": uniform(0.68, 1.0)},
        "shirt": {
            "sleeve": float(random.choice((0.32, 0.7, 1.0, 1.0))),
            "neckline": "collar",
            "ease": uniform(1.1, 1.35),
        },
        "tank": {"hem": uniform(60, 94), "ease": uniform(1.0, 1.14)},
        "hoodie": {"sleeve": 1.0, "neckline": "hood", "ease": uniform(1.15, 1.4), "flare": 0.0},
        "sweater": {
            "sleeve": uniform(0.8, 1.0),
            "neckline": str(random.choice(("turtle", "turtle", "crew", "v", "boat"))),
            "ease": uniform(1.1, 1.4),
            "sleeve_width": uniform(1.05, 1.4),
        },
        "jacket": {
            "sleeve": uniform(0.85, 1.0),
            "neckline": str(random.choice(("collar", "v", "crew"))),
            "ease": uniform(1.15, 1.4),
            "hem": uniform(66, 112),
            "neck_depth": uniform(0, 22),
        },
        "dress": {
            "hem": uniform(112, 172),
            "flare": uniform(2, 26),
            "sleeve": float(random.choice((0.0, 0.0, 0.25, 0.45, 1.0))),
            "ease": uniform(1.0, 1.12),
        },
        "skirt": {"hem": uniform(108, 172), "flare": uniform(0, 26), "ease": uniform(1.0, 1.08)},
        "trousers": {"hem": uniform(160, 188), "flare": uniform(-1, 8), "ease": uniform(1.0, 1.2)},
        "shorts": {"hem": uniform(104, 134), "flare": uniform(0, 6), "ease": uniform(1.02, 1.2)},
    }
    return cut | special[kind]


def _draw_fittings(random: np.random.Generator, kind: str, print_kind: str) -> dict[str, object]:
    """Pockets, closure and belt that fit the kind."""
    chance = random.random()
    if kind == "shirt":
        return {"closure": "buttons", "pocket": ("none", "chest", "two")[int(chance * 3)]}
    if kind == "jacket":
        closure = ("buttons", "zip", "open")[int(chance * 3)]
        return {"closure": closure, "pocket": ("none", "two")[int(random.random() < 0.6)]}
    if kind == "hoodie":
        closure = "zip" if chance < 0.35 else "none"
        return {"closure": closure, "pocket": "kangaroo" if random.random() < 0.75 else "none"}
    if kind == "dress":
        closure = "buttons" if chance < 0.2 else "none"
        return {"belt": bool(random.random() < 0.4), "closure": closure}
    if kind in BOTTOMS:
        return {"belt": bool(chance < 0.3), "pocket": "two" if random.random() < 0.5 else "none"}
    pocket = "chest" if chance < 0.18 and print_kind == "none" else "none"
    return {"pocket": pocket, "closure": "buttons" if chance > 0.93 else "none"}


def _avoid_nondescript(random: np.random.Generator, garment: Garment) -> Garment:
    """Most garments without pattern, print or trim get one: real plain twins help nobody."""
    plain = garment.pattern == "solid" and garment.print_kind == "none" and not garment.trim
    if not plain or garment.contrast_sleeves or random.random() < 0.15:
        return garment
    if garment.kind in (*BOTTOMS, "dress", "shirt"):
        weights = tuple(w if i else 0.0 for i, w in enumerate(PATTERN_WEIGHTS))
        return replace(garment, pattern=_pick(random, PATTERNS, weights))
    if random.random() < 0.35:
        return replace(garment, trim=True)
    print_kind = _pick(random, PRINTS[1:], (0.34, 0.14, 0.24, 0.12, 0.16))
    return replace(garment, print_kind=print_kind, print_text=_draw_text(random, print_kind))

"""The drawn shop: plain tops that differ in cut and shade, worn in a studio."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.rendered import draw_person_photo, draw_product_photo
from datasets.rendered_brushes import Image
from datasets.rendered_cuts import front_edges, front_outline
from datasets.rendered_figures import CHEST_Y, WAIST_Y, Figure, flat_figure
from datasets.rendered_garments import KINDS, TOPS, Garment, design_garment
from datasets.rendered_patterns import DENSITY, FRONT_WIDTH
from datasets.rendered_shop import design_shop_garment
from datasets.rendered_textures import weave
from datasets.rendered_wear import draw_laid_flat

CANVAS = (512, 384)
PLAIN = replace(
    next(g for g in map(design_garment, range(99)) if g.kind == "tank"),
    base=(140, 140, 144),
    pattern="solid",
    print_kind="none",
    trim=False,
    neckline="crew",
    pocket="none",
    closure="none",
    ease=1.0,
    flare=0.0,
    hem=90.0,
)


def contrast(garment: Garment) -> int:
    """Of the pattern's colour on the cloth's; 0 without a pattern."""
    if garment.pattern == "solid":
        return 0
    return sum(abs(a - b) for a, b in zip(garment.base, garment.second, strict=True))


def changed(garment: Garment) -> NDArray[np.bool_]:
    """Where the front cloth clearly differs from that of the plain garment: (height, width)."""
    difference = weave(garment).front.astype(int) - weave(PLAIN).front
    return np.asarray(np.abs(difference).max(axis=2) > 21)  # more than the grain of the weave


def flat(mannequin: float = 0.0, sleeve: float = 0.0) -> Figure:
    return flat_figure(np.random.default_rng(0), CANVAS, (-9, 90), 28, sleeve, mannequin)


def laid(garment: Garment) -> tuple[Image, Figure]:
    """The garment on grey, and how it lies."""
    canvas, figure = np.full((*CANVAS, 3), 200, np.uint8), flat(sleeve=garment.sleeve)
    draw_laid_flat(canvas, figure, garment, np.random.default_rng(0))
    return canvas, figure


def test_the_shop_is_mostly_plain_tops_whose_colours_differ_by_a_shade() -> None:
    garments = [design_shop_garment(product) for product in range(900)]
    of_one_colour = [g for g in garments if not g.trim and contrast(g) < 80]
    assert len(of_one_colour) > 0.5 * len(garments)
    assert sum(g.kind in TOPS for g in garments) > 0.8 * len(garments)
    assert len({g.base for g in garments}) > 0.5 * len(garments)
    assert all(0 < level < 256 for g in garments for level in g.base)
    assert {g.kind for g in garments} == set(KINDS)
    assert garments[5] == design_shop_garment(5) != design_shop_garment(5, seed=1)


def test_the_shop_takes_two_of_three_photos_in_a_studio() -> None:
    """A corner of the photo is a flat wall there."""
    corners = [
        [
            draw_person_photo(product, photo, style="shop")[:24, :24].std(axis=(0, 1)).mean()
            for photo in (1, 2, 3)
        ]
        for product in range(24)
    ]
    first, second, elsewhere = np.median(corners, axis=0)  # in some a raised arm is there
    assert max(first, second) < 0.5 * elsewhere


def test_details_change_the_cloth_where_they_are_and_nowhere_else() -> None:
    middle = FRONT_WIDTH // 2
    assert not changed(PLAIN).any()

    seam = int(8 + DENSITY * 56)
    gathered = changed(replace(PLAIN, gathers=56.0))
    assert not gathered[: seam - 2].any()
    assert gathered[seam : seam + 20].mean() > 0.2
    assert gathered[-5:].mean() < 0.02

    placket = changed(replace(PLAIN, placket=3))
    rows, columns = np.nonzero(placket)
    assert rows.max() < 80
    assert np.abs(columns - middle).max() <= 8

    sheer = changed(replace(PLAIN, yoke=15.0))
    assert sheer[: int(DENSITY * 15)].mean() > 0.3
    assert not sheer[int(8 + DENSITY * 15) + 3 :].any()

    rows, columns = np.nonzero(changed(replace(PLAIN, wrap=True)))
    assert np.corrcoef(rows, columns)[0, 1] < -0.9, "from one side of the neck to the other hip"


def test_a_mannequin_has_a_waist_and_a_garment_on_a_table_has_none() -> None:
    def waist(mannequin: float) -> float:
        (chest, narrow) = front_edges(flat(mannequin), PLAIN, np.array([CHEST_Y, WAIST_Y]))[1]
        return float(narrow / chest)

    assert waist(0.0) > 0.9
    assert waist(1.0) < 0.85
    arm, hanging = flat(0.0, 1.0).arms[1], flat(1.0, 1.0).arms[1]
    assert hanging[2, 0] - hanging[0, 0] < arm[2, 0] - arm[0, 0], "sleeves hang down"


def test_straps_leave_the_shoulders_bare() -> None:
    def width_of_cloth(garment: Garment) -> float:
        canvas, figure = laid(garment)
        row = round(figure.origin[1] + figure.scale * 3.0)
        return float((np.abs(canvas[row].astype(int) - 200).max(axis=1) > 12).sum()) / figure.scale

    straps = replace(PLAIN, neckline="straps", strap=3.0, armhole=0.3)
    assert width_of_cloth(straps) < 0.6 * width_of_cloth(PLAIN)


def test_a_narrow_armhole_cuts_into_the_shoulder() -> None:
    wide, narrow = (front_outline(flat(), replace(PLAIN, armhole=share)) for share in (0.9, 0.5))
    shoulder = wide[:, 1] < CHEST_Y - 10
    assert wide[shoulder, 0].max() > narrow[shoulder, 0].max() + 5


@pytest.mark.parametrize("sleeve", [0.3, 1.0])
def test_flared_sleeves_are_wider_at_the_cuff_alone(sleeve: float) -> None:
    plain = replace(PLAIN, kind="t-shirt", sleeve=sleeve)
    flared = replace(plain, sleeve_flare=1.0)
    (before, figure), (after, _) = laid(plain), laid(flared)
    reach = [
        np.where(np.abs(photo.astype(int) - 200).max(axis=2) > 25, np.arange(384), 0).max(axis=1)
        for photo in (before, after)
    ]
    wider = reach[1] - reach[0]
    shoulder, _, wrist = figure.place(figure.arms[1])
    cuff = shoulder + sleeve * (wrist - shoulder)
    assert np.abs(wider[: round(shoulder[1] - 8 * figure.scale)]).max() <= 1
    assert abs(wider.argmax() - cuff[1]) < 14 * figure.scale
    assert wider.max() > 4 * figure.scale


def test_gathered_cloth_widens_from_its_seam_on() -> None:
    high = replace(PLAIN, gathers=32.0, flare=12.0)
    above, below = np.array([30.0]), np.array([50.0])
    edge = {
        name: [front_edges(flat(), garment, y)[1][0] for y in (above, below)]
        for name, garment in {"plain": replace(PLAIN, flare=12.0), "high": high}.items()
    }
    assert edge["high"][0] == edge["plain"][0]
    assert edge["high"][1] > edge["plain"][1] + 1


def test_products_of_the_shop_look_different_photo_by_photo_and_stay_themselves() -> None:
    first = draw_product_photo(7, style="shop")
    assert (first == draw_product_photo(7, style="shop")).all()
    assert np.abs(first.astype(int) - draw_product_photo(8, style="shop")).mean() > 2
    assert draw_person_photo(7, 1, style="shop").shape == first.shape

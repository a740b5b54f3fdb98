"""Explanations as pictures: lit parts are brighter than dark ones, numbers sit on their regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_explanation import BLACK, RED, all_but_plain, colour_checkpoint, with_patch
from PIL import Image, ImageColor

from siamese.explanation import Explanation, Overlay, Region, explain
from siamese.explanation_sheet import (
    COLOURS,
    FINER,
    PHOTO,
    ExplainedRow,
    explanation_sheet,
    in_words,
    lit,
    overlaid,
)
from siamese.sheet import MARGIN, query_size

COLD = np.zeros((4, 3), np.float32)
NOTHING = Explanation(Overlay(COLD, COLD, ()), (), (), True)


def saved(path: Path, photo: Image.Image) -> Path:
    photo.save(path)
    return path


def plain(colour: str, size: tuple[int, int] = (30, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def grey(level: int) -> Image.Image:
    return Image.new("L", (30, 40), level)


def luminance(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), int)


def count(picture: Image.Image, colour: str, within: int = 0) -> int:
    """Pixels of this colour, each channel within so many steps of it."""
    away = abs(np.asarray(picture, int) - ImageColor.getrgb(colour)[:3])
    return int((away <= within).all(axis=2).sum())


def test_any_lit_pixel_is_brighter_than_any_dark_one() -> None:
    """So a black garment that decided stands out of a white background that did not."""
    lit_black = luminance(lit(plain("black"), grey(255))).min()
    dark_white = luminance(lit(plain("white"), grey(0))).max()
    assert lit_black > dark_white


@pytest.mark.parametrize("shade", ["black", "navy", "gray", "gold", "white"])
def test_more_heat_is_more_light_on_garments_of_every_shade(shade: str) -> None:
    heat = Image.linear_gradient("L")  # from black at the top to white
    row = luminance(lit(plain(shade, heat.size), heat))[:, 0]
    assert (np.diff(row) >= 0).all()
    assert row[-1] > row[0] + 50


def test_a_ring_with_its_number_lies_around_the_region(tmp_path: Path) -> None:
    """Centre at (.25, .75) and radius .1 of the width; the ring's colour is nowhere else."""
    path = saved(tmp_path / "photo.png", plain("gray", (300, 400)))
    overlay = Overlay(COLD, COLD, (Region(2, 0.25, 0.75, 0.1),))
    picture = overlaid(path, overlay, PHOTO)
    assert picture.size == (FINER * PHOTO[0], FINER * PHOTO[1])
    colour = np.array(ImageColor.getrgb(COLOURS[1])[:3])
    y, x = np.nonzero((np.asarray(picture) == colour).all(axis=2))
    reach = 0.1 * picture.width
    assert x.mean() == pytest.approx(0.25 * picture.width, abs=5)
    assert x.max() - x.min() == pytest.approx(2 * reach, abs=4)
    assert y.max() == pytest.approx(0.75 * picture.height + reach, abs=4)
    assert count(picture, COLOURS[0]) == 0


def test_of_a_box_only_its_part_is_shown_with_regions_in_place(tmp_path: Path) -> None:
    """The right half of a photo; the region is at (.75, .5) of the whole, (.5, .5) of the half."""
    photo = plain("gray", (400, 200))
    photo.paste("red", (0, 0, 200, 200))
    path = saved(tmp_path / "photo.png", photo)
    heat = np.zeros((48, 96), np.float32)
    heat[:24, 48:] = 1
    overlay = Overlay(heat, COLD, (Region(1, 0.75, 0.5, 0.1),), (0.5, 0.0, 1.0, 1.0))
    picture = overlaid(path, overlay, PHOTO)
    assert picture.width == picture.height == FINER * PHOTO[0]
    pixels = np.asarray(picture, int)
    assert (pixels[..., 0] - pixels[..., 1] < 100).mean() > 0.99  # nothing red but the ring's edge
    assert pixels[:150].mean() > 2 * pixels[-150:].mean()
    y, x = np.nonzero(abs(pixels - ImageColor.getrgb(COLOURS[0])[:3]).max(axis=2) < 9)
    assert x.mean() == pytest.approx(picture.width / 2, abs=5)
    assert x.max() - x.min() == pytest.approx(0.4 * picture.width, abs=6)
    assert y.max() == pytest.approx(0.7 * picture.height, abs=6)


def test_a_number_stays_in_the_picture_where_its_ring_leaves_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.png", plain("gray", (300, 400)))
    regions = tuple(Region(n, x, y, 0.1) for n, (x, y) in enumerate(((0, 0), (1, 1), (1, 0)), 1))
    picture = overlaid(path, Overlay(COLD, COLD, regions), PHOTO)
    for number in range(3):
        assert count(picture, COLOURS[number], within=9) > 300 * FINER**2 * 0.7


def test_the_sheet_shows_query_products_regions_and_a_legend(tmp_path: Path) -> None:
    query = saved(tmp_path / "query.png", with_patch((96, 128), (16, 32), RED))
    product = saved(tmp_path / "product.png", with_patch((96, 128), (64, 64), RED))
    other = saved(tmp_path / "other.png", plain("blue", (96, 128)))
    explanation = explain(colour_checkpoint(128, 96), query, [product, other])
    captions = [("1. 4711", in_words(0.9)), ("2. 4712", in_words(0.1))]
    row = ExplainedRow(query, ("query.png", "yes"), [product, other], captions, explanation)
    one, two = explanation_sheet([row]), explanation_sheet([row, row])
    assert one.width == two.width
    assert two.height > one.height + query_size(PHOTO)[1]
    unmatched = ExplainedRow(query, (), [other], captions[1:], explain_nothing())
    in_legend = count(explanation_sheet([unmatched]), COLOURS[0], within=60)
    assert in_legend > 200
    # The rings on the photo and on the one product that is alike are many more.
    assert count(one, COLOURS[0], within=60) > 5 * in_legend


def explain_nothing() -> Explanation:
    cold = Overlay(COLD, COLD, ())
    return Explanation(cold, (cold,), (0.0,), True)


def test_a_product_whose_photo_is_gone_leaves_a_grey_panel(tmp_path: Path) -> None:
    query = saved(tmp_path / "query.png", all_but_plain((96, 128), RED))
    gone = tmp_path / "gone.jpg"
    explanation = explain(colour_checkpoint(128, 96), query, [gone])
    sheet = explanation_sheet([ExplainedRow(query, (), [gone], [("1. 4711",)], explanation)])
    assert count(sheet, "#f3f3f1") > PHOTO[0] * PHOTO[1] * 0.9
    assert BLACK not in {colour for _, colour in sheet.getcolors(2**24) or []}


def test_probabilities_have_words() -> None:
    words = [in_words(p) for p in (1.0, 0.8, 0.79, 0.2, 0.19, 0.0)]
    assert words == ["very likely this one"] * 2 + ["maybe"] * 2 + ["unlikely"] * 2


def test_one_product_leaves_room_for_the_whole_legend(tmp_path: Path) -> None:
    product = saved(tmp_path / "product.png", plain("blue", (96, 128)))
    sheet = np.asarray(explanation_sheet([ExplainedRow(product, (), [], [], NOTHING)]), int)
    last = (sheet[-30:] != sheet[-1, -1]).any(axis=(0, 2)).nonzero()[0].max()
    assert sheet.shape[1] - last >= MARGIN

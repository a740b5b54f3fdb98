"""Explanations: contributions worked out by hand, regions that match, and their place in photos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from helpers_explanation import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    all_but_plain,
    colour_checkpoint,
    trained_like,
    with_patch,
)
from PIL import Image

from siamese.explanation import HEAT, Explanation, alike, explain, strongest
from siamese.photos import PhotoError

ALL = np.ones((1, 6), bool)
Sides = tuple[float, float, float, float]


def encoded(photo: Image.Image) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    return stream.getvalue()


def hottest(heat: np.ndarray) -> tuple[float, float]:
    """Mean place of the values from .9, as shares of width and height."""
    y, x = np.nonzero(heat >= 0.9)
    return (x.mean() + 0.5) / heat.shape[1], (y.mean() + 0.5) / heat.shape[0]


def test_contributions_of_two_colours_are_what_they_are_by_hand() -> None:
    """Half red and half green against all red: the cosine √½ is the red half's alone; in the red
    photo both halves add the half of it."""
    query = Image.new("RGB", (32, 16), RED)
    query.paste(GREEN, (16, 0, 32, 16))
    found = explain(
        colour_checkpoint(16, 32), encoded(query), [encoded(Image.new("RGB", (32, 16), RED))]
    )
    assert found.exact
    assert found.cosines == (pytest.approx(0.5**0.5),)
    assert found.query.contributions.tolist() == [[pytest.approx(0.5**0.5), pytest.approx(0)]]
    (product,) = found.products
    assert product is not None
    assert product.contributions.tolist() == [[pytest.approx(0.5**1.5)] * 2]


def test_the_contributions_of_each_photo_sum_to_the_cosine() -> None:
    checkpoint = trained_like("small_resnet")
    random = np.random.default_rng(0)
    query, *products = (
        encoded(Image.fromarray(random.integers(0, 256, (90, 40, 3), dtype=np.uint8)))
        for _ in range(4)
    )
    found = explain(checkpoint, query, products)
    embedded = checkpoint.embed([query, *products])
    cosines = (embedded[1:] @ embedded[0]).tolist()
    assert found.cosines == pytest.approx(cosines, abs=1e-6)
    assert found.query.contributions.sum() == pytest.approx(np.mean(cosines), abs=1e-5)
    for product, cosine in zip(found.products, cosines, strict=True):
        assert product is not None
        assert product.contributions.sum() == pytest.approx(cosine, abs=1e-5)


def patches(size: tuple[int, int], **places: tuple[int, int]) -> Image.Image:
    """A black photo with 16 x 16 pixels of red, green or blue at `left, top`."""
    photo = Image.new("RGB", size, BLACK)
    for name, (left, top) in places.items():
        photo.paste(
            {"red": RED, "green": GREEN, "blue": BLUE}[name], (left, top, left + 16, top + 16)
        )
    return photo


def test_the_same_number_marks_the_same_colour_in_photo_and_product() -> None:
    """Red and green are in both, in other places, blue in neither product."""
    query = patches((96, 96), red=(0, 0), green=(64, 32), blue=(16, 80))
    products = [patches((96, 96), green=(0, 64), red=(48, 16)), patches((96, 96), red=(80, 80))]
    found = explain(colour_checkpoint(96, 96), encoded(query), list(map(encoded, products)))
    places = [
        {region.number: (round(region.x * 96), round(region.y * 96)) for region in overlay.regions}
        for overlay in (found.query, *found.products)
        if overlay is not None
    ]
    red = next(number for number, place in places[0].items() if place == (8, 8))
    green = next(number for number, place in places[0].items() if place == (72, 40))
    assert {red, green} == {1, 2} == set(places[0])
    assert places[1] == {red: (56, 24), green: (8, 72)}
    assert places[2] == {red: (88, 88)}


@pytest.mark.parametrize(
    ("size", "box", "place"),
    [
        ((128, 128), None, (64, 32)),
        ((256, 64), None, (160, 16)),  # wide: padded above and below
        ((64, 256), None, (16, 208)),  # high: padded at both sides
        ((256, 128), (128, 0, 256, 128), (192, 64)),
        ((300, 200), (40, 100, 168, 164), (72, 132)),  # wide box within a photo
        ((300, 200), (250, 0, 999, 999), (266, 100)),  # the box leaves the photo
    ],
)
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_patch_is_found_where_it_is_in_the_photo(
    size: tuple[int, int], box: Sides | None, place: tuple[int, int], fit: str
) -> None:
    """A red patch in the query; the product is red. Regions and heat lie on the patch, as exact
    as the 16 pixels of a position are in the photo."""
    checkpoint = colour_checkpoint(128, 128, fit=fit)
    query = with_patch(size, place, RED)
    product = Image.new("RGB", (128, 128), RED)
    found = explain(checkpoint, encoded(query), [encoded(product)], box).query
    x1, y1, x2, y2 = (0, 0, *size) if box is None else box
    x2, y2 = min(x2, size[0]), min(y2, size[1])
    cell = 16 * max(x2 - x1, y2 - y1) / 128
    region = found.regions[0]  # the strongest; stretched photos may have two on the patch
    for x, y in ((region.x, region.y), hottest(found.heat)):
        assert abs(x * size[0] - place[0] - 8) <= 0.75 * cell
        assert abs(y * size[1] - place[1] - 8) <= 0.75 * cell
    assert region.radius * size[0] == pytest.approx(0.8 * 16 * found_scale(x2 - x1, y2 - y1, fit))


def found_scale(width: float, height: float, fit: str) -> float:
    """Pixels of the photo's width per pixel of an input of 128 x 128."""
    return width / 128 if fit == "stretch" else max(width, height) / 128


def test_heat_has_the_photos_proportions_and_none_outside_of_the_box() -> None:
    query = encoded(all_but_plain((400, 200), RED))
    found = explain(colour_checkpoint(64, 64), query, [query], (200, 0, 400, 100))
    heat = found.query.heat
    assert heat.shape == (HEAT // 2, HEAT)
    assert heat.dtype == np.float32
    assert heat[:24, 48:].min() > 0.5
    assert heat[24:].max() == heat[:, :48].max() == 0
    assert found.query.part == (0.5, 0, 1, 0.5)


def test_no_region_lies_on_the_padding() -> None:
    """White padding is what white products share with everything; nobody sees it in the photo."""
    white = encoded(all_but_plain((32, 128), (255, 255, 255)))
    found = explain(colour_checkpoint(128, 128), white, [white])
    (product,) = found.products
    assert product is not None
    for region in (*found.query.regions, *product.regions):
        assert 0 <= region.x <= 1
        assert 0 <= region.y <= 1
    assert found.query.regions


def test_products_whose_photo_is_gone_have_no_overlay_and_the_others_stay(tmp_path: Path) -> None:
    red = encoded(all_but_plain((32, 32), RED))
    checkpoint = colour_checkpoint(32, 32)
    found = explain(checkpoint, red, [tmp_path / "gone.jpg", red, b"broken"])
    alone = explain(checkpoint, red, [red])
    assert found.products[0] is found.products[2] is None
    assert found.cosines == (None, pytest.approx(1.0), None)
    assert np.array_equal(found.query.heat, alone.query.heat)


def test_without_any_product_nothing_is_lit() -> None:
    red = encoded(all_but_plain((32, 32), RED))
    for products in ([], [b"broken"]):
        found = explain(colour_checkpoint(32, 32), red, products)
        assert found.query.heat.max() == 0
        assert found.query.regions == ()
        assert len(found.products) == len(found.cosines) == len(products)


def test_a_broken_query_or_a_box_beside_it_is_an_error() -> None:
    red = encoded(all_but_plain((32, 32), RED))
    with pytest.raises(PhotoError, match="not a photo"):
        explain(colour_checkpoint(32, 32), b"broken", [red])
    with pytest.raises(PhotoError, match="outside of the photo"):
        explain(colour_checkpoint(32, 32), red, [red], (40, 40, 50, 50))


def test_opposite_photos_have_no_heat_and_no_regions() -> None:
    red, green = (encoded(all_but_plain((32, 32), colour)) for colour in (RED, GREEN))
    found: Explanation = explain(colour_checkpoint(32, 32), red, [green])
    assert found.cosines == (pytest.approx(0.0),)
    assert found.query.heat.max() == 0
    assert found.query.regions == ()


def test_the_strongest_positions_are_apart_and_not_faint() -> None:
    """.9 is beside 1.0 and .3 is under .4 of it; of the rest the larger comes first."""
    contributions = np.array([[1.0, 0.9, 0.5, 0.1, 0.3, 0.6]])
    assert strongest(contributions, ALL) == [(0, 0), (0, 5), (0, 2)]
    assert strongest(-contributions, ALL) == []
    assert strongest(contributions, ALL & (np.arange(6) > 0)) == [(0, 1), (0, 5)]


def test_each_place_of_a_product_goes_to_one_region() -> None:
    """Both want position 0; the second region gets it, the first its next best, the third none."""
    first = np.array([[0.8, 0.7, 0.0, 0.5, 0.0, 0.0]])
    second = np.array([[1.0, 0.0, 0.0, 0.9, 0.0, 0.0]])
    third = np.array([[0.9, 0.0, 0.3, 0.0, 0.0, 0.0]])
    assert alike([first, second, third], ALL) == {1: (0, 0), 0: (0, 3)}
    assert alike([first], ~ALL) == {}
    assert alike([], ALL) == {}

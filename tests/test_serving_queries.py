"""What a batch answers, and which part of a photo is looked at."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers_serving import make_shop, photo_of, picture, settings_for
from PIL import Image

from siamese.isolation import Garment
from siamese.photos import PhotoError
from siamese.preprocessing import Box, Preprocessing
from siamese.recommend.taste import Taste
from siamese.serving.queries import AUTO, WHOLE, Query, Seen, answer, choice_of, look
from siamese.serving.shop import Goods, Shop

SMALL = Preprocessing(48, 32)
SIZE = (60, 80)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def goods(shop: Path) -> Goods:
    return Shop(settings_for(shop)).goods


class TwoGarments:
    """Finds a large top and small shoes in every photo."""

    def find(self, photo: Image.Image) -> list[Garment]:
        mask = np.zeros(photo.size[::-1], bool)
        return [
            Garment("upper", (10.0, 10.0, 50.0, 60.0), 0.4, 0.9, mask),
            Garment("shoes", (20.0, 70.0, 30.0, 80.0), 0.02, 0.8, mask),
        ]


class Nothing:
    """Finds no garment."""

    def find(self, photo: Image.Image) -> list[Garment]:
        return []


def looked(garment: str, isolation: TwoGarments | Nothing | None, **how: object) -> Seen:
    return look(picture(*SIZE), SMALL, how.get("box"), garment, isolation, SIZE)  # type: ignore[arg-type]


def test_a_batch_answers_as_each_query_alone(shop: Path, goods: Goods) -> None:
    """Photos, embeddings, filters, tastes and two versions of the goods in one batch."""
    read = goods.checkpoint.preprocessing.read
    other = replace(goods)
    few = choice_of(goods, {"baseColour": ["Red", "Blue"]}).photos
    batch = [
        Query(goods, 3, read(photo_of(shop, "000"))),
        Query(goods, 5, None, goods.snapshot.means[4]),
        Query(goods, 8, read(photo_of(shop, "002")), None, few),
        Query(other, 2, read(photo_of(shop, "005"))),
        Query(goods, 8, read(photo_of(shop, "006")), None, None, Taste(dislikes=("006",))),
        Query(goods, 8, read(photo_of(shop, "006")), None, np.array([], np.int64)),
    ]
    together = answer(batch)
    for query, found in zip(batch, together, strict=True):
        (alone,) = answer([query])
        np.testing.assert_allclose(found.embedding, alone.embedding, atol=1e-6)
        ids = [match.product_id for match in alone.ranking.matches]
        assert [match.product_id for match in found.ranking.matches] == ids
        for one, two in zip(found.ranking.matches, alone.ranking.matches, strict=True):
            assert one.probability == pytest.approx(two.probability, abs=2e-5)
    counts = [len(found.ranking.matches) for found in together]
    assert counts == [3, 5, 4, 2, 7, 0]
    assert together[1].ranking.matches[0].product_id == "004"


def test_without_a_wish_all_of_the_photo_is_seen() -> None:
    for garment, isolation in ((WHOLE, TwoGarments()), (AUTO, None)):
        seen = looked(garment, isolation)
        assert (seen.box, seen.garments, seen.size) == (None, (), SIZE)
        np.testing.assert_array_equal(seen.pixels, SMALL.read(picture(*SIZE)))


def test_the_largest_garment_is_seen_and_all_are_told() -> None:
    seen = looked(AUTO, TwoGarments())
    assert seen.box == (7.0, 7.0, 53.0, 63.0)  # with a margin of .06 of the longer side
    assert [garment.group for garment in seen.garments] == ["upper", "shoes"]
    np.testing.assert_array_equal(seen.pixels, SMALL.read(picture(*SIZE), seen.box))


def test_a_named_garment_is_seen_or_the_lack_of_it_told() -> None:
    assert looked("shoes", TwoGarments()).box == pytest.approx((19.4, 69.4, 30.6, 80.0))
    with pytest.raises(PhotoError, match=r"no bag found \(upper, shoes was\)"):
        looked("bag", TwoGarments())
    with pytest.raises(PhotoError, match="this server finds none"):
        looked("bag", None)
    assert looked(AUTO, Nothing()).box is None


def test_a_box_wins_over_a_garment() -> None:
    seen = looked("shoes", TwoGarments(), box=(0.0, 0.0, 30.0, 30.0))
    assert (seen.box, seen.garments) == ((0.0, 0.0, 30.0, 30.0), ())


def test_a_choice_counts_products_and_leaves_out_one(goods: Goods) -> None:
    assert choice_of(goods, {}).photos is None
    assert choice_of(goods, {}).products == 8
    assert choice_of(goods, {}, but="003").products == 7
    assert choice_of(goods, {"baseColour": ["Red"]}, Taste(dislikes=("000",))).products == 1


@pytest.mark.parametrize("box", [None, (10.0, 10.0, 30.0, 30.0)])
@pytest.mark.parametrize(("garment", "isolation"), [("none", None), ("auto", TwoGarments())])
def test_a_blank_photo_is_refused_as_a_search_of_the_command_line_does(
    box: Box | None, garment: str, isolation: TwoGarments | None
) -> None:
    stream = BytesIO()
    Image.new("RGB", SIZE, "silver").save(stream, "JPEG")
    with pytest.raises(PhotoError, match="photo: is of one colour all over"):
        look(stream.getvalue(), SMALL, box, garment, isolation, SIZE)

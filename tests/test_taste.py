"""Personal taste and variety, against their formulas and cases made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import (
    unit_vectors,
)
from helpers_recommend import wardrobe

from siamese.catalog import Catalog, CatalogError
from siamese.recommend.personal import rocchio
from siamese.recommend.taste import Taste, TasteError, read_taste, taste_from
from siamese.recommend.variety import vary


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return wardrobe(tmp_path_factory.mktemp("wardrobe") / "catalog")


def test_rocchio_moves_by_its_formula_and_stands_still_without_likes() -> None:
    query, liked, disliked = (torch.from_numpy(unit_vectors(n, seed=n)) for n in (2, 3, 4))
    moved = rocchio(query, liked, disliked)
    naive = query + 0.75 * liked.mean(0) - 0.15 * disliked.mean(0)
    torch.testing.assert_close(moved, naive / naive.norm(dim=1, keepdim=True))
    assert torch.equal(rocchio(query, liked[:0], disliked[:0]), query)


def naive_mmr(scores: np.ndarray, vectors: np.ndarray, top: int, variety: float) -> list[int]:
    """As the formula stands."""
    chosen: list[int] = []
    while len(chosen) < top:

        def gain(place: int) -> float:
            twin = max((float(vectors[place] @ vectors[c]) for c in chosen), default=0.0)
            return (1 - variety) * scores[place] - variety * twin

        left = [place for place in range(len(scores)) if place not in chosen]
        chosen.append(max(left, key=gain))
    return chosen


@pytest.mark.parametrize("variety", [0.0, 0.3, 0.7, 1.0])
def test_variety_is_maximal_marginal_relevance(variety: float) -> None:
    vectors, query = unit_vectors(30, seed=5), unit_vectors(1, seed=6)[0]
    scores = vectors @ query
    found = vary(scores, vectors, 8, variety).tolist()
    expected = naive_mmr(scores, vectors, 8, variety)
    assert found == (expected if variety else np.argsort(-scores)[:8].tolist())
    assert sorted(vary(scores, vectors, 99, variety)) == list(range(30))


def test_twins_do_not_stand_beside_each_other_in_a_varied_list() -> None:
    one, other = np.eye(2, dtype=np.float32)
    vectors, scores = np.stack([one, one, one, other]), np.array([0.9, 0.89, 0.88, 0.5])
    assert vary(scores, vectors, 2, 0.0).tolist() == [0, 1]
    assert vary(scores, vectors, 2, 0.5).tolist() == [0, 3]
    with pytest.raises(ValueError, match="from 0 to 1"):
        vary(scores, vectors, 2, 1.5)


def test_what_is_never_shown_is_not_and_unknown_colours_are(catalog: Catalog) -> None:
    taste = Taste(never={"baseColour": ("Yellow", "Blue")}, dislikes=("w1",))
    snapshot = catalog.snapshot()
    allowed = taste.allows(snapshot)
    shown = [name for name, ok in zip(snapshot.product_ids, allowed, strict=True) if ok]
    assert shown == ["s4", "s5", "s6", "s7", "x1"]


def test_a_profile_that_the_catalog_does_not_know_lists_what_it_knows(catalog: Catalog) -> None:
    snapshot = catalog.snapshot()
    known = "baseColour has no value 'Yelow'; there are Black, Blue, Yellow"
    for taste, message in [
        (Taste(never={"baseColour": ("Yelow",)}), known),
        (Taste(prefer={"baseColour": ("Yelow",)}), known),
        (Taste(never={"color": ("Yellow",)}), "no column 'color'; there are subCategory"),
        (Taste(likes=("s1", "nothing")), "no product nothing in the catalog"),
        (Taste(dislikes=("nothing",)), "no product nothing"),
    ]:
        with pytest.raises(CatalogError, match=message):
            taste.check(snapshot)


def test_profiles_are_read_joined_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "taste.json"
    path.write_text('{"never": {"baseColour": "Yellow", "year": [2011]}, "likes": ["1", 2]}')
    taste = read_taste(path) | Taste(never={"baseColour": ("Red", "Yellow")}, likes=("2", "3"))
    assert taste.never == {"baseColour": ("Yellow", "Red"), "year": (2011,)}
    assert taste.likes == ("1", "2", "3")
    assert taste
    assert not taste_from({})
    path.write_text('{"never": {"baseColour": "Türkis"}}', "utf-8-sig")  # as Windows saves it
    assert read_taste(path).never == {"baseColour": ("Türkis",)}
    contents = ["[]", '{"nver": {}}', '{"never": []}', '{"likes": [{}]}', "{", ""]
    for content in contents:
        path.write_text(content)
        with pytest.raises(TasteError, match=r"taste\.json: "):
            read_taste(path)
    with pytest.raises(TasteError, match="No such file"):
        read_taste(tmp_path / "none")

"""The most typical product of each kind, against the matrix of all pairs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers_catalog import (
    unit_vectors,
)
from helpers_recommend import wardrobe

from siamese.attributes.label_table import read_labels
from siamese.catalog import Catalog, CatalogError
from siamese.labels import UNKNOWN
from siamese.recommend.candidates import Candidates, candidates_of, medoids
from siamese.recommend.narrowing import Kinds


def naive_medoid(vectors: np.ndarray) -> int:
    """With the matrix of all pairs."""
    wide = vectors.astype(np.float64)
    return int((wide @ wide.T).sum(axis=1).argmax())


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_medoids_are_those_of_the_full_matrix_whatever_the_chunk(chunk: int) -> None:
    vectors = unit_vectors(60, seed=1)
    group = np.random.default_rng(2).integers(UNKNOWN, 5, 60)
    group[group == 4] = UNKNOWN
    group[17] = 4  # a kind of one product
    places, sums = medoids(vectors, group, chunk)
    for kind in range(5):
        members = np.flatnonzero(group == kind)
        best = members[naive_medoid(vectors[members])]
        assert places[kind] == best
        assert sums[kind] == pytest.approx((vectors[members] @ vectors[best]).sum(), abs=1e-5)
    assert places[4] == 17


def test_medoids_of_a_whole_shop_need_no_matrix_of_all_pairs() -> None:
    """That of 44,000 products would take 7 GiB; their embeddings are 5 MiB here."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((44_000, 32)).astype(np.float32)
    group = random.integers(0, 280, len(vectors))
    tracemalloc.start()
    medoids(vectors, group)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_of_equal_products_the_first_is_the_medoid() -> None:
    vectors = np.repeat(unit_vectors(1), 5, axis=0)
    places, _ = medoids(vectors, np.zeros(5, np.int64), chunk=2)
    assert places.tolist() == [0]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return wardrobe(tmp_path_factory.mktemp("wardrobe") / "catalog")


def test_candidates_tell_how_alike_their_kind_is_also_of_a_single_product(catalog: Catalog) -> None:
    found = candidates_of(read_labels(catalog, ["gender+articleType"]))
    assert found.labels == (
        "Men Jeans", "Men Shirts", "Unisex Watches", "Women Jeans", "Women Shirts", "Women Tops"
    )  # fmt: skip
    assert found.counts.tolist() == [2, 5, 1, 1, 1, 1]
    assert found.similarity[2:].tolist() == [1, 1, 1, 1]
    vectors = catalog.snapshot().means
    men = [catalog.snapshot().place_of[f"s{n}"] for n in (1, 2, 3, 4, 7)]
    best = men[naive_medoid(vectors[men])]
    assert found.product_ids[1] == catalog.snapshot().product_ids[best]
    others = [place for place in men if place != best]
    assert found.similarity[1] == pytest.approx((vectors[others] @ vectors[best]).mean(), abs=1e-6)
    assert found.group[catalog.snapshot().place_of["x1"]] == UNKNOWN


def test_a_label_that_no_product_has_is_refused(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="no product has the label 'gender'"):
        candidates_of(read_labels(catalog, ["gender"], "product_id = 'x1'"))


def test_the_nearest_candidate_of_the_category_says_the_kind() -> None:
    """The second query's category is none of them, so all candidates are compared."""
    vectors = np.eye(3, dtype=np.float32)
    found = Candidates(("a", "b", "c"), ("1", "2", "3"), vectors, *[np.ones(3)] * 3)
    kinds = Kinds(1, found, np.array(["x", "x", "y"], dtype=object))
    query = np.array([[0.1, 0.2, 0.9]], np.float32)
    assert kinds.nearest(query, ["x"]).tolist() == [1]
    assert kinds.nearest(query, ["unheard of"]).tolist() == [2]
    assert kinds.nearest(np.repeat(query, 2, 0), ["x", "y"]).tolist() == [1, 2]

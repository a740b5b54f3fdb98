"""Inventory queries: the product's own embedding, the mean of several photos, and no photo file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import save_checkpoint, unit_vectors

from siamese.catalog import Catalog, CatalogError, Product
from siamese.checkpoint_file import load_checkpoint
from siamese.finder import Finder
from siamese.ranking import normalised
from siamese.recommend.inventory import similar_products

SIZE = 16


@pytest.fixture
def finder(tmp_path: Path) -> Finder:
    """Five products with 1, 2, 1, 1, 1 photos; their paths lead nowhere."""
    checkpoint = load_checkpoint(save_checkpoint(tmp_path / "m.safetensors"))
    vectors = unit_vectors(6, SIZE)
    rows = {"a": [0], "b": [1, 2], "c": [3], "d": [4], "e": [5]}
    products = [
        Product(name, [f"/gone/{name}{row}.jpg" for row in own], vectors[own])
        for name, own in rows.items()
    ]
    catalog = Catalog.create(tmp_path / "c", checkpoint.fingerprint, SIZE, products)
    return Finder(checkpoint, catalog)


def test_a_product_of_several_photos_asks_with_their_mean(finder: Finder) -> None:
    vectors = unit_vectors(6, SIZE)
    query = vectors[1] + vectors[2]
    query /= np.linalg.norm(query)
    cosine = {
        name: float(query @ vectors[row]) for name, row in zip("acde", (0, 3, 4, 5), strict=True)
    }
    expected = sorted(cosine, key=lambda name: -cosine[name])
    ranking = similar_products(finder, "b")
    assert [match.product_id for match in ranking.matches] == expected
    assert ranking.query == "/gone/b1.jpg"
    assert ranking.product_id == "b"


def test_an_unknown_product_is_refused_even_beyond_the_last(finder: Finder) -> None:
    for name in ("0", "bb", "zz"):
        with pytest.raises(CatalogError, match=f"has no product {name}; see `list`"):
            similar_products(finder, name)


def test_the_only_product_is_like_no_other(finder: Finder) -> None:
    finder.catalog.remove(["b", "c", "d", "e"])
    with pytest.raises(CatalogError, match="has no product besides a"):
        similar_products(finder, "a")


def test_scores_are_moved_between_the_extremes_of_all_products() -> None:
    cosines = np.array([0.9, 0.5])
    assert normalised(cosines, torch.tensor([0.1]).double()) == [1.0, 0.5]
    assert normalised(cosines, torch.empty(0).double()) == [1.0, 0.0]
    assert normalised(np.array([0.3, 0.3]), torch.tensor([0.3]).double()) == [1.0, 1.0]

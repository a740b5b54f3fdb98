"""Rankings by a first pass over codes, against those by embeddings and the definition."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import best_of_each, save_checkpoint, unit_vectors

from siamese.catalog import Catalog, Product
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.finder import Finder, ProductScore
from siamese.quantisation import Codes

NO_CODES: Codes = "none"
INT8: Codes = "int8"
DIMENSIONS = 16  # of the checkpoint in `helpers_catalog`


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "m.safetensors"))


def many_products(folder: Path, checkpoint: Checkpoint) -> Catalog:
    """300 products of 1 to 3 photos, every other one red. Seeds 5 and 6."""
    counts = np.random.default_rng(5).integers(1, 4, 300)
    parts = np.split(unit_vectors(int(counts.sum()), DIMENSIONS, seed=6), np.cumsum(counts)[:-1])
    products = [
        Product(f"{i:03d}", [f"{i}-{j}" for j in range(len(part))], part, {"red": i % 2 == 0})
        for i, part in enumerate(parts)
    ]
    return Catalog.create(folder, checkpoint.fingerprint, DIMENSIONS, products)


@pytest.mark.parametrize("product_score", ["max", "mean"])
@pytest.mark.parametrize("where", [None, "red"])
def test_int8_codes_give_the_same_answers(
    tmp_path: Path, checkpoint: Checkpoint, product_score: ProductScore, where: str | None
) -> None:
    catalog = many_products(tmp_path / "c", checkpoint)
    queries = torch.from_numpy(unit_vectors(9, DIMENSIONS, seed=7))
    plain, coded = (
        Finder(checkpoint, catalog, product_score, codes=codes).rank_embeddings(queries, 20, where)
        for codes in (NO_CODES, INT8)
    )
    for exact, found in zip(plain, coded, strict=True):
        assert [(m.product_id, m.path, m.cosine) for m in found.matches] == [
            (m.product_id, m.path, m.cosine) for m in exact.matches
        ]
        assert found.probability == pytest.approx(exact.probability, abs=0.01)


def test_sign_bits_choose_a_hundred_products_that_are_ranked_exactly(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    catalog = many_products(tmp_path / "c", checkpoint)
    snapshot = catalog.snapshot()
    query = unit_vectors(1, DIMENSIONS, seed=7)
    finder = Finder(checkpoint, catalog, codes="binary")
    differing = ((query > 0) != (snapshot.embeddings > 0)).sum(axis=1)
    of_product = np.minimum.reduceat(differing, snapshot.first)
    farthest = np.sort(of_product)[99]
    looked_at = differing <= farthest  # as many as are as far as the hundredth
    best = best_of_each(query[0], snapshot.embeddings[looked_at], snapshot.product[looked_at])
    expected = sorted(best, key=lambda number: (-best[number][0], number))
    assert 100 <= len(expected) < 300
    for top in (5, 100):
        (ranking,) = finder.rank_embeddings(torch.from_numpy(query), top)
        assert [int(match.product_id) for match in ranking.matches] == expected[:top]
    exact = Finder(checkpoint, catalog).rank_embeddings(torch.from_numpy(query), 100)[0]
    assert {m.product_id for m in exact.matches} != {f"{number:03d}" for number in expected[:100]}


def test_codes_are_made_anew_after_a_change(tmp_path: Path, checkpoint: Checkpoint) -> None:
    catalog = many_products(tmp_path / "c", checkpoint)
    query = unit_vectors(1, DIMENSIONS, seed=8)
    finder = Finder(checkpoint, catalog, codes="int8")
    (before,) = finder.rank_embeddings(torch.from_numpy(query), 1)
    catalog.add([Product("new", ["new"], query)])
    (after,) = finder.rank_embeddings(torch.from_numpy(query), 1)
    assert before.matches[0].product_id != "new"
    assert after.matches[0].product_id == "new"

"""Precision with tolerance equals its definition, written as plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers_catalog import unit_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.attributes import precision as module
from siamese.attributes.precision import combined, neighbours, precision
from siamese.errors import UserError

# Two clusters on a circle: 0–2 near each other, 3–4 on the other side.
CIRCLE = torch.tensor([[np.cos(a), np.sin(a)] for a in (0.0, 0.1, 0.25, 3.0, 3.2)]).float()
EVERY = np.arange(5)


def naive_neighbours(embeddings: np.ndarray, asked: list[int], top: int) -> list[list[int]]:
    """By cosine, then by place."""
    found = []
    for own in asked:
        cosine = {i: float(embeddings[own] @ embeddings[i]) for i in range(len(embeddings))}
        others = sorted((i for i in cosine if i != own), key=lambda i: (-cosine[i], i))
        found.append(others[:top])
    return found


def test_the_nearest_others_come_first_and_never_the_product_itself() -> None:
    assert neighbours(CIRCLE, EVERY, 2).tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    assert neighbours(CIRCLE, EVERY, 99).shape == (5, 4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(2, 30), top=st.integers(1, 12))
def test_neighbours_equal_a_naive_loop_with_ties_and_small_chunks(
    seed: int, count: int, top: int
) -> None:
    """Whole numbers have exact cosines, and many equal ones."""
    random = np.random.default_rng(seed)
    embeddings = random.integers(-1, 2, (count, 3)).astype(np.float32)
    asked = np.flatnonzero(random.random(count) < 0.7)
    before, module.CHUNK = module.CHUNK, 3 * count
    try:
        found = neighbours(torch.from_numpy(embeddings), asked, top)
    finally:
        module.CHUNK = before
    assert found.tolist() == naive_neighbours(embeddings, asked.tolist(), top), seed


def test_only_a_chunk_of_the_cosines_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 40)
    held: list[int] = []
    first = module._first

    def watched(cosine: torch.Tensor, count: int) -> np.ndarray:
        held.append(cosine.numel())
        return first(cosine, count)

    monkeypatch.setattr(module, "_first", watched)
    neighbours(torch.from_numpy(unit_vectors(20)), np.arange(20), 3)
    assert held == [40] * 10


def test_a_product_counts_where_so_many_neighbours_may_differ() -> None:
    """Of 0's four others two have its label: 1 − p = .5."""
    labels = np.array([7, 7, 7, 1, 1])
    result = precision("kind", labels, EVERY, neighbours(CIRCLE, EVERY, 4))
    assert result.shares.tolist() == [0.5, 0.5, 0.5, 0.25, 0.25]
    assert [result.at(t) for t in (0, 0.49, 0.5, 0.74, 0.75, 1)] == [0, 0, 0.6, 0.6, 1, 1]
    assert result.possible.tolist() == [0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_tolerance_of_a_tenth_lets_one_of_ten_differ() -> None:
    """1 − .9 is a little more than .1 in binary."""
    found = np.arange(1, 11)[None]
    labels = np.array([0] * 10 + [1])
    result = precision("kind", labels, np.array([0]), found)
    assert (result.at(0), result.at(0.1)) == (0, 1)


def test_products_without_a_label_are_not_judged_but_count_as_wrong_neighbours() -> None:
    labels = np.array([0, -1, 0, -1, 1])
    found = neighbours(CIRCLE, EVERY, 2)
    result = precision("kind", labels, EVERY, found)
    assert result.shares.tolist() == [0.5, 0.5, 0.0]  # of 0, 2 and 4
    assert result.possible.tolist() == [0.5, 0.5, 0.0]
    nothing = precision("kind", np.full(5, -1), EVERY, found)
    assert len(nothing.shares) == 0
    assert np.isnan(nothing.at(0))


def test_several_columns_at_once_are_equal_where_all_of_them_are() -> None:
    kind, gender = np.array([0, 0, 1, 1, -1]), np.array([5, 5, 5, 6, 5])
    both = combined([kind, gender])
    assert both[0] == both[1]
    assert len({both[0], both[2], both[3]}) == 3
    assert both[4] == -1


def test_perfect_embeddings_reach_what_is_possible() -> None:
    """Products of a label share a point; a label with four products cannot fill five places."""
    labels = np.array([0] * 9 + [1] * 4)
    embeddings = torch.from_numpy(unit_vectors(2))[labels]
    result = precision("kind", labels, np.arange(13), neighbours(embeddings, np.arange(13), 5))
    assert result.shares.tolist() == result.possible.tolist() == [1.0] * 9 + [0.6] * 4
    assert result.at(0) == result.possible_at(0) == 9 / 13


def test_neighbours_may_be_of_some_products_only_and_so_is_what_is_possible() -> None:
    ranked = np.array([False, True, True, True, False])
    asked = np.array([0, 1, 4])
    found = neighbours(CIRCLE, asked, 2, ranked)
    assert found.tolist() == [[1, 2], [2, 3], [3, 2]]
    report = precision("kind", np.array([0, 0, 0, 1, 1]), asked, found, ranked)
    assert report.shares.tolist() == [1.0, 0.5, 0.5]
    assert report.possible.tolist() == [1.0, 0.5, 0.5]
    with pytest.raises(UserError, match="1 products have no neighbours"):
        neighbours(CIRCLE, asked, 2, np.arange(5) == 3)


def test_one_product_has_no_neighbours() -> None:
    with pytest.raises(UserError, match="1 products have no neighbours"):
        neighbours(CIRCLE[:1], np.array([0]))

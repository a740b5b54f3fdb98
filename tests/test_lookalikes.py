"""Late batches: neighbours meet, every product still comes once, twins stay apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.batches import ProductBatches
from datasets.lookalikes import GROUP, LookAlikes, lookalike_order, twin_numbers
from siamese.verification import Integers


def on_a_circle(degrees: list[float]) -> np.ndarray:
    """Unit vectors whose neighbours are those of the nearest angles."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def batches_of(embedding: np.ndarray, twins: list[int], per_batch: int) -> list[set[int]]:
    order = lookalike_order(np.random.default_rng(0), embedding, np.array(twins), per_batch)
    assert sorted(order.tolist()) == list(range(len(embedding)))
    return [set(order[at : at + per_batch].tolist()) for at in range(0, len(order), per_batch)]


def test_half_of_a_batch_are_a_product_and_its_nearest_the_others_are_the_next_in_order() -> None:
    """By hand, batches of six: 0 with its nearest 4 and 7, then 1, 2 and 3 as they come."""
    embedding = on_a_circle([0, 90, 180, 270, 1, 91, 181, 2, 271, 120])
    batches = batches_of(embedding, list(range(10)), 6)
    assert batches == [{0, 4, 7, 1, 2, 3}, {5, 9, 6, 8}]


def test_a_half_batch_larger_than_a_group_starts_from_several_products() -> None:
    """Four clusters of eight; 16 of each 32 are two whole clusters."""
    cluster = np.arange(64) % 8
    embedding = on_a_circle([40.0 * c + 0.1 * i for i, c in enumerate(cluster)])
    first, _ = batches_of(embedding, list(range(64)), 32)
    # Products 0 and 1 lead, each with the seven others of its cluster.
    assert {i for i in range(64) if cluster[i] in (0, 1)} <= first
    assert GROUP == 8


def test_twins_do_not_join_the_group_of_their_twin() -> None:
    """1 and 2 are nearest to 0; 1 is its twin, so that 2 and 3 come in its place."""
    embedding = on_a_circle([0, 1, 2, 3, 100, 140, 180, 220, 260, 300, 310, 320])
    twins = [7, 7, *range(100, 110)]
    order = lookalike_order(np.random.default_rng(0), embedding, np.array(twins), 6)
    assert {0, 2, 3} <= set(order[:6].tolist())


def test_where_nothing_but_twins_is_free_the_batch_is_filled_all_the_same() -> None:
    assert batches_of(on_a_circle([0, 1, 2, 3, 4, 5]), [5] * 6, 6) == [set(range(6))]


@settings(max_examples=60, deadline=None)
@given(
    products=st.integers(1, 40),
    per_batch=st.integers(1, 24),
    groups=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_every_product_comes_once_whatever_the_numbers(
    products: int, per_batch: int, groups: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    embedding = random.normal(size=(products, 3)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    twins = random.integers(0, groups, products)
    order = lookalike_order(random, embedding, twins, per_batch)
    assert sorted(order.tolist()) == list(range(products))


# ---- in the batches


PRODUCT = np.repeat(np.arange(60), 3)  # two product photos and a person each
IS_PERSON = np.arange(180) % 3 == 2
PHOTOS = np.random.default_rng(5).normal(size=(180, 4)).astype(np.float32)
PHOTOS /= np.linalg.norm(PHOTOS, axis=1, keepdims=True)


def sampler_of(asked: list[Integers], rank: int = 0, world_size: int = 1) -> ProductBatches:
    def embed(rows: Integers) -> np.ndarray:
        asked.append(rows)
        return PHOTOS[rows]

    lookalikes = LookAlikes(embed, 2.5, np.arange(180) // 3)
    return ProductBatches(PRODUCT, IS_PERSON, 12, 1, 4, rank, world_size, lookalikes=lookalikes)


def rows_of(sampler: ProductBatches, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return [draw.rows.tolist() for draw in sampler]


def test_look_alikes_begin_with_their_epoch_and_are_embedded_once_in_each() -> None:
    asked: list[Integers] = []
    hard, plain = sampler_of(asked), ProductBatches(PRODUCT, IS_PERSON, 12, 1, 4)
    assert [rows_of(hard, e) == rows_of(plain, e) for e in range(5)] == [True] * 3 + [False] * 2
    assert len(asked) == 2
    assert all(sorted(rows) == np.flatnonzero(~IS_PERSON).tolist() for rows in asked)


def test_products_of_a_hard_batch_are_nearer_to_each_other() -> None:
    """Mean cosine of all pairs in a batch, of the means of their product photos."""
    centre = PHOTOS.reshape(60, 3, 4)[:, :2].sum(axis=1)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)

    def nearness(epoch: int) -> float:
        inside = [centre[np.unique(PRODUCT[rows])] for rows in rows_of(sampler_of([]), epoch)]
        return float(np.mean([(e @ e.T)[np.triu_indices(len(e), 1)].mean() for e in inside]))

    assert min(map(nearness, (3, 4, 5))) > 0.05 + max(map(nearness, (0, 1, 2)))


def test_draws_depend_on_seed_epoch_and_embeddings_alone() -> None:
    assert rows_of(sampler_of([]), 4) == rows_of(sampler_of([]), 4) != rows_of(sampler_of([]), 3)


def test_the_shares_of_all_processes_are_the_batch_of_one() -> None:
    whole = rows_of(sampler_of([]), 3)
    shares = [rows_of(sampler_of([], rank, 3), 3) for rank in range(3)]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == whole  # noqa: RUF017


# ---- twins


def test_twins_are_of_one_number_and_products_without_group_of_their_own() -> None:
    frame = pd.DataFrame(
        {
            "product_id": ["a", "a", "b", "c", "d", "e"],
            "twin_group": ["a", "a", "a", None, "d", "c"],
        }
    )
    numbers = twin_numbers(frame)
    assert numbers.dtype == np.int64
    a, again, b, c, d, e = numbers.tolist()
    assert a == again == b
    assert len({a, c, d, e}) == 4  # `c` without a group is not in the group called `c`
    alone = twin_numbers(frame[["product_id"]]).tolist()
    assert alone[0] == alone[1]
    assert len(set(alone)) == 5


@pytest.mark.parametrize("empty", [None, np.nan])
def test_numbers_as_names_of_groups_are_read(empty: float | None) -> None:
    frame = pd.DataFrame({"product_id": ["1", "2", "3"], "twin_group": [1.0, 1.0, empty]})
    first, second, third = twin_numbers(frame).tolist()
    assert first == second != third

"""Ranking and its figures against naive loops and hand-made galleries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

from siamese.errors import UserError
from siamese.retrieval import (
    TOP,
    Distractors,
    RetrievalReport,
    average_precisions,
    measure,
    measure_drawn,
    product_scores,
    ranks_of,
    wilson_interval,
)


def naive_rank(scores: Sequence[float], right: int) -> float:
    """Sort the products by score, then by number; the place of the right one, from 1."""
    if right < 0:
        return math.inf
    order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    return 1.0 + order.index(right)


def naive_average_precision(cosine: Sequence[float], relevant: list[bool]) -> float:
    order = sorted(range(len(cosine)), key=lambda place: -cosine[place])
    hits, total = 0, 0.0
    for place, photo in enumerate(order, start=1):
        if relevant[photo]:
            hits += 1
            total += hits / place
    return total / max(sum(relevant), 1)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=5),
    data=st.data(),
)
def test_ranks_equal_a_sort_however_many_ties(rows: list[list[int]], data: st.DataObject) -> None:
    """Scores of four values only: nearly every query has ties."""
    right = data.draw(st.lists(st.integers(-1, 5), min_size=len(rows), max_size=len(rows)))
    found = ranks_of(torch.tensor(rows, dtype=torch.float32), torch.tensor(right))
    assert found.tolist() == [naive_rank(row, r) for row, r in zip(rows, right, strict=True)]


def test_ties_go_to_the_smaller_product_number() -> None:
    scores = torch.zeros(3, 3)
    assert ranks_of(scores, torch.tensor([0, 1, 2])).tolist() == [1.0, 2.0, 3.0]


def test_a_score_that_is_not_a_number_is_a_miss_and_never_a_hit() -> None:
    """Every comparison with it is false, so that nothing seems to be ahead of it."""
    scores = torch.full((1, 3), math.nan)
    assert ranks_of(scores, torch.tensor([1])).tolist() == [math.inf]


def test_a_product_counts_by_its_best_photo() -> None:
    """Photos of products 1, 0, 1; product 2 has none."""
    cosine = torch.tensor([[0.2, 0.5, 0.7], [0.9, -0.5, 0.1]])
    scores = product_scores(cosine, torch.tensor([1, 0, 1]), 3)
    expected = torch.tensor([[0.5, 0.7, -math.inf], [-0.5, 0.9, -math.inf]])
    assert torch.equal(scores, expected)


@settings(max_examples=100, deadline=None)
@given(
    cosine=st.lists(st.integers(-3, 3), min_size=1, max_size=9),
    data=st.data(),
)
def test_average_precision_equals_a_naive_loop(cosine: list[int], data: st.DataObject) -> None:
    relevant = data.draw(st.lists(st.booleans(), min_size=len(cosine), max_size=len(cosine)))
    found = average_precisions(torch.tensor([cosine]).float(), torch.tensor([relevant]))
    assert found.item() == pytest.approx(naive_average_precision(cosine, relevant))


def test_average_precision_equals_sklearns() -> None:
    """Without ties, which scikit-learn groups. Seed 0."""
    generator = np.random.default_rng(0)
    cosine = generator.permuted(np.tile(np.linspace(-1, 1, 40), (20, 1)), axis=1)
    relevant = generator.random((20, 40)) < 0.2
    relevant[:, 3] = True
    found = average_precisions(torch.from_numpy(cosine), torch.from_numpy(relevant))
    expected = [average_precision_score(r, c) for r, c in zip(relevant, cosine, strict=True)]
    assert found.tolist() == pytest.approx(expected)


# ---- whole reports; products are numbered 7, 17, 27, … to be no row numbers by accident


def one_hot(count: int) -> Tensor:
    return torch.eye(count)


def ids(count: int) -> Tensor:
    return 10 * torch.arange(count) + 7


def test_a_perfect_encoder_has_perfect_figures() -> None:
    """Persons are embedded just as their products."""
    report = measure(one_hot(30), ids(30), one_hot(30), ids(30))
    assert report.top == {1: 1.0, 5: 1.0, 10: 1.0, 20: 1.0}
    assert report.mean_reciprocal_rank == 1.0
    assert report.mean_average_precision == 1.0
    assert (report.queries, report.catalog_size, report.draws) == (30, 30, 1)


def test_the_worst_encoder_ranks_the_right_product_last() -> None:
    """Persons are embedded opposite to their products; all others are at right angles."""
    report = measure(-one_hot(30), ids(30), one_hot(30), ids(30))
    assert report.top == {1: 0.0, 5: 0.0, 10: 0.0, 20: 0.0}
    assert report.mean_reciprocal_rank == pytest.approx(1 / 30)


def test_an_imperfect_encoder_has_the_share_of_those_it_knows() -> None:
    """Of 40 products the first 10 are embedded right, the others opposite: last of 40."""
    sign = torch.where(torch.arange(40) < 10, 1.0, -1.0)[:, None]
    report = measure(sign * one_hot(40), ids(40), one_hot(40), ids(40))
    assert report.top == dict.fromkeys(TOP, 0.25)
    assert report.mean_reciprocal_rank == pytest.approx((10 + 30 / 40) / 40)


def test_a_cyclic_shift_gives_each_rank_exactly_once() -> None:
    """Query q scores product p by −((p − q + shift) mod 20): over all shifts, rank 1 … 20 each.

    That is the exact mean of a shuffled encoder: chance, with MRR = H(20) / 20 = .1799.
    """
    places = torch.arange(20)
    score = -((places[None, :] - places[:, None]) % 20).float()
    report = measure(score, ids(20), one_hot(20), ids(20).roll(7))
    assert report.top[1] == 0.0  # one shift: all have the same rank, 8 or 14
    ranks = torch.stack([ranks_of(score, (places + shift) % 20) for shift in range(20)])
    assert sorted(ranks[:, 0].tolist()) == list(range(1, 21))
    assert (1 / ranks).mean().item() == pytest.approx(sum(1 / r for r in range(1, 21)) / 20)
    for k in TOP:
        assert (ranks <= k).double().mean().item() == pytest.approx(report.chance(k))


def test_a_random_encoder_is_at_chance() -> None:
    """400 queries among 400 products, seed 0; the bound is four standard deviations."""
    generator = torch.Generator().manual_seed(0)
    query, gallery = torch.randn(2, 400, 16, generator=generator)
    report = measure(query, ids(400), gallery, ids(400))
    for k in TOP:
        chance = k / 400
        assert report.chance(k) == chance
        assert abs(report.top[k] - chance) < 4 * (chance * (1 - chance) / 400) ** 0.5


def test_a_query_whose_product_is_missing_is_a_miss_and_counted() -> None:
    """Two queries of three are perfect; the product of the third, 99, is not in the gallery."""
    for missing in (99, 1, 12):  # above, below and between the numbers of the gallery
        report = measure(
            one_hot(3), torch.tensor([7, 17, missing]), one_hot(3)[:2], torch.tensor([7, 17])
        )
        assert report.queries == 3
        assert report.top[1] == report.top[20] == pytest.approx(2 / 3)
        assert report.mean_reciprocal_rank == pytest.approx(2 / 3)
        assert report.mean_average_precision == pytest.approx(2 / 3)


def test_several_photos_count_once_for_ranks_and_each_for_precision() -> None:
    """Gallery by cosine: .9 product A, .8 product A, .7 product B, .6 B; the query is of B.

    As products B is second of two: reciprocal rank 1/2. As photos its hits are at 3 and 4:
    average precision (1/3 + 2/4) / 2.
    """
    gallery = torch.tensor([[0.9], [0.7], [0.8], [0.6]])
    report = measure(torch.ones(1, 1), torch.tensor([2]), gallery, torch.tensor([1, 2, 1, 2]))
    assert report.catalog_size == 2
    assert report.mean_reciprocal_rank == 0.5
    assert report.mean_average_precision == pytest.approx((1 / 3 + 2 / 4) / 2)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), chunk=st.integers(1, 12), single=st.booleans())
def test_chunks_change_nothing_and_all_equals_the_naive_ranking(
    seed: int, chunk: int, single: bool
) -> None:
    """Whole-number embeddings: products are exact, and ties are everywhere."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randint(-1, 2, (11, 2), generator=generator).float()
    asked = torch.randint(0, 6, (11,), generator=generator)
    gallery = torch.randint(-1, 2, (9, 2), generator=generator).float()
    number = (
        torch.randperm(9, generator=generator)
        if single
        else torch.randint(0, 5, (9,), generator=generator)
    )
    report = measure(query, asked, gallery, number, chunk=chunk)
    assert report == measure(query, asked, gallery, number)
    products = sorted(set(number.tolist()))
    ranks = []
    for vector, product in zip(query, asked.tolist(), strict=True):
        cosine = (gallery @ vector).tolist()
        best = [
            max(c for c, n in zip(cosine, number.tolist(), strict=True) if n == p) for p in products
        ]
        ranks.append(naive_rank(best, products.index(product) if product in products else -1))
    assert report.top == {k: sum(r <= k for r in ranks) / 11 for k in TOP}
    assert report.mean_reciprocal_rank == pytest.approx(sum(1 / r for r in ranks) / 11)
    if single:  # ties of photos go the way that ties of products go
        assert report.mean_average_precision == pytest.approx(report.mean_reciprocal_rank)


@pytest.mark.parametrize(("queries", "photos"), [(0, 3), (3, 0)])
def test_nothing_to_rank_is_an_error(queries: int, photos: int) -> None:
    with pytest.raises(UserError, match="nothing to rank"):
        measure(torch.rand(queries, 3), ids(queries), torch.rand(photos, 3), ids(photos))


@pytest.mark.parametrize("broken", ["query", "gallery"])
def test_embeddings_of_a_diverged_training_are_an_error_and_no_figures(broken: str) -> None:
    vectors = {"query": one_hot(3), "gallery": one_hot(3)}
    vectors[broken] = vectors[broken] * math.nan
    with pytest.raises(UserError, match="diverged; lower its learning_rate"):
        measure(vectors["query"], ids(3), vectors["gallery"], ids(3))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        # By the formula at z = 1.959964, and as statsmodels' proportion_confint(method="wilson").
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (1, 300, 0.0006, 0.0186),
    ],
)
def test_wilsons_interval_is_the_published_one(
    hits: int, count: int, low: float, high: float
) -> None:
    assert wilson_interval(hits / count, count) == pytest.approx((low, high), abs=1e-4)


def test_wilsons_interval_equals_scipys() -> None:
    from scipy.stats import binomtest

    for hits, count in ((3, 17), (0, 5), (5, 5), (250, 556)):
        expected = binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson_interval(hits / count, count) == pytest.approx(tuple(expected), abs=1e-6)


def test_nothing_is_known_without_trials() -> None:
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


# ---- drawn galleries


def shop(products: int, persons: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Perfect embeddings: one product photo and several person photos of each product."""
    product = ids(products)
    return (
        one_hot(products).repeat_interleave(persons, dim=0),
        product.repeat_interleave(persons),
        one_hot(products),
        product,
    )


def test_drawn_galleries_of_a_perfect_encoder_are_perfect() -> None:
    report = measure_drawn(*shop(20, 4), catalog_size=8, draws=5)
    assert report.top == dict.fromkeys(TOP, 1.0)
    assert (report.queries, report.catalog_size, report.draws) == (8, 8, 5)
    assert report.chance(1) == 1 / 8
    assert report.chance(10) == 1.0


def test_draws_depend_on_the_seed_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    query, number, gallery, product = shop(30, 3)
    noisy = query + 0.7 * torch.randn(query.shape, generator=generator)
    reports: list[RetrievalReport] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(reports))  # must not matter
        reports.append(measure_drawn(noisy, number, gallery, product, 15, draws=3, seed=seed))
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


def test_each_draw_takes_one_person_photo_of_each_of_its_products() -> None:
    """Whole catalogs of one draw: queries are as many as products, all different."""
    report = measure_drawn(*shop(12, 5), catalog_size=12, draws=1)
    assert report.distinct_queries == report.queries == 12
    many = measure_drawn(*shop(12, 5), catalog_size=12, draws=60)
    assert many.distinct_queries == 60  # every photo of every product was drawn at some time


def test_the_interval_counts_different_photos_and_not_draws() -> None:
    """One person photo each: 50 draws of all are the same 12 trials."""
    report = measure_drawn(*shop(12, 1), catalog_size=12, draws=50)
    assert report.distinct_queries == 12
    assert report.interval(1) == wilson_interval(1.0, 12)


def test_a_drawn_product_keeps_all_its_photos_and_others_none() -> None:
    """Product photos are one right and one wrong each: the right one decides."""
    query, number, gallery, product = shop(10, 2)
    both = torch.cat([gallery, -gallery])
    report = measure_drawn(query, number, both, product.repeat(2), catalog_size=4, draws=9)
    assert report.top[1] == 1.0
    assert report.mean_average_precision == pytest.approx((1 + 2 / 8) / 2)  # the wrong one is last


def test_products_with_photos_of_one_kind_are_not_drawn_and_too_few_are_an_error() -> None:
    query, number, gallery, product = shop(6, 2)
    without = measure_drawn(query[:8], number[:8], gallery[1:], product[1:], catalog_size=3)
    assert without.catalog_size == 3
    with pytest.raises(UserError, match="a gallery of 4 needs as many products; 3 have both"):
        measure_drawn(query[:8], number[:8], gallery[1:], product[1:], catalog_size=4)


def test_a_distractor_counts_once_however_many_photos_it_has_and_whatever_its_number() -> None:
    """Product 0 is outdone by one distractor with two better photos, product 1 by none.

    Cosines of query 0: own .8, distractor 7: 1 and .9, distractor 0: 0; so its rank is 2.
    """
    query = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    gallery = torch.tensor([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0]])
    crowd = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.0, 0.19**0.5], [0.0, 0.0, 1.0]])
    report = measure_drawn(
        query,
        ids(2),
        gallery,
        ids(2),
        catalog_size=2,
        draws=1,
        distractors=Distractors(crowd, torch.tensor([7, 7, 0])),
    )
    assert report.catalog_size == 4
    assert report.top == {1: 0.5, 5: 1.0, 10: 1.0, 20: 1.0}
    assert report.mean_reciprocal_rank == 0.75


def test_the_report_as_plain_values_has_everything() -> None:
    row = RetrievalReport(10, 10, 50, 1, {1: 0.5, 5: 0.75}, 0.6, 0.6).as_dict()
    assert row["top_5"] == 0.75
    assert row["chance_5"] == 0.1
    assert (row["top_1_low"], row["top_1_high"]) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert row["mean_reciprocal_rank"] == row["mean_average_precision"] == 0.6
    assert row["queries"] == 10
    assert row["catalog_size"] == 50

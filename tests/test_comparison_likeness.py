"""What a comparison counts beside cosines, and reports on both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_comparison import tiny_comparison
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from siamese import comparison_report
from siamese.comparison_report import WEIGHTS, ComparedLikeness, moved_onto, weight_of
from siamese.pair_score import Calibration, info_nce_loss
from siamese.retrieval import product_scores


class Distance:
    """Instead of a comparison: of positions (any, 1, 1) that are numbers, minus their distance."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    def logits(self, people: Tensor, products: Tensor) -> Tensor:
        ones, others = people[:, 0, 0], products[:, 0, 0]
        self.asked += [(float(one), float(other)) for one in ones for other in others]
        return -(ones[:, None] - others[None]).abs()

    def likeness(self, cosines: Tensor, logits: Tensor) -> Tensor:
        return (cosines + logits) / 2

    def of_others(self, cosines: Tensor, logits: Tensor) -> Tensor:
        return (cosines + logits.min()) / 2


@pytest.mark.parametrize("photos", [[1] * 12, [3, 1, 2, 4, 1, 1], [12]])
def test_reports_see_what_a_search_of_each_gallery_would(
    monkeypatch: pytest.MonkeyPatch, photos: list[int]
) -> None:
    monkeypatch.setattr(comparison_report, "COMPARED", 4)
    random = torch.Generator().manual_seed(0)
    vectors = functional.normalize(torch.randn(19, 5, generator=random), dim=1)
    positions = torch.randn(19, 1, 1, generator=random)
    owner = torch.repeat_interleave(torch.arange(len(photos)), torch.tensor(photos))
    comparison: Any = Distance()
    likeness = ComparedLikeness(comparison, positions)
    numbered = likeness.vectors(vectors)
    torch.testing.assert_close(likeness.embeddings(numbered), vectors)
    gallery = torch.arange(7, 19)
    found = product_scores(
        likeness.of_gallery(numbered[:7], numbered[gallery], owner), owner, len(photos)
    )
    for query in range(7):
        cosines = vectors[gallery] @ vectors[query]
        best: dict[int, tuple[float, int]] = {}
        for place, product in enumerate(owner.tolist()):
            best[product] = max(best.get(product, (-2.0, 0)), (float(cosines[place]), place))
        order = sorted(best, key=lambda product: -best[product][0])
        logits = {
            product: -abs(float(positions[query]) - float(positions[7 + best[product][1]]))
            for product in order[:4]
        }
        least = min(logits.values())
        expected = [
            (best[product][0] + logits.get(product, least)) / 2 for product in range(len(photos))
        ]
        assert found[query].tolist() == pytest.approx(expected, abs=1e-5)
    before = len(comparison.asked)
    assert len(set(comparison.asked)) == before
    likeness.of_gallery(numbered[:7], numbered[gallery], owner)
    assert len(comparison.asked) == before, "a pair is compared once"
    pairs = likeness.of_pairs(numbered[:3], numbered[[9, 7, 18]])
    for row, (query, photo) in enumerate(((0, 9), (1, 7), (2, 18))):
        cosine = float(vectors[query] @ vectors[photo])
        distance = abs(float(positions[query]) - float(positions[photo]))
        assert float(pairs[row]) == pytest.approx((cosine - distance) / 2, abs=1e-5)


@given(st.integers(2, 40), st.integers(0, 1000))
def test_logits_move_to_where_cosines_are(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    cosines = torch.from_numpy(random.normal(0.3, 0.2, count))
    logits = torch.from_numpy(random.normal(-4, 3, count))
    scale, offset = moved_onto(cosines, logits)
    moved = scale * logits + offset
    assert scale > 0
    assert float(moved.mean()) == pytest.approx(float(cosines.mean()), abs=1e-6)
    assert float(moved.std()) == pytest.approx(float(cosines.std()), rel=1e-6)
    assert moved_onto(cosines, torch.ones(count)) == (0.0, pytest.approx(float(cosines.mean())))


def noisy_likenesses(people: int, *noises: float) -> list[Tensor]:
    """The same pairs' likenesses, (Q, Q) each, told with more or less noise; the diagonal right."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.eye(people) + noise * torch.randn(people, people, generator=random)
        for noise in noises
    ]


@pytest.mark.parametrize(
    ("noises", "weight"),
    [((0.4, 0.4), 1), ((0.6, 0.3), 4), ((0.3, 0.6), 0.25), ((0.1, 9), WEIGHTS[0])],
)
def test_a_comparison_counts_as_much_as_it_knows(
    noises: tuple[float, float], weight: float
) -> None:
    """Two measurements of one thing count as the inverse of their errors' squares."""
    cosines, moved = noisy_likenesses(300, *noises)
    same = torch.eye(300, dtype=torch.bool)
    assert weight_of(cosines, moved, same) == pytest.approx(weight, rel=0.15)


def test_a_weight_is_the_best_of_all_that_are_tried_one_by_one() -> None:
    cosines, moved = noisy_likenesses(60, 0.5, 0.35)
    same = torch.eye(60, dtype=torch.bool)
    same[3, 7] = True  # twins
    tried = {
        weight: min(
            float(info_nce_loss(sharpness * (cosines + weight * moved) / (1 + weight), same))
            for sharpness in np.geomspace(1, 60, 120)
        )
        for weight in np.geomspace(*WEIGHTS, 60)
    }
    best = min(tried, key=lambda weight: tried[weight])
    assert weight_of(cosines, moved, same) == pytest.approx(best, rel=0.1)


def test_few_people_and_those_whose_product_is_not_there_say_nothing_of_a_weight() -> None:
    cosines, moved = noisy_likenesses(200, 0.6, 0.3)
    same = torch.eye(200, dtype=torch.bool)
    assert weight_of(cosines[:49], moved[:49], same[:49]) == 1
    assert weight_of(cosines, moved, torch.zeros_like(same)) == 1
    assert weight_of(cosines, moved, torch.ones_like(same)) == 1
    strange = torch.cat([cosines, -torch.ones(30, 200)]), torch.cat([moved, torch.ones(30, 200)])
    there = torch.cat([same, torch.zeros(30, 200, dtype=torch.bool)])
    assert weight_of(*strange, there) == weight_of(cosines, moved, same)


def test_likeness_is_the_mean_of_cosine_and_moved_logit(tmp_path: Path) -> None:
    made = replace(tiny_comparison(tmp_path), scale=2.0, offset=-0.5, calibration=Calibration())
    cosines, logits = torch.tensor([0.4, 0.2]), torch.tensor([0.5, 0.1])
    assert made.likeness(cosines, logits).tolist() == pytest.approx([0.45, -0.05])
    heavier = replace(made, weight=3.0).likeness(cosines, logits)
    halves = made.likeness(cosines, logits) * 2 - cosines  # what the comparison says
    assert heavier.tolist() == pytest.approx(((cosines + 3 * halves) / 4).tolist())
    others = made.of_others(torch.tensor([0.1, 0.3]), logits)
    assert others.tolist() == pytest.approx([(0.1 - 0.3) / 2, (0.3 - 0.3) / 2])

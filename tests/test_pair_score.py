"""Losses against naive loops in float64, and a calibration that finds what made the data."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from siamese.errors import UserError
from siamese.pair_score import (
    Calibration,
    PairScore,
    all_pairs_loss,
    best_threshold,
    drawn_pairs_loss,
    fit_calibration,
    info_nce_loss,
    supervised_contrastive_loss,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive_all_pairs(logits: list[list[float]], positive: list[list[bool]]) -> float:
    total = 0.0
    for row, truth in zip(logits, positive, strict=True):
        for logit, same in zip(row, truth, strict=True):
            total -= math.log(sigmoid(logit) if same else 1 - sigmoid(logit))
    return total / len(logits)


def naive_info_nce(logits: list[list[float]], positive: list[list[bool]]) -> float:
    rows = []
    for row, truth in zip(logits, positive, strict=True):
        negatives = sum(math.exp(x) for x, same in zip(row, truth, strict=True) if not same)
        terms = [
            -math.log(math.exp(x) / (math.exp(x) + negatives))
            for x, same in zip(row, truth, strict=True)
            if same
        ]
        rows.append(sum(terms) / len(terms))
    return sum(rows) / len(rows)


def naive_supcon(logits: list[list[float]], positive: list[list[bool]]) -> float:
    rows = []
    for row, truth in zip(logits, positive, strict=True):
        every = sum(math.exp(x) for x in row)
        terms = [-math.log(math.exp(x) / every) for x, same in zip(row, truth, strict=True) if same]
        rows.append(sum(terms) / len(terms))
    return sum(rows) / len(rows)


@pytest.mark.parametrize(
    ("loss", "naive"),
    [
        (all_pairs_loss, naive_all_pairs),
        (info_nce_loss, naive_info_nce),
        (supervised_contrastive_loss, naive_supcon),
    ],
)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), queries=st.integers(1, 6), products=st.integers(2, 5))
def test_batch_losses_equal_a_naive_loop(
    loss: object, naive: object, seed: int, queries: int, products: int
) -> None:
    """At least one positive in each row, often several: a product may have several photos."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(queries, products, generator=generator, dtype=torch.float64)
    positive = torch.rand(queries, products, generator=generator) < 0.4
    positive[:, 0] |= ~positive.any(dim=1)
    found = loss(logits, positive)  # type: ignore[operator]
    expected = naive(logits.tolist(), positive.tolist())  # type: ignore[operator]
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_drawn_pairs_loss_is_the_mean_over_pairs() -> None:
    logits, label = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([1, 1, 0])
    expected = -(math.log(sigmoid(0.3)) + math.log(sigmoid(-1.2)) + math.log(1 - sigmoid(2.0))) / 3
    assert drawn_pairs_loss(logits, label).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [info_nce_loss, supervised_contrastive_loss, all_pairs_loss])
def test_extreme_logits_give_finite_losses_and_gradients(loss: object) -> None:
    logits = torch.tensor([[300.0, -300.0], [-300.0, 300.0]], requires_grad=True)
    positive = torch.tensor([[True, False], [True, False]])
    loss(logits, positive).backward()  # type: ignore[operator]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_row_of_positives_alone_has_nothing_to_part() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = info_nce_loss(logits, torch.ones(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_the_score_is_symmetric() -> None:
    score = PairScore(7.0, -2.0)
    a, b = torch.randn(5, 8), torch.randn(5, 8)
    assert torch.equal(score((a * b).sum(1)), score((b * a).sum(1)))


def test_the_score_is_scale_times_cosine_plus_bias_and_both_are_learned() -> None:
    score = PairScore(scale=10.0, bias=-3.0)
    assert score(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-3.0, 7.0])
    score(torch.tensor(0.5)).backward()
    assert score.log_scale.grad is not None
    assert score.log_scale.grad.item() == pytest.approx(0.5 * 10.0)  # through the logarithm
    assert score.bias.grad is not None
    assert score.bias.grad.item() == 1.0


def test_the_reports_score_lies_between_269_and_731() -> None:
    """sigmoid(−1) and sigmoid(1): why its threshold of .5 calls strangers the same product."""
    score = PairScore(1.0, 0.0, learned=False)
    probability = torch.sigmoid(score(torch.tensor([-1.0, 0.0, 1.0])))
    assert probability.tolist() == pytest.approx([0.269, 0.5, 0.731], abs=5e-4)
    assert not any(parameter.requires_grad for parameter in score.parameters())


def synthetic(scale: float, bias: float, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cosines of which a share of sigmoid(scale · cosine + bias) is of the same product."""
    generator = torch.Generator().manual_seed(seed)
    cosine = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    same = torch.rand(count, generator=generator) < torch.sigmoid(scale * cosine + bias)
    return cosine.float(), same


def test_platt_scaling_finds_the_scale_and_bias_that_made_the_data() -> None:
    """Bias 0 makes both kinds equally frequent, so that balancing them changes nothing."""
    cosine, same = synthetic(scale=6.0, bias=0.0, count=100_000, seed=0)
    found = fit_calibration(cosine, same)
    assert found.scale == pytest.approx(6.0, rel=0.03)
    assert found.bias == pytest.approx(0.0, abs=0.05)
    assert found.threshold == pytest.approx(0.5, abs=0.05)


def test_both_kinds_weigh_one_half_however_many_there_are() -> None:
    """With nine in ten negatives dropped or not, the same calibration is found."""
    cosine, same = synthetic(scale=6.0, bias=-1.0, count=200_000, seed=1)
    few = same | (torch.rand(len(same), generator=torch.Generator().manual_seed(2)) < 0.1)
    whole, thinned = fit_calibration(cosine, same), fit_calibration(cosine[few], same[few])
    assert thinned.scale == pytest.approx(whole.scale, rel=0.05)
    assert thinned.bias == pytest.approx(whole.bias, abs=0.15)
    assert thinned.threshold == pytest.approx(whole.threshold, abs=0.06)


def balanced_accuracy(probability: list[float], same: list[bool], threshold: float) -> float:
    hits = [p >= threshold for p, s in zip(probability, same, strict=True) if s]
    right = [p < threshold for p, s in zip(probability, same, strict=True) if not s]
    return sum(hits) / len(hits) + sum(right) / len(right)


RAW = Calibration()


def threshold_of(cosine: list[float], same: list[bool]) -> float:
    fitted = fit_calibration(torch.tensor(cosine), torch.tensor(same), RAW)
    assert (fitted.scale, fitted.bias) == (RAW.scale, RAW.bias)
    return fitted.threshold


def test_the_threshold_lies_midway_between_the_kinds_where_they_part() -> None:
    expected = (sigmoid(0.2) + sigmoid(0.6)) / 2
    found = threshold_of([0.1, 0.2, 0.6, 0.9], [False, False, True, True])
    assert found == pytest.approx(expected)


def test_the_threshold_never_parts_equal_probabilities() -> None:
    """At .4 are one of each kind; parting them would seem perfect, but no threshold can."""
    found = threshold_of([0.1, 0.4, 0.4, 0.8], [False, False, True, True])
    assert not math.isclose(found, sigmoid(0.4), abs_tol=1e-4)


def test_where_nothing_parts_the_kinds_everything_is_the_same_product() -> None:
    """All alike: yes to all and no to all are both right half the time."""
    assert threshold_of([0.3, 0.3, 0.3, 0.3], [True, False, True, False]) < sigmoid(0.3)


@settings(max_examples=150, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=14),
)
def test_no_other_threshold_is_better(pairs: list[tuple[int, bool]]) -> None:
    """Against every threshold between, below and above the probabilities; many ties."""
    same = [kind for _, kind in pairs]
    if len(set(same)) < 2:
        return
    cosine = [step / 4 for step, _ in pairs]
    probability = RAW.probability(torch.tensor(cosine, dtype=torch.float64)).tolist()
    values = sorted(set(probability))
    candidates = [0.0, *values, 1.0]
    best = max(balanced_accuracy(probability, same, t) for t in candidates)
    found = balanced_accuracy(probability, same, threshold_of(cosine, same))
    assert found == pytest.approx(best)


def test_a_threshold_between_neighbouring_floats_parts_them() -> None:
    """There is no number between; their rounded middle would be the lower one."""
    low, high = 0.5, math.nextafter(0.5, 1)
    probability = torch.tensor([low, high], dtype=torch.float64)
    assert best_threshold(probability, torch.tensor([False, True])) == high


@pytest.mark.parametrize("kind", [True, False])
def test_pairs_of_one_kind_cannot_be_calibrated(kind: bool) -> None:
    with pytest.raises(UserError, match="pairs of both kinds"):
        fit_calibration(torch.rand(5), torch.full((5,), kind))


def test_where_pairs_of_one_product_are_less_alike_the_odds_stay_even() -> None:
    """Else the first product of a ranking would be the least probable."""
    cosine = torch.linspace(-1, 1, 40)
    fitted = fit_calibration(cosine, cosine < 0)
    assert (fitted.scale, fitted.bias) == (0.0, 0.0)
    assert fitted.among(torch.tensor([[0.9, 0.1]]))[0].tolist() == pytest.approx([0.25, 0.25, 0.5])

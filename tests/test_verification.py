"""Drawn pairs are fair, and the yes/no figures are those of the confusion matrix."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import UserError
from siamese.verification import (
    RESAMPLES,
    Booleans,
    Integers,
    auroc_interval,
    draw_pairs,
    expected_calibration_error,
    rows_by_product,
    verify,
)


def shop(persons: list[int], shuffle: int | None = None) -> tuple[Integers, Booleans]:
    """For each product one product photo and so many person photos, in shuffled rows."""
    product = np.repeat(np.arange(len(persons)), [1 + count for count in persons])
    is_person = np.concatenate([[False, *[True] * count] for count in persons]).astype(bool)
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(product))
        return product[order], is_person[order]
    return product, is_person


def counts(persons: list[int]) -> tuple[list[int], list[int]]:
    """Positive and negative pairs of each product."""
    product, is_person = shop(persons, shuffle=0)
    pairs = draw_pairs(product, is_person)
    number = product[pairs.product_photo]
    positive = np.bincount(number[pairs.same], minlength=len(persons))
    negative = np.bincount(number[~pairs.same], minlength=len(persons))
    return positive.tolist(), negative.tolist()


def test_each_product_gives_ten_pairs_of_each_kind() -> None:
    assert counts([12, 10, 30]) == ([10, 10, 10], [10, 10, 10])


def test_a_product_with_fewer_persons_gives_all_of_them_and_as_many_negatives() -> None:
    assert counts([3, 12, 0, 1, 20]) == ([3, 10, 0, 1, 10], [3, 10, 0, 1, 10])


def test_there_are_no_more_negatives_than_persons_of_others() -> None:
    """Two products, 9 persons and 2: the first finds two strangers only."""
    assert counts([9, 2]) == ([2, 2], [2, 2])


@settings(max_examples=80, deadline=None)
@given(
    persons=st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(
        lambda counts: sum(count > 0 for count in counts) > 1
    ),
    seed=st.integers(0, 99),
    hard=st.booleans(),
)
def test_pairs_are_what_they_claim_to_be(persons: list[int], seed: int, hard: bool) -> None:
    product, is_person = shop(persons, shuffle=seed)
    category = np.array(["top", "skirt"])[product % 2] if hard else None
    try:
        pairs = draw_pairs(product, is_person, 3, seed, category)
    except UserError:
        assert hard
        return
    assert not is_person[pairs.product_photo].any()
    assert is_person[pairs.person_photo].all()
    same = product[pairs.product_photo] == product[pairs.person_photo]
    assert (same == pairs.same).all()
    assert pairs.same.sum() * 2 == len(pairs)
    if category is not None:
        assert (category[pairs.product_photo] == category[pairs.person_photo]).all()
    for kind in (True, False):  # no person photo twice with one product
        seen = list(
            zip(product[pairs.product_photo], pairs.person_photo, pairs.same == kind, strict=True)
        )
        chosen = [pair for pair in seen if pair[2]]
        assert len(chosen) == len(set(chosen))


def test_every_stranger_is_as_likely_as_any_other() -> None:
    """2,000 seeds, one pair per product: of the 9 person photos each stranger is drawn 1/6."""
    product, is_person = shop([3, 3, 3])
    drawn = np.zeros((3, len(product)))
    for seed in range(2000):
        pairs = draw_pairs(product, is_person, 1, seed)
        negative = ~pairs.same
        np.add.at(
            drawn, (product[pairs.product_photo[negative]], pairs.person_photo[negative]), 1 / 2000
        )
    expected = np.where(is_person & (product != np.arange(3)[:, None]), 1 / 6, 0.0)
    assert np.abs(drawn - expected).max() < 0.035  # four standard deviations


def test_draws_depend_on_the_seed_alone() -> None:
    product, is_person = shop([9] * 20)
    first, again, other = (draw_pairs(product, is_person, 5, seed) for seed in (1, 1, 2))
    assert (first.person_photo == again.person_photo).all()
    assert not (first.person_photo == other.person_photo).all()


def test_products_without_a_category_give_no_hard_pairs() -> None:
    """Missing is not a category that two products could share."""
    product, is_person = shop([2, 2, 2, 2])
    category = np.array(["top", "top", None, None], dtype=object)[product]
    pairs = draw_pairs(product, is_person, 2, category=category)
    assert set(product[pairs.product_photo].tolist()) == {0, 1}


@pytest.mark.parametrize("persons", [[0, 0], [4]])
def test_no_pair_at_all_is_an_error(persons: list[int]) -> None:
    with pytest.raises(UserError, match="no pairs"):
        draw_pairs(*shop(persons))


def test_drawing_for_lookbook_takes_less_than_two_seconds() -> None:
    product, is_person = shop([30] * 2500)
    category = np.array([f"category {number % 20}" for number in product], dtype=object)
    start = time.perf_counter()
    pairs = draw_pairs(product, is_person, category=category)
    assert time.perf_counter() - start < 2.0
    assert len(pairs) == 2500 * 20


def test_rows_are_found_by_product() -> None:
    product = np.array([5, 3, 5, 3, 9])
    found = rows_by_product(product, np.array([True, True, True, False, False]))
    assert {number: rows.tolist() for number, rows in found.items()} == {3: [1], 5: [0, 2]}
    assert rows_by_product(product, np.zeros(5, bool)) == {}


def test_figures_are_those_of_a_confusion_matrix_made_by_hand() -> None:
    """At .5: true positives .5 and .9, false negative .4; false positives .6 and .7, true
    negative .1. A probability equal to the threshold is a yes."""
    probability = np.array([0.5, 0.9, 0.4, 0.6, 0.7, 0.1])
    same = np.array([True, True, True, False, False, False])
    report = verify(probability, same)
    assert (report.true_positives, report.false_negatives) == (2, 1)
    assert (report.false_positives, report.true_negatives) == (2, 1)
    assert report.accuracy == pytest.approx(3 / 6)
    assert report.precision == pytest.approx(2 / 4)
    assert report.recall == pytest.approx(2 / 3)
    assert report.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    # Of the nine comparisons .5 wins 1, .9 wins 3, .4 wins 1.
    assert report.auc == pytest.approx(5 / 9)
    assert (report.pairs, report.threshold) == (6, 0.5)
    assert report.as_dict()["false_positives"] == 2


def test_the_reports_own_figures_follow_from_its_confusion_matrix() -> None:
    """SYSTEMS 1, test pairs: [[2917, 2743], [504, 5156]] → .713, .653, .911, .761."""
    probability = np.repeat([0.0, 1.0, 0.0, 1.0], [2917, 2743, 504, 5156])
    same = np.repeat([False, True], [2917 + 2743, 504 + 5156])
    report = verify(probability, same)
    figures = (report.accuracy, report.precision, report.recall, report.f1)
    assert figures == pytest.approx((0.713, 0.653, 0.911, 0.761), abs=6e-4)


def test_saying_no_to_everything_has_no_precision_but_no_error_either() -> None:
    report = verify(np.array([0.1, 0.2]), np.array([True, False]), threshold=0.9)
    assert (report.precision, report.recall, report.f1, report.accuracy) == (0.0, 0.0, 0.0, 0.5)


def test_the_calibration_error_of_hand_made_answers() -> None:
    """Ten answers of .9 of which 7 are right, ten of .1 of which none is: (.2 + .1) / 2."""
    probability = np.repeat([0.9, 0.1], 10)
    truth = np.array([True] * 7 + [False] * 13)
    assert expected_calibration_error(probability, truth) == pytest.approx(0.15)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert verify(probability, truth).calibration_error == pytest.approx(0.15)


def naive_auroc(probability: np.ndarray, truth: np.ndarray) -> float:
    """Share of (right, wrong) couples in the right order; ties count half."""
    right, wrong = probability[truth][:, None], probability[~truth][None]
    return float(((right > wrong) + 0.5 * (right == wrong)).mean())


def test_the_interval_is_that_of_resampled_people_with_all_answers_to_them() -> None:
    """Naively: the answers to whoever was drawn, written down as often as that."""
    random = np.random.default_rng(5)
    query = random.permutation(np.repeat([3, 10, 11, 40, 41, 77, 78, 90], 3))
    truth = random.random(24) < 0.5
    probability = (random.random(24) * 0.6 + 0.4 * truth).round(1).astype(np.float64)
    people, drawing, found = np.unique(query), np.random.default_rng(7), []
    for _ in range(RESAMPLES):
        drawn = people[drawing.integers(len(people), size=len(people))]
        rows = np.concatenate([np.flatnonzero(query == person) for person in drawn])
        if 0 < truth[rows].sum() < len(rows):
            found.append(naive_auroc(probability[rows], truth[rows]))
    expected = sorted(found)[int(0.025 * len(found))], sorted(found)[int(0.975 * len(found))]
    low_and_high = auroc_interval(probability, truth, query, seed=7)
    assert low_and_high == pytest.approx(np.quantile(found, [0.025, 0.975]))
    assert low_and_high == pytest.approx(expected, abs=0.03)
    assert low_and_high is not None
    assert low_and_high[0] < naive_auroc(probability, truth) < low_and_high[1]


def test_four_times_as_many_people_halve_the_interval() -> None:
    random = np.random.default_rng(0)
    widths = []
    for people in (100, 400):
        truth = np.arange(people) % 2 == 0
        interval = auroc_interval(random.normal(size=people) + truth, truth, np.arange(people))
        assert interval is not None
        assert interval[0] < 0.76 < interval[1]  # of two normal distributions one deviation apart
        widths.append(interval[1] - interval[0])
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.25)


def test_answers_of_one_kind_have_no_interval() -> None:
    assert auroc_interval(np.array([0.1, 0.9]), np.array([True, True]), np.arange(2)) is None

"""The answer "not in this catalog", against hand-made cases and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from siamese.catalog_fit import fit_among
from siamese.open_set import Answers, ask, ask_strangers, report_open_set
from siamese.pair_score import Calibration


def test_the_posterior_is_bayes_rule_over_the_products_and_none_of_them() -> None:
    """Odds of 8 and 2 over two products at even odds beforehand: 4 : 1 : 1."""
    calibration = Calibration(scale=1.0, bias=0.0)
    among = calibration.among(torch.tensor([[math.log(8), math.log(2)]]))
    assert among[0].tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 6])


def test_in_a_larger_catalog_the_same_cosine_means_less() -> None:
    calibration = Calibration(scale=10.0, bias=-3.0)
    small = calibration.among(torch.tensor([[0.8, 0.0]]))
    large = calibration.among(torch.tensor([[0.8] + [0.0] * 999]))
    assert large[0, 0] < small[0, 0]
    assert large.sum().item() == pytest.approx(1)


def test_the_fitted_fields_move_presence_and_sharpness_apart() -> None:
    """Odds 8 : 2 sharpened to 64 : 4; evidence log 5, halved and lowered by log 2."""
    scores = torch.tensor([[math.log(8), math.log(2)]])
    plain = Calibration(scale=1.0, bias=0.0)
    assert plain.evidence(scores).tolist() == pytest.approx([math.log(5)])
    fitted = Calibration(
        scale=1.0, bias=0.0, sharpness=2.0, presence_scale=0.5, presence_bias=-math.log(2)
    )
    odds = math.sqrt(5) / 2
    present = odds / (1 + odds)
    wanted = [present * 64 / 68, present * 4 / 68, 1 - present]
    assert fitted.among(scores)[0].tolist() == pytest.approx(wanted)


def test_fitting_makes_overconfident_answers_honest() -> None:
    """Pairs' odds that are three times too sure; fitted on some products, measured on others."""
    embedding, product, is_person = photos(400, 16, noise=0.8)
    own = product < 200
    half = torch.from_numpy(own)
    loud = Calibration(scale=60.0, bias=-20.0)
    fitted = fit_among(embedding[half], product[own], is_person[own], loud)
    assert fitted.sharpness < 0.8
    others = embedding[~half], product[~own], is_person[~own]
    before, after = (
        report_open_set(ask(*others, calibration), calibration, draws=20)
        for calibration in (loud, fitted)
    )
    assert after.calibration_error < 0.5 * before.calibration_error
    assert after.calibration_error < 0.05
    assert after.best_calibration_error < 0.5 * before.best_calibration_error
    assert after.auroc == pytest.approx(before.auroc, abs=1e-4)


def test_where_nothing_tells_presence_the_odds_stay_even() -> None:
    embedding, product, is_person = photos(60, 32, noise=100.0)
    misled = -embedding * torch.from_numpy(np.where(is_person, -1.0, 1.0)).float()[:, None]
    fitted = fit_among(misled, product, is_person, Calibration(scale=5.0))
    answers = ask(misled, product, is_person, fitted)
    assert answers.present.sub(0.5).abs().max() < 0.1
    everything = Calibration(scale=5.0)
    one = np.zeros(3, np.int64)
    assert fit_among(embedding[:3], one, is_person[:3], everything) == everything


def photos(products: int, size: int, noise: float) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """A product photo and two person photos of each product, around a random direction."""
    random = np.random.default_rng(0)
    product = np.repeat(np.arange(products), 3)
    vectors = random.normal(size=(products, size))[product]
    vectors += noise * random.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_person = np.tile([False, True, True], products)
    return torch.from_numpy(vectors).float(), product, is_person


def test_perfect_embeddings_tell_present_from_missing_products() -> None:
    calibration = Calibration(scale=60.0, bias=-50.0)
    answers = ask(*photos(40, 64, noise=0.0), calibration, draws=3)
    assert answers.catalog_size == 20
    assert len(answers.present) == 3 * 40
    assert answers.is_present.float().mean() == 0.5
    report = report_open_set(answers, calibration, draws=3)
    assert report.auroc == report.accuracy == 1
    assert report.calibration_error < 0.01
    assert bool((answers.is_right == answers.is_present).all())


def test_embeddings_of_noise_cannot_tell_them_apart() -> None:
    embedding, product, is_person = photos(60, 32, noise=100.0)
    answers = ask(embedding, product, is_person, Calibration(scale=1.0), draws=20)
    report = report_open_set(answers, Calibration(), draws=20)
    assert report.auroc == pytest.approx(0.5, abs=0.05)


def test_what_is_more_likely_than_not_is_said() -> None:
    truth = torch.tensor([False, True, True, True])
    present = torch.tensor([0.2, 0.4, 0.5, 0.9])
    fitted = fit_among(*photos(40, 8, noise=0.5), Calibration(scale=10.0))
    assert fitted != Calibration(scale=10.0)
    answers = Answers(present, truth, present, truth, 2, torch.arange(4))
    report = report_open_set(answers, fitted, draws=1)
    assert report.accuracy == 3 / 4


def test_who_is_asked_again_in_another_draw_is_nobody_new_to_the_interval() -> None:
    """Of 40 products, two photos each; in a draw each product is asked about once."""
    photo = photos(40, 8, noise=0.8)
    calibration = Calibration(scale=10.0)
    once = ask(*photo, calibration, draws=1)
    assert sorted(once.query.tolist()) == list(range(40))
    said = once.present, once.is_present, once.best, once.is_right
    present, is_present, best, is_right, query = (
        torch.cat([each] * 9) for each in (*said, once.query)
    )
    often = Answers(present, is_present, best, is_right, once.catalog_size, query)
    one, nine = (report_open_set(each, calibration, 1) for each in (once, often))
    assert one.auroc_low is not None
    assert one.auroc_high is not None
    assert one.auroc_low < one.auroc < one.auroc_high
    assert (nine.auroc, nine.auroc_low, nine.auroc_high) == pytest.approx(
        (one.auroc, one.auroc_low, one.auroc_high)
    )
    strangers = torch.eye(8).repeat(4, 1)[:30]
    asked = ask_strangers(*photo, strangers, calibration, draws=4)
    own = asked.query < 80
    assert bool((own == asked.is_present).all())
    assert sorted(asked.query[~own].tolist()) == sorted([*range(80, 110)] * 4)


def test_strangers_and_own_people_are_asked_in_equal_numbers() -> None:
    """5 products with two wearers each; 4 strangers look like nothing, so all is told apart."""
    embedding = torch.eye(9)[[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]]
    product = np.repeat(np.arange(5), 3)
    is_person = np.tile([False, True, True], 5)
    calibration = Calibration(scale=20.0, bias=-10.0)
    strangers = torch.eye(9)[5:]
    answers = ask_strangers(embedding, product, is_person, strangers, calibration, draws=3)
    assert answers.catalog_size == 5
    assert answers.is_present.tolist() == ([True] * 4 + [False] * 4) * 3
    assert answers.is_right.tolist() == answers.is_present.tolist()
    report = report_open_set(answers, calibration, draws=3)
    assert (report.queries, report.auroc) == (24, 1.0)


def test_a_stranger_in_a_product_of_the_catalog_cannot_be_told_from_its_wearers() -> None:
    embedding = torch.eye(4)[[0, 0, 1, 1]]
    product, is_person = np.array([0, 0, 1, 1]), np.array([False, True, False, True])
    calibration = Calibration(scale=20.0, bias=-10.0)
    answers = ask_strangers(embedding, product, is_person, torch.eye(4)[:2], calibration)
    assert report_open_set(answers, calibration, draws=20).auroc == 0.5


def test_a_person_of_a_product_that_the_catalog_lacks_is_nobodys_customer() -> None:
    """Rows without a product photo ask nothing."""
    embedding = torch.eye(4)[[0, 0, 1, 2]]
    product, is_person = np.array([3, 3, 4, 1]), np.array([False, True, False, True])
    answers = ask_strangers(embedding, product, is_person, torch.eye(4)[3:], Calibration(), 1)
    assert answers.is_present.tolist() == [True, False]
    assert answers.is_right.tolist() == [True, False]

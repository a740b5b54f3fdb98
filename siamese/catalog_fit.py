"""Fits what is said of whole catalogs: is the product in there, and which one is it?

Shapes: R photos, Q queries, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from siamese.cohort import Cohort
from siamese.open_set import Asked, asked_of_halves
from siamese.pair_score import Calibration
from siamese.retrieval import COSINES, Cosines

SHARPEST = 8.0  # of evidence: there it is all but the best product's
ENOUGH = 10  # worn products; what fewer say of a cohort's weight is chance


def fit_among(
    embedding: Tensor,
    product: np.ndarray,
    is_person: np.ndarray,
    calibration: Calibration,
    draws: int = 5,
    seed: int = 0,
    cohort: Cohort | None = None,
    likeness: Cosines = COSINES,
) -> Calibration:
    """The calibration with its answers about whole catalogs fitted, by maximum likelihood.

    The presence by Platt scaling (Platt 1999) of the evidence, less as much of the cohort's
    as a logistic regression on both finds best; the sharpness as a temperature (Guo et al. 2017)
    over the products of the queries whose product is there.

    Args:
        embedding, product, is_person, cohort, likeness: Validation photos, as in `ask`.
        calibration: Fitted on pairs.
        draws: Random halves of the products.
        seed: Of the draws.
    """
    from scipy.optimize import minimize_scalar

    if len(np.unique(product.reshape(len(product), -1)[is_person, 0])) < ENOUGH:
        cohort = None
    parts = list(asked_of_halves(embedding, product, is_person, draws, seed, cohort, likeness))
    truth = torch.cat([(part.right >= 0).any(dim=1) for part in parts])
    if bool(truth.all()) or not bool(truth.any()):
        return calibration
    calibration = _fit_presence(parts, truth, calibration)

    def surprise(log_sharpness: float) -> float:
        factor = calibration.scale * math.exp(log_sharpness)
        total = 0.0
        for scores, right, *_ in parts:
            own = right[:, 0]
            there = own >= 0
            likelihood = (factor * scores[there].double()).log_softmax(dim=1)
            total -= float(likelihood.gather(1, own[there][:, None]).sum())
        return total

    sharpness = math.exp(minimize_scalar(surprise, bounds=(-3, 3), method="bounded").x)
    return replace(calibration, sharpness=sharpness)


def _fit_presence(parts: Sequence[Asked], truth: Tensor, calibration: Calibration) -> Calibration:
    """The calibration with all that its answer "it is in here" depends on fitted.

    The evidence's sharpness is that which a logistic regression of catalog and cohort on the truth
    is least surprised with.
    """
    from scipy.optimize import minimize_scalar
    from sklearn.metrics import log_loss

    def inputs(sharp: Calibration) -> Tensor:
        of_catalogs = torch.cat([sharp.evidence(part.scores) for part in parts])
        of_cohort = [sharp.evidence(part.cohort) for part in parts if part.cohort is not None]
        columns = [of_catalogs, torch.cat(of_cohort)] if of_cohort else [of_catalogs]
        return torch.stack(columns, dim=1)

    def surprise(log_sharpness: float) -> float:
        evidence = inputs(replace(calibration, evidence_sharpness=math.exp(log_sharpness)))
        slopes, offset = _logistic(evidence, truth)
        odds = evidence @ torch.tensor(slopes, dtype=torch.double) + offset
        return float(log_loss(truth.numpy(), torch.sigmoid(odds).numpy()))

    found = minimize_scalar(surprise, bounds=(0, math.log(SHARPEST)), method="bounded")
    calibration = replace(calibration, evidence_sharpness=math.exp(found.x))
    evidence = inputs(calibration)
    (of_catalog, *of_cohort), _ = _logistic(evidence, truth)
    weight = 0.0
    if of_cohort and of_catalog > 0:
        # Within these bounds a likeness never speaks against the presence of a product.
        weight = min(max(0.0, -of_cohort[0] / of_catalog), 1.0)
    taken_off = evidence[:, 0] - weight * evidence[:, -1]
    (slope,), offset = _logistic(taken_off[:, None], truth)
    return replace(
        calibration,
        # Where what was found says nothing, the odds stay even.
        presence_scale=slope if slope > 0 else 0.0,
        presence_bias=offset if slope > 0 else 0.0,
        cohort_weight=weight,
    )


def _logistic(inputs: Tensor, truth: Tensor) -> tuple[list[float], float]:
    """Coefficients of a logistic regression of inputs, float64 (Q, F), and its intercept."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e4, max_iter=1000).fit(inputs.numpy(), truth.numpy())
    return [float(slope) for slope in model.coef_[0]], float(model.intercept_[0])

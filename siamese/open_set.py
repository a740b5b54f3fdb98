"""Is the product in the catalog at all? Half of the queries' products are taken out, or half of
the queries are of strangers.

Shapes: Q queries, A products at most that one of them shows, S photos of strangers, M gallery
photos, N catalog products, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from siamese.cohort import Cohort
from siamese.pair_score import Calibration
from siamese.retrieval import COSINES, Cosines, product_scores
from siamese.verification import auroc_interval, expected_calibration_error


@dataclass(frozen=True)
class OpenSetReport:
    """How well the answer "not in this catalog" is given.

    Args:
        queries: Person photos asked, over all draws.
        catalog_size: Products in each draw's catalog.
        draws: Random halves of the products, or of queries.
        auroc: Of the probability that the product is in the catalog, against the truth.
        accuracy: Of saying so from the threshold of the calibration on.
        calibration_error: Expected calibration error of that probability (Guo et al. 2017,
            On Calibration of Modern Neural Networks, 15 bins).
        best_calibration_error: The same of the first match's probability that it is the very one.
        auroc_low, auroc_high: Of `auroc_interval`; None in reports of before it was told.
    """

    queries: int
    catalog_size: int
    draws: int
    auroc: float
    accuracy: float
    calibration_error: float
    best_calibration_error: float
    auroc_low: float | None = None
    auroc_high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        return asdict(self)


class Asked(NamedTuple):
    """What a catalog of N products, or of one draw of them, is asked.

    Args:
        scores: Best cosine of each product, float (Q, N).
        right: Number of the right product, int64 (Q, A), −1 if missing: first of the one that is
            asked for, then of others that the photo shows.
        cohort: What `Cohort.cosines` gives, float (Q, any), if there is one.
        query: int64 (Q,), the same number for whoever is asked about again in another draw.
    """

    scores: Tensor
    right: Tensor
    cohort: Tensor | None
    query: Tensor


@dataclass(frozen=True)
class Answers:
    """What a catalog of N products answered, over all draws.

    Args:
        present: float64 (Q,), probability that the product is in the catalog.
        is_present: bool (Q,), whether it was.
        best: float64 (Q,), probability that the first match is the very product.
        is_right: bool (Q,), whether it was.
        catalog_size: N.
        query: int64 (Q,), as of `Asked`.
    """

    present: Tensor
    is_present: Tensor
    best: Tensor
    is_right: Tensor
    catalog_size: int
    query: Tensor


def ask(
    embedding: Tensor,
    product: np.ndarray,
    is_person: np.ndarray,
    calibration: Calibration,
    draws: int = 20,
    seed: int = 0,
    cohort: Cohort | None = None,
    likeness: Cosines = COSINES,
) -> Answers:
    """One photo of every worn product, asked of random halves of these products.

    Args:
        embedding: Unit embeddings, float32 (R, D).
        product: int64 (R,), or (R, A): each photo's own product, and others that it shows, −1 for
            none. The answer "it is in the catalog" is right if any of them is.
        is_person: bool (R,).
        calibration: Cosine → probability.
        draws: Random halves, each with photos drawn anew.
        seed: Of the draws.
        cohort: Products that none of the photos shows.
        likeness: Of vectors, which may be more than embeddings.
    """
    asked = asked_of_halves(embedding, product, is_person, draws, seed, cohort, likeness)
    return _answers(asked, calibration)


def ask_strangers(
    embedding: Tensor,
    product: np.ndarray,
    is_person: np.ndarray,
    strangers: Tensor,
    calibration: Calibration,
    draws: int = 20,
    seed: int = 0,
    cohort: Cohort | None = None,
    likeness: Cosines = COSINES,
) -> Answers:
    """The catalog of all products, asked by their wearers and by as many who wear none of them.

    Args:
        embedding, product, is_person, calibration, cohort, likeness: As in `ask`.
        strangers: Unit embeddings of photos of people, float32 (S, D), S at least 1.
        draws: Of min(own photos, S) photos of both kinds, so that the odds are even.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    worn = product.reshape(len(product), -1)
    products, number = np.unique(worn[~is_person, 0], return_inverse=True)
    own = np.flatnonzero(is_person & np.isin(worn[:, 0], products))
    right = _places(products, worn[own])
    queries = torch.cat([embedding[own], strangers])
    right = torch.cat([right, torch.full((len(strangers), right.shape[1]), -1)])
    gallery = embedding[torch.from_numpy(~is_person)]
    every = _question(queries, torch.arange(len(queries)), gallery, number, right, cohort, likeness)
    count = min(len(own), len(strangers))
    places = [
        np.concatenate(
            [
                random.permutation(len(own))[:count],
                len(own) + random.permutation(len(strangers))[:count],
            ]
        )
        for _ in range(draws)
    ]
    return _answers((_part(every, torch.from_numpy(place)) for place in places), calibration)


def _part(asked: Asked, rows: Tensor) -> Asked:
    """Some of the queries."""
    cohort = asked.cohort
    return Asked(
        asked.scores[rows],
        asked.right[rows],
        None if cohort is None else cohort[rows],
        asked.query[rows],
    )


def _answers(asked: Iterable[Asked], calibration: Calibration) -> Answers:
    """Of draws as `asked_of_halves` gives them, together."""
    parts: list[tuple[Tensor, ...]] = []
    size = 0
    for scores, right, cohort, query in asked:
        size = scores.shape[1]
        among = calibration.among(scores, cohort)
        best, place = among[:, :-1].max(dim=1)
        is_right = (place[:, None] == right).any(dim=1)
        parts.append((1 - among[:, -1], (right >= 0).any(dim=1), best, is_right, query))
    present, is_present, best, is_right, query = (
        torch.cat(column) for column in zip(*parts, strict=True)
    )
    return Answers(present, is_present, best, is_right, size, query)


def asked_of_halves(
    embedding: Tensor,
    product: np.ndarray,
    is_person: np.ndarray,
    draws: int,
    seed: int,
    cohort: Cohort | None,
    likeness: Cosines = COSINES,
) -> Iterator[Asked]:
    """Per draw what is asked of a half of the products."""
    worn = product.reshape(len(product), -1)
    for queries, gallery in _halves(worn[:, 0], is_person, draws, seed):
        products, number = np.unique(worn[gallery, 0], return_inverse=True)
        right = _places(products, worn[queries])
        query = torch.from_numpy(worn[queries, 0])
        shown = embedding[gallery]
        yield _question(embedding[queries], query, shown, number, right, cohort, likeness)


def _places(products: np.ndarray, asked: np.ndarray) -> Tensor:
    """Where products that are asked for, int64 (Q, A), are among some in order; −1: nowhere."""
    place = np.searchsorted(products, asked).clip(max=len(products) - 1)
    return torch.from_numpy(np.where(products[place] == asked, place, -1))


def _question(
    queries: Tensor,
    query: Tensor,
    gallery: Tensor,
    number: np.ndarray,
    right: Tensor,
    cohort: Cohort | None,
    likeness: Cosines,
) -> Asked:
    """Queries, float32 (Q, D), and a gallery, (M, D), whose photos are of products 0 to N − 1.

    query: Of `Asked`.
    """
    products, places = int(number.max()) + 1, torch.from_numpy(number)
    scores = product_scores(likeness.of_gallery(queries, gallery, places), places, products)
    if cohort is None:
        return Asked(scores, right, None, query)
    same = cohort.same(likeness.embeddings(gallery))
    holds = product_scores(same.T.float(), places, products) > 0
    found = holds.T[scores.argmax(dim=1)]
    return Asked(scores, right, cohort.cosines(likeness.embeddings(queries), found), query)


def _halves(
    product: np.ndarray, is_person: np.ndarray, draws: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per draw the rows of one person photo of each product, and of half of the product photos."""
    random = np.random.default_rng(seed)
    persons, shown = np.flatnonzero(is_person), np.flatnonzero(~is_person)
    both = np.intersect1d(product[persons], product[shown])
    for _ in range(draws):
        shuffled = persons[random.permutation(len(persons))]
        _, first = np.unique(product[shuffled], return_index=True)
        queries = shuffled[first]
        queries = queries[np.isin(product[queries], both)]
        kept = random.permutation(both)[: max(1, len(both) // 2)]
        yield queries, shown[np.isin(product[shown], kept)]


def report_open_set(answers: Answers, calibration: Calibration, draws: int) -> OpenSetReport:
    """The answers beside the truth."""
    from sklearn.metrics import roc_auc_score

    present, truth = answers.present.numpy(), answers.is_present.numpy()
    said = present >= calibration.catalog_threshold
    low, high = auroc_interval(present, truth, answers.query.numpy()) or (None, None)
    return OpenSetReport(
        queries=len(present),
        catalog_size=answers.catalog_size,
        draws=draws,
        auroc=float(roc_auc_score(truth, present)),
        accuracy=float((said == truth).mean()),
        calibration_error=expected_calibration_error(present, truth),
        best_calibration_error=expected_calibration_error(
            answers.best.numpy(), answers.is_right.numpy()
        ),
        auroc_low=low,
        auroc_high=high,
    )

"""Same product or not? The LookBook report's experiment 1 on drawn pairs.

Shapes: P pairs, R rows (photos), A answers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from siamese.errors import UserError

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
BINS = 15  # of the calibration error, as in Guo et al. 2017
RESAMPLES = 200  # of a confidence interval


@dataclass(frozen=True)
class Pairs:
    """Product–person pairs as rows of a table of photos.

    Args:
        product_photo: int64 (P,), row of the product photo.
        person_photo: int64 (P,), row of the person photo.
        same: bool (P,), whether both show the same product.
    """

    product_photo: Integers
    person_photo: Integers
    same: Booleans

    def __len__(self) -> int:
        return len(self.same)


def draw_pairs(
    product: Integers,
    is_person: Booleans,
    per_product: int = 10,
    seed: int = 0,
    category: npt.NDArray[Any] | None = None,
) -> Pairs:
    """Per product as many positive as negative pairs (SYSTEMS 1: ten of each).

    A product with fewer than `per_product` person photos gives all that it has, and as many
    negatives. Products without a photo of either kind give none.

    Args:
        product: int64 (R,), the product of each photo.
        is_person: bool (R,).
        per_product: Positive pairs, and negative pairs, of each product at most.
        seed: Of the draw.
        category: If given, (R,), negatives are *hard*: persons wearing another product of the
            same category. A product whose category is missing gives none.

    Raises:
        UserError: No pair can be drawn.
    """
    generator = np.random.default_rng(seed)
    kind = np.zeros(len(product), np.int64)
    if category is not None:
        kind = pd.factorize(category)[0].astype(np.int64)  # −1 where it is missing
    worn = rows_by_product(product, is_person)
    # Persons of each kind, in order of their products: a product's own ones are one block.
    rivals = {int(k): rows_in_order(product, is_person & (kind == k)) for k in np.unique(kind)}
    numbers = {k: product[rows] for k, rows in rivals.items()}
    columns: tuple[list[Integers], list[Integers], list[Booleans]] = ([], [], [])
    for number, photos in rows_by_product(product, ~is_person).items():
        own, group = worn.get(number), int(kind[photos[0]])
        if own is None or group < 0:
            continue
        pool = rivals[group]
        first = int(np.searchsorted(numbers[group], number, "left"))
        block = int(np.searchsorted(numbers[group], number, "right")) - first
        count = min(per_product, len(own), len(pool) - block)
        other = generator.choice(len(pool) - block, count, replace=False)
        other += block * (other >= first)  # step over the own ones
        own = generator.choice(own, count, replace=False)
        for persons, same in ((own, True), (pool[other], False)):
            columns[0].append(generator.choice(photos, count))
            columns[1].append(persons)
            columns[2].append(np.full(count, same))
    if not sum(map(len, columns[0])):
        raise UserError(
            "no pairs: they need a product with photos of both kinds, and a person photo of another"
            + ("" if category is None else " of the same category")
        )
    left, right, same_product = (np.concatenate(parts) for parts in columns)
    return Pairs(left.astype(np.int64), right.astype(np.int64), same_product.astype(np.bool_))


def rows_by_product(product: Integers, chosen: Booleans) -> dict[int, Integers]:
    """Product → its rows among the chosen ones, both ascending."""
    rows = rows_in_order(product, chosen)
    numbers, first = np.unique(product[rows], return_index=True)
    return dict(zip(numbers.tolist(), np.split(rows, first[1:]), strict=False))


def rows_in_order(product: Integers, chosen: Booleans) -> Integers:
    """The chosen rows by product, those of one product ascending."""
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(product[rows], kind="stable")]


@dataclass(frozen=True)
class VerificationReport:
    """Yes/no figures on pairs at one threshold; field names as in scikit-learn.

    `auc` and `calibration_error` do not depend on the threshold. The four counts are the confusion
    matrix.
    """

    pairs: int
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float
    calibration_error: float
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        return asdict(self)


def verify(probability: Floats, same: Booleans, threshold: float = 0.5) -> VerificationReport:
    """Compare the answer "same where probability ≥ threshold" with the truth.

    Args:
        probability: (P,) in [0, 1].
        same: bool (P,).
        threshold: In [0, 1].
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

    said = probability >= threshold
    (tn, fp), (fn, tp) = confusion_matrix(same, said, labels=[False, True])
    precision, recall, f1, _ = precision_recall_fscore_support(
        same, said, average="binary", zero_division=0
    )
    return VerificationReport(
        pairs=len(same),
        threshold=threshold,
        accuracy=float((tp + tn) / len(same)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        auc=float(roc_auc_score(same, probability)),
        calibration_error=expected_calibration_error(probability, same),
        true_negatives=int(tn),
        false_positives=int(fp),
        false_negatives=int(fn),
        true_positives=int(tp),
    )


def expected_calibration_error(probability: Floats, truth: Booleans) -> float:
    """Mean distance of stated probability and share of truth over equal bins, by their counts.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probability: float (Q,) in [0, 1].
        truth: bool (Q,).
    """
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    counts = np.bincount(number, minlength=BINS)
    stated = np.bincount(number, probability, minlength=BINS)
    true = np.bincount(number, truth.astype(float), minlength=BINS)
    filled = counts > 0
    return float(np.abs(stated[filled] - true[filled]).sum() / counts.sum())


def auroc_interval(
    probability: Floats, truth: Booleans, query: Integers, seed: int = 0
) -> tuple[float, float] | None:
    """95 % confidence interval of the AUROC: what other people would have given.

    The bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap), percentiles of
    resamples. It draws queries, each with all answers to it: what was asked again in other draws
    is nothing new.

    Args:
        probability: float64 (A,), of answers.
        truth: bool (A,), whether what was asked is so.
        query: int64 (A,), who was asked about; in several answers perhaps.
        seed: Of the resamples.

    Returns:
        Both ends, or None where no resample has answers of both kinds.
    """
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(seed)
    _, number = np.unique(query, return_inverse=True)
    queries = int(number.max()) + 1
    found = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(queries, size=queries), minlength=queries)[number]
        if times[truth].any() and times[~truth].any():
            found.append(roc_auc_score(truth, probability, sample_weight=times))
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)

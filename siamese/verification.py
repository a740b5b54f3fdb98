"""Same product or not? The LookBook report's experiment 1 on drawn pairs.

Shapes: P pairs, R rows (photos).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from siamese.errors import UserError

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


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
            same category.

    Raises:
        UserError: No pair can be drawn.
    """
    generator = np.random.default_rng(seed)
    persons = np.flatnonzero(is_person)
    columns: tuple[list[Integers], list[Integers], list[Booleans]] = ([], [], [])
    for number in np.unique(product[~is_person]):
        photos = np.flatnonzero((product == number) & ~is_person)
        own = persons[product[persons] == number]
        other = persons[product[persons] != number]
        if category is not None:
            other = other[category[other] == category[photos[0]]]
        count = min(per_product, len(own), len(other))
        for wearers, same in ((own, True), (other, False)):
            columns[0].append(generator.choice(photos, count))
            columns[1].append(generator.choice(wearers, count, replace=False))
            columns[2].append(np.full(count, same))
    if not sum(map(len, columns[0])):
        raise UserError("no pairs: no product has a product photo and a person photo")
    left, right, same_product = (np.concatenate(parts) for parts in columns)
    return Pairs(left.astype(np.int64), right.astype(np.int64), same_product.astype(np.bool_))


@dataclass(frozen=True)
class VerificationReport:
    """Yes/no figures on pairs at one threshold; field names as in scikit-learn.

    `auc` does not depend on the threshold. The four counts are the confusion matrix.
    """

    pairs: int
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float
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
        true_negatives=int(tn),
        false_positives=int(fp),
        false_negatives=int(fn),
        true_positives=int(tp),
    )

"""How often a tagger is right: per column, and with all columns of a product at once.

Shapes: N products, L label columns, V values of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from siamese.labels import UNKNOWN
from siamese.retrieval import wilson_interval


@dataclass(frozen=True)
class ColumnReport:
    """One column on products that the tagger never saw; of no product all shares are None.

    Args:
        name: Of the column.
        products: Whose label is known.
        values: How many different ones the tagger knows.
        accuracy: Share of these products whose label is predicted.
        macro_f1: Mean of the F1 of every value that is there or was predicted: rare ones count
            as much as frequent ones.
        most_frequent: Accuracy of always naming the value that is most frequent among them.
        stated: Mean of the probabilities that the tagger gave its answers; honest if it equals
            the accuracy.
    """

    name: str
    products: int
    values: int
    accuracy: float | None
    macro_f1: float | None
    most_frequent: float | None
    stated: float | None


@dataclass(frozen=True)
class TaggerReport:
    """All columns.

    Args:
        columns: A report of each.
        products: Whose labels are known in all columns.
        all_right: Share of these with every label right; None where there are none.
    """

    columns: tuple[ColumnReport, ...]
    products: int
    all_right: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        low, high = _interval(self.all_right, self.products)
        return asdict(self) | {"all_right_low": low, "all_right_high": high}

    def __str__(self) -> str:
        rows = []
        for column in self.columns:
            rows.append(
                {
                    "column": column.name,
                    "products": column.products,
                    "values": column.values,
                    "accuracy [95 %]": _with_interval(column.accuracy, column.products),
                    "macro F1": share_text(column.macro_f1),
                    "most frequent": share_text(column.most_frequent),
                    "stated": share_text(column.stated),
                }
            )
        return (
            f"{pd.DataFrame(rows).to_string(index=False)}\n"
            f"all {len(self.columns)} labels right at once: "
            f"{_with_interval(self.all_right, self.products)} of {self.products} products"
        )


def share_text(share: float | None) -> str:
    """Three digits, or a dash where nothing was measured."""
    return "–" if share is None else f"{share:.3f}"


def tagger_report(
    names: Sequence[str], probabilities: Sequence[np.ndarray], labels: np.ndarray
) -> TaggerReport:
    """Compare predicted with known labels.

    Args:
        names: Of the L columns.
        probabilities: Of each column, float (N, V).
        labels: int64 (N, L); `UNKNOWN` is left out, a value that the tagger does not know is V
            or more and counts as a miss.
    """
    predicted = np.stack([shares.argmax(axis=1) for shares in probabilities], axis=1)
    columns = tuple(
        _column(name, shares, labels[:, place])
        for place, (name, shares) in enumerate(zip(names, probabilities, strict=True))
    )
    known = (labels != UNKNOWN).all(axis=1)
    right = (predicted == labels).all(axis=1)[known]
    return TaggerReport(columns, int(known.sum()), float(right.mean()) if known.any() else None)


def _column(name: str, probabilities: np.ndarray, labels: np.ndarray) -> ColumnReport:
    """The report of one column, labels int64 (N,)."""
    from sklearn.metrics import f1_score

    known = labels != UNKNOWN
    shares, truth = probabilities[known], labels[known]
    if not len(truth):
        return ColumnReport(name, 0, probabilities.shape[1], None, None, None, None)
    predicted = shares.argmax(axis=1)
    return ColumnReport(
        name,
        len(truth),
        probabilities.shape[1],
        float((predicted == truth).mean()),
        float(f1_score(truth, predicted, average="macro", zero_division=0)),
        float(np.unique(truth, return_counts=True)[1].max() / len(truth)),
        float(shares.max(axis=1).mean()),
    )


def _interval(share: float | None, count: int) -> tuple[float, float] | tuple[None, None]:
    """Wilson's 95 % interval; of nothing none."""
    return (None, None) if share is None else wilson_interval(share, count)


def _with_interval(share: float | None, count: int) -> str:
    """`0.880 [0.86, 0.90]`, or a dash."""
    if share is None:
        return share_text(None)
    low, high = wilson_interval(share, count)
    return f"{share_text(share)} [{low:.2f}, {high:.2f}]"

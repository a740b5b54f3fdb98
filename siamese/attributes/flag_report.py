"""How well a flag is predicted, and by what: attributes, the embedding, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from siamese.products import Attribute
from siamese.retrieval import wilson_interval

SHOWN = 12  # values whose own figures are printed


@dataclass(frozen=True)
class FlagLine:
    """One way of predicting the flag, on products it never saw.

    Args:
        inputs: What it looks at; `most frequent` looks at nothing.
        accuracy: Share of products whose value is predicted.
        balanced_accuracy: Mean over values of the share of their products that is found: ½ for
            a flag that is guessed, whatever its frequency.
        macro_f1: Mean of the F1 of every value.
        average_precision: Mean over values of the area under the curve of precision and recall;
            that of a guess is a value's frequency.
    """

    inputs: str
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    average_precision: float


@dataclass(frozen=True)
class FlagReport:
    """All ways, and each value by the way that is kept.

    Args:
        name: Of the column.
        products: Held out, with a known value.
        lines: A line per way, the one that is kept last.
        values: By value: products, precision, recall, F1 of the one that is kept.
    """

    name: str
    products: int
    lines: tuple[FlagLine, ...]
    values: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = wilson_interval(self.lines[-1].accuracy, self.products)
        lines = pd.DataFrame([asdict(line) for line in self.lines])
        lines.columns = pd.Index([str(name).replace("_", " ") for name in lines.columns])
        values = pd.DataFrame(self.values[:SHOWN])
        more = len(self.values) - SHOWN
        rest = f"\nand {more} rarer values" if more > 0 else ""
        return (
            f"{self.name} of {self.products} products held out, accuracy "
            f"{self.lines[-1].accuracy:.3f} [{low:.2f}, {high:.2f}]\n"
            f"{lines.to_string(index=False, float_format='%.3f')}\n\n"
            f"{values.to_string(index=False, float_format='%.3f')}{rest}"
        )


def flag_report(
    name: str,
    values: Sequence[Attribute],
    truth: np.ndarray,
    most_frequent: int,
    ways: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> FlagReport:
    """Compare ways of predicting.

    Args:
        name: Of the column.
        values: V.
        truth: int64 (N,), places among the values.
        most_frequent: The value that was most frequent in training.
        ways: For each predicted places, int64 (N,), and probabilities, float (N, V); the last
            one is kept.
    """
    from sklearn.metrics import precision_recall_fscore_support

    guess = np.zeros((len(truth), len(values)))
    guess[:, most_frequent] = 1.0
    always = {"most frequent": (np.full(len(truth), most_frequent), guess)}
    lines = tuple(_line(way, truth, *found) for way, found in (always | dict(ways)).items())
    predicted = list(ways.values())[-1][0]
    present, counts = np.unique(truth, return_counts=True)
    order = present[np.argsort(-counts, kind="stable")]
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=order, zero_division=0
    )
    rows = tuple(
        {
            "value": values[place],
            "products": int(support[row]),
            "precision": float(precision[row]),
            "recall": float(recall[row]),
            "F1": float(f1[row]),
        }
        for row, place in enumerate(order)
    )
    return FlagReport(name, len(truth), lines, rows)


def _line(
    inputs: str, truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray
) -> FlagLine:
    """The figures of one way; only values that are there count."""
    from sklearn.metrics import average_precision_score, f1_score, recall_score

    present = np.unique(truth)
    return FlagLine(
        inputs,
        float((predicted == truth).mean()),
        float(recall_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        float(f1_score(truth, predicted, average="macro", zero_division=0)),
        float(np.mean([average_precision_score(truth == v, probabilities[:, v]) for v in present])),
    )

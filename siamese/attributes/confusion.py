"""A picture of which labels are taken for which others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from siamese.attributes.figures import save_figure
from siamese.labels import UNKNOWN

MOST = 20  # values shown; the rest are "others"
OTHERS = "others"


def confusion_counts(
    truth: np.ndarray, predicted: np.ndarray, values: Sequence[str], most: int = MOST
) -> tuple[list[str], np.ndarray]:
    """How often each value was taken for which.

    Args:
        truth: int64 (N,), places among the values; those below 0 are left out, those past the
            end (values that the tagger does not know) are "others".
        predicted: int64 (N,).
        values: V of them.
        most: The most frequent ones are kept, in that order; the rest become "others".

    Returns:
        Names, and int64 (shown, shown): rows are true values, columns predicted ones.
    """
    known = truth != UNKNOWN
    truth, predicted = truth[known], predicted[known]
    counts = np.bincount(truth, minlength=len(values))[: len(values)]
    order = np.argsort(-counts, kind="stable")
    shown = order[: most if len(values) > most else len(values)]
    row_of = np.full(max(len(values), truth.max(initial=0) + 1), len(shown))
    row_of[shown] = np.arange(len(shown))
    names = [values[place] for place in shown] + [OTHERS]
    table = np.zeros((len(names), len(names)), np.int64)
    np.add.at(table, (row_of[truth], row_of[predicted]), 1)
    if not table[-1].any() and not table[:, -1].any():
        return names[:-1], table[:-1, :-1]
    return names, table


def draw_confusion(path: str | Path, title: str, names: Sequence[str], counts: np.ndarray) -> None:
    """Write a PNG; every row's shares of predicted values, with the number of products beside.

    Raises:
        OSError: It cannot be written.
    """
    from matplotlib.figure import Figure

    total = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(total, 1)
    side = 2.6 + 0.46 * len(names)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    rows = [f"{name} ({n})" for name, n in zip(names, total[:, 0].tolist(), strict=True)]
    axes.set_yticks(range(len(names)), rows)
    axes.set(xlabel="predicted", ylabel="true (products)")
    axes.set_title(title, loc="left", fontsize="medium")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        share = shares[row, column]
        text = "1" if share == 1 else f"{share:.2f}".removeprefix("0")
        ink = "white" if share > 0.5 else "#22252a"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    save_figure(figure, path)

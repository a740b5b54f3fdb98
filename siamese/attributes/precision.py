"""Precision with tolerance, system 4's figure: how pure are the labels of a product's neighbours?

For each product the top k others; p is the share of them with its label; the product counts where
1 − p is at most the tolerance.

Shapes: N products, A asked products, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from siamese.errors import UserError
from siamese.labels import UNKNOWN

TOP = 10
ROUNDING = 1e-9  # 1 − .9 is above .1 by less than this
CHUNK = 2**24  # cosines held at a time

Integers = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Precision:
    """The neighbours' purity by one column, or by several at once.

    Args:
        column: Its name, or names joined by " + ".
        shares: p of each asked product whose label is known, float64 (at most A,).
        possible: The same of a perfect ranking: a rare label has too few others.
    """

    column: str
    shares: Shares
    possible: Shares

    def at(self, tolerance: float) -> float:
        """Share of products with 1 − p ≤ tolerance."""
        return _within(self.shares, tolerance)

    def possible_at(self, tolerance: float) -> float:
        """The most that any encoder could reach there."""
        return _within(self.possible, tolerance)


def neighbours(
    embeddings: Tensor,
    asked: Integers,
    top: int = TOP,
    ranked: npt.NDArray[np.bool_] | None = None,
) -> Integers:
    """The products nearest to each asked one, itself left out; ties in order of their places.

    Args:
        embeddings: Unit, float32 (N, D).
        asked: Places of products, int64 (A,).
        top: How many, at most.
        ranked: Products that may be neighbours, bool (N,), R of them; by default all.

    Returns:
        int64 (A, min(top, R − 1)), nearest first; places among all N.

    Raises:
        UserError: There is no other product.
    """
    allowed = np.ones(len(embeddings), bool) if ranked is None else ranked
    count = min(top, int(allowed.sum()) - 1)
    if count < 1:
        raise UserError(f"{allowed.sum()} products have no neighbours; give two or more")
    hidden = torch.from_numpy(~allowed)
    step = max(1, CHUNK // len(embeddings))
    parts = [np.empty((0, count), np.int64)]
    for start in range(0, len(asked), step):
        own = torch.from_numpy(asked[start : start + step])
        cosine = embeddings[own] @ embeddings.T
        cosine[torch.arange(len(own)), own] = -torch.inf
        cosine[:, hidden] = -torch.inf
        parts.append(_first(cosine, count))
    return np.concatenate(parts)


def precision(
    column: str,
    labels: Integers,
    asked: Integers,
    found: Integers,
    ranked: npt.NDArray[np.bool_] | None = None,
) -> Precision:
    """How many of the found products have the asked one's label.

    Args:
        column: What the labels are of.
        labels: int64 (N,), from 0; `UNKNOWN` equals no label, and its product is not judged.
        asked: int64 (A,).
        found: Of `neighbours`, int64 (A, k).
        ranked: As given there.
    """
    allowed = np.ones(len(labels), bool) if ranked is None else ranked
    judged = labels[asked] != UNKNOWN
    own, others = labels[asked[judged]], found[judged]
    shares = (labels[others] == own[:, None]).mean(axis=1) if len(own) else np.empty(0)
    counts = np.bincount(labels[allowed & (labels != UNKNOWN)], minlength=labels.max() + 1)
    alike = counts[own] - allowed[asked[judged]] if len(own) else np.empty(0)
    return Precision(column, shares, np.minimum(alike / max(1, found.shape[1]), 1.0))


def combined(columns: Sequence[Integers]) -> Integers:
    """One label for several columns at once, unknown where one of them is: int64 (N,)."""
    table = np.stack(columns, axis=1)
    _, codes = np.unique(table, axis=0, return_inverse=True)
    return np.where((table == UNKNOWN).any(axis=1), UNKNOWN, codes).astype(np.int64)


def _first(cosine: Tensor, count: int) -> Integers:
    """Columns of the largest values of each row, the left one of equals first."""
    least = cosine.topk(count, dim=1).values[:, -1:]
    rows = []
    for row, bound in zip(cosine, least, strict=True):
        candidates = (row >= bound).nonzero()[:, 0]
        order = row[candidates].argsort(descending=True, stable=True)[:count]
        rows.append(candidates[order])
    return torch.stack(rows).numpy()


def _within(shares: Shares, tolerance: float) -> float:
    return float((1 - shares <= tolerance + ROUNDING).mean()) if len(shares) else float("nan")

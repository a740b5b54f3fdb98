"""Medoids: of each kind of product the one that is most like all the others of its kind.

Shapes: N products, D embedding size, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.attributes.label_table import LabelTable
from siamese.catalog import CatalogError
from siamese.labels import UNKNOWN
from siamese.products import Attribute

CHUNK = 8192  # products whose similarities are summed at a time


@dataclass(frozen=True)
class Candidates:
    """A medoid per kind.

    Args:
        labels: The G kinds, in order of their names; a kind may have a single product.
        product_ids: The medoid of each.
        embeddings: Of the medoids, float32 (G, D).
        counts: Products of each kind, int64 (G,).
        similarity: Mean cosine of a medoid with the other products of its kind, float64 (G,);
            1 where there is no other.
        group: Kind of each of the N products that were looked at, int64 (N,), `UNKNOWN` where
            its label is not known.
    """

    labels: tuple[Attribute, ...]
    product_ids: tuple[str, ...]
    embeddings: np.ndarray
    counts: np.ndarray
    similarity: np.ndarray
    group: np.ndarray


def candidates_of(table: LabelTable, column: int = 0) -> Candidates:
    """The medoids of one column's values.

    Raises:
        CatalogError: No product has that label.
    """
    group = table.labels[:, column]
    if (group == UNKNOWN).all():
        raise CatalogError(f"no product has the label {table.columns[column]!r}; add it with --set")
    places, similarity = medoids(table.embeddings, group)
    counts = np.bincount(group[group != UNKNOWN])
    return Candidates(
        table.values[column],
        tuple(table.product_ids[place] for place in places),
        table.embeddings[places],
        counts,
        np.where(counts > 1, (similarity - 1) / np.maximum(counts - 1, 1), 1.0),
        group,
    )


def medoids(
    embeddings: np.ndarray, group: np.ndarray, chunk: int = CHUNK
) -> tuple[np.ndarray, np.ndarray]:
    """The member of each group with the largest sum of similarities within its group, exactly.

    The sum of a product's cosines with its group is its dot product with the sum of the group:
    Σ_j x · y_j = x · Σ_j y_j. So neither all pairs nor a matrix of them is ever needed, and
    44,000 products take a fraction of a second.

    Args:
        embeddings: float32 (N, D), unit length.
        group: int64 (N,), from 0 without a gap; `UNKNOWN` belongs to none.
        chunk: Products that are in float64 at a time.

    Returns:
        (places, sums): int64 (G,), the first where several are as good; float64 (G,), with the
        medoid's similarity to itself.
    """
    groups = int(group.max(initial=UNKNOWN)) + 1
    total = np.zeros((groups, embeddings.shape[1]))
    best = np.full(groups, -np.inf)
    places = np.full(groups, -1)
    parts = [slice(start, start + chunk) for start in range(0, len(group), chunk)]
    for part in parts:
        known = group[part] != UNKNOWN
        np.add.at(total, group[part][known], embeddings[part][known].astype(np.float64))
    for part in parts:
        member = part.start + np.flatnonzero(group[part] != UNKNOWN)
        own = group[member]
        sums = (embeddings[member].astype(np.float64) * total[own]).sum(axis=1)
        order = np.lexsort((member, -sums, own))
        first = order[np.unique(own[order], return_index=True)[1]]
        better = first[sums[first] > best[own[first]]]
        best[own[better]], places[own[better]] = sums[better], member[better]
    return places, best

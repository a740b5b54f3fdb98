"""Which products a tagger or flag is measured on, and so never trained on.

Shapes: N products, D embedding size, U different embeddings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from siamese.catalog import CatalogError

if TYPE_CHECKING:
    from scipy.sparse import coo_matrix

SHARE = 0.2
SAME = 1 - 1e-6  # cosine: one photo in batches of two sizes differs by 1e-7 in each number
CHUNK = 256  # embeddings that are compared with their surroundings at once
SAMPLE = 512  # embeddings that tell in which direction most of them differ


def held_out(
    product_ids: Sequence[str], embeddings: np.ndarray, test_ids: frozenset[str] | None = None
) -> np.ndarray:
    """Which products are for testing only.

    Args:
        product_ids: N.
        embeddings: float32 (N, D); products with nearly the same one (they share a photo) stay
            together.
        test_ids: Those of the test split of a manifest. Without them a fifth of the products is
            drawn by a hash of their ids, so that a product added later moves no other.

    Returns:
        bool (N,).

    Raises:
        CatalogError: All or none of the products are for testing.
    """
    if test_ids is None:
        leaders = [product_ids[place] for place in same_photo(embeddings)]
        chosen = np.array([_fraction(leader) < SHARE for leader in leaders])
    else:
        chosen = np.array([name in test_ids for name in product_ids])
    if chosen.all() or not chosen.any():
        raise CatalogError(
            f"{chosen.sum()} of {len(chosen)} products are for testing; name the manifest of "
            "these products with --split, or index more products"
        )
    return chosen


def same_photo(embeddings: np.ndarray) -> np.ndarray:
    """The first product that shares a photo with each product, int64 (N,) places.

    Two products share one if the cosine of their embeddings, float32 (N, D), is over `SAME`, or
    if both share one with a third.
    """
    from scipy.sparse.csgraph import connected_components

    different, group = np.unique(embeddings, axis=0, return_inverse=True)
    length = np.linalg.norm(different, axis=1, keepdims=True)
    near = _near_pairs(different / np.maximum(length, 1e-12))
    component = connected_components(_graph(near, len(different)), directed=False)[1]
    _, first, own = np.unique(component[group.ravel()], return_index=True, return_inverse=True)
    places: np.ndarray = first[own]
    return places


def _near_pairs(vectors: np.ndarray) -> np.ndarray:
    """Pairs of unit vectors, float32 (U, D), that connect all with a cosine over `SAME`.

    Near vectors are near in every direction. So they are put in order along one in which they
    differ much, and a chunk of them is only compared with those just after it: the work is far
    less than U x U, and of many near ones only a tree is kept.

    Returns:
        int64 (pairs, 2), places.
    """
    from scipy.sparse.csgraph import connected_components

    line = vectors @ _widest(vectors)
    order = np.argsort(line, kind="stable")
    line = line[order]
    reach = math.sqrt(2 - 2 * SAME) + 1e-4  # distance of unit vectors; a little for rounding
    pairs = [np.zeros((0, 2), np.int64)]
    for begin in range(0, len(order), CHUNK):
        last = min(begin + CHUNK, len(order)) - 1
        window = order[begin : np.searchsorted(line, line[last] + reach, "right")]
        near = np.argwhere(vectors[order[begin : last + 1]] @ vectors[window].T > SAME)
        component = connected_components(_graph(near, len(window)), directed=False)[1]
        _, first, own = np.unique(component, return_index=True, return_inverse=True)
        joined = np.stack([window, window[first[own]]], axis=1)
        pairs.append(joined[joined[:, 0] != joined[:, 1]])
    return np.concatenate(pairs)


def _widest(vectors: np.ndarray) -> np.ndarray:
    """The direction in which some of the vectors, float32 (U, D), differ most, float32 (D,)."""
    some = vectors[:: max(1, len(vectors) // SAMPLE)]
    direction: np.ndarray = np.linalg.svd(some - some.mean(axis=0), full_matrices=False)[2][0]
    return direction


def _graph(pairs: np.ndarray, count: int) -> coo_matrix:
    """Places that belong together, int64 (any, 2), as a sparse table (count, count)."""
    from scipy.sparse import coo_matrix

    return coo_matrix((np.ones(len(pairs), bool), tuple(pairs.T)), (count, count))


def _fraction(name: str) -> float:
    """A number from 0 to 1 that only depends on the name, evenly spread."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64

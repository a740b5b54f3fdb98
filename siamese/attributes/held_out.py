"""Which products a tagger or flag is measured on, and so never trained on.

Shapes: N products, D embedding size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from siamese.catalog import CatalogError

SHARE = 0.2


def held_out(
    product_ids: Sequence[str], embeddings: np.ndarray, test_ids: frozenset[str] | None = None
) -> np.ndarray:
    """Which products are for testing only.

    Args:
        product_ids: N.
        embeddings: float32 (N, D); products with the same one (they share a photo) stay together.
        test_ids: Those of the test split of a manifest. Without them a fifth of the products is
            drawn by a hash of their ids, so that a product added later moves no other.

    Returns:
        bool (N,).

    Raises:
        CatalogError: All or none of the products are for testing.
    """
    if test_ids is None:
        _, first, group = np.unique(embeddings, axis=0, return_index=True, return_inverse=True)
        leaders = [product_ids[place] for place in first[group.ravel()]]
        chosen = np.array([_fraction(leader) < SHARE for leader in leaders])
    else:
        chosen = np.array([name in test_ids for name in product_ids])
    if chosen.all() or not chosen.any():
        raise CatalogError(
            f"{chosen.sum()} of {len(chosen)} products are for testing; name the manifest of "
            "these products with --split, or index more products"
        )
    return chosen


def _fraction(name: str) -> float:
    """A number from 0 to 1 that only depends on the name, evenly spread."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64

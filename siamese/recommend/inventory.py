"""Inventory query: what in the catalog is like one of its own products?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from siamese.catalog import CatalogError
from siamese.finder import Finder
from siamese.ranking import Ranking
from siamese.retrieval import mean_embedding


def similar_products(
    finder: Finder, product_id: str, top: int = 20, where: str | None = None
) -> Ranking:
    """Rank all other products by their likeness to this one; no photo is opened.

    Args:
        finder: An open catalog with its encoder.
        product_id: Whose embedding is the query; of several photos their normalised mean.
        top: How many products.
        where: As in `Finder.rank`.

    Raises:
        CatalogError: No such product, no other one, or the filter is wrong or matches no other.
    """
    snapshot = finder.catalog.snapshot()
    if product_id not in snapshot.place_of:
        raise CatalogError(
            f"{finder.catalog.uri}: has no product {product_id}; see `list`, or give a photo"
        )
    own = np.flatnonzero(snapshot.product == snapshot.place_of[product_id])
    every = np.arange(len(snapshot.product)) if where is None else snapshot.select_some(where)
    chosen = np.setdiff1d(every, own)
    if not len(chosen):
        found = "has" if where is None else f"filter {where!r} leaves"
        raise CatalogError(f"{finder.catalog.uri}: {found} no product besides {product_id}")
    query = mean_embedding(torch.from_numpy(snapshot.embeddings[own]))
    ((path, _),) = snapshot.describe(own[:1])
    (ranking,) = finder.rank_in(snapshot, query, top, chosen, [path])
    return replace(ranking, product_id=product_id)

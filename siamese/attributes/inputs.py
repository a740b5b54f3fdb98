"""What a tagger sees of a catalog's products: their embeddings, or features of their photos.

Shapes: B products, D embedding size, C features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siamese.attributes.tagger import Input, without_neck
from siamese.catalog import Catalog, CatalogError
from siamese.checkpoint import Checkpoint
from siamese.commands import embed_with_bar, report_broken
from siamese.products import PATH


def product_inputs(
    catalog: Catalog, checkpoint: Checkpoint, product_ids: Sequence[str], kind: Input
) -> tuple[np.ndarray, np.ndarray]:
    """The tagger's inputs of products in a catalog.

    Args:
        catalog: Made by that checkpoint.
        checkpoint: Reads the photos again where the input is `features`, which catalogs lack;
            always all of a photo, whatever box it was indexed with.
        product_ids: B products of the catalog.
        kind: See `siamese.attributes.tagger.TaggerCard`.

    Returns:
        (inputs, usable): float32 (usable, D or C), the normalised mean over a product's photos;
        places of these products, int64, ascending. A product whose photos are all gone or broken
        has none; its photos are named on stderr.

    Raises:
        CatalogError: No photo can be used.
    """
    snapshot = catalog.snapshot()
    products = np.array([snapshot.place_of[name] for name in product_ids], np.int64)
    if kind == "embedding":
        return snapshot.means[products], np.arange(len(products))
    number = np.full(len(snapshot.product_ids), -1)
    number[products] = np.arange(len(products))
    photos = np.flatnonzero(number[snapshot.product] >= 0)
    paths = snapshot.rows[PATH].take(photos).to_pylist()
    embedded = embed_with_bar(without_neck(checkpoint), paths, [None] * len(paths))
    report_broken(list(embedded.broken.values()))
    if not embedded.usable:
        raise CatalogError(f"none of the {len(paths)} photos can be read; index them again")
    owner = number[snapshot.product[photos[embedded.usable]]]
    usable, row = np.unique(owner, return_inverse=True)
    total = np.zeros((len(usable), embedded.embeddings.shape[1]))
    np.add.at(total, row, embedded.embeddings.numpy())
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12)).astype(np.float32), usable

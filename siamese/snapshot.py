"""One version of a catalog in memory, so that ranking needs no disk.

Shapes: M photos, N products, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from siamese.catalog_filter import ROW_ID, kept_at, query
from siamese.conditions import unknown_value
from siamese.products import (
    EMBEDDING,
    KEY,
    PATH,
    PRODUCT,
    SIGHT,
    Attribute,
    CatalogError,
    whole_or_fraction,
)

# Keys in the metadata of the table's schema: what made the embeddings, and, in catalogs that keep
# what a comparison saw, which one that was.
FINGERPRINT, COMPARISON = b"siamese-encoder", b"siamese-comparison"


@dataclass(frozen=True)
class Snapshot:
    """All of one version; later writes do not change it.

    Args:
        version: The table's version.
        product_ids: The N products in order of their ids.
        product: int64 (M,), each photo's product as its place in `product_ids`, ascending.
        embeddings: float32 (M, D).
        rows: Arrow table of the M photos: path and the attributes.
        row_ids: uint64 (M,), how the Lance table names these rows.
        table: The Lance table at that version.
        comparison: Fingerprint of the comparison whose sights it keeps, if there are any.
    """

    version: int
    product_ids: list[str]
    product: np.ndarray
    embeddings: np.ndarray
    rows: pa.Table
    row_ids: np.ndarray
    table: Any
    comparison: str | None = None

    @cached_property
    def first(self) -> np.ndarray:
        """Place of each product's first photo, int64 (N,)."""
        return np.searchsorted(self.product, np.arange(len(self.product_ids)))

    @cached_property
    def place_of(self) -> dict[str, int]:
        """Place of each product by its id."""
        return {name: place for place, name in enumerate(self.product_ids)}

    @cached_property
    def means(self) -> np.ndarray:
        """The normalised mean embedding of each product's photos, float32 (N, D)."""
        if len(self.product) == len(self.product_ids):  # a photo each, or an empty catalog
            return self.embeddings
        total = np.add.reduceat(self.embeddings, self.first, axis=0, dtype=np.float64)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return (total / np.maximum(length, 1e-12)).astype(np.float32)

    def select(self, where: str) -> np.ndarray:
        """Places of the photos that a filter holds for, ascending, int64.

        Raises:
            CatalogError: The filter cannot be used.
        """
        found = query(self.table, [KEY], where, row_ids=True)[ROW_ID].to_numpy()
        return np.flatnonzero(np.isin(self.row_ids, found))

    def select_some(self, where: str) -> np.ndarray:
        """As `select`, but at least one.

        Raises:
            CatalogError: The filter cannot be used, or holds for no product.
        """
        chosen = self.select(where)
        if not len(chosen):
            remedy = unknown_value(where, self.rows) or (
                f"holds for none of the {len(self.product_ids)} products; loosen it, `list` shows "
                "their attributes"
            )
            raise CatalogError(f"filter {where!r}: {remedy}")
        return chosen

    def sights(self, photos: np.ndarray) -> list[bytes | None]:
        """What a comparison saw in the photos at these places, int64 (any,), where it is kept.

        Read from the table, for together they can be larger than the memory.

        Raises:
            CatalogError: The table cannot be read.
        """
        row_ids = self.row_ids[photos].tolist()
        found = kept_at(self.table, row_ids, SIGHT)
        return [found.get(row_id) for row_id in row_ids]

    def describe(self, photos: np.ndarray) -> list[tuple[str, dict[str, Attribute]]]:
        """Path and known attributes of the photos at these places, int64 (any,)."""
        rows = self.rows.take(photos).to_pylist()
        return [
            (
                row.pop(PATH),
                {name: whole_or_fraction(v) for name, v in row.items() if v is not None},
            )
            for row in rows
        ]


def known_as(key: bytes, table: Any) -> str | None:
    """What the metadata of a Lance table, as it is now, say; `None` if nothing."""
    found = (table.schema.metadata or {}).get(key)
    return None if found is None else str(found.decode())


def read_snapshot(table: Any) -> Snapshot:
    """Read a Lance table whole that stands at one version (after `checkout`)."""
    rows = query(table, [name for name in table.schema.names if name != SIGHT], row_ids=True)
    rows = rows.take(pc.sort_indices(rows, [(PRODUCT, "ascending"), (KEY, "ascending")]))
    ids = rows[PRODUCT].to_numpy()
    first = np.ones(len(ids), dtype=bool)
    first[1:] = ids[1:] != ids[:-1]
    vectors = rows[EMBEDDING].combine_chunks()
    embeddings = vectors.flatten().to_numpy().reshape(len(ids), vectors.type.list_size)
    return Snapshot(
        version=int(table.version),
        product_ids=ids[first].tolist(),
        product=np.cumsum(first, dtype=np.int64) - 1,
        embeddings=embeddings.copy(),  # PyTorch wants writable memory
        rows=rows.drop_columns([KEY, PRODUCT, EMBEDDING, ROW_ID]),
        row_ids=rows[ROW_ID].to_numpy(),
        table=table,
        comparison=known_as(COMPARISON, table),
    )

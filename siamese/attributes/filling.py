"""Missing labels of a catalog's products, filled with what a model says and marked as predicted.

A filled `gender` has its probability in `gender_predicted`, which is unknown for what people
gave. Whoever sets `gender` later takes the mark away with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from siamese.attributes.tagger import Tag
from siamese.catalog import Catalog
from siamese.products import MARK
from siamese.snapshot import Snapshot


def missing(catalog: Catalog, columns: Sequence[str]) -> list[str]:
    """Ids of the products that lack a label, or have a predicted one, in any of these columns."""
    snapshot = catalog.snapshot()
    return sorted({name for column in columns for name in _lacking(snapshot, column)})


def fill(catalog: Catalog, tags: Mapping[str, Mapping[str, Tag]], least: float = 0.0) -> Counter:
    """Write tags where the catalog knows nothing, or only what was predicted before.

    Args:
        catalog: Where to.
        tags: Predictions of each column by product id.
        least: A less probable label is left missing; what was predicted in its place before,
            maybe with a smaller `least`, is taken away.

    Returns:
        How many products were filled, by column.
    """
    filled: Counter[str] = Counter()
    snapshot = catalog.snapshot()
    names = dict.fromkeys(name for row in tags.values() for name in row)
    lacking = {name: _lacking(snapshot, name) for name in names}
    changes: dict[str, dict[str, Any]] = {}
    for product_id, row in tags.items():
        for name, tag in row.items():
            sure = tag.probability >= least
            if product_id in lacking[name] and (sure or lacking[name][product_id]):
                said = (tag.value, tag.probability) if sure else (None, None)
                change = changes.setdefault(product_id, {})
                change |= zip((name, name + MARK), said, strict=True)
                filled[name] += sure
    if changes:
        catalog.set_each(changes)
    return +filled  # without those of none


def _lacking(snapshot: Snapshot, name: str) -> dict[str, bool]:
    """Products that people gave no label in this column: whether one is predicted, by id."""
    rows = snapshot.rows.take(snapshot.first)
    nothing = [None] * len(rows)
    values, marks = (
        rows[column].to_pylist() if column in rows.column_names else nothing
        for column in (name, name + MARK)
    )
    return {
        product_id: mark is not None
        for product_id, value, mark in zip(snapshot.product_ids, values, marks, strict=True)
        if value is None or mark is not None
    }

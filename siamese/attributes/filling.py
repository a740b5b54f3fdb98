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


def missing(catalog: Catalog, columns: Sequence[str]) -> list[str]:
    """Ids of the products that lack a label, or have a predicted one, in any of these columns."""
    snapshot = catalog.snapshot()
    rows = snapshot.rows.take(snapshot.first)
    lacking = set()
    for name in columns:
        there = name in rows.column_names
        values = rows[name].to_pylist() if there else [None] * len(rows)
        marked = name + MARK in rows.column_names
        marks = rows[name + MARK].to_pylist() if marked else [None] * len(rows)
        lacking |= {
            product_id
            for product_id, value, mark in zip(snapshot.product_ids, values, marks, strict=True)
            if value is None or mark is not None
        }
    return sorted(lacking)


def fill(catalog: Catalog, tags: Mapping[str, Mapping[str, Tag]], least: float = 0.0) -> Counter:
    """Write tags where the catalog knows nothing, or only what was predicted before.

    Args:
        catalog: Where to.
        tags: Predictions of each column by product id.
        least: A less probable label is left missing.

    Returns:
        How many products were filled, by column.
    """
    filled: Counter[str] = Counter()
    lacking = {
        name: set(missing(catalog, [name]))
        for name in dict.fromkeys(name for row in tags.values() for name in row)
    }
    changes: dict[str, dict[str, Any]] = {}
    for product_id, row in tags.items():
        for name, tag in row.items():
            if tag.probability >= least and product_id in lacking[name]:
                change = changes.setdefault(product_id, {})
                change |= {name: tag.value, name + MARK: tag.probability}
                filled[name] += 1
    if changes:
        catalog.set_each(changes)
    return filled

"""A catalog's labels as numbers: a row per product, a column per label, unknown ones −1.

Shapes: N products, L label columns, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.catalog import Catalog, CatalogError
from siamese.labels import UNKNOWN
from siamese.products import MARK, PATH, Attribute, listed, whole_or_fraction
from siamese.snapshot import Snapshot

JOINT = "+"  # `gender+articleType` is the label of both together
MOST_VALUES = 300  # of a column that is taken for labels unless it is named


@dataclass(frozen=True)
class LabelTable:
    """Labels and embeddings of a catalog's products.

    Args:
        product_ids: Of the N products, in order.
        embeddings: float32 (N, D): the normalised mean of each product's photos.
        columns: Names of the L label columns.
        values: The values of each column, ascending; a label is a place among them.
        labels: int64 (N, L), `UNKNOWN` where the catalog says nothing or a tagger filled it in.
    """

    product_ids: list[str]
    embeddings: np.ndarray
    columns: tuple[str, ...]
    values: tuple[tuple[Attribute, ...], ...]
    labels: np.ndarray


def read_labels(
    catalog: Catalog, columns: Sequence[str] | None = None, where: str | None = None
) -> LabelTable:
    """The labels that people gave to a catalog's products.

    Args:
        catalog: Any.
        columns: Names, of which repeated ones count once; `gender+articleType` joins two. By
            default see `default_columns`.
        where: Only products that this SQL condition holds for.

    Raises:
        CatalogError: The filter is wrong or holds for nothing, a column is unknown, or there is
            none with at least two values.
    """
    snapshot = catalog.snapshot()
    products = chosen_products(snapshot, where)
    named = columns if columns is not None else default_columns(snapshot, products)
    names = list(dict.fromkeys(named))
    if not names:
        raise CatalogError(
            f"{catalog.uri}: has no column of text or truth values that several products share, "
            "as labels are; add one with update --set"
        )
    return table_of(snapshot, names, products)


def table_of(snapshot: Snapshot, names: Sequence[str], products: np.ndarray) -> LabelTable:
    """The labels of these columns and products, int64 places of them.

    Raises:
        CatalogError: A column is unknown.
    """
    codes, values = [], []
    for name in names:
        column = column_of(snapshot, name, products)
        known = sorted({value for value in column if value is not None}, key=sort_key)
        place = {value: number for number, value in enumerate(known)}
        codes.append([UNKNOWN if value is None else place[value] for value in column])
        values.append(tuple(known))
    return LabelTable(
        [snapshot.product_ids[number] for number in products],
        snapshot.means[products],
        tuple(names),
        tuple(values),
        np.array(codes, np.int64).T,
    )


def chosen_products(snapshot: Snapshot, where: str | None) -> np.ndarray:
    """Places of the products that a filter holds for, ascending, int64; at least one.

    Raises:
        CatalogError: There is none, or the filter is wrong.
    """
    if not snapshot.product_ids:
        raise CatalogError("the catalog is empty; add products to it")
    if where is None:
        return np.arange(len(snapshot.product_ids))
    chosen: np.ndarray = np.unique(snapshot.product[snapshot.select_some(where)])
    return chosen


def column_of(
    snapshot: Snapshot, name: str, products: np.ndarray, predicted: bool = False
) -> list[Attribute]:
    """What is said of these products in one column or several joined ones; None where nothing.

    Args:
        snapshot: Of a catalog.
        name: `gender`, or `gender+articleType`; where a column's own name has a `+`, that column.
        products: Places of the products, int64 (any,).
        predicted: Whether what a tagger filled in counts, too.

    Raises:
        CatalogError: There is no such column; the line lists those that there are.
    """
    parts = name.split(JOINT) if is_joined(snapshot, name) else [name]
    columns = [_plain_column(snapshot, part, products, predicted) for part in parts]
    if len(columns) == 1:
        return columns[0]
    return [None if None in row else " ".join(map(str, row)) for row in zip(*columns, strict=True)]


def is_joined(snapshot: Snapshot, name: str) -> bool:
    """Whether a name is of several columns together: `age 18+` may be a column's own."""
    return JOINT in name and name not in column_names(snapshot)


def column_names(snapshot: Snapshot) -> list[str]:
    """The attribute columns, without the marks of predicted values."""
    return [name for name in snapshot.rows.column_names if name != PATH and not is_mark(name)]


def is_mark(name: str) -> bool:
    """Whether a column says which values of another one are predicted."""
    return name.endswith(MARK)


def default_columns(snapshot: Snapshot, products: np.ndarray) -> list[str]:
    """Columns of text or truth values with 2 to `MOST_VALUES` different ones.

    At most half as many as products that have one: what nearly every product has for itself is
    its name, not a label.
    """
    names = []
    for name in column_names(snapshot):
        column = column_of(snapshot, name, products)
        said = [value for value in column if value is not None]
        known = set(said)
        labels = all(isinstance(value, str | bool) for value in known)
        if labels and 2 <= len(known) <= min(MOST_VALUES, len(said) // 2):
            names.append(name)
    return names


def check_values(name: str, wanted: Sequence[Any], known: Sequence[Attribute]) -> None:
    """Raise `CatalogError` with the known values if one of the wanted ones is none of them."""
    strange = [repr(one) for one in wanted if not any(same(value, one) for value in known)]
    if strange:
        raise CatalogError(
            f"{name} has no value {listed(strange)}; there are "
            f"{', '.join(map(str, known)) or 'none'}"
        )


def same(value: Attribute, wanted: Any) -> bool:
    """Equal and of the same kind: to Python, 1 == True."""
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def sort_key(value: Attribute) -> tuple[str, Any]:
    """Orders values of one column; truth values and numbers among themselves."""
    return type(value).__name__, value


def _plain_column(
    snapshot: Snapshot, name: str, products: np.ndarray, predicted: bool
) -> list[Attribute]:
    """One column of these products; see `column_of`."""
    known = column_names(snapshot)
    if name not in known:
        raise CatalogError(f"no column {name!r}; there are {', '.join(known) or 'none'}")
    photos = snapshot.first[products]
    column = snapshot.rows[name].take(photos).to_pylist()
    if not predicted and name + MARK in snapshot.rows.column_names:
        marks = snapshot.rows[name + MARK].take(photos).to_pylist()
        column = [None if mark is not None else v for v, mark in zip(column, marks, strict=True)]
    return [whole_or_fraction(value) for value in column]

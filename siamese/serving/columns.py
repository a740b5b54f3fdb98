"""The catalog's attributes in memory: which products a filter holds for, and how many per value.

Filters are compared as values, never written into SQL, so that nothing from outside reaches the
table.

Shapes: N products, V distinct values of a column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from siamese.attributes.label_table import is_mark, same
from siamese.products import PATH, Attribute, CatalogError, listed, whole_or_fraction
from siamese.snapshot import Snapshot

MOST_VALUES = 200  # a column with more is no filter that people could choose from
FEW_NUMBERS = 12  # a column of numbers with at most so many is chosen from, not set as a range
UNKNOWN = -1


@dataclass(frozen=True)
class Range:
    """Numbers from `lowest` to `highest`, both included; `None` for no bound."""

    lowest: float | None = None
    highest: float | None = None


Filters = Mapping[str, Sequence[Attribute] | Range]


@dataclass(frozen=True)
class Column:
    """One attribute of all products.

    Args:
        codes: int32 (N,), places in `values`, or `UNKNOWN`.
        values: The V distinct ones, ascending.
    """

    codes: np.ndarray
    values: tuple[Attribute, ...]

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers (truth values are none)."""
        return bool(self.values) and isinstance(self.values[0], float)

    def holds(self, wanted: Sequence[Attribute] | Range) -> np.ndarray:
        """Whether each product has one of the values, bool (N,); unknown ones never do."""
        if isinstance(wanted, Range):
            lowest = -math.inf if wanted.lowest is None else wanted.lowest
            highest = math.inf if wanted.highest is None else wanted.highest
            fits = [lowest <= float(v) <= highest for v in self.values if v is not None]
        else:
            fits = [any(same(value, one) for one in wanted) for value in self.values]
        return np.array([*fits, False], dtype=bool)[self.codes]  # UNKNOWN is the last one

    def counts(self, among: np.ndarray) -> np.ndarray:
        """How many of the products, bool (N,), have each value: int64 (V,)."""
        codes = self.codes[among]
        return np.bincount(codes[codes != UNKNOWN], minlength=len(self.values))


@dataclass(frozen=True)
class FacetValue:
    """One value of a column, and how many products have it."""

    value: Attribute
    count: int


@dataclass(frozen=True)
class Facet:
    """A column that people can filter by.

    Args:
        name: Of the column.
        values: Most frequent first, then by value; empty for a range.
        lowest: Of a column of many numbers.
        highest: Likewise.
    """

    name: str
    values: tuple[FacetValue, ...]
    lowest: float | None = None
    highest: float | None = None


class Columns:
    """All attributes of one version of a catalog; a predicted value counts like a given one.

    Args:
        snapshot: That version.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.products = len(snapshot.product_ids)
        rows = snapshot.rows.take(pa.array(snapshot.first)).drop_columns([PATH])
        names = [name for name in rows.column_names if not is_mark(name)]
        self.by_name = {name: _column(rows[name]) for name in names}

    def mask(self, filters: Filters, but: str | None = None) -> np.ndarray:
        """Which products all filters hold for, bool (N,).

        Args:
            filters: By column.
            but: A column whose filter is left out.

        Raises:
            CatalogError: There is no such column, or a range of a column without numbers.
        """
        kept = np.ones(self.products, dtype=bool)
        for name, wanted in filters.items():
            column = self.by_name.get(name)
            if column is None:
                raise CatalogError(
                    f"filter: no column {name[:60]!r}; there are {listed(list(self.by_name))}"
                )
            if isinstance(wanted, Range) and column.values and not column.is_number:
                raise CatalogError(f"filter: {name!r} holds no numbers; give a list of values")
            if name != but:
                kept &= column.holds(wanted)
        return kept

    def facets(self, filters: Filters) -> list[Facet]:
        """The columns to filter by, in the catalog's order.

        A column's own filter does not reduce its counts: they say what choosing another value as
        well would bring.
        """
        found = []
        for name, column in self.by_name.items():
            if not column.values:
                continue
            if column.is_number and len(column.values) > FEW_NUMBERS:
                lowest, highest = (float(column.values[place]) for place in (0, -1))  # type: ignore[arg-type]
                found.append(Facet(name, (), lowest, highest))
            elif len(column.values) <= MOST_VALUES:
                counts = column.counts(self.mask(filters, but=name)).tolist()
                values = zip(column.values, counts, strict=True)
                ordered = sorted(values, key=lambda value: -value[1])  # stable: then by value
                found.append(
                    Facet(name, tuple(FacetValue(whole_or_fraction(v), n) for v, n in ordered))
                )
        return found

    def missing(self) -> dict[str, int]:
        """How many products lack each attribute."""
        return {name: int((column.codes == UNKNOWN).sum()) for name, column in self.by_name.items()}


def _column(chunks: pa.ChunkedArray) -> Column:
    """A column of Arrow's; numbers become fractions, text and truth values stay."""
    encoded = chunks.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order) + 1, np.int32)
    rank[order], rank[UNKNOWN] = np.arange(len(order)), UNKNOWN
    codes = encoded.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    return Column(rank[codes], tuple(encoded.dictionary.take(pa.array(order)).to_pylist()))

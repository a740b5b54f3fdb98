"""A product as the catalog's table keeps it: one Arrow row per photo, one column per attribute.

Attributes are text, numbers (kept as 64-bit fractions, so that a price may be 12 today and 12.5
tomorrow) or truth values. What a product lacks is null.

Shapes: K photos of a product, D embedding size, M photos of all products.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from siamese.errors import UserError

Attribute = str | float | bool | None

KEY, PRODUCT, PATH, EMBEDDING = "photo_key", "product_id", "path", "embedding"
SIGHT = "photo_sight"  # what a comparison saw in the photo; in catalogs that keep it
RESERVED = (KEY, PRODUCT, PATH, EMBEDDING, SIGHT)
KINDS = {pa.string(): "text", pa.float64(): "numbers", pa.bool_(): "true or false"}
MARK = "_predicted"  # `gender_predicted` is the probability of a `gender` that a tagger filled in
LARGEST_WHOLE = 2**53  # above it a 64-bit fraction cannot tell neighbouring whole numbers apart
LISTED = 10  # ids or names in an error message


class CatalogError(UserError):
    """A catalog, product or filter that cannot be used; the message says what and the remedy."""


class StorageError(CatalogError):
    """A catalog that is not there, or cannot be read or written where it lies."""


@dataclass(frozen=True)
class Product:
    """One product to be written.

    Args:
        product_id: Any printable text but the empty one, `.` and `..`.
        paths: Where its K photos are, for people and pages; the catalog does not open them.
        embeddings: Unit embeddings of these photos, float32 (K, D).
        attributes: Text, numbers or truth values by name; `None` or NaN where unknown.
        sights: What the catalog's comparison saw in these photos, K times the bytes of
            `siamese.comparison.Comparison.sights`; `None` where nothing is kept.
    """

    product_id: str
    paths: Sequence[str]
    embeddings: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)
    sights: Sequence[bytes] | None = None


def schema_of(
    embedding_size: int, attributes: Mapping[str, pa.DataType], sights: bool
) -> pa.Schema:
    """The table's columns; the photo's key is unique, even between writers on two machines."""
    unique = {"lance-schema:unenforced-primary-key": "true"}
    return pa.schema(
        [
            pa.field(KEY, pa.string(), nullable=False, metadata=unique),
            pa.field(PRODUCT, pa.string(), nullable=False),
            pa.field(PATH, pa.string()),
            pa.field(EMBEDDING, pa.list_(pa.float32(), embedding_size), nullable=False),
            *([pa.field(SIGHT, pa.binary())] if sights else []),
            *(pa.field(name, kind) for name, kind in attributes.items()),
        ]
    )


def attribute_types(
    products: Iterable[Product], known: Mapping[str, pa.DataType]
) -> dict[str, pa.DataType]:
    """Columns that hold the products' attributes: the known ones, then new ones in order.

    Raises:
        CatalogError: A name that cannot be a column, a value of no kind, or of two kinds.
    """
    types = dict(known)
    spelled = {name.lower(): name for name in (*RESERVED, *types)}
    for product in products:
        for name, value in product.attributes.items():
            if name not in types:
                _check_name(name, spelled)
            kind = _kind(product.product_id, name, plain(value))
            if kind is None:
                continue
            spelled[name.lower()] = name
            _check_mark(product.product_id, name, plain(value))
            if types.setdefault(name, kind) != kind:
                raise CatalogError(
                    f"attribute {name!r} holds {KINDS[types[name]]}, but product "
                    f"{product.product_id!r} has {value!r}; mend it or use another name"
                )
    return types


def table_of(
    products: Sequence[Product],
    embedding_size: int,
    types: Mapping[str, pa.DataType],
    sights: bool = False,
) -> pa.Table:
    """Arrow rows of the products, M of them; attributes that a product lacks are null.

    Args:
        products: Unique ones.
        embedding_size: D.
        types: Of the attribute columns.
        sights: Whether there is a column for what a comparison saw.

    Raises:
        CatalogError: A product without id, without photo, listed twice, or with embeddings of
            another size than (K, D) or not finite.
    """
    check_products(products, embedding_size)
    photos = [(product, number) for product in products for number in range(len(product.paths))]
    vectors = np.concatenate(
        [np.zeros((0, embedding_size), np.float32), *(p.embeddings for p in products)]
    ).astype(np.float32, copy=False)
    columns: list[pa.Array] = [
        pa.array([photo_key(p.product_id, number) for p, number in photos], pa.string()),
        pa.array([p.product_id for p, _ in photos], pa.string()),
        pa.array([p.paths[number] for p, number in photos], pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), embedding_size),
    ]
    if sights:
        kept = [None if p.sights is None else p.sights[number] for p, number in photos]
        columns.append(pa.array(kept, pa.binary()))
    for name, kind in types.items():
        columns.append(pa.array([plain(p.attributes.get(name)) for p, _ in photos], kind))
    return pa.Table.from_arrays(columns, schema=schema_of(embedding_size, types, sights))


def with_attributes(
    rows: pa.Table, changes: Mapping[str, Mapping[str, Any]], types: Mapping[str, pa.DataType]
) -> pa.Table:
    """Arrow rows of products with other attributes.

    Args:
        rows: As `table_of` makes them.
        changes: Attributes by product id; what they do not name stays.
        types: Of the attribute columns.
    """
    ids = rows[PRODUCT].to_pylist()
    for name in dict.fromkeys(name for change in changes.values() for name in change):
        if name not in types:  # never known, and taken away from all
            continue
        before = rows[name].to_pylist()
        after = [plain(changes[i].get(name, old)) for i, old in zip(ids, before, strict=True)]
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(after, types[name]))
    return rows


def given_by_people(
    attributes: Mapping[str, Any], types: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    """The attributes without marks of earlier, predicted values; marks given with them stay."""
    unmarked = {name + MARK: None for name in attributes if name + MARK in types}
    return unmarked | dict(attributes)


def probability_of(attributes: Mapping[str, Attribute], name: str) -> float | None:
    """How sure a tagger was of a value that it filled in; None of one that people gave."""
    mark = attributes.get(name + MARK)
    return None if mark is None or isinstance(mark, str | bool) else float(mark)


def photo_key(product_id: str, number: int) -> str:
    """The unique key of a product's photo, counted from 0."""
    return f"{product_id}#{number:04d}"


def plain(value: Any) -> Any:
    """A value without NumPy's and pandas' types: unknown ones `None`, dates as ISO text."""
    if hasattr(value, "item"):
        value = value.item()
    is_nan = isinstance(value, float) and math.isnan(value)
    if value is None or is_nan or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.isoformat() if isinstance(value, date) else value


def whole_or_fraction(value: Attribute) -> Attribute:
    """2011.0 → 2011: numbers are kept as fractions, but people wrote a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def listed(values: Sequence[Any]) -> str:
    """The first values, and how many more there are."""
    shown = ", ".join(map(str, values[:LISTED]))
    return shown if len(values) <= LISTED else f"{shown} and {len(values) - LISTED} more"


def _kind(product_id: str, name: str, value: Any) -> pa.DataType | None:
    """The column type of a plain value, `None` for an unknown one."""
    if value is None:
        return None
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | float) and abs(value) <= LARGEST_WHOLE:  # nor infinite, nor NaN
        return pa.float64()
    raise CatalogError(
        f"attribute {name!r} of product {product_id!r} is {str(value)[:60]!r}; "
        "use text, a number up to 2^53, or true or false"
    )


def _check_mark(product_id: str, name: str, value: Attribute) -> None:
    """Refuse what is no probability where one is kept: labels would be shown as predicted."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name.endswith(MARK) and not (number and 0 <= value <= 1):  # type: ignore[operator]
        raise CatalogError(
            f"attribute {name!r} of product {product_id!r} is {str(value)[:60]!r}; names that end "
            f"in {MARK} are kept for probabilities, 0 to 1; use another name"
        )


def _check_name(name: str, spelled: Mapping[str, str]) -> None:
    """Refuse names that filters could not address; one like `_rowid` would even ruin the table."""
    if name.lower() in spelled:
        raise CatalogError(
            f"attribute {name!r} differs from the column {spelled[name.lower()]!r} in nothing or "
            "in case only; rename it"
        )
    if not name or name.startswith("_") or set(name) & set(".`") or not name.isprintable():
        raise CatalogError(
            f"an attribute cannot be named {name!r}; leave out dots, backticks, line breaks and "
            "an underscore at the beginning"
        )


def _is_utf8(path: str) -> bool:
    """Whether a path can be kept as text; Python has others, too."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_products(products: Sequence[Product], embedding_size: int) -> None:
    """Raise the first fault of the products, or all unfit ids; see `table_of`."""
    names = [product.product_id for product in products]
    unfit = [  # dots are no part of an address
        repr(name) for name in names if name in ("", ".", "..") or not name.isprintable()
    ]
    if unfit:
        raise CatalogError(f"{listed(unfit)} cannot be a product id; use printable text")
    seen: set[str] = set()
    for product in products:
        name = product.product_id
        if name in seen:
            raise CatalogError(f"product {name!r} is given twice; give all its photos at once")
        if not len(product.paths):
            raise CatalogError(f"product {name!r} has no photo; give at least one")
        for path in product.paths:
            if not _is_utf8(path):
                raise CatalogError(f"{path!r}: its name is not UTF-8; rename the file or folder")
        expected = (len(product.paths), embedding_size)
        if product.embeddings.shape != expected or not np.isfinite(product.embeddings).all():
            raise CatalogError(
                f"product {name!r}: embeddings of shape {product.embeddings.shape} or not finite; "
                f"expected finite numbers of shape {expected}"
            )
        seen.add(name)

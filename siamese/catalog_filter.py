"""Reading the catalog's table by a SQL condition, with clear lines for those that are wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from siamese.products import (
    EMBEDDING,
    KEY,
    PATH,
    PRODUCT,
    SIGHT,
    Attribute,
    CatalogError,
    StorageError,
)

HINT = "write it like \"articleType = 'Tshirts' AND price < 20\""
ROW_ID = "_rowid"  # Lance's name of its own ids
IDS_PER_QUERY = 1000  # bounds the length of the SQL
QUOTED = re.compile(r"'(?:[^']|'')*'|`[^`]*`|\"[^\"]*\"")
UNKNOWN = re.compile(r"No field named (.+?)\. (?:Valid|Did)")
MARKS = {
    ";": "semicolon",
    "--": "comment",
    "/*": "comment",
    "?": "placeholder",
    "$": "placeholder",
}
NOISE = re.compile(
    r", /\S+\.rs:\d+(:\d+)?|Invalid (user )?input[,:] |lance error: |LanceError\(\w+\): "
)


def query(
    table: Any, columns: Sequence[str], where: str | None = None, row_ids: bool = False
) -> pa.Table:
    """The rows that a condition holds for.

    Args:
        table: LanceDB table of a catalog.
        columns: What to read.
        where: LanceDB SQL condition; `None` for all rows.
        row_ids: Whether to add the column `_rowid`.

    Raises:
        CatalogError: The condition is wrong, or the table cannot be read.
    """
    search = table.search().select(list(columns))
    if where is not None:
        _check_shape(where)
        # In brackets, for of `a = 1 b = 2` LanceDB would take the first half and drop the rest.
        search = search.where(f"({where})")
    if row_ids:
        search = search.with_row_id(True)
    try:
        return search.to_arrow()
    except ValueError as error:
        if where is None:
            raise
        raise CatalogError(_wrong(where, table, error)) from error
    except (RuntimeError, OSError) as error:
        if where is not None and _readable(table, columns):
            raise CatalogError(_wrong(where, table, error)) from error
        raise _unreadable(table, error) from error


def kept_at(table: Any, row_ids: Sequence[int], column: str) -> dict[int, Any]:
    """What a column holds in the rows that Lance calls so, by these ids.

    Raises:
        StorageError: The table cannot be read.
    """
    try:
        rows = table.take_row_ids(list(row_ids)).select([column]).with_row_id().to_arrow()
    except (RuntimeError, OSError, ValueError) as error:
        raise _unreadable(table, error) from error
    return dict(zip(rows[ROW_ID].to_pylist(), rows[column].to_pylist(), strict=True))


def _unreadable(table: Any, error: Exception) -> StorageError:
    return StorageError(
        f"{os.path.dirname(table.uri)}: the catalog cannot be read ({brief(error)}); index the "
        "photos again"
    )


def _readable(table: Any, columns: Sequence[str]) -> bool:
    """Whether rows can be read at all, so that it is the condition that fails."""
    try:
        table.search().select(list(columns)).limit(1).to_arrow()
    except (RuntimeError, OSError):
        return False
    return True


def attributes_of(table: Any, product_ids: Sequence[str]) -> dict[str, dict[str, Attribute]]:
    """The attributes of those of the products that are in the table."""
    columns = [name for name in table.schema.names if name not in (KEY, PATH, EMBEDDING, SIGHT)]
    found: dict[str, dict[str, Attribute]] = {}
    for start in range(0, len(product_ids), IDS_PER_QUERY):
        some = ids_in(product_ids[start : start + IDS_PER_QUERY])
        for row in query(table, columns, some).to_pylist():
            found[row.pop(PRODUCT)] = row
    return found


def ids_in(product_ids: Iterable[str]) -> str:
    """The condition that a row is of one of these products."""
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in product_ids)
    return f"{PRODUCT} IN ({quoted})"


def brief(error: Exception) -> str:
    """One line of LanceDB's message, without the places in its source."""
    text = NOISE.sub("", " ".join(str(error).split()))
    return text[:200] or type(error).__name__


def _check_shape(where: str) -> None:
    """Refuse what could end the condition early: LanceDB takes `a) OR (b`, and stops at `;`.

    It has no values for `?` and `$1`, and panics.
    """
    bare = QUOTED.sub("''", where)
    for mark, name in MARKS.items():
        if mark in bare:
            raise CatalogError(f"filter {where!r}: holds a {name}; {HINT}")
    depth = 0
    for letter in bare:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
    if depth:
        raise CatalogError(f"filter {where!r}: its brackets do not match; {HINT}")


def _wrong(where: str, table: Any, error: Exception) -> str:
    """What is wrong with a condition, in one line."""
    unknown = UNKNOWN.search(str(error))
    if unknown is None and "literal of type 'Utf8'" in str(error):
        return f"filter {where!r}: compares a column that holds text with a number; quote the text"
    if unknown is None:
        return f"filter {where!r}: {brief(error)}; {HINT}"
    known = [name for name in table.schema.names if name not in (KEY, EMBEDDING, SIGHT)]
    return f"filter {where!r}: no column {unknown[1].strip('`')}; there are {', '.join(known)}"

"""Filters that cannot be wrong unnoticed: columns and values are looked up before they are used.

`--filter column=value` becomes SQL here, quoted; what a user writes never becomes SQL itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from siamese.products import CatalogError, whole_or_fraction

if TYPE_CHECKING:
    from siamese.catalog import Catalog

LISTED = 12  # values in a message
TEXT = r"'((?:[^']|'')*)'"
EQUALS = re.compile(rf"(?:`([^`]+)`|\b(\w+))\s*=\s*{TEXT}")
AMONG = re.compile(rf"(?:`([^`]+)`|\b(\w+))\s+IN\s*\(\s*({TEXT}(?:\s*,\s*{TEXT})*)\s*\)", re.I)
TRUTHS = {"true": "TRUE", "false": "FALSE"}


def condition(catalog: Catalog, filters: Sequence[str], where: str | None) -> str | None:
    """One SQL condition of both kinds of filters; `None` without any.

    Values of one column are alternatives; columns and `where` must all hold.

    Args:
        catalog: Whose columns and values are known.
        filters: Of the form `column=value`.
        where: A SQL condition that must be right by itself, so that it cannot end the others.

    Raises:
        CatalogError: No `=`, or an unknown column or value; the line lists the known ones.
    """
    wanted: dict[str, list[str]] = {}
    for text in filters:
        column, equals, value = text.partition("=")
        if not equals:
            raise CatalogError(f"--filter {text}: write it as column=value")
        wanted.setdefault(column.strip(), []).append(value)
    check_columns(catalog, list(wanted), "--filter")
    parts = [_any_of(catalog, column, values) for column, values in wanted.items()]
    if where is not None:
        rows = catalog.rows(where)
        if not len(rows) and (fault := unknown_value(where, catalog.rows())):
            raise CatalogError(f"filter {where!r}: {fault}")
        parts.append(f"({where})" if parts else where)
    return " AND ".join(parts) or None


def check_columns(catalog: Catalog, columns: Iterable[str], option: str) -> None:
    """Raise `CatalogError` with the known columns for one that is not among them."""
    known = catalog.attribute_types
    for column in columns:
        if column not in known:
            have = ", ".join(known) or "none"
            raise CatalogError(f"{option} {column}: no such column; there are {have}")


def unknown_value(where: str, rows: pa.Table) -> str | None:
    """What is wrong with a condition that compares a column with a text that no product has.

    Args:
        where: SQL condition.
        rows: The catalog's attributes.
    """
    found = [(a or b, text) for a, b, text in EQUALS.findall(where)]
    for first, second, texts, *_ in AMONG.findall(where):
        found += [(first or second, text) for text in re.findall(TEXT, texts)]
    columns = {name.lower(): name for name in rows.column_names}
    for named, text in found:
        column = columns.get(named.lower())
        value = text.replace("''", "'")
        if column is None or not pa.types.is_string(rows.schema.field(column).type):
            continue
        values = rows[column].to_pylist()
        if value not in values:
            return _no_such(column, value, values)
    return None


def _any_of(catalog: Catalog, column: str, values: Sequence[str]) -> str:
    """The condition that a column has one of these values, each of which some product has."""
    known = catalog.rows()[column].to_pylist()
    literals = []
    for text in values:
        literal = _literal(text, catalog.attribute_types[column], known)
        if literal is None:
            raise CatalogError(f"--filter {column}={text}: {_no_such(column, text, known)}")
        literals.append(literal)
    name = column.replace("`", "``")
    return f"`{name}` IN ({', '.join(literals)})"


def _literal(text: str, kind: pa.DataType, known: Sequence[Any]) -> str | None:
    """A value as SQL; `None` if no product has it."""
    if pa.types.is_string(kind):
        return "'" + text.replace("'", "''") + "'" if text in known else None
    if pa.types.is_boolean(kind):
        return TRUTHS.get(text.strip().lower())
    try:
        number = float(text)
    except ValueError:
        return None
    return repr(number) if number in known else None


def _no_such(column: str, value: str, values: Iterable[Any]) -> str:
    """The known values: those that are written alike first, then the most frequent ones."""
    counts = Counter(str(whole_or_fraction(each)) for each in values if each is not None)
    alike = get_close_matches(value, list(counts), LISTED // 2)
    ordered = list(dict.fromkeys(alike + [name for name, _ in counts.most_common()]))
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    have = ", ".join(ordered[:LISTED]) or "none"
    return f"no product has {column} {value!r}; there are {have}{more}"

"""A CSV of products as it comes from a spreadsheet → typed attributes, a column at a time."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from siamese.files import separator_of
from siamese.products import CatalogError

ID_COLUMNS = ("product_id", "id")
PATH_COLUMN = "path"
MOST_ROWS = 100_000
TRUTHS = {"true": True, "false": False}
Value = bool | float | str
Row = tuple[str, str | None, dict[str, Value]]


def rows_of_csv(content: bytes, types: Mapping[str, pa.DataType]) -> list[Row]:
    """Product id, path if there is one, and known attributes of each row.

    A new column holds numbers if all of its values are (and none has a needless zero first or a
    letter, as article numbers do), truth values if all are `true` or `false`, and text otherwise.

    Args:
        content: UTF-8, with a heading; commas, semicolons or tabs.
        types: Of the catalog's columns, which the values must fit.

    Raises:
        CatalogError: No such table, no column of ids or one that is there twice, a row without
            id, rows of a product that differ, or an unfit value.
    """
    heading, cells = _cells(content)
    named = next((name for name in ID_COLUMNS if name in heading), None)
    if named is None:
        raise CatalogError(f"table: no column product_id or id, but {', '.join(heading)[:200]}")
    ids = [row[heading.index(named)] for row in cells]
    if not all(ids):
        raise CatalogError(f"table: row {ids.index('') + 2} has no {named}; fill it in")
    if twice := [name for name, count in Counter(heading).items() if name and count > 1]:
        raise CatalogError(f"table: has the column {twice[0]!r} twice; rename or drop one")
    paths = [row[heading.index(PATH_COLUMN)] for row in cells] if PATH_COLUMN in heading else None
    values: list[dict[str, Value]] = [{} for _ in cells]
    for place, name in enumerate(heading):
        if name in (*ID_COLUMNS, PATH_COLUMN, ""):
            continue
        column = _typed(name, [row[place] for row in cells], types.get(name))
        for row_values, value in zip(values, column, strict=True):
            if value is not None:
                row_values[name] = value
    _check_repeated(ids, values)
    names: Sequence[str | None] = [None] * len(ids) if paths is None else paths
    return list(zip(ids, names, values, strict=True))


def _check_repeated(ids: Sequence[str], values: Sequence[dict[str, Value]]) -> None:
    """Refuse rows of one product, such as one per photo, that say different things of it."""
    known: dict[str, dict[str, Value]] = {}
    for name, row in zip(ids, values, strict=True):
        if known.setdefault(name, row) != row:
            raise CatalogError(f"table: two rows of {name!r} have different attributes; keep one")


def _cells(content: bytes) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of equal length, without empty rows."""
    try:
        text = content.decode("utf-8-sig")
        separator = separator_of(text.split("\n", 1)[0])
        lines = io.StringIO(text, newline="")
        rows = list(csv.reader(lines, delimiter=separator, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogError("table: no CSV in UTF-8; save it as one") from error
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2 or len(rows) > MOST_ROWS:
        raise CatalogError(f"table: needs a heading and 1 to {MOST_ROWS:,} rows")
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        wrong = next(place for place, row in enumerate(rows) if len(row) != width)
        raise CatalogError(f"table: row {wrong + 1} has another number of cells than the heading")
    return rows[0], rows[1:]


def _typed(name: str, texts: Sequence[str], kind: pa.DataType | None) -> list[Value | None]:
    """A column's values, `None` where empty."""
    known = [text for text in texts if text]
    if kind == pa.bool_() or (kind is None and known and all(t.lower() in TRUTHS for t in known)):
        return [_value(name, text, TRUTHS.get(text.lower())) for text in texts]
    if kind == pa.float64() or (kind is None and known and all(map(_is_number, known))):
        return [_value(name, text, _number(text)) for text in texts]
    return [text or None for text in texts]


def _value(name: str, text: str, value: Value | None) -> Value | None:
    """A converted value; refuses a text that could not be."""
    if text and value is None:
        raise CatalogError(f"table: {name!r} cannot hold {text[:60]!r}; mend it or rename it")
    return value


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # to Python, 12_34 is a number
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    """Whether nothing is lost by reading it as a number."""
    digits = text.lstrip("+-")
    needless_zero = digits[:1] == "0" and digits[1:2].isdigit()
    code = re.search("[A-Za-z]", text) is not None  # 12E4 is an article number
    plain = digits[:1] in "0123456789." and not (needless_zero or code)
    return plain and _number(text) is not None

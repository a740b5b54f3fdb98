"""Attributes of a manifest as classes that a network can learn to tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datasets.manifest import ManifestError
from siamese.verification import Integers


def kinds_of(frame: pd.DataFrame, names: Sequence[str]) -> Integers:
    """Number of each photo's kind, int64 (rows,): equal where all of these columns are.

    A product's cell may be filled in one of its rows alone, and the first that is counts. A product
    without any is a kind of its own.

    Raises:
        ManifestError: No such column.
    """
    _check(frame, names, "data.alike")
    columns = [column for joined in names for column in _columns(joined, frame)]
    first = frame.groupby("product_id")[columns].transform("first")
    known = first.notna().all(axis=1)
    values = first.astype("str").apply(tuple, axis=1)
    keys = values.where(known, frame["product_id"])
    return pd.factorize(keys)[0].astype(np.int64)


def classes_of(frame: pd.DataFrame, names: Sequence[str]) -> Integers:
    """Class of each photo in each column, int64 (rows, names), -1 where the cell is empty.

    The values of a column are numbered from 0 in the order of their text. Columns joined by `+`
    count as one, whose values are the pairs that occur.

    Raises:
        ManifestError: No such column, or nothing in it to tell apart.
    """
    _check(frame, names, "data.labels")
    columns = [np.empty((len(frame), 0), np.int64)]
    for name in names:
        parts = frame[_columns(name, frame)]
        text = parts.astype("str").fillna("").agg(" ".join, axis=1)
        text = text.where(parts.notna().all(axis=1))
        numbers, values = pd.factorize(text, sort=True)
        if len(values) < 2:
            raise ManifestError(
                f"column {name} has {len(values)} values in the training split; data.labels needs "
                "two to tell apart"
            )
        columns.append(numbers.astype(np.int64)[:, None])
    return np.concatenate(columns, axis=1)


def _columns(name: str, frame: pd.DataFrame) -> list[str]:
    """The columns that a label is of."""
    return [name] if name in frame else name.split("+")


def _check(frame: pd.DataFrame, names: Sequence[str], setting: str) -> None:
    """Raise for a column that is not there."""
    for name in (column for joined in names for column in _columns(joined, frame)):
        if name not in frame:
            known = ", ".join(map(str, frame))
            raise ManifestError(f"no column {name} for {setting}; the manifest has {known}")

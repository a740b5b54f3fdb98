"""What somebody likes: values never to be shown or preferred, and products liked or disliked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from siamese.attributes.label_table import check_values, column_names
from siamese.catalog import CatalogError
from siamese.errors import UserError
from siamese.products import Attribute, listed, whole_or_fraction
from siamese.snapshot import Snapshot

KEYS = ("never", "prefer", "likes", "dislikes")
Values = Mapping[str, tuple[Attribute, ...]]


class TasteError(UserError):
    """A profile that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Taste:
    """A person's profile.

    Args:
        never: Values of columns that are never shown, such as {"baseColour": ("Yellow",)}. A
            product whose colour is not known is shown; a tagger can fill it in.
        prefer: Values that move a product up.
        likes: Ids of products that the answers shall be more like.
        dislikes: Ids of products that they shall be less like; these are never shown.
    """

    never: Values = field(default_factory=dict)
    prefer: Values = field(default_factory=dict)
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()

    def __or__(self, other: Taste) -> Taste:
        """Both together."""
        return Taste(
            _joined(self.never, other.never),
            _joined(self.prefer, other.prefer),
            tuple(dict.fromkeys(self.likes + other.likes)),
            tuple(dict.fromkeys(self.dislikes + other.dislikes)),
        )

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.never or self.prefer or self.likes or self.dislikes)

    def check(self, snapshot: Snapshot) -> None:
        """Raise for what the catalog does not know, with a list of what it does.

        A misspelled `Yelow` that changes nothing would be worse than an error.

        Raises:
            CatalogError: An unknown column, value or product.
        """
        for values in (self.never, self.prefer):
            for name, wanted in values.items():
                check_values(name, wanted, values_of(snapshot, name))
        places_of(snapshot, self.likes + self.dislikes)

    def allows(self, snapshot: Snapshot) -> np.ndarray:
        """Which of the N products may be shown, bool (N,)."""
        allowed = np.ones(len(snapshot.product_ids), dtype=bool)
        for name, values in self.never.items():
            column = snapshot.rows[name].take(snapshot.first)
            hated = pa.array(list(values), column.type)
            allowed &= ~pc.is_in(column, hated).to_numpy(zero_copy_only=False)
        allowed[places_of(snapshot, self.dislikes)] = False
        return allowed


def read_taste(path: str | Path) -> Taste:
    """A profile from JSON: {"never": {"baseColour": ["Yellow"]}, "likes": ["1163"], …}.

    Raises:
        TasteError: No such file, or not written like that.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"not JSON: {error}"
        raise TasteError(f"{path}: the profile cannot be read ({reason})") from error
    try:
        return taste_from(content)
    except TasteError as error:
        raise TasteError(f"{path}: {error}") from error


def taste_from(content: Any) -> Taste:
    """A profile from JSON values; a single value may stand for a list of one.

    Raises:
        TasteError: Another key, or a value of the wrong kind.
    """
    if not isinstance(content, dict) or set(content) - set(KEYS):
        raise TasteError(f"a profile is an object with any of {', '.join(KEYS)}")
    values: dict[str, Values] = {}
    for key in ("never", "prefer"):
        columns = content.get(key, {})
        if not isinstance(columns, dict):
            raise TasteError(f'{key}: write it as {{"baseColour": ["Yellow"]}}')
        values[key] = {str(name): _values(f"{key} {name}", v) for name, v in columns.items()}
    items = {
        key: tuple(str(whole_or_fraction(v)) for v in _values(key, content.get(key, [])))
        for key in ("likes", "dislikes")
    }
    return Taste(values["never"], values["prefer"], items["likes"], items["dislikes"])


def values_of(snapshot: Snapshot, name: str) -> list[Attribute]:
    """All values of a column, in order; predicted ones as well.

    Raises:
        CatalogError: There is no such column.
    """
    known = column_names(snapshot)
    if name not in known:
        raise CatalogError(f"no column {name!r}; there are {', '.join(known) or 'none'}")
    unique = snapshot.rows[name].unique().drop_null().to_pylist()
    return sorted((whole_or_fraction(value) for value in unique), key=str)


def preferred(taste: Taste, attributes: Mapping[str, Attribute]) -> int:
    """In how many columns a product has a value that is preferred."""
    return sum(attributes.get(name) in values for name, values in taste.prefer.items())


def embeddings_of(snapshot: Snapshot, product_ids: Sequence[str]) -> np.ndarray:
    """The normalised mean embeddings of products of the catalog, float32 (any, D).

    Raises:
        CatalogError: One is not there.
    """
    return snapshot.means[places_of(snapshot, product_ids)]


def places_of(snapshot: Snapshot, product_ids: Sequence[str]) -> np.ndarray:
    """Places of products among the catalog's, int64 (any,).

    Raises:
        CatalogError: One is not there.
    """
    unknown = [name for name in product_ids if name not in snapshot.place_of]
    if unknown:
        raise CatalogError(f"no product {listed(unknown)} in the catalog; see `list`")
    return np.array([snapshot.place_of[name] for name in product_ids], np.int64)


def _joined(one: Values, two: Values) -> Values:
    """The values of both, by column."""
    names = dict.fromkeys([*one, *two])
    return {n: tuple(dict.fromkeys((*one.get(n, ()), *two.get(n, ())))) for n in names}


def _values(key: str, content: Any) -> tuple[Attribute, ...]:
    """A list of plain values, or a single one."""
    values = content if isinstance(content, list) else [content]
    if not all(isinstance(value, str | int | float | bool) for value in values):
        raise TasteError(f"{key}: give text, numbers, or true or false, not {content!r}")
    return tuple(values)

"""The same kind of product in another colour, or whatever else shall differ.

Shapes: N products, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.attributes.label_table import column_of
from siamese.catalog import CatalogError
from siamese.products import Attribute
from siamese.recommend.defaults import DIFFERENT, SAME
from siamese.recommend.taste import Taste, places_of
from siamese.snapshot import Snapshot


@dataclass(frozen=True)
class Suggestion:
    """A product that goes with another one.

    Args:
        product_id: Which.
        path: Its first photo.
        cosine: Of the two products' embeddings.
        why: The value that it was chosen for, such as its colour or category.
        attributes: What the catalog knows of it.
    """

    product_id: str
    path: str
    cosine: float
    why: str
    attributes: dict[str, Attribute]


def variants(
    snapshot: Snapshot,
    product_id: str,
    top: int = 20,
    same: Sequence[str] = SAME,
    different: str = DIFFERENT,
    taste: Taste | None = None,
) -> list[Suggestion]:
    """For each other value of a column the product that is most alike, best first.

    Args:
        snapshot: Of any catalog; no checkpoint is needed.
        product_id: Of a product in it.
        top: How many at most.
        same: Columns that must be equal.
        different: The column that must differ, such as a colour or pattern; a product whose
            value is not known is left out.
        taste: What may be shown.

    Raises:
        CatalogError: No such product or column, or nothing is known of the product there.
    """
    (own,) = places_of(snapshot, [product_id])
    everything = np.arange(len(snapshot.product_ids))
    allowed = may_be_shown(snapshot, taste)
    for name in same:
        column = column_of(snapshot, name, everything, predicted=True)
        _check_known(column[own], name, product_id)
        allowed &= np.array([value == column[own] for value in column])
    values = column_of(snapshot, different, everything, predicted=True)
    _check_known(values[own], different, product_id)
    allowed &= np.array([value is not None and value != values[own] for value in values])
    places = np.flatnonzero(allowed)
    cosines = snapshot.means[places].astype(np.float64) @ snapshot.means[own]
    seen: set[Attribute] = set()
    found: list[Suggestion] = []
    for place, cosine in by_score(places, cosines):
        if values[place] not in seen and len(found) < top:
            seen.add(values[place])
            found.append(suggestion(snapshot, place, cosine, str(values[place])))
    return found


def may_be_shown(snapshot: Snapshot, taste: Taste | None) -> np.ndarray:
    """Which products a profile allows, bool (N,).

    Raises:
        CatalogError: It names what the catalog does not know.
    """
    taste = taste or Taste()
    taste.check(snapshot)
    return taste.allows(snapshot)


def by_score(places: np.ndarray, scores: np.ndarray) -> list[tuple[int, float]]:
    """Places with their scores, best first; ties in order of the places."""
    order = np.lexsort((places, -scores))
    return list(zip(places[order].tolist(), scores[order].tolist(), strict=True))


def suggestion(snapshot: Snapshot, place: int, cosine: float, why: str) -> Suggestion:
    """The product at that place."""
    ((path, attributes),) = snapshot.describe(snapshot.first[[place]])
    return Suggestion(snapshot.product_ids[place], path, round(cosine, 6), why, attributes)


def _check_known(value: Attribute, name: str, product_id: str) -> None:
    if value is None:
        raise CatalogError(
            f"product {product_id} has no {name}; set it with update {product_id} --set {name}=…, "
            "or fill it with infer.py tagger apply"
        )

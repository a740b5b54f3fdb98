"""What goes with a product: kinds learned from sets that were sold or worn together, or rules.

Shapes: N products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from siamese.attributes.label_table import column_names, column_of
from siamese.catalog import CatalogError
from siamese.products import Attribute
from siamese.recommend.defaults import CATEGORY
from siamese.recommend.taste import Taste, places_of
from siamese.recommend.variants import Suggestion, may_be_shown, suggestion
from siamese.snapshot import Snapshot

ALIKE = ("usage", "season")  # the more of them are equal, the better two products go together
GENDER, FOR_ALL = "gender", "Unisex"

# Of Fashion Product Images; what is most worn with it comes first.
RULES: dict[str, tuple[str, ...]] = {
    "Topwear": ("Bottomwear", "Shoes", "Watches", "Belts", "Bags", "Eyewear", "Headwear"),
    "Bottomwear": ("Topwear", "Shoes", "Belts", "Watches", "Socks", "Bags"),
    "Dress": ("Shoes", "Bags", "Jewellery", "Sandal", "Eyewear", "Scarves"),
    "Saree": ("Sandal", "Jewellery", "Bags"),
    "Apparel Set": ("Shoes", "Sandal", "Bags"),
    "Shoes": ("Socks", "Bottomwear", "Topwear", "Belts", "Bags", "Watches"),
    "Sandal": ("Bottomwear", "Topwear", "Dress", "Bags", "Eyewear"),
    "Flip Flops": ("Bottomwear", "Topwear", "Eyewear", "Headwear"),
    "Bags": ("Shoes", "Topwear", "Dress", "Wallets", "Scarves", "Eyewear"),
    "Wallets": ("Belts", "Bags", "Watches"),
    "Belts": ("Bottomwear", "Shoes", "Wallets", "Watches"),
    "Watches": ("Topwear", "Belts", "Shoes", "Wallets", "Cufflinks"),
    "Eyewear": ("Topwear", "Headwear", "Bags", "Watches"),
    "Headwear": ("Topwear", "Eyewear", "Shoes", "Bottomwear"),
    "Socks": ("Shoes", "Bottomwear"),
    "Ties": ("Topwear", "Cufflinks", "Belts", "Shoes"),
    "Cufflinks": ("Ties", "Topwear", "Watches"),
    "Scarves": ("Topwear", "Bags", "Gloves"),
    "Mufflers": ("Topwear", "Gloves", "Headwear"),
    "Stoles": ("Topwear", "Bags"),
    "Gloves": ("Mufflers", "Headwear", "Topwear"),
    "Jewellery": ("Dress", "Topwear", "Bags"),
    "Innerwear": ("Innerwear", "Socks", "Loungewear and Nightwear"),
    "Loungewear and Nightwear": ("Innerwear", "Flip Flops"),
    "Fragrance": ("Watches", "Wallets"),
    "Umbrellas": ("Bags", "Shoes"),
    "Shoe Accessories": ("Shoes", "Socks"),
    "Accessories": ("Topwear", "Bags"),
}


@dataclass(frozen=True)
class Companions:
    """Which categories and products occur together.

    Args:
        categories: Of each category the others, most likely first.
        together: In how many sets two products were, by (one, other).
    """

    categories: Mapping[str, Sequence[str]]
    together: Mapping[tuple[str, str], int] = field(default_factory=dict)


BY_RULE = Companions(RULES)


def learn_companions(
    sets: Iterable[Sequence[str]], category: Mapping[str, str | None]
) -> Companions:
    """From products that were bought or worn together.

    A category b comes the earlier the larger the share of sets with another product of category
    a that have b, P(b | a); ties in order of the names.

    Args:
        sets: Product ids that were together.
        category: Of each product; sets may name products without one, which teach pairs only.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    together: Counter[tuple[str, str]] = Counter()
    for members in sets:
        products = sorted(set(members))
        together.update(permutations(products, 2))
        known = {(p, c) for p in products if (c := category.get(p)) is not None}
        pairs.update({(a, b) for (_, a), (_, b) in permutations(known, 2)})
    categories: dict[str, list[str]] = {}
    for (one, other), _ in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        categories.setdefault(one, []).append(other)
    return Companions(categories, together)


def complements(
    snapshot: Snapshot,
    product_id: str,
    companions: Companions = BY_RULE,
    top: int = 3,
    categories: int = 5,
    category: str = CATEGORY,
    taste: Taste | None = None,
) -> list[Suggestion]:
    """Products of other categories that go with one, category by category.

    Within a category come first those that were in sets with the very product, then those with
    more of `usage` and `season` in common, then those that look more alike (which mostly means
    the colours). A product for the other gender is never shown; `Unisex` goes with all.

    Args:
        snapshot: Of any catalog; no checkpoint is needed.
        product_id: Of a product in it.
        companions: `learn_companions` of sets, or the rules.
        top: Products of each category.
        categories: How many of them at most; those without a product are passed over.
        category: The column that says it.
        taste: What may be shown.

    Raises:
        CatalogError: No such product or column, or nothing goes with its category.
    """
    (own,) = places_of(snapshot, [product_id])
    kinds = np.array(kinds_of(snapshot, category), dtype=object)
    wanted = companions.categories.get(kinds[own], ())
    if not wanted:
        raise CatalogError(
            f"nothing is known to go with {category} {kinds[own]!r} of product {product_id}; "
            f"there are rules for {', '.join(sorted(companions.categories)) or 'none'}"
        )
    allowed = may_be_shown(snapshot, taste) & _for_same_people(snapshot, own)
    allowed[own] = False
    alike = _alike(snapshot, own)
    cosines = snapshot.means.astype(np.float64) @ snapshot.means[own]
    pairs = np.array(
        [companions.together.get((product_id, other), 0) for other in snapshot.product_ids]
    )
    found: list[Suggestion] = []
    shown = 0
    for kind in wanted:
        places = np.flatnonzero(allowed & (kinds == kind))
        order = np.lexsort((places, -cosines[places], -alike[places], -pairs[places]))
        best = places[order[:top]]
        shown += len(best) > 0
        found += [suggestion(snapshot, int(p), float(cosines[p]), kind) for p in best]
        if shown == categories:
            break
    return found


def kinds_of(snapshot: Snapshot, category: str) -> list[str | None]:
    """The category of each product as text, as `Companions` names it: `10` of the number 10.

    Raises:
        CatalogError: No such column.
    """
    everything = np.arange(len(snapshot.product_ids))
    kinds = column_of(snapshot, category, everything, predicted=True)
    return [None if kind is None else str(kind) for kind in kinds]


def _for_same_people(snapshot: Snapshot, own: int) -> np.ndarray:
    """Which products are not for another gender, bool (N,); unknown ones are for all."""
    everything = np.arange(len(snapshot.product_ids))
    if GENDER not in column_names(snapshot):
        return np.ones(len(everything), dtype=bool)
    genders = column_of(snapshot, GENDER, everything, predicted=True)
    mine = genders[own]
    free: tuple[Attribute, ...] = (None, FOR_ALL, mine)
    return np.array([mine in (None, FOR_ALL) or gender in free for gender in genders])


def _alike(snapshot: Snapshot, own: int) -> np.ndarray:
    """In how many of `ALIKE` each product equals the one at place `own`, int64 (N,)."""
    everything = np.arange(len(snapshot.product_ids))
    total = np.zeros(len(everything), np.int64)
    for name in ALIKE:
        if name in column_names(snapshot):
            column = column_of(snapshot, name, everything, predicted=True)
            total += np.array([v is not None and v == column[own] for v in column], np.int64)
    return total

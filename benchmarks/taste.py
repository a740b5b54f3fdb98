"""What personal taste, variants, complements and variety do to lists of real products.

    uv run python benchmarks/taste.py --catalog catalogs/fashion [--checkpoint FILE]
        [--street ../shared/data/street]

Every query is a product of the catalog, ranked among all others. Nothing is fitted here.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
import torch
from PIL import Image

from siamese.catalog import Catalog, CatalogError
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import SHIPPED
from siamese.errors import UserError
from siamese.finder import Finder
from siamese.ranking import Match
from siamese.recommend.complements import complements, learn_companions
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import Taste
from siamese.recommend.variants import variants

TOP = 10
COLOUR, TYPE, GENDER, CATEGORY = "baseColour", "articleType", "gender", "subCategory"
TWIN = 0.95  # cosine from which two products of a list count as twins
NO_GARMENTS = ("null", "hair", "skin")  # labels of the street photos


def main() -> None:
    """Print one line per effect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--checkpoint", default=SHIPPED)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--street", type=Path)
    arguments = parser.parse_args()
    finder = Finder(load_checkpoint(arguments.checkpoint), arguments.catalog)
    queries = drawn_queries(finder.catalog, arguments.queries)
    rows = [
        *disliked_colour(finder, queries),
        *preferred_colour(finder, queries),
        *liked_products(finder, queries),
        *varied(finder, queries),
        *other_colours(finder.catalog, queries),
        *going_with(finder.catalog, queries),
    ]
    if arguments.street is not None:
        rows += worn_together(arguments.street)
    print(
        pd.DataFrame(rows, columns=["effect", "before", "after"]).to_string(
            index=False, float_format="%.3f"
        )
    )


Row = tuple[str, float, float]


def drawn_queries(catalog: Catalog, count: int) -> pd.DataFrame:
    """Products with a known colour, type and gender, at random, indexed by id."""
    products = catalog.products().dropna(subset=[COLOUR, TYPE, GENDER])
    return products.sample(min(count, len(products)), random_state=0).set_index("product_id")


def listed(
    finder: Finder, product_id: str, taste: Taste | None = None, variety: float = 0.0
) -> list[Match]:
    """The ten products for one of the catalog, without itself."""
    snapshot = finder.catalog.snapshot()
    query = torch.from_numpy(snapshot.means[[snapshot.place_of[product_id]]])
    personal = PersonalFinder(finder, taste or Taste(), variety)
    (ranking,) = personal.rank_embeddings(query, TOP, f"product_id != '{product_id}'")
    return list(ranking.matches)


def mean(values: Sequence[float] | Sequence[bool]) -> float:
    """Their mean; 0 for none."""
    return float(np.mean(values)) if values else 0.0


def share(matches: Sequence[Match], column: str, value: object) -> float:
    """How many of them have the value."""
    return mean([match.attributes.get(column) == value for match in matches])


def disliked_colour(finder: Finder, queries: pd.DataFrame) -> list[Row]:
    """The colour that the query itself has, which the nearest products mostly have, too."""
    before, after = [], []
    for product_id, row in queries.iterrows():
        colour = row[COLOUR]
        before.append(share(listed(finder, str(product_id)), COLOUR, colour))
        taste = Taste(never={COLOUR: (colour,)})
        after.append(share(listed(finder, str(product_id), taste), COLOUR, colour))
    return [("share of a colour that is never wanted", mean(before), mean(after))]


def preferred_colour(finder: Finder, queries: pd.DataFrame, colour: str = "Black") -> list[Row]:
    """A colour that the query mostly has not, and how many of another type that brings."""
    taste = Taste(prefer={COLOUR: (colour,)})
    wanted: list[tuple[float, float]] = []
    alike: list[tuple[float, float]] = []
    for product_id, row in queries.iterrows():
        lists = listed(finder, str(product_id)), listed(finder, str(product_id), taste)
        wanted.append((share(lists[0], COLOUR, colour), share(lists[1], COLOUR, colour)))
        alike.append((share(lists[0], TYPE, row[TYPE]), share(lists[1], TYPE, row[TYPE])))
    return [
        (f"share of a preferred colour ({colour})", *np.mean(wanted, axis=0).tolist()),
        ("preferred colour: share of the query's type, its cost", *np.mean(alike, axis=0).tolist()),
    ]


def liked_products(finder: Finder, queries: pd.DataFrame) -> list[Row]:
    """Three liked products of the query's kind in one other colour: more of that colour come."""
    products = finder.catalog.products()
    random = np.random.default_rng(0)
    liked_before, liked_after, hated_before, hated_after = [], [], [], []
    for product_id, row in queries.iterrows():
        kind = products[(products[TYPE] == row[TYPE]) & (products[GENDER] == row[GENDER])]
        others = kind[kind[COLOUR] != row[COLOUR]].groupby(COLOUR).filter(lambda g: len(g) >= 8)
        if others.empty:
            continue
        colour = str(random.choice(sorted(others[COLOUR].unique())))
        chosen = others[others[COLOUR] == colour]["product_id"].sample(3, random_state=0)
        plain = listed(finder, str(product_id))
        moved = listed(finder, str(product_id), Taste(likes=tuple(chosen)))
        # The liked ones themselves do not count as an effect.
        fresh = [match for match in moved if match.product_id not in set(chosen)]
        liked_before.append(share(plain, COLOUR, colour))
        liked_after.append(share(fresh, COLOUR, colour) if fresh else 0.0)
        hated = tuple(match.product_id for match in plain[:3])
        again = listed(finder, str(product_id), Taste(dislikes=hated))
        hated_before.append(mean([match.product_id in hated for match in plain]))
        hated_after.append(mean([match.product_id in hated for match in again]))
    return [
        ("share of the colour of 3 liked products", mean(liked_before), mean(liked_after)),
        ("share of 3 disliked products", mean(hated_before), mean(hated_after)),
    ]


def varied(finder: Finder, queries: pd.DataFrame, variety: float = 0.3) -> list[Row]:
    """How alike the ten are to each other, how many have a twin above, and what that costs."""
    rows = []
    for name, measure in (
        ("mean cosine between the ten", _mean_cosine),
        (f"share with a twin above (cosine {TWIN})", _twins),
        ("mean cosine with the query", lambda vectors, query: float((vectors @ query).mean())),
    ):
        values: dict[float, list[float]] = {0.0: [], variety: []}
        snapshot = finder.catalog.snapshot()
        for product_id in queries.index:
            query = snapshot.means[snapshot.place_of[product_id]]
            for amount, found in values.items():
                ids = [m.product_id for m in listed(finder, product_id, variety=amount)]
                vectors = snapshot.means[[snapshot.place_of[name] for name in ids]]
                found.append(measure(vectors, query))
        rows.append((f"variety {variety}: {name}", mean(values[0.0]), mean(values[variety])))
    return rows


def _mean_cosine(vectors: np.ndarray, _: np.ndarray) -> float:
    cosines = vectors @ vectors.T
    return float(cosines[np.triu_indices(len(vectors), 1)].mean())


def _twins(vectors: np.ndarray, _: np.ndarray) -> float:
    return mean([(vectors[:n] @ vectors[n] > TWIN).any() for n in range(len(vectors))])


def other_colours(catalog: Catalog, queries: pd.DataFrame) -> list[Row]:
    """Variants, and whether the product with the next id is among them.

    Shops number the colours of one product one after the other, so a neighbouring id of the same
    kind and another colour is often the same product; nothing in Siamese looks at ids.
    """
    products = catalog.products().set_index("product_id")
    right, hits, chances = [], [], []
    for product_id, row in queries.iterrows():
        found = variants(catalog.snapshot(), str(product_id), top=100)
        right += [
            s.attributes[COLOUR] != row[COLOUR] and s.attributes[TYPE] == row[TYPE] for s in found
        ]
        neighbour = str(int(str(product_id)) + 1)
        if neighbour in products.index:
            near = products.loc[neighbour]
            known = near[[COLOUR, TYPE, GENDER]].notna().all()
            alike = known and near[TYPE] == row[TYPE] and near[GENDER] == row[GENDER]
            if alike and near[COLOUR] != row[COLOUR]:
                of_colour = products[
                    (products[TYPE] == row[TYPE])
                    & (products[GENDER] == row[GENDER])
                    & (products[COLOUR] == near[COLOUR])
                ]
                hits.append(neighbour in {s.product_id for s in found})
                chances.append(1 / len(of_colour))
    return [
        ("variants: same type, another colour", 0.0, mean(right)),
        (
            f"variants: next id shown for its colour, {len(hits)} products (before: chance)",
            mean(chances),
            mean(hits),
        ),
    ]


def going_with(catalog: Catalog, queries: pd.DataFrame) -> list[Row]:
    """By rule: whom complements are for, and whether they are of another category.

    Before: random products of the catalog.
    """
    products = catalog.products().set_index("product_id")
    random = products.sample(len(queries), random_state=1)
    other, people, usage, chance = [], [], [], []
    for (product_id, row), (_, drawn) in zip(queries.iterrows(), random.iterrows(), strict=True):
        chance.append(_for(row[GENDER], drawn[GENDER]))
        try:
            found = complements(catalog.snapshot(), str(product_id))
        except CatalogError:  # no rule for "Free Gifts"
            continue
        other += [s.attributes[CATEGORY] != row[CATEGORY] for s in found]
        people += [_for(row[GENDER], s.attributes[GENDER]) for s in found]
        usage += [s.attributes.get("usage") == row["usage"] for s in found]
    return [
        ("complements: of another category", 0.0, mean(other)),
        ("complements: for the same people (before: chance)", mean(chance), mean(people)),
        ("complements: of the same usage", 0.0, mean(usage)),
    ]


def _for(one: object, other: object) -> bool:
    return one == other or "Unisex" in (one, other)


def worn_together(folder: Path, top: int = 3) -> list[Row]:
    """Learned from what people wear in four of five street photos, asked about the fifth.

    Of each garment in a photo: how many of the others are among the three kinds named for it?
    Before: the three most frequent kinds, whatever is asked.
    """
    names = pd.read_csv(folder / "labels.csv", keep_default_na=False).iloc[:, :2].astype(str)
    name_of = dict(zip(names.iloc[:, 0].astype(int), names.iloc[:, 1], strict=True))
    outfits = []
    for path in sorted((folder / "masks").glob("*.png")):
        labels, counts = np.unique(np.asarray(Image.open(path)), return_counts=True)
        large = labels[counts > 50]
        kinds = [name_of[int(label)] for label in large]
        outfits.append(sorted(kind for kind in kinds if kind not in NO_GARMENTS))
    train = [o for number, o in enumerate(outfits) if number % 5]
    sets = [[f"{number} {kind}" for kind in outfit] for number, outfit in enumerate(train)]
    category: dict[str, str | None] = {
        name: name.split(" ", 1)[1] for members in sets for name in members
    }
    learned = learn_companions(sets, category)
    frequent = [kind for kind, _ in Counter(k for outfit in train for k in outfit).most_common()]
    hits, chance = [], []
    for outfit in outfits[::5]:
        for kind in outfit:
            others = set(outfit) - {kind}
            if others:
                named = list(learned.categories.get(kind, ()))[:top]
                always = [k for k in frequent if k != kind][:top]
                hits.append(len(others & set(named)) / min(top, len(others)))
                chance.append(len(others & set(always)) / min(top, len(others)))
    what = f"complements learned from {len(train)} outfits: of 3 kinds worn (before: most frequent)"
    return [(what, mean(chance), mean(hits))]


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"taste.py: {error}")

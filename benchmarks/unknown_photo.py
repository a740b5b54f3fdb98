"""Everything for an unknown photo: which kind of product it shows, how surely, and how fast.

    uv run python benchmarks/unknown_photo.py --catalog catalogs/fashion --checkpoint FILE
        --split MANIFEST --tagger FILE --narrow FILE [--products 44000]

The photos are those of the manifest's test products, ranked among all other products. --tagger
has the columns gender+articleType and whatever else shall be told, --narrow is one of embeddings
with the column subCategory. For the times the other products are repeated with a little noise
until there are --products.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as infer.py does

import numpy as np
import pandas as pd
import torch

from datasets.manifest import read_manifest
from siamese.attributes.label_table import column_of
from siamese.attributes.one_pass import embed_and_tag
from siamese.attributes.tagger import Tagger, load_tagger
from siamese.catalog import Catalog, Product
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.errors import UserError
from siamese.finder import Finder
from siamese.products import PATH, Attribute
from siamese.ranking import Match
from siamese.recommend.defaults import LABEL
from siamese.recommend.narrowing import NarrowingFinder
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import Taste
from siamese.recommend.voting import vote
from siamese.retrieval import wilson_interval

TOP, VOTERS = 10, 5
NOISE = 0.02  # of each number of a repeated embedding
TASTE = Taste(never={"baseColour": ("Yellow",)}, prefer={"usage": ("Casual",)})
VARIETY = 0.3


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--catalog", "--checkpoint", "--split", "--tagger", "--narrow"):
        parser.add_argument(name, required=True)
    parser.add_argument("--products", type=int, default=44_000)
    parser.add_argument("--photos", type=int, default=50, help="to take times of")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    tagger, narrow = load_tagger(arguments.tagger), load_tagger(arguments.narrow)
    manifest = read_manifest(arguments.split)
    test_ids = set(manifest.loc[manifest["split"] == "test", "product_id"])
    products = products_of(Catalog.open(arguments.catalog))
    others = [p for p in products if p.product_id not in test_ids]
    unknown = [p for p in products if p.product_id in test_ids and kind_of(p.attributes)]
    with tempfile.TemporaryDirectory() as folder:
        finder = Finder(checkpoint, made(folder + "/real", checkpoint, others))
        print(precision(finder, tagger, narrow, unknown).to_string(index=False))
        many = repeated(others, arguments.products)
        finder = Finder(checkpoint, made(folder + "/many", checkpoint, many))
        photos = [product.paths[0] for product in unknown[: arguments.photos]]
        print(f"\nmilliseconds of {len(photos)} photos among {arguments.products} products")
        print(times(finder, tagger, narrow, photos).to_string(index=False))


def products_of(catalog: Catalog) -> list[Product]:
    """The catalog's products with their first photo."""
    snapshot = catalog.snapshot()
    everything = np.arange(len(snapshot.product_ids))
    names = [name for name in snapshot.rows.column_names if name != PATH]
    columns = {name: column_of(snapshot, name, everything) for name in names}
    paths = snapshot.rows[PATH].take(snapshot.first).to_pylist()
    return [
        Product(
            name,
            [paths[place]],
            snapshot.means[place][None],
            {key: column[place] for key, column in columns.items()},
        )
        for place, name in enumerate(snapshot.product_ids)
    ]


def kind_of(attributes: Mapping[str, Attribute]) -> str | None:
    """gender+articleType of a product."""
    parts = [attributes.get(name) for name in LABEL.split("+")]
    return None if None in parts else " ".join(map(str, parts))


def made(place: str, checkpoint: Checkpoint, products: Sequence[Product]) -> Catalog:
    """A catalog of these products."""
    size = checkpoint.embedding_size
    return Catalog.create(place, checkpoint.fingerprint, size, products)


def repeated(products: Sequence[Product], count: int) -> list[Product]:
    """So many products: these again and again, their embeddings a little changed."""
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        product = products[number % len(products)]
        vector = product.embeddings + random.normal(scale=NOISE, size=product.embeddings.shape)
        vector /= np.linalg.norm(vector, axis=1, keepdims=True)
        found.append(
            replace(product, product_id=f"{number:06}", embeddings=vector.astype(np.float32))
        )
    return found


def elected(matches: Sequence[Match]) -> Attribute:
    """The kind that most of the first products have, weighted by cosine."""
    voters = [replace(m, attributes={LABEL: kind_of(m.attributes)}) for m in matches[:VOTERS]]
    return vote(voters, LABEL).label


def precision(
    finder: Finder, tagger: Tagger, narrow: Tagger, unknown: Sequence[Product]
) -> pd.DataFrame:
    """How often each way tells the kind, and how many of the first ten are of it."""
    truth = [kind_of(product.attributes) for product in unknown]
    embeddings = torch.from_numpy(np.concatenate([product.embeddings for product in unknown]))
    exact = finder.rank_embeddings(embeddings, TOP)
    two_steps = NarrowingFinder(finder, narrow)
    narrowed = two_steps.rank_embeddings(embeddings, TOP)
    labels = two_steps.kinds_of(finder.catalog.snapshot()).candidates.labels
    nearest = [labels[k] for k in two_steps.kinds(finder.catalog.snapshot(), embeddings)]
    reader = tagger.reader(finder.checkpoint)
    tags = tagger.tags(reader.embed([product.paths[0] for product in unknown]))
    rows: list[tuple[str, Sequence[Attribute], Sequence[Sequence[Match]] | None]] = [
        (
            "rank everything, vote of 5",
            [elected(r.matches) for r in exact],
            [r.matches for r in exact],
        ),
        ("category, then nearest medoid", nearest, [r.matches for r in narrowed]),
        (f"tagger ({tagger.card.input})", [row[LABEL].value for row in tags], None),
    ]
    table = []
    for name, told, matches in rows:
        right = float(np.mean([a == b for a, b in zip(told, truth, strict=True)]))
        low, high = wilson_interval(right, len(truth))
        within = "-"
        if matches is not None:
            shares = [
                np.mean([kind_of(m.attributes) == kind for m in ten])
                for ten, kind in zip(matches, truth, strict=True)
            ]
            within = f"{np.mean(shares):.3f}"
        table.append((name, f"{right:.3f} [{low:.2f}, {high:.2f}]", within))
    columns = ["way", f"kind right, of {len(truth)}", "of the first 10 of that kind"]
    return pd.DataFrame(table, columns=columns)


def times(finder: Finder, tagger: Tagger, narrow: Tagger, photos: Sequence[str]) -> pd.DataFrame:
    """Median and slowest of each step and of all together, in a running process."""
    personal = PersonalFinder(finder, TASTE, VARIETY)
    two_steps = NarrowingFinder(finder, narrow)
    embedded = {photo: finder.checkpoint.embed([photo]) for photo in photos}

    def everything(photo: str) -> object:
        pixels = np.stack([finder.checkpoint.preprocessing.read(photo)])
        embedding, tags = embed_and_tag(finder.checkpoint, tagger, pixels)
        (ranking,) = personal.rank_embeddings(embedding, TOP)
        return tags, ranking, elected(ranking.matches)

    steps: dict[str, Callable[[str], object]] = {
        "embed the photo": lambda photo: finder.checkpoint.embed([photo]),
        "rank everything": lambda photo: finder.rank_embeddings(embedded[photo], TOP),
        "rank in two steps": lambda photo: two_steps.rank_embeddings(embedded[photo], TOP),
        "rank with taste and variety": lambda p: personal.rank_embeddings(embedded[p], TOP),
        "everything: embed, labels, rank with taste and variety, vote": everything,
    }
    rows = []
    start, worked = time.perf_counter(), time.process_time()
    two_steps.kinds_of(finder.catalog.snapshot())
    once, own = (time.perf_counter() - start) * 1e3, (time.process_time() - worked) * 1e3
    rows.append(("medoids of all kinds, once per change", f"{once:.1f}", "-", f"{own:.1f}"))
    for name, step in steps.items():
        seconds, busy = [], []
        for photo in photos:
            start, worked = time.perf_counter(), time.process_time()
            step(photo)
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - worked)
        warm = np.array(seconds[1:]) * 1e3
        own = float(np.median(busy[1:])) * 1e3
        rows.append((name, f"{np.median(warm):.1f}", f"{warm.max():.1f}", f"{own:.1f}"))
    return pd.DataFrame(rows, columns=["step", "median", "slowest", "of it own work (CPU)"])


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"unknown_photo.py: {error}")

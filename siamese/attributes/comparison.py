"""Encoders side by side on the same labelled products: what they find, weigh and cost.

Shapes: N products, A asked products, D embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from siamese.attributes.precision import (
    TOP,
    Integers,
    Precision,
    combined,
    neighbours,
    precision,
)
from siamese.checkpoint import Checkpoint
from siamese.commands import embed_with_bar, embedded_products
from siamese.errors import UserError
from siamese.exact_search import best_photos
from siamese.listing import ListedPhoto
from siamese.products import Product, plain
from siamese.retrieval import RetrievalReport, mean_embedding, measure

TIMED = 50  # queries whose search is timed
MIB = 2**20
RETRIEVED = (1, 10)  # ranks shown in the table


@dataclass(frozen=True)
class Photos:
    """What is compared on.

    Args:
        products: Photos of the products that are ranked, with their labels.
        asked: Ids of the products whose neighbours are judged.
        ranked: Ids of the products that may be neighbours; `None` for all.
        people: Photos of people wearing asked products; none where there are no pairs.
        fitted: Photos that an encoder may be fitted to, such as those of the training split.
    """

    products: Sequence[ListedPhoto]
    asked: frozenset[str]
    ranked: frozenset[str] | None = None
    people: Sequence[ListedPhoto] = ()
    fitted: Sequence[ListedPhoto] = ()


@dataclass(frozen=True)
class Compared:
    """One encoder's line.

    Args:
        name: Of the encoder.
        precisions: By each column, and by all of them at once.
        embedding_size: D.
        megabytes: Of its weights, MiB.
        images_per_second: Embedded, decoding included.
        search_milliseconds: Median of one exact search among the products.
        retrieval: Of the people's photos among the products.
    """

    name: str
    precisions: tuple[Precision, ...]
    embedding_size: int
    megabytes: float
    images_per_second: float
    search_milliseconds: float
    retrieval: RetrievalReport | None = field(default=None)

    def row(self, tolerances: Sequence[float]) -> dict[str, Any]:
        """A row of the CSV."""
        row: dict[str, Any] = {"encoder": self.name}
        for each in self.precisions:
            row |= {
                f"{each.column} at {tolerance:g}": each.at(tolerance) for tolerance in tolerances
            }
        if self.retrieval is not None:
            row |= {f"person photos top-{k}": self.retrieval.top[k] for k in RETRIEVED}
        return row | {
            "embedding size": self.embedding_size,
            "MB": self.megabytes,
            "images/s": self.images_per_second,
            "search ms": self.search_milliseconds,
        }


def compare(
    name: str,
    checkpoint: Checkpoint,
    photos: Photos,
    columns: Sequence[str],
    top: int = TOP,
    max_broken: float = 0.01,
) -> Compared:
    """Embed all products with one encoder, and measure.

    Args:
        name: Of the line.
        checkpoint: The encoder.
        photos: See there.
        columns: Labels to judge neighbours by.
        top: Neighbours of each product.
        max_broken: The share of photos that may be unusable.

    Raises:
        UserError: Too many photos are broken, or there is one product only.
    """
    started = time.perf_counter()
    products = embedded_products(checkpoint, photos.products, max_broken)
    seconds = time.perf_counter() - started
    embeddings = torch.cat([mean_embedding(torch.from_numpy(p.embeddings)) for p in products])
    asked = np.flatnonzero([product.product_id in photos.asked for product in products])
    ranked = np.array([photos.ranked is None or p.product_id in photos.ranked for p in products])
    found = neighbours(embeddings, asked, top, ranked)
    labels = [labels_of(products, column) for column in columns]
    precisions = [
        precision(column, label, asked, found, ranked)
        for column, label in zip(columns, labels, strict=True)
    ]
    if len(columns) > 1:
        precisions.append(precision(" + ".join(columns), combined(labels), asked, found, ranked))
    weights = checkpoint.encoder.state_dict().values()
    return Compared(
        name,
        tuple(precisions),
        checkpoint.embedding_size,
        sum(weight.nbytes for weight in weights) / MIB,
        len(photos.products) / seconds,
        _search_milliseconds(embeddings, asked),
        _retrieval(checkpoint, photos.people, products, embeddings, max_broken),
    )


def check_labels(photos: Sequence[ListedPhoto], columns: Sequence[str]) -> None:
    """Raise `UserError`, with the known columns, for one in which no product has a label."""
    known: dict[str, None] = {}
    for photo in photos:
        known |= {
            name: None for name, value in photo.attributes.items() if plain(value) is not None
        }
    for column in columns:
        if column not in known:
            have = ", ".join(known) or "none"
            raise UserError(f"no product has a label {column}; there are {have}")


def labels_of(products: Sequence[Product], column: str) -> Integers:
    """Each product's label as a number from 0, −1 where unknown: int64 (N,)."""
    values = [product.attributes.get(column) for product in products]
    codes, _ = pd.factorize(np.array([None if v is None else str(v) for v in values], object))
    return codes.astype(np.int64)


def table_of(compared: Sequence[Compared], tolerances: Sequence[float]) -> str:
    """A table for people: a block of shares per column, then cost; the last line is the ceiling."""
    lines = []
    width = max(len("possible"), *(len(each.name) for each in compared))
    first = compared[0]
    for number, one in enumerate(first.precisions):
        lines.append(f"{one.column}: share of {len(one.shares)} products, by tolerance")
        lines.append(" " * width + "".join(f"{tolerance:>8g}" for tolerance in tolerances))
        for each in compared:
            shares = (each.precisions[number].at(tolerance) for tolerance in tolerances)
            lines.append(f"{each.name:<{width}}" + "".join(f"{share:>8.3f}" for share in shares))
        most = (one.possible_at(tolerance) for tolerance in tolerances)
        lines += [f"{'possible':<{width}}" + "".join(f"{share:>8.3f}" for share in most), ""]
    heads = ["numbers", "MB", "images/s", "search ms"]
    heads += [f"top-{k}" for k in RETRIEVED if first.retrieval is not None]
    lines.append(" " * width + "".join(f"{head:>11}" for head in heads))
    for each in compared:
        cells = [f"{each.embedding_size}", f"{each.megabytes:.1f}"]
        cells += [f"{each.images_per_second:.0f}", f"{each.search_milliseconds:.2f}"]
        if each.retrieval is not None:
            cells += [f"{each.retrieval.top[k]:.3f}" for k in RETRIEVED]
        lines.append(f"{each.name:<{width}}" + "".join(f"{cell:>11}" for cell in cells))
    if first.retrieval is not None:
        asked = first.retrieval.queries
        lines.append(f"top-k: the very product is among the first k for {asked} photos of people")
    return "\n".join(lines)


def _search_milliseconds(embeddings: Tensor, asked: Integers) -> float:
    """Median over single queries, as `Finder` searches."""
    places = np.arange(len(embeddings))
    seconds = []
    for query in asked[:TIMED]:
        started = time.perf_counter()
        next(best_photos(embeddings[query : query + 1], embeddings, places, TOP))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * 1000


def _retrieval(
    checkpoint: Checkpoint,
    people: Sequence[ListedPhoto],
    products: Sequence[Product],
    embeddings: Tensor,
    max_broken: float,
) -> RetrievalReport | None:
    """How often the very product is found for a photo of a person wearing it."""
    if not people:
        return None
    photos, boxes = [photo.path for photo in people], [photo.box for photo in people]
    embedded = embed_with_bar(checkpoint, photos, boxes, [True] * len(photos))
    if len(embedded.broken) > max_broken * len(people):
        first = next(iter(embedded.broken.values()))
        raise UserError(f"{len(embedded.broken)} photos of people cannot be used; first {first}")
    place = {product.product_id: number for number, product in enumerate(products)}
    right = [place.get(people[number].product_id, -1) for number in embedded.usable]
    return measure(
        embedded.embeddings, torch.tensor(right), embeddings, torch.arange(len(products))
    )

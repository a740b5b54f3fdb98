"""What infer.py's commands do once their arguments are parsed; progress and warnings go to stderr.

Shapes: none but lists of photos.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from siamese.catalog import Catalog, CatalogError, Product
from siamese.listing import ListedPhoto, photos_in
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.products import attribute_types, check_products, plain
from siamese.storage import check_writer

if TYPE_CHECKING:
    from siamese.checkpoint import Checkpoint
    from siamese.comparison import Comparison
    from siamese.embedding import EmbeddedPhotos
    from siamese.finder import Finder
    from siamese.garment_choice import GarmentChoice
    from siamese.ranking import Ranking

LISTED_BROKEN = 20
NUMBERS, TRUTH, TEXT = "double", "bool", "string"  # Arrow's names for the kinds of attributes
TRUTHS = {"true": True, "false": False}


def index(
    uri: str,
    checkpoint: Checkpoint,
    photos: Sequence[ListedPhoto],
    overwrite: bool = False,
    max_broken: float = 0.01,
    kept: Checkpoint | None = None,
    keep_sights: bool = True,
) -> str:
    """Make a catalog of these photos; the line that says what was done.

    Args:
        uri: The catalog.
        checkpoint: The encoder.
        photos: Of the products.
        overwrite: Whether to replace a catalog that is there.
        max_broken: The share of photos that may be left out because they cannot be used.
        kept: The encoder again if it shall lie in the catalog's folder.
        keep_sights: Whether to keep what the checkpoint's comparison sees in the photos, so that
            no search needs them.

    Raises:
        CatalogError: There is a catalog already, too many photos are broken, or nothing can be
            written. Whatever was there before is then unchanged.
    """
    if not overwrite and Catalog.exists(uri):
        raise CatalogError(
            f"{uri}: there is a catalog already; use add, choose another --catalog, or replace "
            "it with --overwrite"
        )
    from siamese.extractors import check_place, keeping_encoder

    if kept is not None:
        check_place(uri)
    check_writer(uri)
    started = time.perf_counter()
    comparison = checkpoint.comparison if keep_sights else None
    products = embedded_products(checkpoint, photos, max_broken, comparison=comparison)
    sees = None if comparison is None else comparison.fingerprint
    with keeping_encoder(uri, kept):
        size = checkpoint.embedding_size
        Catalog.create(uri, checkpoint.fingerprint, size, products, overwrite, sees)
    seconds = time.perf_counter() - started
    count = sum(len(product.paths) for product in products)
    made_by = "" if kept is None else f", by {kept.trained_on}"
    return (
        f"{uri}: {len(products)} products with {count} photos in {seconds:.1f} s, "
        f"{count / seconds:.0f} photos/s{made_by}"
    )


def embedded_products(
    checkpoint: Checkpoint,
    photos: Sequence[ListedPhoto],
    max_broken: float = 0.0,
    known: Mapping[str, pa.DataType] | None = None,
    comparison: Comparison | None = None,
) -> list[Product]:
    """Embed photos and bring those of one product together, in the order given.

    Args:
        checkpoint: The encoder.
        photos: Of any number of products; a product's attributes are the first known of each.
        max_broken: The share of photos that may be left out because they cannot be used.
        known: The attributes of the catalog that they shall come into.
        comparison: The one whose sights that catalog keeps.

    Raises:
        PhotoError: The only photo cannot be used.
        CatalogError: More than that share cannot be used, or, before any is opened, the catalog
            could not hold these products.
    """
    outlines = _products_of(photos, np.zeros((len(photos), 0), np.float32))
    check_products(outlines, 0)
    attribute_types(outlines, known or {})
    paths, boxes = [photo.path for photo in photos], [photo.box for photo in photos]
    embedded = embed_with_bar(checkpoint, paths, boxes, comparison=comparison)
    broken = list(embedded.broken.values())
    if broken and len(photos) == 1:
        raise broken[0]
    if len(broken) > max_broken * len(photos):
        raise CatalogError(
            f"{len(broken)} of {len(photos)} photos cannot be used, more than --max-broken "
            f"{max_broken:g}; mend them or raise it; the first is {broken[0]}"
        )
    report_broken(list(embedded.broken.values()))
    usable = [photos[place] for place in embedded.usable]
    return _products_of(usable, embedded.embeddings.numpy(), embedded.sights_as_bytes())


def _products_of(
    photos: Sequence[ListedPhoto], vectors: np.ndarray, sights: list[bytes] | None = None
) -> list[Product]:
    """Photos and their embeddings, (len(photos), D), by product."""
    rows: dict[str, list[int]] = {}
    for row, photo in enumerate(photos):
        rows.setdefault(photo.product_id, []).append(row)
    products = []
    for product_id, own in rows.items():
        listed = [photos[row] for row in own]
        attributes: dict[str, Any] = {}
        for name, value in (item for photo in listed for item in photo.attributes.items()):
            if attributes.get(name) is None:
                attributes[name] = plain(value)
        paths = [photo.path for photo in listed]
        kept = None if sights is None else [sights[row] for row in own]
        products.append(Product(product_id, paths, vectors[own], attributes, kept))
    return products


def embed_with_bar(
    checkpoint: Checkpoint,
    photos: Sequence[PhotoSource],
    boxes: Sequence[Box | None],
    people: Sequence[bool] | None = None,
    comparison: Comparison | None = None,
) -> EmbeddedPhotos:
    """Embed photos past broken ones, with a progress bar on a terminal."""
    from siamese.embedding import embed_all

    if len(photos) <= 64:  # done before a bar could be read
        return embed_all(checkpoint, photos, boxes, people=people, comparison=comparison)
    from tqdm import tqdm

    with tqdm(total=len(photos), unit=" photos", desc="embedding", disable=None) as bar:
        return embed_all(
            checkpoint,
            photos,
            boxes,
            progress=bar.update,
            people=people,
            comparison=comparison,
        )


def report_broken(errors: Sequence[PhotoError]) -> None:
    """A line on stderr for each photo that was left out."""
    for error in errors[:LISTED_BROKEN]:
        print(f"skipped {error}", file=sys.stderr)
    if len(errors) > LISTED_BROKEN:
        print(f"skipped {len(errors) - LISTED_BROKEN} more", file=sys.stderr)


def parse_attributes(settings: Sequence[str], catalog: Catalog) -> dict[str, Any]:
    """`key=value` → values of the kind that the catalog's column holds; an empty one is unknown.

    Of new attributes, `true` and `false` become truth values and numbers become numbers, unless
    that loses something (`0042` stays text).

    Raises:
        CatalogError: No `=`, or a value that the column cannot hold.
    """
    types = {name: str(kind) for name, kind in catalog.attribute_types.items()}
    attributes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise CatalogError(f"--set {setting}: write it as key=value")
        attributes[name] = _value(text, types.get(name))
        if name not in types and re.fullmatch(r"[+-]?\d+,\d+", text):
            number = text.replace(",", ".")
            print(f"--set {setting}: kept as text; write {number} for a number", file=sys.stderr)
    return attributes


def _value(text: str, kind: str | None) -> str | float | bool | None:
    """Text as what it means; as it is where it means nothing else."""
    if not text:
        return None
    if kind in (None, TRUTH) and text.lower() in TRUTHS:
        return TRUTHS[text.lower()]
    leading_zero = text.lstrip("+-")[:2].isdigit() and text.lstrip("+-").startswith("0")
    code = re.search("[A-Za-z]", text) is not None  # 12E4 is an article number
    if "_" in text:  # to Python, 12_34 is a number
        return text
    if kind == NUMBERS or (kind is None and not leading_zero and not code):
        try:
            number = float(text)
        except ValueError:
            return text
        if math.isfinite(number):
            return number
    return text


def search(
    finder: Finder,
    photos: Sequence[str],
    top: int = 20,
    where: str | None = None,
    box: Box | None = None,
    together: bool = False,
    garment: GarmentChoice | None = None,
) -> list[Ranking]:
    """Rank the catalog for each photo that can be used; the others are named on stderr.

    Args:
        finder, top, where: As in `Finder.rank`.
        photos: Where they are.
        box: The part of every photo to look at.
        together: Whether all photos show one garment: one ranking, by the mean of the embeddings.
        garment: Finds the part to look at in each photo instead, if there is no box.

    Raises:
        PhotoError: The only photo cannot be used, or lacks the garment.
        CatalogError: None of them can be used, or see `Finder.rank`.
    """
    parts: list[tuple[PhotoSource, Box | None] | PhotoError]
    if garment is None or box is not None:
        parts = [(photo, box) for photo in photos]
    else:
        parts = garment.parts_of(photos)
    places = [place for place, part in enumerate(parts) if not isinstance(part, PhotoError)]
    usable = [part for part in parts if not isinstance(part, PhotoError)]
    sources, boxes = [photo for photo, _ in usable], [part for _, part in usable]
    people = [garment is None or part is not None for part in boxes]
    embedded = embed_with_bar(finder.checkpoint, sources, boxes, people, finder.looks)
    broken = [part for part in parts if isinstance(part, PhotoError)]
    broken += embedded.broken.values()
    if broken and len(photos) == 1:
        raise broken[0]
    report_broken(broken)
    if not embedded.usable:
        raise CatalogError(f"none of the {len(photos)} photos can be used")
    names = [photos[places[row]] for row in embedded.usable]
    if not together:
        seen = embedded.each_seen()
        return finder.rank_embeddings(embedded.embeddings, top, where, names, seen)
    from siamese.retrieval import mean_embedding

    query = mean_embedding(embedded.embeddings)
    all_seen = None if embedded.sights is None else [embedded.sights]
    (ranking,) = finder.rank_embeddings(query, top, where, names[:1], all_seen)
    return [replace(ranking, together=tuple(names[1:]))]


def tell_uncompared(rankings: Sequence[Ranking]) -> None:
    """One line on stderr where product photos that should be looked at again cannot be used."""
    missing = [ranking for ranking in rankings if ranking.uncompared]
    if not missing:
        return
    first, count = missing[0], sum(ranking.uncompared for ranking in missing)
    best = sum(ranking.compared + ranking.uncompared for ranking in missing)
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    print(
        f"{first.query}{others}: {count} of the {best} best products could not be compared, since "
        "their photos cannot be read where the catalog has them; index them anew, or search with "
        "--no-comparison",
        file=sys.stderr,
    )


def photos_of(sources: Sequence[str]) -> list[str]:
    """Photos, and the photos of folders, in the order given."""
    found: list[str] = []
    for source in sources:
        found += photos_in(source) if os.path.isdir(source) else [source]
    return found

"""The reader `composed`: product photos of other readers, with person photos made of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from datasets.composed import Recipe, compose
from datasets.composed_photos import Kind, Style
from datasets.manifest import BOX, ManifestError, make_manifest, validate, write_manifest
from siamese.errors import UserError
from siamese.worn import ALSO_WORN

Split = Literal["train", "validation", "test"]
ALL: tuple[Split, ...] = get_args(Split)
KIND_COLUMNS = ("label", "articleType", "subCategory", "category")
KINDS: dict[Kind, tuple[str, ...]] = {
    "long-sleeved": (
        "longsleeve", "outwear", "blazer", "blazers", "hoodie", "sweatshirts", "sweaters",
        "jackets", "cardigan",
    ),
    "short-sleeved": ("t-shirt", "tshirts", "polo"),
    "sleeveless": ("undershirt", "innerwear vests", "waistcoat", "camisoles"),
    "top": (
        "shirt", "shirts", "body", "top", "tops", "blouse", "kurtas", "kurtis", "tunics",
        "topwear",
    ),
    "dress": ("dress", "dresses", "jumpsuit", "nightdress", "baby dolls"),
    "bottom": (
        "pants", "shorts", "skirt", "skirts", "jeans", "trousers", "track pants", "capris",
        "leggings", "bottomwear", "jeggings", "lounge pants",
    ),
}  # fmt: skip
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}


@dataclass(frozen=True)
class Source:
    """A data set to take products from.

    Args:
        reader: Its layout, a name that `data.reader` knows.
        path: Its folder or file.
        options: Of its reader.
        kind: What all products are (`datasets.composed_photos.Kind`); without it the columns
            label, articleType, subCategory or category tell.
        splits: Those that are kept.
        compose: Splits in which person photos are made of the product photos.
    """

    reader: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: Kind | None = None
    splits: tuple[Split, ...] = ALL
    compose: tuple[Split, ...] = ALL


def read_composed(
    folder: Path,
    *,
    sources: list[Source],
    views: int = 4,
    style: Style = "training",
    seed: int = 0,
    workers: int = 2,
    boxes: bool = False,
) -> pd.DataFrame:
    """Manifest of several data sets, with person photos composed of their product photos.

    Args:
        folder: Where composed photos are or shall be.
        sources: Data sets; their own person photos, splits and attributes are kept.
        views: Composed photos of people per product.
        style: `training`, or `unlike`: poses, scenes and cameras that training never shows.
        seed: Of the drawing.
        workers: Processes that draw.
        boxes: Whether a composed photo has its garment's box, to be looked at in place of all of
            the photo.

    Returns:
        A manifest. In the training split the garment on white is a second product photo; held-out
        products are known by their own photos only. With several sources, product ids begin
        with the reader's name, and its number where several sources have it.

    Raises:
        ManifestError: A source cannot be read, or none of its garments can be cut out.
    """
    from datasets.readers import reader_of  # which knows this reader, too

    if not sources:
        raise ManifestError("composed: has no sources; name a reader and a path at least")
    recipe = Recipe(views, style, seed)
    parts = []
    for source, name in zip(sources, _names(sources), strict=True):
        frame = reader_of(source.reader, source.options)(Path(source.path))
        if frame[["product_id", "path"]].isna().any(axis=None):
            validate(frame)  # tells which rows
        frame = frame[frame["split"].isin(source.splits)].reset_index(drop=True)
        if frame.empty:
            raise ManifestError(
                f"{source.path}: no photo in the splits {', '.join(source.splits)}; name others"
            )
        if source.compose:
            frame = _with_views(frame, Path(folder) / name, source, recipe, workers, boxes)
        if len(sources) > 1:
            for column in ("product_id", ALSO_WORN):
                if column in frame:
                    frame[column] = name + ":" + frame[column]
        parts.append(frame)
    return make_manifest(pd.concat(parts, ignore_index=True))


def _names(sources: Sequence[Source]) -> list[str]:
    """One for each source: its reader, numbered where several have the same."""
    readers = [source.reader for source in sources]
    return [
        reader if readers.count(reader) == 1 else f"{reader}{readers[: place + 1].count(reader)}"
        for place, reader in enumerate(readers)
    ]


def _with_views(
    frame: pd.DataFrame,
    folder: Path,
    source: Source,
    recipe: Recipe,
    workers: int,
    boxes: bool,
) -> pd.DataFrame:
    """The source's rows and those of the composed photos, which have its products' attributes."""
    products = frame[(frame["role"] == "product") & frame["split"].isin(source.compose)]
    products = products.drop_duplicates("product_id")
    kinds = pd.Series(source.kind, products.index) if source.kind else kinds_of(products)
    known = [name for name in ("product_id", "path", "split", *BOX) if name in products]
    asked = products[known].assign(kind=kinds)
    made = compose(folder, asked, recipe, workers, boxes)
    made["role"] = np.where(made["number"] == 0, "product", "person")
    attributes = products.drop(columns=["path", "role", *BOX], errors="ignore")
    rows = made.drop(columns="number").merge(attributes, on="product_id")
    rows = rows[(rows["role"] == "person") | (rows["split"] == "train")]
    return pd.concat([frame, rows], ignore_index=True)


def kinds_of(products: pd.DataFrame) -> pd.Series:
    """What each product is, by the first of its labels that says so."""
    kinds = pd.Series("object", products.index, dtype="object")
    for column in reversed([name for name in KIND_COLUMNS if name in products]):
        known = [KIND_OF.get(str(label).lower()) for label in products[column]]
        kinds = pd.Series(known, products.index, dtype="object").fillna(kinds)
    return kinds


def main(words: Sequence[str]) -> int:
    """Command line: compose photos of one data set and write their manifest."""
    parser = argparse.ArgumentParser(prog="datasets.composed_sources", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the composed photos")
    parser.add_argument("--reader", default="clothing")
    parser.add_argument("--path", required=True, help="of the product photos")
    parser.add_argument("--options", type=json.loads, default={}, help="of the reader, as JSON")
    parser.add_argument("--kind", choices=list(KINDS) + ["object"])
    parser.add_argument("--split", choices=ALL)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--style", choices=("training", "unlike"), default="training")
    parser.add_argument("--boxes", action="store_true", help="say where the garment is worn")
    parser.add_argument("--workers", type=int, default=2)
    choice = parser.parse_args(words)
    splits: tuple[Split, ...] = (choice.split,) if choice.split else ALL
    source = Source(choice.reader, choice.path, choice.options, choice.kind, splits)
    try:
        frame = read_composed(
            choice.folder,
            sources=[source],
            views=choice.views,
            style=choice.style,
            workers=choice.workers,
            boxes=choice.boxes,
        )
        write_manifest(frame, choice.folder / "manifest.csv")
    except (UserError, OSError) as error:
        print(f"datasets.composed_sources: {error}", file=sys.stderr)
        return 1
    print(f"{choice.folder / 'manifest.csv'}: {len(frame)} photos")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

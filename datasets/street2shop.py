"""Street2Shop ("Where to Buy It"): photos from the street, and shops' photos of the same items."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.layout import find_path, found_in, report_skipped
from datasets.manifest import BOX, ManifestError, make_manifest
from datasets.splits import keep_photos_in_one_split, split_by_product

SIDES = ("left", "top", "width", "height")
LAYOUT = (
    "meta/json/train_pairs_CATEGORY.json, test_pairs_CATEGORY.json and retrieval_CATEGORY.json, "
    "and the downloaded photos as images/000000001.jpg"
)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def read_street2shop(
    folder: str | Path,
    *,
    categories: Sequence[str] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    with_unpaired_products: bool = False,
) -> pd.DataFrame:
    """Manifest of Street2Shop (Kiapour et al. 2015) with its own split into train and test.

    Expected layout: in `meta/json` (or `meta`), for each category such as dresses,
    `train_pairs_dresses.json` and `test_pairs_dresses.json`: lists of {photo, product,
    bbox: {left, top, width, height}} of street photos, and `retrieval_dresses.json`: a list of
    {photo, product} of the shops' photos. `photos/photos.txt` maps photo numbers to addresses
    (`000000001,https://…`); the user downloads them to `images/000000001.jpg` (or .jpeg, .png).
    Photos that were not downloaded, as many addresses are dead, are left out, with a warning.

    Args:
        folder: folder of meta/ and images/.
        categories: by default all that are there.
        validation: products taken out of train for validation: a number, or a share below 1.
        seed: another seed draws other products.
        with_unpaired_products: keep shops' products that no street photo shows in the test
            split, as the paper's retrieval experiment does; most products are of this kind.

    Returns:
        A manifest with boxes of the street photos and the attribute category. Photos and
        products of the test are taken out of train.

    Raises:
        ManifestError: another layout, a damaged list, or no photo downloaded.
    """
    lists = find_path(folder, ["meta/json", "meta"], LAYOUT)
    images = find_path(folder, ["images"], LAYOUT)
    path_of = {
        int(entry.name.split(".")[0]): entry.path
        for entry in os.scandir(images)
        if entry.name.lower().endswith(SUFFIXES) and entry.name.split(".")[0].isdigit()
    }
    there = sorted(path.stem.removeprefix("retrieval_") for path in lists.glob("retrieval_*.json"))
    chosen = there if categories is None else list(categories)
    if not chosen or not set(chosen) <= set(there):
        raise ManifestError(
            f"{lists}: lists of the categories {', '.join(there) or 'none'}, "
            f"asked for {', '.join(chosen) or 'all'}; expected {LAYOUT}; {found_in(lists)}"
        )
    rows = [row for category in chosen for row in _rows(lists, category)]
    table = pd.DataFrame(rows, columns=["photo", "product_id", "role", "split", *BOX, "category"])
    table["path"] = table["photo"].map(path_of)
    report_skipped(images, int(table["path"].isna().sum()), "rows of photos not downloaded")
    table = table[table["path"].notna()].drop_duplicates(["path", "product_id", "role", "split"])
    table = _with_product_splits(table, with_unpaired_products)
    if table.empty:
        raise ManifestError(
            f"{images}: no product has a downloaded shop photo and street photo; "
            f"expected {LAYOUT}; {found_in(images)}"
        )
    frame, left_out = keep_photos_in_one_split(
        _carve_validation(make_manifest(table.drop(columns="photo")), validation, seed)
    )
    report_skipped(lists, left_out, "rows of products or photos that are in two splits")
    return frame


def _rows(lists: Path, category: str) -> list[dict[str, Any]]:
    """Shop photos (no split yet) and street photos of one category."""
    rows: list[dict[str, Any]] = [
        {"photo": entry["photo"], "product_id": str(entry["product"]), "role": "product"}
        for entry in _read_list(lists / f"retrieval_{category}.json", ("photo", "product"))
    ]
    for split in ("train", "test"):
        path = lists / f"{split}_pairs_{category}.json"
        for entry in _read_list(path, ("photo", "product", "bbox")):
            try:
                left, top, width, height = (float(entry["bbox"][side]) for side in SIDES)
            except (KeyError, TypeError, ValueError) as error:
                raise ManifestError(
                    f"{path}: photo {entry['photo']} has the bbox {entry['bbox']!r}; expected "
                    f"numbers of {', '.join(SIDES)}"
                ) from error
            rows.append(
                {
                    "photo": entry["photo"],
                    "product_id": str(entry["product"]),
                    "role": "person",
                    "split": split,
                    **dict(zip(BOX, (left, top, left + width, top + height), strict=True)),
                }
            )
    return [{**row, "category": category} for row in rows]


def _read_list(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """A list of objects that have all of the keys."""
    try:
        entries = json.loads(path.read_bytes())
        complete = isinstance(entries, list) and all(set(keys) <= set(entry) for entry in entries)
    except (OSError, ValueError, TypeError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}); expected {LAYOUT}") from error
    if not complete:
        raise ManifestError(f"{path}: expected a list of objects with {', '.join(keys)}")
    return entries


def _with_product_splits(table: pd.DataFrame, with_unpaired: bool) -> pd.DataFrame:
    """Shop photos get the split of the product's street photos: test if any is in test."""
    persons = table[table["role"] == "person"]
    tested = set(persons.loc[persons["split"] == "test", "product_id"])
    trained = set(persons["product_id"]) - tested
    is_product = table["role"] == "product"
    unpaired = "test" if with_unpaired else None
    splits = table["product_id"].map(
        lambda product: "test" if product in tested else "train" if product in trained else unpaired
    )
    table = table.assign(split=table["split"].where(~is_product, splits))
    shown = set(table.loc[is_product, "product_id"])
    return table[table["split"].notna() & table["product_id"].isin(shown)]


def _carve_validation(frame: pd.DataFrame, validation: float, seed: int) -> pd.DataFrame:
    """Move some products of train to validation."""
    tested = set(frame.loc[frame["split"] == "test", "product_id"])
    in_train = ~frame["product_id"].isin(tested)
    if in_train.any() and validation > 0:
        parts = split_by_product(frame[in_train], validation=validation, test=0, seed=seed)
        frame.loc[in_train, "split"] = parts["split"]
    return frame

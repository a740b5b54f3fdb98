"""What places named on infer.py's command line hold: folders of photos, and tables of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

import pandas as pd

from datasets.manifest import (
    ManifestError,
    describe_faults,
    drop_broken_photos,
    find_faults,
    read_csv_as_text,
    read_manifest,
    read_photo_table,
    with_numbers,
)
from siamese.boxes import boxes_of
from siamese.errors import UserError
from siamese.listing import ListedPhoto, listed_in_folder, listed_in_manifest, photos_in
from siamese.preprocessing import Box
from siamese.products import listed


def manifest_photos(path: str, text: Collection[str] = ()) -> list[ListedPhoto]:
    """The product photos of a manifest file; these columns hold text, whatever it looks like."""
    return listed_in_manifest(read_manifest(path, text))


def folder_photos(folder: str, attributes: str | None) -> list[ListedPhoto]:
    """The photos of a folder with the attributes of a CSV."""
    if attributes is None:
        return listed_in_folder(folder)
    table = read_csv_as_text(attributes)
    if "product_id" not in table:  # renamed first, so that 000001 stays text
        table = table.rename(columns={"id": "product_id"})
    _check_repeated(attributes, table)
    photos = listed_in_folder(folder, with_numbers(table))
    without = sorted(set(table["product_id"].dropna()) - {photo.product_id for photo in photos})
    if without:
        print(f"{attributes}: no photo of {listed(without)}, left out", file=sys.stderr)
    return photos


def _check_repeated(path: str, table: pd.DataFrame) -> None:
    """Raise `ManifestError` for rows of one product that say different things of it.

    Where rows have paths, each is a photo's.
    """
    if "product_id" not in table or "path" in table:
        return
    rows = table.dropna(subset=["product_id"]).drop_duplicates()
    again = rows.loc[rows["product_id"].duplicated(), "product_id"]
    if len(again):
        raise ManifestError(
            f"{path}: rows of product {listed(sorted(set(again)))} differ; keep one of each"
        )


def listed_at(place: str, split: str | None = None) -> list[ListedPhoto]:
    """The product photos of a folder or of a manifest file, there of all splits or of one."""
    if os.path.isdir(place):
        return folder_photos(place, None)
    return listed_in_manifest(_of_split(read_manifest(place), split, place))


def people_at(place: str, split: str | None = None) -> list[tuple[str, Box | None]]:
    """The photos of a folder, or those of people in a table, with the part to look at.

    Of a table that has splits all of them, or one.
    """
    if not place.lower().endswith(".csv"):
        return [(photo, None) for photo in photos_in(place)]
    table = _of_split(read_photo_table(place), split, place)
    people = table[table["role"] == "person"]
    if people.empty:
        raise UserError(f"{place}: no row of role person")
    return list(zip(people["path"], boxes_of(people), strict=True))


def _of_split(table: pd.DataFrame, split: str | None, place: str) -> pd.DataFrame:
    """The rows of a split; None: all."""
    if split is None:
        return table
    if "split" not in table or not (table["split"] == split).any():
        raise UserError(f"{place}: no row of split {split!r}")
    return table[table["split"] == split].reset_index(drop=True)


def sound_manifest(path: str, split: str, max_broken: float) -> pd.DataFrame:
    """A manifest that training would take, without rows of the split whose box is unusable.

    The photos themselves are looked at when they are embedded.
    """
    manifest = read_manifest(path)
    faults = find_faults(manifest, check_files=False)
    concerned = manifest["split"].iloc[faults["row"]].to_numpy() == split
    faults = faults[concerned | (faults["kind"] == "table")]
    if (faults["kind"] == "table").any():
        raise ManifestError(describe_faults(faults))
    kept, dropped = drop_broken_photos(manifest, faults, limit=max_broken)
    for photo in dropped.itertuples():
        print(f"skipped row {photo.row}, {photo.path}: {photo.fault}", file=sys.stderr)
    return kept


def ids_of_test_split(manifest: str | None) -> frozenset[str] | None:
    """Products of a manifest's test split; None without one."""
    if manifest is None:
        return None
    rows = read_manifest(manifest)
    return frozenset(rows.loc[rows["split"] == "test", "product_id"])

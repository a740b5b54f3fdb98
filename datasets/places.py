"""What places named on infer.py's command line hold: folders of photos, and tables of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence

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
from siamese.argument_types import SPLITS
from siamese.boxes import boxes_of
from siamese.errors import UserError
from siamese.listing import (
    NO_ATTRIBUTES,
    ListedPhoto,
    composed,
    listed_in_folder,
    listed_in_manifest,
    photos_in,
)
from siamese.other_products import others_than
from siamese.preprocessing import Box
from siamese.products import listed


def manifest_photos(path: str, text: Collection[str] = ()) -> list[ListedPhoto]:
    """The product photos of a manifest file; these columns hold text, whatever it looks like."""
    manifest = read_manifest(path, text)
    _tell_of_spoilt_numbers(path, manifest.drop(columns=list(text), errors="ignore"))
    return listed_in_manifest(manifest)


def folder_photos(folder: str, attributes: str | None) -> list[ListedPhoto]:
    """The photos of a folder with the attributes of a CSV."""
    if attributes is None:
        photos = listed_in_folder(folder)
        _tell_of_shared_names(photos)
        return photos
    table = read_csv_as_text(attributes)
    if "product_id" not in table:  # renamed first, so that 000001 stays text
        table = table.rename(columns={"id": "product_id"})
    _check_repeated(attributes, table)
    table = with_numbers(table)
    _tell_of_spoilt_numbers(attributes, table)
    photos = listed_in_folder(folder, table)
    if "path" not in table:
        _tell_of_shared_names(photos)
    listed_ids = set(table["product_id"].dropna())
    if "path" not in table:
        listed_ids = set(map(composed, listed_ids))
    without = sorted(listed_ids - {photo.product_id for photo in photos})
    if without:
        print(f"{attributes}: no photo of {listed(without)}, left out", file=sys.stderr)
    return photos


def _tell_of_shared_names(photos: Sequence[ListedPhoto]) -> None:
    """A line on stderr where one name in several folders makes one product."""
    folders: dict[str, set[str]] = {}
    for photo in photos:
        folders.setdefault(photo.product_id, set()).add(os.path.dirname(photo.path))
    shared = sorted(name for name, places in folders.items() if len(places) > 1)
    if shared:
        print(
            f"photos of the same name in several folders are taken as one product: "
            f"{listed(shared)}; if they are not, give --attributes with product_id and path",
            file=sys.stderr,
        )


def _tell_of_spoilt_numbers(path: str, table: pd.DataFrame) -> None:
    """A line on stderr for a column that holds text for the sake of a few cells."""
    for name in table.columns.difference(list(NO_ATTRIBUTES)):
        known = table[name].dropna()
        numbers = pd.to_numeric(known, errors="coerce")
        odd, fine = known[numbers.isna()], known[numbers.notna()].astype("str")
        codes = fine.str.match(r"[+-]?0\d").any()
        if 0 < len(odd) <= len(known) / 10 and not codes:
            print(
                f"{path}: column {name} holds text, since {odd.iloc[0]!r} is no number; mend it if "
                "numbers are meant",
                file=sys.stderr,
            )


def _check_repeated(path: str, table: pd.DataFrame) -> None:
    """Raise `ManifestError` for rows of one product that say different things of it.

    Where rows have paths, each is a photo's, and may: the first value counts, and a line on stderr
    tells.
    """
    if "product_id" not in table:
        return
    of_photos = [name for name in NO_ATTRIBUTES if name in table and name != "product_id"]
    rows = table.dropna(subset=["product_id"])
    rows = rows.drop(columns=of_photos if "path" in table else []).drop_duplicates()
    again = rows.loc[rows["product_id"].duplicated(), "product_id"]
    if not len(again):
        return
    told = f"{path}: rows of product {listed(sorted(set(again)))} differ"
    if "path" not in table:
        raise ManifestError(f"{told}; keep one of each")
    print(f"{told}; of each attribute the first value is taken", file=sys.stderr)


def listed_at(place: str, split: str | None = None) -> list[ListedPhoto]:
    """The product photos of a folder or of a manifest file, there of all splits or of one."""
    if os.path.isdir(place):
        return folder_photos(place, None)
    return listed_in_manifest(_of_split(read_manifest(place), split, place))


def cohort_at(places: Sequence[str], held_out: Collection[str] = ()) -> list[ListedPhoto]:
    """The product photos of folders and manifests, `FILE:SPLIT` for a part of one; `none`: none.

    Args:
        places: What `--cohort` names.
        held_out: Paths of photos whose products must not be among them; told on stderr.

    Raises:
        UserError: A place holds no photos, no such part, or nothing but products held out.
    """
    photos: list[ListedPhoto] = []
    for place in places:
        if place == "none" and len(places) == 1:
            continue
        file, _, split = place.rpartition(":")
        part = split in SPLITS and not os.path.exists(place)
        if part and os.path.isdir(file):
            raise UserError(f"{place}: {file} is a folder, without splits; give a manifest")
        photos += listed_at(file, split) if part else listed_at(place)
    others = others_than(photos, held_out)
    if photos and not others:
        raise UserError("--cohort: all of its products are held out by the manifest; name others")
    if len(others) < len(photos):
        print(
            f"--cohort: {len(photos) - len(others)} of {len(photos)} photos are left out, of "
            "products that the manifest holds out",
            file=sys.stderr,
        )
    return others


def people_at(place: str, split: str | None = None) -> list[tuple[str, Box | None]]:
    """The photos of a folder, or those of people in a table, with the part to look at.

    Of a table that has splits all of them, or one.
    """
    if os.path.isdir(place):
        return [(photo, None) for photo in photos_in(place)]
    parquet = place.lower().endswith(".parquet")
    table = read_manifest(place) if parquet else read_photo_table(place)
    table = _of_split(table, split, place)
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


def training_products(path: str, asked: str, max_broken: float) -> list[ListedPhoto]:
    """The product photos of a manifest's training split; none where that is the split asked for."""
    if asked == "train":
        return []
    manifest = sound_manifest(path, "train", max_broken)
    rows = manifest[(manifest["split"] == "train") & (manifest["role"] == "product")]
    return listed_in_manifest(rows) if len(rows) else []


def ids_of_test_split(manifest: str | None) -> frozenset[str] | None:
    """Products of a manifest's test split; None without one."""
    if manifest is None:
        return None
    rows = read_manifest(manifest)
    return frozenset(rows.loc[rows["split"] == "test", "product_id"])

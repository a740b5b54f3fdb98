"""LookBook: 8,726 products, each with one clean product photo and several photos of a person."""

import os
import re
from pathlib import Path

import pandas as pd

from datasets.layout import find_path, found_in, report_skipped
from datasets.manifest import ManifestError, make_manifest
from datasets.splits import split_by_product, twin_groups

LAYOUT = "photos named PID000123_CLEAN1_IID004567.jpg in one folder (or in its folder data/)"
FILE_NAME = re.compile(r"PID(\d+)_CLEAN([01])_IID(\d+)\.(?:jpe?g|png)", re.IGNORECASE)
ROLE_OF_CLEAN = {"1": "product", "0": "person"}


def read_lookbook(
    folder: str | Path,
    *,
    minimum_person_photos: int = 10,
    validation: float = 200,
    test: float = 556,
    seed: int = 0,
    keep_twins_together: bool = False,
) -> pd.DataFrame:
    """Manifest of LookBook (Yoo et al. 2016, Pixel-Level Domain Transfer).

    Expected layout: one flat folder of files `PID000123_CLEAN1_IID004567.jpg`, where PID is the
    product, CLEAN1 its product photo, CLEAN0 a person wearing it and IID the image. Other files
    are ignored.

    The LookBook report keeps products with at least 10 person photos (2,556) and splits them
    into 2,000 for training and 556 for the test. The defaults carve 200 products for validation
    out of these 2,000; `validation=0` is the report's split. The test products are the same
    either way. Which products were the report's test is not known.

    Args:
        folder: folder of the photos.
        minimum_person_photos: products with fewer are left out.
        validation: products of the validation split: a number, or a share below 1.
        test: products of the test split, likewise.
        seed: another seed draws other products.
        keep_twins_together: look at the product photos, and keep look-alikes in one split.

    Returns:
        A manifest with the attribute image_id (text).

    Raises:
        ManifestError: no such folder, no photo of that name in it, or too few products.
    """
    folder = find_path(folder, ["."], LAYOUT)
    matches = _matches_in(folder) or (
        _matches_in(folder / "data") if (folder / "data").is_dir() else []
    )
    if not matches:
        count = sum(1 for _ in os.scandir(folder))
        raise ManifestError(
            f"{folder}: none of {count} files is named like PID000123_CLEAN1_IID004567.jpg; "
            f"expected {LAYOUT}; {found_in(folder)}"
        )
    frame = make_manifest(
        {
            "path": [path for path, _ in matches],
            "product_id": [match[1] for _, match in matches],
            "role": [ROLE_OF_CLEAN[match[2]] for _, match in matches],
            "image_id": [match[3] for _, match in matches],
        }
    )
    persons = (frame["role"] == "person").groupby(frame["product_id"]).sum()
    enough = set(persons[persons >= minimum_person_photos].index)
    shown = set(frame.loc[frame["role"] == "product", "product_id"])
    report_skipped(folder, len(enough - shown), "products without a product photo (CLEAN1)")
    frame = frame[frame["product_id"].isin(enough & shown)].reset_index(drop=True)
    if frame.empty:
        raise ManifestError(
            f"{folder}: no product has a product photo (CLEAN1) and at least "
            f"{minimum_person_photos} person photos (CLEAN0); lower minimum_person_photos"
        )
    groups = twin_groups(frame) if keep_twins_together else None
    return split_by_product(frame, validation=validation, test=test, seed=seed, groups=groups)


def _matches_in(folder: Path) -> list[tuple[str, re.Match[str]]]:
    """Files of LookBook's naming, in order of their names."""
    names = sorted(entry.name for entry in os.scandir(folder))
    matches = [(os.path.join(folder, name), FILE_NAME.fullmatch(name)) for name in names]
    return [(path, match) for path, match in matches if match is not None]

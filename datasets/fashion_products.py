"""Fashion Product Images: catalog photos of all kinds with labels; no photos of wearers.

A training needs two photos of a product: the second may be a part of the only one (`parts`).
"""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.layout import find_path, found_in, report_skipped
from datasets.manifest import ManifestError, make_manifest
from datasets.splits import shown_together, split_by_product
from siamese.boxes import BOX
from siamese.photos import PhotoError, photo_size

LAYOUT = "styles.csv (id, gender, masterCategory, …) and photos images/ID.jpg"
NAME = "productDisplayName"  # the only column with free text, and the last
MISSING = ("", "NA")
SHOWN = (0.6, 0.95)  # share of each side of the photo that a part of it shows


def read_fashion_products(
    folder: str | Path,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    parts: bool = False,
) -> pd.DataFrame:
    """Manifest of Kaggle's "Fashion Product Images" (44,000 products; the small version too).

    Expected layout: `styles.csv` with the columns id, gender, masterCategory, subCategory,
    articleType, baseColour, season, year, usage and optionally productDisplayName, and one photo
    `images/ID.jpg` per product. The original has lines with unquoted commas in the display name,
    which are put together again. Ids without a photo are left out, with a warning in the log.

    Args:
        folder: folder of styles.csv.
        validation: products of the validation split: a number, or a share below 1.
        test: products of the test split, likewise.
        seed: another seed draws other products, and other parts.
        parts: list each photo a second time, with a box and the role person: a part of it, which
            stands in for the photos of people that a training compares with product photos.

    Returns:
        A manifest of product photos (and parts of them) with all labels as attributes (missing
        where the file says nothing or NA; year as a whole number). Products that share one photo
        are in one split.

    Raises:
        ManifestError: another layout, no photo at all, or too few products.
    """
    if seed < 0:
        raise ManifestError(f"fashion_products: seed must be at least 0, not {seed}")
    table_path = find_path(folder, ["styles.csv"], LAYOUT)
    photos = find_path(folder, ["images"], LAYOUT)
    table = _read_styles(table_path)
    path_of = {entry.name: entry.path for entry in os.scandir(photos)}
    paths = (table["id"] + ".jpg").map(path_of.get)
    report_skipped(table_path, int(paths.isna().sum()), "products without a photo")
    if paths.isna().all():
        raise ManifestError(
            f"{photos}: has no photo of any id in styles.csv; expected {LAYOUT}; {found_in(photos)}"
        )
    labels = table.drop(columns="id").mask(lambda column: column.isin(MISSING))
    if "year" in labels:
        years = pd.to_numeric(labels["year"], errors="coerce")
        labels["year"] = years.where(years % 1 == 0).astype("Int64")  # 2011.5 is none
    frame = make_manifest(labels.assign(path=paths, product_id=table["id"], role="product"))
    frame = frame[frame["path"].notna()].drop_duplicates("product_id").reset_index(drop=True)
    groups = shown_together(frame)
    frame = split_by_product(frame, validation=validation, test=test, seed=seed, groups=groups)
    return make_manifest(_with_parts(frame, seed) if parts else frame)


def _with_parts(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The product photos, and a box within each as a photo of a person.

    A photo that cannot be read has none; the manifest's checks tell of it.
    """
    random = np.random.default_rng(seed)
    sizes = [_size_of(path) for path in frame["path"]]
    whole = frame[[size is not None for size in sizes]]
    size = np.array([size for size in sizes if size is not None], np.float64).reshape(-1, 2)
    shown = (size * random.uniform(*SHOWN, size.shape)).round()
    start = ((size - shown) * random.random(size.shape)).round()
    boxes = pd.DataFrame(np.hstack([start, start + shown]), columns=list(BOX))
    boxes.index = whole.index
    return pd.concat([frame, whole.assign(role="person", **boxes)], ignore_index=True)


def _size_of(path: str) -> tuple[int, int] | None:
    """Width and height."""
    try:
        height, width = photo_size(path)
    except PhotoError:
        return None
    return width, height


def _read_styles(path: Path) -> pd.DataFrame:
    """styles.csv as text, its broken lines mended or, if that cannot be done, left out."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is no text in UTF-8; save it as CSV in UTF-8") from error
    # Each line for itself: a quote that is never closed would swallow all products after it.
    lines = (next(csv.reader([line]), []) for line in re.split(r"\r\n|\r|\n", text))
    header = next(lines, [])
    if "id" not in header:
        raise ManifestError(
            f"{path}: has no column id; expected {LAYOUT}; found {', '.join(header)}"
        )
    rows, broken = [], 0
    for line in lines:
        if len(line) > len(header) and header[-1] == NAME:
            last = len(header) - 1
            line = [*line[:last], ",".join(line[last:])]
        if len(line) == len(header):
            rows.append(line)
        elif line:
            broken += 1
    report_skipped(path, broken, "lines with too many or too few fields")
    return pd.DataFrame(rows, columns=header, dtype="str")

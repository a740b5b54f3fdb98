"""The clothing data set: real garments that people photographed at home, with 20 labels (CC0)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datasets.layout import find_path, found_in, report_skipped
from datasets.manifest import ManifestError, make_manifest, read_csv_as_text, with_numbers
from datasets.splits import split_by_product

LAYOUT = "images.csv (image, sender_id, label, kids) and photos images/IMAGE.jpg"
COLUMNS = {"image", "sender_id", "label"}
LARGE_SENDER = 0.05


def read_clothing(
    folder: str | Path, *, validation: float = 0.05, test: float = 0.1, seed: int = 0
) -> pd.DataFrame:
    """Manifest of the "clothing dataset" (Grigorev et al. 2020, CC0): product photos only.

    Expected layout: `images.csv` with the columns image, sender_id and label, and one photo
    `images/IMAGE.jpg` per line.

    Args:
        folder: folder of images.csv.
        validation: products of the validation split: a number, or a share below 1.
        test: products of the test split, likewise.
        seed: another seed draws other products.

    Returns:
        A manifest of product photos with the attributes sender_id, label and kids. All photos
        of a sender are in one split: backgrounds repeat there, and so may garments. Senders of
        more than a twentieth of all photos are trained on: they would fill a held-out split.

    Raises:
        ManifestError: another layout, no photo at all, or too few products.
    """
    table_path = find_path(folder, ["images.csv"], LAYOUT)
    photos = find_path(folder, ["images"], LAYOUT)
    table = read_csv_as_text(table_path)
    others = table.columns.difference(["image", "sender_id"])
    table[others] = with_numbers(table[others])
    if not set(table) >= COLUMNS:
        found = ", ".join(map(str, table.columns))
        raise ManifestError(f"{table_path}: expected {LAYOUT}; found the columns {found}")
    paths = table["image"].map(lambda name: str(photos / f"{name}.jpg"))
    there = paths.map(lambda path: Path(path).is_file())
    report_skipped(table_path, int((~there).sum()), "products without a photo")
    if not there.any():
        raise ManifestError(
            f"{photos}: has no photo of images.csv; expected {LAYOUT}; {found_in(photos)}"
        )
    attributes = table.drop(columns="image")
    frame = make_manifest(attributes.assign(path=paths, product_id=table["image"], role="product"))
    frame = frame[there.to_numpy()].drop_duplicates("product_id").reset_index(drop=True)
    senders = frame.set_index("product_id")["sender_id"]
    photos_of_sender = frame["sender_id"].map(frame["sender_id"].value_counts())
    small = photos_of_sender <= max(LARGE_SENDER * len(frame), 20)
    held = split_by_product(
        frame[small],
        validation=_number(validation, frame),
        test=_number(test, frame),
        seed=seed,
        groups=senders,
    )
    return make_manifest(
        pd.concat([frame[~small].assign(split="train"), held]).sort_index().reset_index(drop=True)
    )


def _number(wanted: float, frame: pd.DataFrame) -> float:
    """A share of all products as their number."""
    return wanted if wanted >= 1 or not wanted else max(1, round(wanted * len(frame)))

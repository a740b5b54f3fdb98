"""DeepFashion2: photos of shops and users with a box, a category and a style for every garment."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.layout import find_path, report_skipped
from datasets.manifest import BOX, ManifestError, make_manifest
from datasets.splits import split_by_product

LAYOUT = "train/ and validation/ (or one of them), each with image/000001.jpg and annos/000001.json"
PARTS = ("train", "validation")
ROLE_OF_SOURCE = {"shop": "product", "user": "person"}


def read_deepfashion2(
    folder: str | Path, *, test: float = 0.5, seed: int = 0, workers: int = 2
) -> pd.DataFrame:
    """Manifest of DeepFashion2 (Ge et al. 2019), one row per garment in a photo.

    Expected layout: `train/image/000001.jpg` with `train/annos/000001.json`, and `validation`
    likewise. An annotation has source (shop or user), pair_id, and item1, item2, … with
    bounding_box [x1, y1, x2, y2], style, category_id and category_name.

    As in the paper, garments are the same product if their photos have the same pair_id and they
    the same style above 0; style 0 has no counterpart and is left out. The folder is part of the
    product id, as each counts its pairs anew. A product that no shop's photo shows is left out.
    The labels of the real test set are not public, so a part of `validation` becomes the test.

    Args:
        folder: folder of train/ and validation/.
        test: products of the validation folder that become the test split: a number, or a share
            below 1. Products of one pair_id, which share photos, stay in one split.
        seed: another seed draws other products.
        workers: threads that read annotations.

    Returns:
        A manifest with boxes and the attributes category_id, category_name and viewpoint.

    Raises:
        ManifestError: another layout, a damaged annotation, or no product with a shop's photo.
    """
    find_path(folder, PARTS, LAYOUT)
    rows: list[dict[str, Any]] = []
    for part in PARTS:
        if (Path(folder) / part).exists():
            annotations = find_path(folder, [f"{part}/annos"], LAYOUT)
            rows += _garments(annotations, find_path(folder, [f"{part}/image"], LAYOUT), workers)
    shown = {row["product_id"] for row in rows if row["role"] == "product"}
    kept = [row for row in rows if row["product_id"] in shown]
    report_skipped(Path(folder), len(rows) - len(kept), "garments that no shop's photo shows")
    if not kept:
        raise ManifestError(
            f"{folder}: no garment has a shop's photo and a style; expected {LAYOUT}"
        )
    frame = make_manifest(pd.DataFrame(kept))
    held_out = frame["split"] == "validation"
    if not held_out.any() or test == 0:
        return frame
    groups = frame["product_id"].str.rsplit("_", n=1).str[0].set_axis(frame["product_id"])
    parts = split_by_product(
        frame[held_out],
        validation=0,
        test=test,
        seed=seed,
        groups=groups[~groups.index.duplicated()],
    )
    frame.loc[held_out, "split"] = parts["split"].replace("train", "validation")
    return frame


def _garments(annotations: Path, photos: Path, workers: int) -> list[dict[str, Any]]:
    """Rows of all garments with a style, in order of the photos."""
    paths = sorted(annotations.glob("*.json"))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = pool.map(lambda path: list(_garments_of(path, photos)), paths)
        return [row for rows in found for row in rows]


def _garments_of(path: Path, photos: Path) -> Iterator[dict[str, Any]]:
    """Rows of one annotation file."""
    try:
        annotation = json.loads(path.read_bytes())
        role = ROLE_OF_SOURCE[annotation["source"]]
        pair = int(annotation["pair_id"])
        items = sorted(name for name in annotation if name.startswith("item"))
        for item in (annotation[name] for name in items):
            if item["style"] > 0:
                yield {
                    "path": str(photos / f"{path.stem}.jpg"),
                    "product_id": f"{_part_of(path)}_{pair:06d}_{item['style']}",
                    "role": role,
                    "split": _part_of(path),
                    **dict(zip(BOX, map(float, item["bounding_box"]), strict=True)),
                    "category_id": item["category_id"],
                    "category_name": item["category_name"],
                    "viewpoint": item.get("viewpoint"),
                }
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{path}: is no annotation of DeepFashion2 ({type(error).__name__}: {error}); "
            "copy or download it again"
        ) from error


def _part_of(path: Path) -> str:
    """train or validation: the folder that holds `annos`."""
    return path.parent.parent.name

"""Pairs from catalog photos that show a person: the garment that the person wears, cut out.

Many catalogs have one photo per product, half of them of a model. What isolation finds in such a
photo becomes the product photo, bent a little; the photo itself is that of the person.

python -m datasets.worn --path data/fashion --folder data/worn
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from datasets.composed import key_of, opened_part
from datasets.composed_photos import Top, bent, product_photo
from datasets.composed_sources import kinds_of
from datasets.cutouts import Cutout
from datasets.drawing import as_jpeg, run_tasks, write_atomically
from datasets.manifest import BOX, ManifestError, make_manifest, validate, write_manifest
from siamese.boxes import boxes_of
from siamese.cut_out import largest_parts, not_white
from siamese.errors import UserError
from siamese.files import check_writable
from siamese.isolation import Garment, Isolation
from siamese.isolation_file import load_isolation
from siamese.photos import PhotoError
from siamese.preprocessing import Box
from siamese.segmentation import GROUPS

PERSON = [GROUPS.index(group) for group in ("skin", "hair")]
LEAST_SKIN = 0.03  # share of the photo; with less it shows no person
LEAST_SHARE = 0.25  # of what is not white, that the garment must be
LEAST_CONFIDENCE = 0.6
BEND = 0.015  # of the cut-out's longer side: collars and sleeves keep their form
GROUPS_OF = {
    **dict.fromkeys(get_args(Top), ("upper", "full")),
    "dress": ("full", "upper"),
    "bottom": ("lower",),
}


class Task(NamedTuple):
    """One product photo to cut the worn garment out of."""

    target: Path
    path: str
    box: Box | None
    kind: str
    isolation: str


def read_worn(
    products: pd.DataFrame, folder: Path, isolation: str, workers: int = 2
) -> pd.DataFrame:
    """Pairs made of the product photos that show a person.

    Args:
        products: A manifest; its product photos are looked at, one per product.
        folder: Where the cut-outs go; those that are there stay.
        isolation: File of `datasets.isolation_training`.
        workers: Processes.

    Returns:
        A manifest: per product its garment on white (`product`) and the photo it was cut from
        (`person`, with the garment's box); attributes and splits are kept. Without tops, dresses
        and trousers that a person visibly wears it is empty.
    """
    if products[["product_id", "path"]].isna().any(axis=None):
        validate(products)  # tells which rows
    (folder / "garments").mkdir(parents=True, exist_ok=True)
    rows = products[products["role"] == "product"].drop_duplicates("product_id")
    rows = rows.assign(kind=kinds_of(rows))
    rows = rows[rows["kind"].isin(GROUPS_OF)].reset_index(drop=True)
    parts = boxes_of(rows)
    keys = [key_of(*one) for one in zip(rows["product_id"], rows["path"], parts, strict=True)]
    targets = [folder / "garments" / f"{key}.jpg" for key in keys]
    tasks = [
        Task(*one, isolation)
        for one in zip(targets, rows["path"], parts, rows["kind"], strict=True)
    ]
    boxes = run_tasks(_cut_worn, tasks, workers, "cutting out")
    found = np.array([box is not None for box in boxes], bool)
    rows = rows.drop(columns=["kind", *BOX], errors="ignore")
    alone = rows.assign(path=list(map(str, targets)))[found]
    worn = rows.assign(role="person")[found]
    worn[list(BOX)] = np.array([box for box in boxes if box], float).reshape(-1, 4)
    return make_manifest(pd.concat([alone, worn], ignore_index=True))


def _cut_worn(task: Task) -> Box | None:
    """Write the garment on white; its box in the photo, or None where nobody wears one."""
    try:
        pixels = opened_part(task.path, task.box)
    except PhotoError:
        return None  # the manifest's checks report it
    found, groups = _isolation(task.isolation).survey(Image.fromarray(pixels))
    garment = _garment_of(task.kind, found)
    if garment is None or np.isin(groups, PERSON).mean() < LEAST_SKIN:
        return None
    shown = largest_parts(not_white(pixels))
    mask = largest_parts(garment.mask.astype(np.uint8) * 255) & shown  # with the white of prints
    if (mask > 0).sum() < LEAST_SHARE * (shown > 0).sum():
        return None
    if not task.target.exists():
        random = np.random.default_rng(int(task.target.stem, 16))
        cutout = _cutout(pixels, mask, garment.box)
        alone = product_photo(bent(cutout, random, BEND), random)
        write_atomically(task.target, as_jpeg(alone))
    left, top = (0.0, 0.0) if task.box is None else (max(0, round(side)) for side in task.box[:2])
    x1, y1, x2, y2 = garment.box
    return x1 + left, y1 + top, x2 + left, y2 + top


def _garment_of(kind: str, found: Sequence[Garment]) -> Garment | None:
    """The garment of the first group that fits the kind, if it is found with confidence."""
    for group in GROUPS_OF[kind]:
        for garment in found:
            if garment.group == group and garment.confidence >= LEAST_CONFIDENCE:
                return garment
    return None


def _cutout(pixels: np.ndarray, mask: np.ndarray, box: Box) -> Cutout:
    inside = np.s_[int(box[1]) : int(box[3]) + 1, int(box[0]) : int(box[2]) + 1]
    alpha = cv2.erode(mask, np.ones((3, 3), np.uint8))
    alpha = np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0), np.uint8)
    return Cutout(np.ascontiguousarray(pixels[inside]), np.ascontiguousarray(alpha[inside]))


@lru_cache(maxsize=1)
def _isolation(path: str) -> Isolation:
    torch.set_num_threads(1)  # one of several processes
    return load_isolation(path)


def main(words: Sequence[str]) -> int:
    """Command line: read, cut out, write."""
    from datasets.readers import READERS, reader_of

    parser = argparse.ArgumentParser(prog="datasets.worn", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of cut-outs and manifest.csv")
    parser.add_argument("--reader", default="fashion_products", choices=list(READERS))
    parser.add_argument("--path", required=True, help="of the product photos")
    parser.add_argument("--options", type=json.loads, default={}, help="of the reader, as JSON")
    parser.add_argument("--isolation", default="checkpoints/isolation.safetensors")
    parser.add_argument("--workers", type=int, default=2)
    choice = parser.parse_args(words)
    options: dict[str, Any] = choice.options
    try:
        check_writable(choice.folder / "manifest.csv")
        load_isolation(choice.isolation)  # a wrong path is told before any process starts
        products = reader_of(choice.reader, options)(Path(choice.path))
        frame = read_worn(products, choice.folder, choice.isolation, choice.workers)
        if frame.empty:
            raise ManifestError(
                f"{choice.path}: no photo shows a person who wears a top, dress or trousers"
            )
        write_manifest(frame, choice.folder / "manifest.csv")
    except (UserError, OSError) as error:
        print(f"datasets.worn: {error}", file=sys.stderr)
        return 1
    print(f"{choice.folder / 'manifest.csv'}: {len(frame) // 2} products that a person wears")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

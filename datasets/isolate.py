"""Adds to a manifest where the garment is in each photo of a person, so that training can use it.

python -m datasets.isolate data/pairs/images.csv --garment upper --out data/pairs/boxes.csv
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
from tqdm import tqdm

from datasets.manifest import BOX, read_photo_table, write_manifest
from siamese.errors import UserError
from siamese.files import check_writable
from siamese.garment_choice import GarmentChoice
from siamese.isolation import CHOICES
from siamese.isolation_file import load_isolation
from siamese.listing import photos_in
from siamese.photos import PhotoError
from siamese.runtime import keep_freed_memory

PERSON = "person"


def people_in(folder: str) -> pd.DataFrame:
    """A table of all photos of a folder, each of a person.

    Raises:
        UserError: There is no photo in it.
    """
    photos = [os.path.abspath(photo) for photo in photos_in(folder)]
    return pd.DataFrame({"path": photos, "role": PERSON}, dtype=object)


def add_boxes(table: pd.DataFrame, choice: GarmentChoice) -> tuple[pd.DataFrame, int, list[str]]:
    """Fill x1, y1, x2, y2 of the photos of people, in whole pixels; a box that is there stays.

    Args:
        table: With path (absolute) and role.
        choice: Which garment.

    Returns:
        The table; how many boxes were added; what is wrong with the photos that got none and
        so are used as a whole.
    """
    boxes = table.reindex(columns=list(BOX))
    rows = table.index[(table["role"] == PERSON) & boxes.isna().all(axis=1)]
    filled = boxes.astype(object).to_numpy(copy=True)
    lacking = []
    for row in tqdm(rows, unit=" photos", desc="isolating", disable=None):
        try:
            box = choice.box_in(table.loc[row, "path"])
        except PhotoError as error:
            lacking.append(str(error))
            continue
        x1, y1, x2, y2 = box
        sides = np.array([np.floor(x1), np.floor(y1), np.ceil(x2), np.ceil(y2)])
        filled[table.index.get_loc(row)] = sides.astype(int)
    columns = {name: filled[:, place] for place, name in enumerate(BOX)}
    return table.assign(**columns), len(rows) - len(lacking), lacking


def main(words: Sequence[str]) -> int:
    """Command line: read, find, write."""
    parser = argparse.ArgumentParser(prog="datasets.isolate", description=__doc__)
    parser.add_argument(
        "manifest",
        help="CSV with path and role, whose rows of role person get boxes, or a folder of photos "
        "of people",
    )
    parser.add_argument("--isolation", default="checkpoints/isolation.safetensors")
    parser.add_argument("--garment", default="upper", choices=CHOICES)
    parser.add_argument("--out", required=True, help="CSV to write")
    arguments = parser.parse_args(words)
    keep_freed_memory()
    try:
        check_writable(arguments.out)
        choice = GarmentChoice(load_isolation(arguments.isolation), arguments.garment)
        place = arguments.manifest
        photos = people_in(place) if os.path.isdir(place) else read_photo_table(place)
        table, added, lacking = add_boxes(photos, choice)
        write_manifest(table, arguments.out)
    except (UserError, OSError) as error:
        print(f"datasets.isolate: {error}", file=sys.stderr)
        return 1
    for line in lacking[:20]:
        print(f"whole photo kept: {line}", file=sys.stderr)
    print(f"{arguments.out}: {added} boxes added, {len(lacking)} photos of people without one")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

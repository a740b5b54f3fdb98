"""The single checks of a manifest: each yields all faults that it finds."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pandas as pd

from siamese.boxes import BOX, box_sides, has_box
from siamese.photos import PhotoError, open_photo, photo_size

ROLES = ("product", "person")
SPLITS = ("train", "validation", "test")
REQUIRED = ("path", "product_id", "role", "split")
BOX_TOLERANCE = 1.0  # pixels; data sets count the last pixel in or out

# What can be done about a fault: `photo` and `copy` concern one row, which may be dropped;
# `table` faults make the whole table untrustworthy.
PHOTO, COPY, TABLE = "photo", "copy", "table"
Fault = tuple[int, str, str]  # (position of the row, kind, text)
Result = TypeVar("Result")


def all_faults(
    frame: pd.DataFrame, check_files: bool, decode: bool, compare_contents: bool, workers: int
) -> list[Fault]:
    """Every fault in order of the rows; `frame` counts its rows from 0; see `find_faults`."""
    faults = [*_value_faults(frame), *_product_faults(frame), *_listing_faults(frame)]
    faults += _box_faults(frame)
    if check_files:
        faults += _photo_faults(frame, decode, workers)
        if compare_contents:
            faults += _copy_faults(frame, workers)
    return sorted(faults, key=lambda fault: fault[0])


def _value_faults(frame: pd.DataFrame) -> Iterable[Fault]:
    """Missing ids and paths, unknown words."""
    for name in ("product_id", "path"):
        for row in np.flatnonzero(frame[name].isna() | (frame[name].astype(str).str.strip() == "")):
            yield int(row), TABLE, f"{name} is missing"
    for name, allowed in (("role", ROLES), ("split", SPLITS)):
        for row in np.flatnonzero(~frame[name].isin(allowed)):
            value = frame[name].iloc[row]
            yield int(row), TABLE, f"unknown {name} {value!r}; use {', '.join(allowed)}"


def _product_faults(frame: pd.DataFrame) -> Iterable[Fault]:
    """Products without a product photo, and products in several splits; one line per product."""
    first_row = frame.drop_duplicates("product_id")["product_id"]
    with_photo = set(frame.loc[frame["role"] == "product", "product_id"])
    for row, product in first_row.dropna().items():
        if product not in with_photo:
            yield int(str(row)), TABLE, "the product has no product photo"
    yield from _in_several(frame, "product_id", "split", "the product is in several splits")


def _listing_faults(frame: pd.DataFrame) -> Iterable[Fault]:
    """The same photo where it must not be listed again."""
    yield from _in_several(frame, "path", "split", "the photo is in several splits")
    paths = frame["path"].astype("object")  # also where all of them are missing
    parts = paths.where(~has_box(frame), paths.astype("str") + _texts(box_sides(frame)))
    roles = frame.assign(path=parts)  # parts of one photo may well show different things
    yield from _in_several(roles, "path", "role", "the photo has several roles")
    same = [name for name in ("path", "product_id", "role", "split", *BOX) if name in frame]
    for row in np.flatnonzero(frame.duplicated(same) & frame["path"].notna()):
        yield int(row), TABLE, "the same row is listed before"


def _texts(boxes: np.ndarray) -> list[str]:
    """Each row's box as text."""
    return [str(sides) for sides in boxes.tolist()]


def _in_several(frame: pd.DataFrame, key: str, name: str, text: str) -> Iterable[Fault]:
    """Keys with different values under `name`; reported at the first row that differs."""
    known = frame[[key, name]].dropna()
    first = known.groupby(key)[name].transform("first")
    for row in known[known[name] != first].drop_duplicates(key).index:
        values = sorted(set(known.loc[known[key] == known.at[row, key], name]))
        yield int(row), TABLE, f"{text}: {', '.join(values)}"


def _box_faults(frame: pd.DataFrame) -> Iterable[Fault]:
    """Boxes that are half given, turned round or outside at the top left."""
    box = box_sides(frame)
    for row in np.flatnonzero(has_box(frame)):
        x1, y1, x2, y2 = box[row]
        if not np.isfinite(box[row]).all():
            yield int(row), PHOTO, "the box needs four numbers: x1, y1, x2, y2"
        elif x2 <= x1 or y2 <= y1:
            yield int(row), PHOTO, f"the box has no area: {x1:g}, {y1:g}, {x2:g}, {y2:g}"
        elif min(x1, y1) < -BOX_TOLERANCE:
            yield int(row), PHOTO, f"the box begins outside of the photo: {x1:g}, {y1:g}"


def _photo_faults(frame: pd.DataFrame, decode: bool, workers: int) -> Iterable[Fault]:
    """Photos that are missing or unreadable, and boxes that reach beyond their photo."""

    def size_or_fault(path: str) -> tuple[int, int] | str:
        try:
            if decode:
                open_photo(path)
            return photo_size(path)
        except PhotoError as error:
            return str(error).removeprefix(f"{path}: ")

    found = _of_each_path(frame["path"].dropna(), size_or_fault, workers)
    boxes = box_sides(frame)
    for row, path in frame["path"].dropna().items():
        position = int(str(row))
        result = found[path]
        if isinstance(result, str):
            yield position, PHOTO, result
            continue
        height, width = result
        x2, y2 = boxes[position, 2:]
        if x2 > width + BOX_TOLERANCE or y2 > height + BOX_TOLERANCE:
            text = f"the box ends at {x2:g}, {y2:g}, outside of the photo of {width} x {height}"
            yield position, PHOTO, text


def _copy_faults(frame: pd.DataFrame, workers: int) -> Iterable[Fault]:
    """Photos whose content lies, under another path, in a split held out from theirs.

    The row named is the one to drop: in train before validation, in validation before test.
    """
    known = frame[frame["path"].notna() & frame["split"].isin(SPLITS)]
    contents = contents_of(known["path"], workers)
    rows_of_content: dict[str, list[int]] = defaultdict(list)
    for row, path in known["path"].items():
        rows_of_content[contents[path]].append(int(str(row)))
    for rows in rows_of_content.values():
        held_out = frame.iloc[max(rows, key=lambda row: SPLITS.index(frame["split"].iloc[row]))]
        for row in rows if len(rows) > 1 else []:
            mine = frame.iloc[row]
            if mine["split"] != held_out["split"] and mine["path"] != held_out["path"]:
                text = f"has the same content as row {held_out.name} of split {held_out['split']}"
                yield row, COPY, f"{text} ({held_out['path']})"


def contents_of(paths: Iterable[str], workers: int = 2) -> dict[str, str]:
    """For each different path a text that is equal for files of equal content.

    Files are hashed only if another one has the same size: many are never read. A file that
    cannot be read equals no other.
    """
    sizes = _of_each_path(paths, _file_size, workers)
    alike = Counter(sizes.values())
    candidates = [path for path, size in sizes.items() if size > 0 and alike[size] > 1]
    hashes = _of_each_path(candidates, _content_hash, workers)
    return {path: hashes.get(path, path) for path in sizes}


def _of_each_path(
    paths: Iterable[str], function: Callable[[str], Result], workers: int
) -> dict[str, Result]:
    """The function's result for every different path, computed by threads."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        different = list(dict.fromkeys(paths))
        return dict(zip(different, pool.map(function, different), strict=True))


def _file_size(path: str) -> int:
    """Bytes of the file; 0 where there is none, which is reported elsewhere."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _content_hash(path: str) -> str:
    """Equal for equal contents; a file that cannot be read equals no other."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "blake2b").hexdigest()
    except OSError:
        return path

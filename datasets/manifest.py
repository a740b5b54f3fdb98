"""The one table format of the project, and its validator that reports every fault at once.

A manifest is a DataFrame with one row per photo of a product:

| column | meaning |
|---|---|
| path | the photo: absolute in memory; on disk relative to the manifest's folder if below it |
| product_id | text, so that 000001 keeps its zeros |
| role | `product` (the shop's photo) or `person` (someone wearing it) |
| split | `train`, `validation` or `test`; a product lies in one split only |
| x1, y1, x2, y2 | optional: where the product is, in pixels of the upright photo |
| also_worn | optional: other products that the photo shows, ids between semicolons |
| others | attributes of the product or photo, of any type |

A photo may be listed in several rows of one split when it shows several products (or the same
one in several boxes), for shops do share photos. In two splits it would leak, and is a fault.
"""

import os
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datasets.checks import COPY, PHOTO, REQUIRED, ROLES, SPLITS, all_faults
from siamese.boxes import BOX
from siamese.errors import UserError
from siamese.files import separator_of
from siamese.worn import ALSO_WORN

__all__ = [
    "BOX",
    "REQUIRED",
    "ROLES",
    "SPLITS",
    "ManifestError",
    "absolute_paths",
    "describe_faults",
    "drop_broken_photos",
    "find_faults",
    "make_manifest",
    "read_csv_as_text",
    "read_manifest",
    "validate",
    "with_numbers",
    "write_manifest",
]

PARQUET_SUFFIXES = (".parquet", ".pq")
SHOWN_FAULTS = 20


class ManifestError(UserError):
    """A data set or manifest that cannot be used; the message says where, why and the remedy."""


def make_manifest(columns: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """A table with the manifest's columns in their order and as text; attributes follow.

    Args:
        columns: at least path, product_id and role; split and boxes where known.
    """
    frame = pd.DataFrame(columns)
    for name in REQUIRED:
        if name in frame:
            frame[name] = _as_text(frame[name])
    ordered = [name for name in (*REQUIRED, *BOX) if name in frame]
    return frame[ordered + [name for name in frame if name not in ordered]].reset_index(drop=True)


def read_manifest(path: str | Path, text: Collection[str] = ()) -> pd.DataFrame:
    """Read a manifest (CSV, or Parquet by its suffix) with absolute paths.

    Attributes of a CSV become numbers or truth values only where that loses nothing (`004567`
    stays text); only an empty cell is missing, so that a brand may be called `NA`.

    Args:
        path: the file.
        text: columns of a CSV that are text whatever they hold.

    Raises:
        ManifestError: no such file, not readable, empty, or without a required column.
    """
    path = Path(path)
    frame = _read_table(path, [*text, ALSO_WORN])
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise ManifestError(
            f"{path}: no column {', '.join(missing)}; a manifest has {', '.join(REQUIRED)}, "
            f"this has {', '.join(map(str, frame.columns))} "
            "(a table without splits is read by datasets.pairs_csv)"
        )
    if frame.empty:
        raise ManifestError(f"{path}: has no rows; list at least one photo")
    return absolute_paths(make_manifest(frame), path.parent)


def absolute_paths(frame: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """The manifest with paths relative to `folder` made absolute."""
    root = os.path.abspath(folder)
    paths = frame["path"].map(
        lambda photo: os.path.normpath(os.path.join(root, photo)), na_action="ignore"
    )
    return frame.assign(path=paths)


def read_csv_as_text(path: str | Path) -> pd.DataFrame:
    """Every cell of a CSV as text, an empty one as missing.

    Raises:
        ManifestError: no such file, no text in UTF-8, or no table.
    """
    try:
        _check_heading(path)
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            return pd.read_csv(
                path,
                dtype=str,
                sep=_separator(path),
                index_col=False,  # else a comma at the end of each line moves all columns
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
            )
    except pd.errors.ParserWarning as error:
        raise ManifestError(
            f"{path}: a line has more cells than the heading; put text with commas in quotes"
        ) from error
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is no text in UTF-8; save it as CSV in UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise ManifestError(f"{path}: is empty; write a line of column names first") from error
    except (pd.errors.ParserError, OSError) as error:
        raise ManifestError(f"{path}: cannot be read as CSV ({_one_line(error)})") from error


def _check_heading(path: str | Path) -> None:
    """Raise `ManifestError` for a name that is there twice: pandas would number it."""
    first = pd.read_csv(
        path, dtype=str, header=None, nrows=1, encoding="utf-8-sig", sep=_separator(path)
    )
    names = first.iloc[0].dropna()
    if names.duplicated().any():
        twice = names[names.duplicated()].iloc[0]
        raise ManifestError(f"{path}: has the column {twice!r} twice; rename or drop one")


def _separator(path: str | Path) -> str:
    """What separates the heading's cells: a comma, a semicolon or a tab, as spreadsheets choose."""
    with Path(path).open(encoding="utf-8-sig") as file:
        return separator_of(file.readline())


def read_photo_table(path: str) -> pd.DataFrame:
    """A CSV that may lack products and splits: every cell as text, paths absolute.

    Raises:
        ManifestError: No such file, no table, without path and role, or a row without a path.
    """
    table = read_csv_as_text(path)
    missing = [name for name in ("path", "role") if name not in table]
    if missing:
        raise ManifestError(f"{path}: no column {', '.join(missing)}; give a CSV with path, role")
    without = table["path"].isna()
    if without.any():
        line = int(without.argmax()) + 2
        raise ManifestError(f"{path}: line {line} has no path; give every row one")
    return absolute_paths(table, os.path.dirname(os.path.abspath(path)))


def with_numbers(frame: pd.DataFrame, text: Collection[str] = ()) -> pd.DataFrame:
    """Columns of text become numbers or truth values where no cell would change its meaning.

    Numbers over 2^53, as article numbers may be, are no such ones. Zeros at the end of a fraction
    do not count: 1.10 is 1.1.

    Args:
        frame: Cells as text.
        text: Columns that stay as they are, since a catalog holds text there.
    """
    typed = frame.copy()
    for name in typed.columns.difference([*REQUIRED, *text]):
        known = typed[name].dropna()
        if known.empty:
            continue
        if known.str.lower().isin(["true", "false"]).all():
            typed[name] = typed[name].str.lower().map({"true": True, "false": False})
        elif not known.str.match(r"[+-]?0\d|.*[A-Za-z_]").any():
            numbers = pd.to_numeric(typed[name], errors="coerce")
            if numbers.notna().sum() == len(known) and (numbers.dropna().abs() < 2**53).all():
                typed[name] = numbers
    return typed


def write_manifest(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a manifest as CSV (or Parquet by its suffix): wholly, or not at all.

    Paths below the manifest's folder become relative, so that the folder can be moved as one.
    """
    path = Path(path)
    folder = Path(os.path.abspath(path.parent))
    folder.mkdir(parents=True, exist_ok=True)

    def on_disk(photo: str) -> str:
        absolute = Path(os.path.abspath(photo))
        below = absolute.is_relative_to(folder)
        return (absolute.relative_to(folder) if below else absolute).as_posix()

    written = frame.assign(path=frame["path"].map(on_disk, na_action="ignore"))
    unfinished = folder / f".{path.name}.{os.getpid()}.unfinished"
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            written.to_parquet(unfinished, index=False)
        else:
            written.to_csv(unfinished, index=False)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def find_faults(
    frame: pd.DataFrame,
    *,
    check_files: bool = True,
    decode: bool = False,
    compare_contents: bool = True,
    workers: int = 2,
) -> pd.DataFrame:
    """Every fault of a manifest, one line each, in order of the rows.

    Args:
        frame: a manifest with absolute paths.
        check_files: open every photo's header; find missing and unreadable files and boxes
            outside of their photo.
        decode: decode the photos in full as well, which also finds photos that are cut off.
        compare_contents: with `check_files`, find copies of one file in several splits.
        workers: threads that read files.

    Returns:
        Columns row (position, from 0), product_id, path, kind and fault. Kind `photo` (one
        photo is broken) and `copy` (its content is in a split that is held out from it) can be
        dropped by `drop_broken_photos`; `table` faults must be mended.

    Raises:
        ManifestError: a required column is missing, so that nothing can be checked.
    """
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise ManifestError(f"the manifest has no column {', '.join(missing)}")
    frame = frame.reset_index(drop=True)
    faults = all_faults(frame, check_files, decode, compare_contents, workers)
    rows = [row for row, _, _ in faults]
    return pd.DataFrame(
        {
            "row": pd.Series(rows, dtype="int64"),
            "product_id": frame["product_id"].iloc[rows].to_numpy(),
            "path": frame["path"].iloc[rows].to_numpy(),
            "kind": pd.Series([kind for _, kind, _ in faults], dtype="str"),
            "fault": pd.Series([text for _, _, text in faults], dtype="str"),
        }
    )


def validate(frame: pd.DataFrame, *, check_files: bool = True, workers: int = 2) -> None:
    """Raise `ManifestError` with the first faults if there is any; arguments as `find_faults`."""
    if frame.empty:
        raise ManifestError("the manifest has no rows; list at least one photo")
    faults = find_faults(frame, check_files=check_files, workers=workers)
    if len(faults):
        raise ManifestError(describe_faults(faults))


def describe_faults(faults: pd.DataFrame) -> str:
    """The first faults as lines, how many more there are, and what to do."""
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
    lines = [f"the manifest has {count} (rows count from 0, one for each photo):"]
    for fault in faults.head(SHOWN_FAULTS).itertuples():
        lines.append(f"  row {fault.row}, product {fault.product_id}, {fault.path}: {fault.fault}")
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(faults) - SHOWN_FAULTS} more")
    lines.append("Mend or remove these rows; find_faults(manifest) gives all of them as a table.")
    return "\n".join(lines)


def drop_broken_photos(
    frame: pd.DataFrame, faults: pd.DataFrame, *, limit: float = 0.01
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Go on without photos that cannot be used, as long as they are few.

    Args:
        frame: the manifest that `faults` was found in.
        faults: result of `find_faults`; only kinds `photo` and `copy` are acted on.
        limit: the largest share of rows that may be broken.

    Returns:
        (manifest without them, dropped rows with their position and fault). A product that
        thereby loses its last product photo is dropped with all its rows.

    Raises:
        ManifestError: more than `limit` of the rows are broken: something is wrong at large.
    """
    frame = frame.reset_index(drop=True)
    broken = faults[faults["kind"].isin([PHOTO, COPY])]
    reasons = dict(zip(broken["row"], broken["fault"], strict=True))
    if len(reasons) > limit * len(frame):
        raise ManifestError(
            f"{len(reasons)} of {len(frame)} rows have an unusable photo, more than the limit "
            f"of {limit:.1%}; mend the data set or raise the limit\n{describe_faults(broken)}"
        )
    is_shop_photo = frame["role"] == "product"
    usable = ~frame.index.isin(list(reasons))
    had = set(frame.loc[is_shop_photo, "product_id"])
    has = set(frame.loc[is_shop_photo & usable, "product_id"])
    orphaned = usable & frame["product_id"].isin(had - has).to_numpy()
    for row in np.flatnonzero(orphaned):
        reasons[int(row)] = "its product has no usable product photo left"
    rows = sorted(reasons)
    dropped = frame.iloc[rows].assign(row=rows, fault=[reasons[row] for row in rows])
    return frame.drop(index=rows).reset_index(drop=True), dropped.reset_index(drop=True)


def _read_table(path: Path, text: Collection[str]) -> pd.DataFrame:
    """The file's table, typed; see `read_manifest`."""
    if path.is_dir():
        raise ManifestError(f"{path}: is a folder; give the manifest's file")
    if path.suffix.lower() not in PARQUET_SUFFIXES:
        return with_numbers(read_csv_as_text(path), text)
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # Arrow's own errors are ValueErrors
        raise ManifestError(f"{path}: cannot be read as Parquet ({_one_line(error)})") from error


def _as_text(column: pd.Series) -> pd.Series:
    """Text with missing values kept; whole numbers lose the `.0` that missing ones gave them."""
    return column.convert_dtypes().astype("str")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]

"""Any shop's own photos: a CSV that lists product and person photos, or pairs of them."""

from pathlib import Path

import pandas as pd

from datasets.layout import find_path
from datasets.manifest import (
    BOX,
    ManifestError,
    absolute_paths,
    make_manifest,
    read_csv_as_text,
    with_numbers,
)
from datasets.splits import joined_groups, shown_together, split_by_product, twin_groups

LAYOUT = (
    "a CSV with product_id, role, path (or product_path, person_path), or a folder with images.csv"
)
PAIR = ("product_path", "person_path")


def read_pairs_csv(
    path: str | Path,
    *,
    validation: float = 150,
    test: float = 300,
    seed: int = 0,
    keep_twins_together: bool = True,
) -> pd.DataFrame:
    """Manifest of a CSV of photos, split by product where the CSV does not say how.

    Products that a photo shows together, or copies of one photo, always come into one split.

    Expected layout: a CSV file, or a folder with `images.csv`, in one of two forms; paths are
    relative to the CSV's folder:

    - one photo per line: `product_id, role, path` and optionally `split`, the box
      `x1, y1, x2, y2` and attributes;
    - one pair per line: `product_path, person_path` and optionally `product_id`, `split` and
      attributes of both photos. Without product_id it is the product photo's file name.

    Args:
        path: the CSV, or its folder.
        validation: products of the validation split: a number, or a share below 1.
        test: products of the test split, likewise. Both are only used without a split column.
        seed: another seed draws other products.
        keep_twins_together: look at the product photos, and keep look-alikes in one split; a
            column `twin_group` then names the group of each product.

    Raises:
        ManifestError: no such file, other columns, no rows, or too few products.
    """
    path = Path(path)
    if path.is_dir():
        path = find_path(path, ["images.csv"], LAYOUT)
    table = read_csv_as_text(path)
    if set(PAIR) <= set(table):
        table = _one_row_per_photo(table, path)
    elif not {"product_id", "role", "path"} <= set(table):
        columns = ", ".join(map(str, table.columns))
        raise ManifestError(f"{path}: expected {LAYOUT}; found the columns {columns}")
    if table.empty:
        raise ManifestError(f"{path}: has no rows; list at least one photo")
    frame = absolute_paths(make_manifest(with_numbers(table)), path.parent)
    if "split" in frame:
        return frame
    twins = twin_groups(frame) if keep_twins_together else None
    groups = joined_groups(shown_together(frame), *([] if twins is None else [twins]))
    frame = split_by_product(frame, validation=validation, test=test, seed=seed, groups=groups)
    if twins is not None:
        frame = frame.assign(twin_group=frame["product_id"].map(twins))
    return make_manifest(frame)


def _one_row_per_photo(pairs: pd.DataFrame, path: Path) -> pd.DataFrame:
    """product_path, person_path → one row per photo; a product photo of several pairs once."""
    boxes = [name for name in BOX if name in pairs]
    if boxes:
        raise ManifestError(
            f"{path}: {', '.join(boxes)} could mean either photo of a pair; "
            "give boxes with one photo per line: product_id, role, path"
        )
    if "product_id" not in pairs:
        names = pairs["product_path"].map(lambda photo: Path(photo).stem, na_action="ignore")
        if names.nunique() < pairs["product_path"].nunique():
            raise ManifestError(
                f"{path}: several product photos have the same file name; add a column product_id"
            )
        pairs = pairs.assign(product_id=names)
    others = pairs.drop(columns=list(PAIR))
    products = others.assign(path=pairs["product_path"], role="product")
    persons = others.assign(path=pairs["person_path"], role="person")
    photos = pd.concat([products, persons]).sort_index(kind="stable")
    return photos.drop_duplicates(["path", "product_id", "role"]).reset_index(drop=True)

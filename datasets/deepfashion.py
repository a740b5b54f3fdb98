"""DeepFashion Consumer-to-Shop: shops' photos and customers' own photos of the same items."""

from pathlib import Path

import pandas as pd

from datasets.layout import find_path, report_skipped
from datasets.manifest import BOX, ManifestError, make_manifest
from datasets.splits import keep_photos_in_one_split

LAYOUT = "Eval/list_eval_partition.txt and photos in img/ (or Img/img/)"
PARTITION = "Eval/list_eval_partition.txt"
BOXES = "Anno/list_bbox_consumer2shop.txt"
SPLIT_OF_STATUS = {"train": "train", "val": "validation", "test": "test"}
COLUMNS = ("image_pair_name_1", "image_pair_name_2", "item_id", "evaluation_status")
BOX_COLUMNS = ("image_name", "clothes_type", "source_type", "x_1", "y_1", "x_2", "y_2")


def read_deepfashion(folder: str | Path) -> pd.DataFrame:
    """Manifest of DeepFashion's Consumer-to-Shop benchmark (Liu et al. 2016) with its own split.

    Expected layout, as downloaded:

    - `Eval/list_eval_partition.txt`: a line with the count, the names image_pair_name_1 (the
      consumer's photo), image_pair_name_2 (the shop's), item_id and evaluation_status (train,
      val or test), and a line per pair;
    - the photos at `img/CATEGORY/SUBCATEGORY/ID/NAME.jpg` below the folder or below its `Img`;
    - optionally `Anno/list_bbox_consumer2shop.txt`: count, names, and per photo image_name,
      clothes_type, source_type and the box x_1, y_1, x_2, y_2.

    Returns:
        A manifest with boxes where given and the attributes category and subcategory.

    Raises:
        ManifestError: another layout, or an unknown evaluation status.
    """
    pairs = _read_list(find_path(folder, [PARTITION], LAYOUT), COLUMNS)
    photos = find_path(folder, ["img", "Img/img"], LAYOUT).parent
    unknown = pairs[~pairs["evaluation_status"].isin(list(SPLIT_OF_STATUS))]
    if len(unknown):
        raise ManifestError(
            f"{folder}/{PARTITION}: line {unknown.index[0] + 3} has the evaluation status "
            f"{unknown['evaluation_status'].iloc[0]!r}; expected {', '.join(SPLIT_OF_STATUS)}"
        )
    common = pd.DataFrame(
        {"product_id": pairs["item_id"], "split": pairs["evaluation_status"].map(SPLIT_OF_STATUS)}
    )
    table = pd.concat(
        [
            common.assign(name=pairs["image_pair_name_1"], role="person"),
            common.assign(name=pairs["image_pair_name_2"], role="product"),
        ]
    ).drop_duplicates()
    box_file = Path(folder) / BOXES
    if box_file.exists():
        table = table.merge(_boxes(box_file), on="name", how="left")
    parts = table["name"].str.split("/", expand=True).reindex(columns=[1, 2])
    table = table.assign(
        path=[str(photos / name) for name in table["name"]],
        category=parts[1],
        subcategory=parts[2],
    ).drop(columns="name")
    frame, left_out = keep_photos_in_one_split(make_manifest(table))
    report_skipped(Path(folder), left_out, "rows of products or photos that are in two splits")
    return frame


def _read_list(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A DeepFashion list: count, names of the columns, then lines parted by spaces."""
    try:
        table = pd.read_csv(path, sep=r"\s+", skiprows=1, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())
        raise ManifestError(
            f"{path}: cannot be read ({reason}); expected a line with the count, "
            f"the names {', '.join(columns)}, and lines of these"
        ) from error
    if not set(columns) <= set(table) or table.empty:
        found = ", ".join(map(str, table.columns))
        raise ManifestError(
            f"{path}: expected a line with the count, then the names {', '.join(columns)}, "
            f"then lines of these; found {len(table)} lines below the names {found}"
        )
    return table


def _boxes(path: Path) -> pd.DataFrame:
    """name, x1, y1, x2, y2 of every photo in the list of boxes."""
    table = _read_list(path, BOX_COLUMNS)
    boxes = table[list(BOX_COLUMNS[3:])].apply(pd.to_numeric, errors="coerce")
    boxes.columns = pd.Index(BOX)
    return boxes.assign(name=table["image_name"]).drop_duplicates("name")

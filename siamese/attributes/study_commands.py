"""What `infer.py compare` and `infer.py explore` do once their arguments are parsed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.errors import UserError
from siamese.files import check_writable
from siamese.listing import ListedPhoto, listed_in_manifest

if TYPE_CHECKING:
    import pandas as pd

    from siamese.attributes.comparison import Photos
    from siamese.attributes.exploration import Products
    from siamese.catalog import Catalog

MOST_CLUSTERS = 50  # unless more are asked for


def compare_all(arguments: Namespace, photos: Photos, device: str) -> str:
    """Measure every encoder that was named, leave the files, and return the table.

    Raises:
        UserError: A name is given twice, an encoder cannot be had, or see `comparison.compare`;
            what was measured before is in the files.
    """
    from siamese.attributes.comparison import check_labels, compare, table_of
    from siamese.attributes.comparison_report import (
        component_sheet,
        log_comparison,
        save_comparison,
    )
    from siamese.extractors import Sample, check_extractor, extractor

    # Those that are asked about: of others alone nothing could be judged.
    asked = [each for each in photos.products if each.product_id in photos.asked]
    check_labels(asked, arguments.labels)
    encoders = named(arguments.encoders)
    for name in encoders.values():
        check_extractor(name)
    fitted = photos.fitted or photos.products
    sample = Sample([photo.path for photo in fitted], [photo.box for photo in fitted])
    out, compared = Path(arguments.out), []
    check_writable(out / "report")
    for label, name in encoders.items():
        print(f"{label} …", file=sys.stderr)
        checkpoint = extractor(name, sample).to(device)
        compared.append(
            compare(
                label, checkpoint, photos, arguments.labels, arguments.top, arguments.max_broken
            )
        )
        save_comparison(out, compared, arguments.tolerances)
        if (sheet := component_sheet(checkpoint.encoder)) is not None:
            sheet.save(out / "eigenfaces.png")
    if arguments.wandb:
        log_comparison(out, compared, arguments.tolerances)
    files = f"{out}/comparison.csv and precision.png"
    return f"{table_of(compared, arguments.tolerances)}\n\nsaved {files}"


def named(encoders: Sequence[str]) -> dict[str, str]:
    """Line → encoder: `LABEL:NAME`, else a checkpoint's folder, else the name without files.

    Raises:
        UserError: Two lines would have one name.
    """
    found: dict[str, str] = {}
    for text in encoders:
        label, colon, name = text.partition(":")
        if not colon:
            name = text
            path = Path(text)
            parts = [part.partition("=")[0].strip() for part in text.split("+")]
            single = path.suffix == ".safetensors" and "=" not in text and path.parent.name
            label = path.parent.name if single else "+".join(parts)
        if label in found:
            raise UserError(f"--encoders: two lines are called {label}; write LABEL:NAME for one")
        found[label] = name
    return found


def photos_of_manifest(frame: pd.DataFrame, split: str, among: str) -> Photos:
    """What is compared on, from a manifest with absolute paths.

    Args:
        frame: See `datasets.manifest`.
        split: Whose neighbours are judged; `all` for every product.
        among: `split`, `train` or `all`: the products that are neighbours.

    Raises:
        UserError: The split is empty.
    """
    from siamese.attributes.comparison import Photos

    chosen = frame if split == "all" else frame[frame["split"] == split]
    if chosen.empty:
        raise UserError(f"--split {split}: the manifest has no such row")
    asked = listed_in_manifest(chosen)
    people = chosen[chosen["role"] == "person"].assign(role="product")
    train = frame[(frame["split"] == "train") & (frame["role"] == "product")]
    if among == "train" and train.empty:
        raise UserError("--among train: the manifest has no product of that split")
    shown = {
        "split": chosen,
        "train": frame[frame["split"].isin(["train", split]) | (split == "all")],
        "all": frame,
    }
    return Photos(
        listed_in_manifest(shown[among]),
        frozenset(photo.product_id for photo in asked),
        frozenset(train["product_id"]) if among == "train" else None,
        listed_in_manifest(people) if len(people) else (),
        listed_in_manifest(train) if split not in ("all", "train") and len(train) else (),
    )


def photos_of_folder(photos: Sequence[ListedPhoto]) -> Photos:
    """Every product is asked for its neighbours among all."""
    from siamese.attributes.comparison import Photos

    return Photos(photos, frozenset(photo.product_id for photo in photos))


def explore(arguments: Namespace, catalog: Catalog) -> str:
    """Leave pictures, tables and the page of a catalog, and return what was found.

    Raises:
        UserError: An unknown column, too few products, or see `exploration`.
        OSError: The folder cannot be written.
    """
    from siamese.attributes.exploration import label_columns, label_counts, overview, products_of
    from siamese.attributes.exploration_report import draw_bars

    products = products_of(catalog.snapshot(), arguments.where)
    columns = label_columns(products.table, arguments.labels)
    out = Path(arguments.out)
    check_writable(out / "report")
    counts = label_counts(products.table, columns)
    counts.to_csv(out / "labels.csv", index=False)
    summary = overview(products.table, counts)
    summary.to_csv(out / "columns.csv", index=False)
    missing = dict(zip(summary["column"], summary["missing"], strict=True))
    draw_bars(counts, missing, out / "labels.png")
    _draw_samples(products, columns, counts, out, arguments.seed)
    purities = _draw_clusters(products, columns, arguments, counts, out)
    _draw_map(products, columns, arguments, out)
    return (
        f"{len(products.table)} products\n{summary.to_string(index=False, float_format='%.3g')}"
        f"\n\n{purities}\n\nsaved {out}/: labels, samples, clusters and map; open {out}/map.html"
    )


def _draw_samples(
    products: Products, columns: Sequence[str], counts: pd.DataFrame, out: Path, seed: int
) -> None:
    """A sheet of each column, with a line of samples for each of its labels."""
    from siamese.attributes.exploration import texts
    from siamese.attributes.exploration_report import sample_sheet, samples_of
    from siamese.attributes.figures import file_names

    names = file_names(columns)
    for column in columns:
        part = counts[counts["column"] == column]
        counted = zip(part["label"], part["products"], strict=True)
        notes = {label: f"{n} product{'s' * (n != 1)}" for label, n in counted}
        labels = texts(products.table[column])
        rows = samples_of(products.table, labels, part["label"].tolist(), seed)
        sample_sheet(rows, notes).save(out / f"samples_{names[column]}.png")


def _draw_clusters(
    products: Products,
    columns: Sequence[str],
    arguments: Namespace,
    counts: pd.DataFrame,
    out: Path,
) -> str:
    """Clusters as a table and a sheet; the lines that tell how pure they are."""
    from siamese.attributes.exploration import cluster, cluster_labels, label_name, purity
    from siamese.attributes.exploration_report import sample_sheet, samples_of

    most = int(counts["column"].value_counts().max())
    number = arguments.clusters or max(1, min(most, MOST_CLUSTERS, len(products.table) // 2))
    clusters = cluster(products.embeddings, number, arguments.seed)
    table = cluster_labels(products.table, clusters, columns)
    table.to_csv(out / "clusters.csv", index=False)
    first = str(counts["column"].value_counts().idxmax())
    common, share = label_name(first), f"{first} purity"
    notes = {
        str(row["cluster"]): f"{row['products']}: {row[share]:.0%} {row[common]}"
        for row in table.to_dict("records")
    }
    rows = samples_of(products.table, clusters, table["cluster"].tolist(), arguments.seed)
    sheet = sample_sheet(
        {f"cluster {name}": paths for name, paths in rows.items()},
        {f"cluster {name}": note for name, note in notes.items()},
    )
    sheet.save(out / "clusters.png")
    lines = [f"purity of {number} clusters (share with the most common label of their cluster)"]
    for column in columns:
        chance = float(counts.loc[counts["column"] == column, "share"].max())
        lines.append(f"  {column}: {purity(table, column):.3f} (one cluster: {chance:.3f})")
    return "\n".join(lines)


def _draw_map(products: Products, columns: Sequence[str], arguments: Namespace, out: Path) -> None:
    """The map as a picture, a table and a page."""
    import numpy as np

    from siamese.attributes.exploration import flat_map
    from siamese.attributes.exploration_report import draw_map
    from siamese.attributes.map_page import map_page
    from siamese.files import replacing

    table, embeddings = products.table, products.embeddings
    title = f"{arguments.catalog}: {len(table)} products"
    if len(table) > arguments.limit:
        drawn = np.random.default_rng(arguments.seed).permutation(len(table))[: arguments.limit]
        drawn.sort()
        table, embeddings = table.iloc[drawn].reset_index(drop=True), embeddings[drawn]
        title = f"{arguments.catalog}: {len(drawn)} of {len(products.table)} products"
        print(f"the map shows {len(drawn)} of all products; see --limit", file=sys.stderr)
    places = flat_map(embeddings, arguments.seed)
    draw_map(places, table, columns, out / "map.png")
    table.assign(x=places[:, 0], y=places[:, 1]).to_csv(out / "map.csv", index=False)
    with replacing(out / "map.html") as temporary:
        Path(temporary).write_text(map_page(places, table, columns, title), "utf-8")

"""The arguments of `infer.py compare` and `infer.py explore`."""

from __future__ import annotations

import argparse
from typing import Any

LABELS = ("articleType", "gender")
SPLITS = ("train", "validation", "test", "all")


def add_compare(commands: Any, broken: argparse.ArgumentParser) -> None:
    """`compare`: encoders side by side on labelled products."""
    compare = commands.add_parser("compare", parents=[broken], help="encoders side by side")
    compare.add_argument("source", help="manifest (CSV or Parquet), or a folder of photos")
    compare.add_argument("--attributes", help="CSV with product_id (or id), for a folder")
    compare.add_argument(
        "--encoders",
        nargs="+",
        required=True,
        metavar="NAME",
        help="as `index --encoder`: resnet50, vgg16=FILE, eigenfaces, a model.safetensors, …; "
        "LABEL:NAME gives a line another name",
    )
    compare.add_argument("--labels", nargs="+", default=list(LABELS), metavar="COLUMN")
    compare.add_argument(
        "--split", default="all", choices=SPLITS, help="of a manifest: whose neighbours are judged"
    )
    compare.add_argument(
        "--among",
        default="split",
        choices=("split", "train", "all"),
        help="neighbours are products of that split, of the training split, or of the whole "
        "manifest",
    )
    compare.add_argument("--top", type=_positive, default=10, help="neighbours of each product")
    compare.add_argument("--tolerances", type=_share, nargs="+", default=[0.0, 0.1, 0.2])
    compare.add_argument("--out", default="comparison", help="folder of the CSV and the pictures")
    compare.add_argument("--wandb", action="store_true", help="log to Weights & Biases as well")
    compare.add_argument("--device", help="cpu, cuda, …; by default a GPU if there is one")


def add_explore(commands: Any) -> None:
    """`explore`: pictures and tables of a catalog's labels and embeddings."""
    explore = commands.add_parser("explore", help="labels, clusters and a map of a catalog")
    explore.add_argument("--catalog", default="catalogs/default", help="folder or LanceDB URI")
    explore.add_argument("--out", default="exploration", help="folder of pictures and tables")
    explore.add_argument(
        "--labels",
        nargs="+",
        metavar="COLUMN",
        help="by default every text column with few enough values to be labels",
    )
    explore.add_argument(
        "--clusters", type=_positive, help="by default as many as a column has labels, at most 50"
    )
    explore.add_argument("--where", help="SQL condition: explore these products only")
    explore.add_argument(
        "--limit",
        type=_positive,
        default=5000,
        help="products on the map, drawn by chance where there are more",
    )
    explore.add_argument("--seed", type=int, default=0, help="of samples, clusters and the map")


def _positive(text: str) -> int:
    from siamese.arguments import positive

    return positive(text)


def _share(text: str) -> float:
    from siamese.arguments import share

    return share(text)

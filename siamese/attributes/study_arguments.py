"""The arguments of `infer.py compare` and `infer.py explore`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from siamese.argument_types import place, positive, share

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
        "several as a+b, and eigenfaces beside others as 100*eigenfaces, else they hardly count; "
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
    compare.add_argument("--top", type=positive, default=10, help="neighbours of each product")
    compare.add_argument("--tolerances", type=share, nargs="+", default=[0.0, 0.1, 0.2])
    compare.add_argument("--out", default="comparison", help="folder of the CSV and the pictures")
    compare.add_argument("--wandb", action="store_true", help="log to Weights & Biases as well")
    compare.add_argument("--device", help="cpu, cuda, …; by default a GPU if there is one")


def add_explore(commands: Any) -> None:
    """`explore`: pictures and tables of a catalog's labels and embeddings."""
    explore = commands.add_parser("explore", help="labels, clusters and a map of a catalog")
    explore.add_argument(
        "--catalog", type=place, default="catalogs/default", help="folder or LanceDB URI"
    )
    explore.add_argument("--out", default="exploration", help="folder of pictures and tables")
    explore.add_argument(
        "--labels",
        nargs="+",
        metavar="COLUMN",
        help="by default every text column with few enough values to be labels",
    )
    explore.add_argument(
        "--clusters", type=positive, help="by default as many as a column has labels, at most 50"
    )
    explore.add_argument("--where", help="SQL condition: explore these products only")
    explore.add_argument(
        "--limit",
        type=_enough,
        default=5000,
        help="products on the map, drawn by chance where there are more; 3 at least",
    )
    explore.add_argument("--seed", type=_seed, default=0, help="of samples, clusters and the map")


def check_compare(arguments: argparse.Namespace, made: argparse.ArgumentParser) -> None:
    """End the process where options of `compare` do not go with its source."""
    folder = os.path.isdir(arguments.source)
    if folder and (arguments.split, arguments.among) != ("all", "split"):
        made.error("compare: --split and --among go with a manifest, not with a folder")
    if not folder and arguments.attributes:
        made.error("compare: --attributes goes with a folder; a manifest has its own columns")


def _enough(text: str) -> int:
    """Products of which a map can be made."""
    if not text.isdecimal() or int(text) < 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 3 on")
    return int(text)


def _seed(text: str) -> int:
    """What scikit-learn takes for a seed."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {2**32 - 1}")
    return int(text)

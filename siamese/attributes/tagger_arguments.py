"""The arguments of `infer.py tagger` and `infer.py flag`."""

from __future__ import annotations

import argparse
from typing import Any

from siamese.argument_types import share


def add_tagger(commands: Any, common: argparse.ArgumentParser) -> None:
    """`tagger train|evaluate|apply|predict`."""
    tagger = commands.add_parser("tagger", help="predict every label of a product at once")
    actions = tagger.add_subparsers(dest="action", required=True)

    train = actions.add_parser("train", parents=[common], help="learn a catalog's labels")
    _add_file(train, "tagger", "what is written")
    _add_held_out(train)
    train.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="labels, gender+articleType for two as one; by default all columns of text or truth "
        "values but those that hardly any two products share, such as names",
    )
    train.add_argument(
        "--input",
        default="features",
        choices=("features", "embedding"),
        help="features: before the encoder's neck, more accurate, but the photos are read once "
        "more; embedding: what the catalog holds, seconds",
    )
    train.add_argument(
        "--output",
        default="softmax",
        choices=("softmax", "sigmoid"),
        help="one value per column, or a yes or no per value",
    )
    train.add_argument(
        "--union",
        nargs="+",
        default=[],
        metavar="VALUE=A+B",
        help="a value that means several others, such as Unisex=Men+Women",
    )
    train.add_argument(
        "--encoder",
        metavar="FILE",
        help="also write an encoder, for `index --checkpoint`, whose nearest products agree in "
        "these labels",
    )
    train.add_argument("--confusion", metavar="FOLDER", help="a PNG per column of what was mixed")
    train.add_argument("--json", action="store_true")

    evaluate = actions.add_parser(
        "evaluate", parents=[common], help="measure one on products that it was not trained on"
    )
    _add_file(evaluate, "tagger", "made by tagger train")
    _add_held_out(evaluate)
    evaluate.add_argument("--confusion", metavar="FOLDER", help="a PNG per column")
    evaluate.add_argument("--json", action="store_true")

    apply = actions.add_parser(
        "apply", parents=[common], help="fill a catalog's missing labels, marked as predicted"
    )
    _add_file(apply, "tagger", "made by tagger train")
    apply.add_argument(
        "--least",
        type=share,
        default=0.0,
        help="less probable labels stay missing, and go where they were filled in before",
    )

    predict = actions.add_parser("predict", parents=[common], help="labels of photos")
    predict.add_argument("photos", nargs="+", help="photos, or folders of photos")
    _add_file(predict, "tagger", "made by tagger train")
    predict.add_argument("--json", action="store_true")


def add_flag(commands: Any, common: argparse.ArgumentParser) -> None:
    """`flag train|apply`."""
    flag = commands.add_parser("flag", help="predict one column from all that is known")
    actions = flag.add_subparsers(dest="action", required=True)

    train = actions.add_parser("train", parents=[common], help="learn a column of the catalog")
    train.add_argument("column", help="such as isFragile")
    _add_file(train, "flag", "what is written")
    _add_held_out(train)
    train.add_argument(
        "--inputs",
        default="both",
        choices=("both", "attributes", "embedding"),
        help="what to predict from; all three are compared for both",
    )
    train.add_argument(
        "--without", nargs="+", default=[], metavar="COLUMN", help="columns not to look at"
    )
    train.add_argument("--json", action="store_true")

    apply = actions.add_parser("apply", parents=[common], help="fill it where it is missing")
    _add_file(apply, "flag", "made by flag train")
    apply.add_argument(
        "--least",
        type=share,
        default=0.0,
        help="less probable values stay missing, and go where they were filled in before",
    )


def _add_file(parser: argparse.ArgumentParser, name: str, meaning: str) -> None:
    """Where the model lies."""
    parser.add_argument(
        f"--{name}",
        default=f"checkpoints/{name}.safetensors",
        metavar="FILE",
        help=f"{meaning}; default checkpoints/{name}.safetensors",
    )


def _add_held_out(parser: argparse.ArgumentParser) -> None:
    """Which products are looked at, and which of them are for testing."""
    parser.add_argument("--where", help="only these products, such as \"usage = 'Casual'\"")
    parser.add_argument(
        "--split",
        metavar="MANIFEST",
        help="its test split is held out; by default a fifth, drawn by product id. Name it where "
        "the encoder was trained on some of these products",
    )

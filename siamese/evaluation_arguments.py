"""Arguments of `infer.py evaluate`, `calibrate` and `adapt`."""

from __future__ import annotations

import argparse
from typing import Any

from siamese.argument_types import SPLITS, place, positive
from siamese.search_arguments import add_no_comparison


def add_evaluation(
    commands: Any, common: argparse.ArgumentParser, broken: argparse.ArgumentParser
) -> None:
    """The commands that measure an encoder and make its scores mean something."""
    evaluate = commands.add_parser("evaluate", parents=[broken], help="report on a split")
    evaluate.add_argument("manifest")
    evaluate.add_argument(
        "--checkpoint",
        help="model.safetensors; by default that of --catalog, or the one that comes with Siamese",
    )
    evaluate.add_argument(
        "--catalog",
        type=place,
        help="measure the encoder that `index --encoder` made this catalog with",
    )
    evaluate.add_argument("--device", help="cpu, cuda, …; by default a GPU where many photos wait")
    evaluate.add_argument("--split", default="test", choices=SPLITS)
    evaluate.add_argument(
        "--distractors",
        metavar="PLACE",
        help="folder of photos named by product, or a manifest: rank these products too",
    )
    evaluate.add_argument(
        "--distractor-limit", type=positive, metavar="N", help="the first N of them by their ids"
    )
    evaluate.add_argument(
        "--strangers",
        metavar="PLACE",
        help="folder of photos of people who wear none of the products, or a CSV with path, role "
        "and boxes: is that seen?",
    )
    add_no_comparison(evaluate)
    evaluate.add_argument("--json", action="store_true")
    calibrate = commands.add_parser(
        "calibrate", parents=[broken], help="what an encoder's scores mean"
    )
    calibrate.add_argument("manifest")
    calibrate.add_argument("--split", default="validation", choices=SPLITS)
    calibrate.add_argument(
        "--encoder",
        required=True,
        metavar="NAME",
        help="as of index: a model.safetensors, resnet50, …, or several joined by +",
    )
    calibrate.add_argument(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        help="photos of people without a box: the mean of the whole and of where its garment is; "
        "by default as the encoder does it, of several side by side not",
    )
    calibrate.add_argument(
        "--cut-out",
        action=argparse.BooleanOptionalAction,
        help="product photos without a box: the mean of the whole and of the garment cut out; "
        "by default as the encoder does it, of several side by side not",
    )
    calibrate.add_argument(
        "--cohort",
        nargs="+",
        metavar="PLACE",
        help="products that none of the split's photos shows, for the answer whether a product is "
        "in a catalog: folders of photos, manifests, FILE:SPLIT for a part of one; by default the "
        "manifest's training products, `none` for none",
    )
    calibrate.add_argument(
        "--cohort-limit",
        type=positive,
        metavar="N",
        help="a sample of so many of their photos, by default 5000; the file keeps two bytes for "
        "each number of each",
    )
    calibrate.add_argument(
        "--comparison",
        metavar="FILE",
        help="of datasets.comparison_training, or a checkpoint that has one: the best products of "
        "every search are looked at again beside the photo; by default the encoder's own, if it "
        "has one, `none` for none",
    )
    calibrate.add_argument("--out", required=True, help="model.safetensors to write")
    calibrate.add_argument("--device", help="cpu, cuda, …")
    calibrate.set_defaults(tolerance=None)
    adapt = commands.add_parser(
        "adapt", parents=[common, broken], help="fit an encoder to a shop's photos, without labels"
    )
    adapt.add_argument(
        "--people",
        required=True,
        metavar="PLACE",
        help="photos of people such as will be searched with: a folder, or a CSV with path, role "
        "and boxes; who wears what need not be known",
    )
    adapt.add_argument(
        "--products",
        required=True,
        metavar="PLACE",
        help="product photos: a folder of photos named by product, or a manifest",
    )
    adapt.add_argument("--split", choices=SPLITS, help="of tables, take the rows of this one alone")
    adapt.add_argument("--out", required=True, help="model.safetensors to write")

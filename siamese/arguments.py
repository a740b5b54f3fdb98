"""The arguments of infer.py's commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from siamese.argument_types import above_zero, place, positive, share
from siamese.attributes.study_arguments import add_compare, add_explore, check_compare
from siamese.attributes.tagger_arguments import add_flag, add_tagger
from siamese.default_checkpoint import SHIPPED, kept_encoder
from siamese.evaluation_arguments import add_evaluation
from siamese.recommend.arguments import add_suggestions
from siamese.search_arguments import add_filter, add_search, check_search
from siamese.serving.arguments import add_serve

ABOUT = "Catalogs and search: which product of a shop does the person in a photo wear?"


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; ends the process with status 2 and a line on stderr where they are wrong."""
    made = parser()
    arguments = made.parse_args(words)
    if arguments.command in ("add", "update"):
        _check_change(arguments, made)
    if arguments.command == "index":
        _check_index(arguments, made)
    if arguments.command == "evaluate" and arguments.distractor_limit and not arguments.distractors:
        made.error("evaluate: --distractor-limit goes with --distractors")
    if arguments.command == "compare":
        check_compare(arguments, made)
    if arguments.command == "search":
        check_search(arguments, made)
    if getattr(arguments, "checkpoint", SHIPPED) is None:
        kept = arguments.catalog and kept_encoder(arguments.catalog)
        if arguments.command == "evaluate" and arguments.catalog and not kept:
            made.error(f"evaluate: {arguments.catalog} keeps no encoder; give its --checkpoint")
        arguments.checkpoint = kept or SHIPPED
    return arguments


def _check_change(arguments: argparse.Namespace, made: argparse.ArgumentParser) -> None:
    """End the process where it is not told what to add or update."""
    one = arguments.product_id is not None
    if one == (arguments.manifest is not None):
        made.error(f"{arguments.command}: give a product id and photos, or --manifest")
    if arguments.manifest is not None and arguments.settings:
        made.error(f"{arguments.command}: --set is for one product, not for a --manifest")
    if one and not arguments.photos and (arguments.command == "add" or not arguments.settings):
        made.error(f"{arguments.command} {arguments.product_id}: give its photos")


def _check_index(arguments: argparse.Namespace, made: argparse.ArgumentParser) -> None:
    """End the process where options of an index do not go together."""
    if arguments.manifest and os.path.isdir(arguments.manifest):
        folder = arguments.manifest
        made.error(f"index: {folder} is a folder; --photos {folder} takes the photos in it")
    if arguments.attributes and not arguments.photos:
        made.error("index: --attributes goes with --photos")
    if arguments.encoder and arguments.checkpoint:
        made.error("index: give --checkpoint or --encoder, not both")
    if arguments.tolerance and arguments.encoder != "eigenfaces":
        made.error("index: --tolerance goes with --encoder eigenfaces")


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--checkpoint",
        help="model.safetensors of a training; by default the one that `index --encoder` made the "
        "catalog with, else the one that comes with Siamese",
    )
    common.add_argument(
        "--catalog", type=place, default="catalogs/default", help="folder or LanceDB URI"
    )
    common.add_argument("--device", help="cpu, cuda, …; by default a GPU where many photos wait")
    broken = argparse.ArgumentParser(add_help=False)
    broken.add_argument(
        "--max-broken", type=share, default=0.01, help="share of photos that may be unusable"
    )

    made = argparse.ArgumentParser(prog="infer.py", description=ABOUT)
    commands = made.add_subparsers(dest="command", required=True)
    _add_index(commands, common, broken)
    _add_changes(commands, common, broken)
    _add_list(commands, common)
    add_search(commands, common)
    add_serve(commands, common)
    add_evaluation(commands, common, broken)
    add_tagger(commands, common)
    add_flag(commands, common)
    add_suggestions(commands, common)
    add_compare(commands, broken)
    add_explore(commands)
    return made


def _add_index(
    commands: Any, common: argparse.ArgumentParser, broken: argparse.ArgumentParser
) -> None:
    index = commands.add_parser("index", parents=[common, broken], help="make a catalog")
    source = index.add_mutually_exclusive_group(required=True)
    source.add_argument("manifest", nargs="?", help="CSV or Parquet; rows of role product are used")
    source.add_argument("--photos", help="folder; a file's name without suffix is its product id")
    index.add_argument("--attributes", help="CSV with product_id (or id), for --photos")
    index.add_argument(
        "--encoder",
        metavar="NAME",
        help="instead of --checkpoint: resnet50, vgg16, vit, eigenfaces, colour_histogram, …, "
        "NAME=FILE for weights of your own, or several as resnet18+resnet50 "
        "(eigenfaces beside others as 100*eigenfaces, else they hardly count)",
    )
    index.add_argument(
        "--tolerance",
        type=above_zero,
        help="of eigenfaces: the distance up to which a photo is known",
    )
    index.add_argument("--overwrite", action="store_true", help="replace a catalog that is there")
    index.add_argument(
        "--no-comparison",
        dest="keep_sights",
        action="store_false",
        help="keep nothing of product photos to compare them by: a catalog of less than half the "
        "size, whose searches open these photos, or say --no-comparison themselves",
    )


def _add_changes(
    commands: Any, common: argparse.ArgumentParser, broken: argparse.ArgumentParser
) -> None:
    for name, meaning in (("add", "add new products"), ("update", "add or replace products")):
        change = commands.add_parser(name, parents=[common, broken], help=meaning)
        change.add_argument("product_id", nargs="?")
        change.add_argument("photos", nargs="*", help="all its photos")
        change.add_argument(
            "--set",
            dest="settings",
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help="attributes; an empty value takes one away",
        )
        change.add_argument("--manifest", help="instead: CSV or Parquet of many products")

    remove = commands.add_parser("remove", parents=[common], help="remove products")
    remove.add_argument("product_ids", nargs="+")


def _add_list(commands: Any, common: argparse.ArgumentParser) -> None:
    listing = commands.add_parser("list", parents=[common], help="show products")
    listing.add_argument("--where", help="SQL condition, such as \"baseColour = 'Blue'\"")
    add_filter(listing)
    listing.add_argument("--limit", type=positive)
    listing.add_argument("--json", action="store_true")

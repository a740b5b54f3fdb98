"""The arguments of infer.py's commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from siamese.attributes.study_arguments import add_compare, add_explore, check_compare
from siamese.evaluation_arguments import add_evaluation

ABOUT = "Catalogs and search: which product of a shop does the person in a photo wear?"
# As in siamese.isolation, which takes a second to import.
GARMENTS = ("upper", "lower", "full", "shoes", "bag", "largest")
SHIPPED = str(Path(__file__).parent.parent / "checkpoints" / "shipped" / "model.safetensors")
KEPT = "encoder.safetensors"  # in the folder of a catalog made by `index --encoder`
SPLITS = ("train", "validation", "test")
SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; ends the process with status 2 and a line on stderr where they are wrong."""
    made = parser()
    arguments = made.parse_args(words)
    if arguments.command in ("add", "update"):
        one = arguments.product_id is not None
        if one == (arguments.manifest is not None):
            made.error(f"{arguments.command}: give a product id and photos, or --manifest")
        if arguments.manifest is not None and arguments.settings:
            made.error(f"{arguments.command}: --set is for one product, not for a --manifest")
        if one and not arguments.photos and (arguments.command == "add" or not arguments.settings):
            made.error(f"{arguments.command} {arguments.product_id}: give its photos")
    if arguments.command == "index" and arguments.attributes and not arguments.photos:
        made.error("index: --attributes goes with --photos")
    if arguments.command == "evaluate" and arguments.distractor_limit and not arguments.distractors:
        made.error("evaluate: --distractor-limit goes with --distractors")
    if arguments.command == "index" and arguments.encoder and arguments.checkpoint:
        made.error("index: give --checkpoint or --encoder, not both")
    if arguments.command == "index" and arguments.tolerance and arguments.encoder != "eigenfaces":
        made.error("index: --tolerance goes with --encoder eigenfaces")
    if arguments.command == "compare":
        check_compare(arguments, made)
    if arguments.command == "search":
        _check_search(arguments, made)
    if getattr(arguments, "checkpoint", SHIPPED) is None:
        kept = arguments.catalog and kept_encoder(arguments.catalog)
        if arguments.command == "evaluate" and arguments.catalog and not kept:
            made.error(f"evaluate: {arguments.catalog} keeps no encoder; give its --checkpoint")
        arguments.checkpoint = kept or SHIPPED
    return arguments


def kept_encoder(uri: str) -> str | None:
    """The checkpoint in a catalog's folder that `index --encoder` made it with, if it did."""
    path = os.path.join(uri, KEPT)
    return path if os.path.isfile(path) else None


def _check_search(arguments: argparse.Namespace, made: argparse.ArgumentParser) -> None:
    """End the process where options of a search do not go together."""
    if bool(arguments.photos) == bool(arguments.product):
        made.error("search: give photos, or --product")
    if arguments.product and (arguments.garment or arguments.together or arguments.explain):
        made.error("search: --product does not go with --garment, --together and --explain")
    if arguments.box and len(arguments.photos) != 1:
        made.error("search: --box goes with one photo")
    if arguments.remove_background and not arguments.garment:
        made.error("search: --remove-background goes with --garment")
    if arguments.garment and not arguments.box and arguments.explain:
        # which would look at all of the photo
        made.error("search: --explain does not go with --garment; mark it with --box instead")


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--checkpoint",
        help="model.safetensors of a training; by default the one that `index --encoder` made the "
        "catalog with, else the one that comes with Siamese",
    )
    common.add_argument("--catalog", default="catalogs/default", help="folder or LanceDB URI")
    common.add_argument("--device", help="cpu, cuda, …; by default a GPU where many photos wait")
    broken = argparse.ArgumentParser(add_help=False)
    broken.add_argument(
        "--max-broken", type=share, default=0.01, help="share of photos that may be unusable"
    )
    # Which need this module.
    from siamese.attributes.tagger_arguments import add_flag, add_tagger
    from siamese.recommend.arguments import add_suggestions, add_taste

    made = argparse.ArgumentParser(prog="infer.py", description=ABOUT)
    commands = made.add_subparsers(dest="command", required=True)

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

    listing = commands.add_parser("list", parents=[common], help="show products")
    listing.add_argument("--where", help="SQL condition, such as \"baseColour = 'Blue'\"")
    _add_filter(listing)
    listing.add_argument("--limit", type=positive)
    listing.add_argument("--json", action="store_true")

    search = commands.add_parser("search", parents=[common], help="rank the catalog for photos")
    search.add_argument("photos", nargs="*", help="photos, or folders of photos")
    search.add_argument(
        "--product",
        metavar="ID",
        help="instead of photos: what is like this product of the catalog",
    )
    search.add_argument("--top", type=positive, default=20)
    search.add_argument("--where", help="SQL condition, such as \"articleType = 'Tshirts'\"")
    _add_filter(search)
    search.add_argument(
        "--vote",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="the label that most of the products found have; those with another are marked",
    )
    search.add_argument(
        "--normalised",
        action="store_true",
        help="show a score of 1 for the best product of all, 0 for the worst",
    )
    search.add_argument("--box", type=box, help="x1,y1,x2,y2: the part of the photo to look at")
    search.add_argument(
        "--together", action="store_true", help="the photos show one garment: rank once for all"
    )
    search.add_argument(
        "--product-score",
        default="max",
        choices=("max", "mean"),
        help="of a product with several photos: the one most alike, or the mean of all",
    )
    search.add_argument(
        "--rerank",
        default="none",
        choices=("none", "expansion", "reciprocal"),
        help="order the best 100 anew by how they lie to each other; probabilities stay",
    )
    _add_codes(search)
    search.add_argument(
        "--garment", choices=GARMENTS, help="find this one in the photo, and look at nothing else"
    )
    search.add_argument(
        "--isolation",
        default="checkpoints/isolation.safetensors",
        help="what finds it: a file of datasets.isolation_training, or a detector such as "
        "torchvision/maskrcnn_resnet50_fpn_v2 (fetched)",
    )
    search.add_argument("--isolation-weights", help="a local file of that detector's weights")
    search.add_argument(
        "--remove-background", action="store_true", help="of --garment: white; finds less"
    )
    search.add_argument("--json", action="store_true")
    search.add_argument("--sheet", type=picture, help="PNG or JPEG to draw the answers on")
    search.add_argument(
        "--explain", type=picture, help="PNG or JPEG that shows why the first products were found"
    )

    add_serve(commands, common)

    add_evaluation(commands, common, broken)
    add_taste(search)
    add_tagger(commands, common)
    add_flag(commands, common)
    add_suggestions(commands, common)
    add_compare(commands, broken)
    add_explore(commands)
    return made


def add_serve(commands: Any, common: argparse.ArgumentParser) -> None:
    """The command that serves page and API."""
    serve = commands.add_parser("serve", parents=[common], help="a shop's page and API")
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for other machines, too")
    serve.add_argument("--port", type=port, default=8000)
    serve.add_argument(
        "--workers", type=positive, default=1, help="processes, with a copy of the model each"
    )
    serve.add_argument("--title", default="Siamese", help="heading of the page")
    serve.add_argument(
        "--captions", nargs="+", default=(), metavar="COLUMN", help="shown below each picture"
    )
    serve.add_argument(
        "--vote",
        default="articleType",
        metavar="COLUMN",
        help="the matches elect its value; those with another are marked",
    )
    _add_codes(serve)
    serve.add_argument(
        "--isolation", help="finds the garment in a photo: a file of datasets.isolation_training"
    )
    serve.add_argument(
        "--folder", default="serving", help="for feedback and photos of products added here"
    )
    serve.add_argument(
        "--admin-token-file",
        help="its first line lets who knows it change the catalog; or SIAMESE_ADMIN_TOKEN",
    )
    serve.add_argument(
        "--keep-uploads",
        type=amount,
        default=0.0,
        metavar="HOURS",
        help="keep customers' photos so long; by default they are never written",
    )
    serve.add_argument(
        "--queue", type=positive, default=32, help="requests at a time; more are answered 429"
    )
    serve.add_argument("--batch", type=positive, default=16, help="photos of a forward pass")
    serve.add_argument("--timeout", type=above_zero, default=15.0, metavar="SECONDS")
    serve.add_argument(
        "--rate", type=amount, default=20.0, help="requests per second of a client; 0 for any"
    )
    serve.add_argument("--max-upload", type=positive, default=12, metavar="MIB")
    serve.add_argument("--max-megapixels", type=positive, default=50)


def _add_codes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--codes",
        default="none",
        choices=("none", "int8", "binary"),
        help="a first pass over shorter codes of the embeddings, half of the time in a catalog of "
        "300,000: int8 gives the same answers, binary nearly, with rougher probabilities",
    )


def _add_filter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--filter",
        dest="filters",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN=VALUE",
        help="only products with these values; two values of one column mean either",
    )


def above_zero(text: str) -> float:
    """An argument above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def positive(text: str) -> int:
    """An argument that is a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def port(text: str) -> int:
    """An argument that is a TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def amount(text: str) -> float:
    """An argument that is a number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value


def share(text: str) -> float:
    """An argument from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def box(text: str) -> tuple[float, float, float, float]:
    """An argument of four sides."""
    try:
        x1, y1, x2, y2 = (float(side) for side in text.split(","))
    except ValueError:
        x1 = y1 = x2 = y2 = 0.0
    if not (0 <= x1 < x2 < float("inf") and 0 <= y1 < y2 < float("inf")):
        raise argparse.ArgumentTypeError(f"{text!r} is no box; write x1,y1,x2,y2 with x1 < x2")
    return x1, y1, x2, y2


def picture(text: str) -> str:
    """An argument that is a picture to be written."""
    if not text.lower().endswith(SHEET_SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(SHEET_SUFFIXES)}")
    return text

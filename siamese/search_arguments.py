"""The arguments of `infer.py search`, and those of them that other commands share."""

from __future__ import annotations

import argparse
from typing import Any

from siamese.argument_types import box, picture, positive
from siamese.recommend.arguments import add_taste

# As in siamese.isolation, which takes a second to import.
GARMENTS = ("upper", "lower", "full", "shoes", "bag", "largest")


def add_search(commands: Any, common: argparse.ArgumentParser) -> None:
    """The command that ranks a catalog."""
    search = commands.add_parser("search", parents=[common], help="rank the catalog for photos")
    search.add_argument("photos", nargs="*", help="photos, or folders of photos")
    search.add_argument(
        "--product",
        metavar="ID",
        help="instead of photos: what is like this product of the catalog",
    )
    search.add_argument("--top", type=positive, default=20)
    search.add_argument("--where", help="SQL condition, such as \"articleType = 'Tshirts'\"")
    add_filter(search)
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
    add_codes(search)
    add_no_comparison(search)
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
    add_taste(search)


def check_search(arguments: argparse.Namespace, made: argparse.ArgumentParser) -> None:
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


def add_codes(command: argparse.ArgumentParser) -> None:
    """How the embeddings are stored for a first pass."""
    command.add_argument(
        "--codes",
        default="none",
        choices=("none", "int8", "binary"),
        help="a first pass over shorter codes of the embeddings, half of the time in a catalog of "
        "300,000: int8 gives the same answers, binary nearly, with rougher probabilities",
    )


def add_no_comparison(command: argparse.ArgumentParser) -> None:
    """Whether the best products are compared with the photo once more."""
    command.add_argument(
        "--no-comparison",
        action="store_true",
        help="rank by embeddings alone, also where the checkpoint compares the best products with "
        "the photo: faster, and product photos need not be there",
    )


def add_filter(command: argparse.ArgumentParser) -> None:
    """Which products, by their attributes."""
    command.add_argument(
        "--filter",
        dest="filters",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN=VALUE",
        help="only products with these values; two values of one column mean either",
    )

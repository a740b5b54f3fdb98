"""The arguments of personal taste, and of `infer.py variants`, `complements` and `candidates`."""

from __future__ import annotations

import argparse
from typing import Any

from siamese.argument_types import picture, positive, share
from siamese.recommend.defaults import CATEGORY, DIFFERENT, LABEL, SAME


def add_taste(parser: argparse.ArgumentParser, of_search: bool = True) -> None:
    """A person's taste; of a search also what else decides which products it shows."""
    group = parser.add_argument_group("personal taste")
    group.add_argument(
        "--taste",
        metavar="FILE",
        help='profile as JSON: {"never": {"baseColour": ["Yellow"]}, "prefer": {…}, '
        '"likes": ["1163"], "dislikes": […]}',
    )
    for name, word, meaning in (
        ("never", "COLUMN=VALUE", "values never to show"),
        ("prefer", "COLUMN=VALUE", "values to move up"),
        ("like", "PRODUCT", "show what is more like these"),
        ("dislike", "PRODUCT", "show what is less like these, and not they themselves"),
    ):
        group.add_argument(
            f"--{name}", nargs="+", default=[], action="extend", metavar=word, help=meaning
        )
    if of_search:
        parser.add_argument(
            "--narrow",
            metavar="TAGGER",
            help="rank only products of the kind that the photo seems to show: its subCategory "
            "by this tagger of embeddings, then the nearest candidate of gender+articleType",
        )
        group.add_argument(
            "--variety",
            type=share,
            default=0.0,
            help="0: the most alike first; up to 1: unlike those above, so not ten twins",
        )


def add_suggestions(commands: Any, common: argparse.ArgumentParser) -> None:
    """`variants`, `complements` and `candidates`."""
    variants = commands.add_parser("variants", parents=[common], help="a product in other colours")
    variants.add_argument("product_id")
    variants.add_argument("--top", type=positive, default=20)
    variants.add_argument(
        "--same", nargs="+", default=list(SAME), metavar="COLUMN", help="must be equal"
    )
    variants.add_argument(
        "--different", default=DIFFERENT, metavar="COLUMN", help="must not be, one product of each"
    )
    complements = commands.add_parser(
        "complements", parents=[common], help="what goes with a product"
    )
    complements.add_argument("product_id")
    complements.add_argument("--top", type=positive, default=3, help="of each category")
    complements.add_argument("--categories", type=positive, default=5, help="at most")
    complements.add_argument(
        "--sets",
        metavar="CSV",
        help="set_id, product_id: what was bought or worn together; without it rules tell",
    )
    complements.add_argument("--category", default=CATEGORY, metavar="COLUMN")
    candidates = commands.add_parser(
        "candidates", parents=[common], help="of each kind the product most like all its kind"
    )
    candidates.add_argument("--label", default=LABEL, help="a column, or several joined by +")
    candidates.add_argument("--where", help="only these products")
    for shown in (variants, complements):
        add_taste(shown, of_search=False)
        shown.add_argument("--sheet", type=picture, help="PNG or JPEG to draw them on")
    for shown in (variants, complements, candidates):
        shown.add_argument("--json", action="store_true")

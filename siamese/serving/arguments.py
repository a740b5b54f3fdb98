"""The arguments of `infer.py serve`."""

from __future__ import annotations

import argparse
from typing import Any

from siamese.argument_types import above_zero, amount, port, positive
from siamese.search_arguments import add_codes, add_no_comparison


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
    add_codes(serve)
    add_no_comparison(serve)
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

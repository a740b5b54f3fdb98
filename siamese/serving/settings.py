"""What `infer.py serve` was told; travels to worker processes as JSON."""

from __future__ import annotations

import json
import os
import re
from argparse import Namespace
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.quantisation import Codes

VARIABLE = "SIAMESE_SERVING"  # how worker processes get the settings
TOKEN_VARIABLE = "SIAMESE_ADMIN_TOKEN"  # noqa: S105 (the name, not the token)
SHORTEST_TOKEN = 16  # characters; what is shorter can be guessed


class ServingError(UserError):
    """Settings with which nothing can be served; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Args:
        checkpoint: File of the encoder; a new one in its place is taken up while serving.
        catalog: Folder or URI of the catalog.
        device: Where the encoder works.
        codes: What a first pass looks at, see `siamese.finder.Finder`.
        comparison: Whether a checkpoint that compares the best products does so.
        isolation: File of the network that finds garments, `None` to look at whole photos.
        title: Heading of the page.
        captions: Attributes below each picture; by default the catalog's first three.
        vote: Attribute whose most frequent value among the matches is the predicted one.
        folder: Where the server writes: feedback, photos of products, uploads if they are kept.
        admin_token: Whoever knows it may change the catalog; without one nobody may.
        keep_uploads_hours: How long customers' photos are kept; 0 never writes them.
        queue: Requests worked on or waiting at the same time; more are told to come again.
        batch: Photos in one forward pass, at most.
        timeout: Seconds after which a request is given up.
        rate: Requests per second and client, on average; 0 for any number.
        max_upload: Bytes of a request's body.
        max_pixels: Of an uploaded JPEG, checked before it is decoded; see `uploads`.
    """

    checkpoint: str
    catalog: str
    device: str = "cpu"
    codes: Codes = "none"
    comparison: bool = True
    isolation: str | None = None
    title: str = "Siamese"
    captions: tuple[str, ...] = ()
    vote: str = "articleType"
    folder: str = "serving"
    admin_token: str | None = field(default=None, repr=False)
    keep_uploads_hours: float = 0.0
    queue: int = 32
    batch: int = 16
    timeout: float = 15.0
    rate: float = 20.0
    max_upload: int = 12 * 2**20
    max_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        if self.admin_token is not None and len(self.admin_token) < SHORTEST_TOKEN:
            raise ServingError(
                f"the admin token has {len(self.admin_token)} characters; "
                f"use at least {SHORTEST_TOKEN}, such as from `openssl rand -hex 24`"
            )
        if self.admin_token is not None and not re.fullmatch("[!-~]+", self.admin_token):
            raise ServingError(
                "the admin token has spaces or letters beyond ASCII, which browsers cannot send; "
                "make one with `openssl rand -hex 24`"
            )

    @property
    def photos(self) -> Path:
        """Folder of the photos that were added through the server."""
        return Path(self.folder).resolve() / "photos"

    @property
    def uploads(self) -> Path:
        """Folder of customers' photos, where they are kept."""
        return Path(self.folder).resolve() / "uploads"

    @property
    def feedback(self) -> Path:
        """File of what customers said of products."""
        return Path(self.folder).resolve() / "feedback.jsonl"

    def to_environment(self) -> None:
        """Leave the settings where worker processes find them."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """What `to_environment` left."""
        values = json.loads(os.environ[VARIABLE])
        return cls(**values | {"captions": tuple(values["captions"])})


def settings_of(arguments: Namespace) -> Settings:
    """The settings that infer.py's arguments and environment give.

    Raises:
        ServingError: The token's file cannot be read, or the token is too short or not of ASCII.
    """
    return Settings(
        checkpoint=os.path.abspath(arguments.checkpoint),
        catalog=arguments.catalog,
        device=arguments.device or "cpu",
        codes=arguments.codes,
        comparison=not arguments.no_comparison,
        isolation=arguments.isolation,
        title=arguments.title,
        captions=tuple(arguments.captions),
        vote=arguments.vote,
        folder=arguments.folder,
        admin_token=_token(arguments.admin_token_file),
        keep_uploads_hours=arguments.keep_uploads,
        queue=arguments.queue,
        batch=arguments.batch,
        timeout=arguments.timeout,
        rate=arguments.rate,
        max_upload=arguments.max_upload * 2**20,
        max_pixels=arguments.max_megapixels * 1_000_000,
    )


def _token(path: str | None) -> str | None:
    """From a file or the environment, never from the command line, which others can see."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        return Path(path).read_text("utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"--admin-token-file {path}: cannot be read ({error})") from error

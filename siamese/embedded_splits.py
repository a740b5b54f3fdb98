"""Photos that reports look at, embedded: of a split, of a cohort, and those of other products and
people.

Broken ones are named on stderr; where they are too many, the command ends.

Shapes: R photos of a split, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from siamese.boxes import boxes_of
from siamese.catalog import CatalogError
from siamese.commands import embed_with_bar, embedded_products, report_broken
from siamese.errors import UserError
from siamese.listing import ListedPhoto
from siamese.photos import PhotoSource
from siamese.preprocessing import Box

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from siamese.checkpoint import Checkpoint
    from siamese.cohort import Cohort
    from siamese.comparison import Comparison
    from siamese.embedding import EmbeddedPhotos
    from siamese.retrieval import Distractors


def embedded_split(
    checkpoint: Checkpoint, manifest: pd.DataFrame, split: str, max_broken: float
) -> tuple[EmbeddedPhotos, pd.DataFrame]:
    """A split's R usable photos, seen by the checkpoint's comparison, too, and their rows."""
    frame = manifest[manifest["split"] == split].reset_index(drop=True)
    if frame.empty:
        raise CatalogError(f"the manifest has no rows of split {split!r}")
    people = (frame["role"] == "person").tolist()
    paths, boxes = frame["path"].tolist(), boxes_of(frame)
    embedded = embedded_within(checkpoint, paths, boxes, people, max_broken, checkpoint.comparison)
    return embedded, frame.iloc[embedded.usable].reset_index(drop=True)


def embedded_within(
    checkpoint: Checkpoint,
    photos: Sequence[PhotoSource],
    boxes: Sequence[Box | None],
    people: Sequence[bool],
    max_broken: float,
    comparison: Comparison | None = None,
) -> EmbeddedPhotos:
    """Photos to report on; broken ones are named on stderr.

    Args:
        checkpoint, photos, boxes, people, comparison: As of `siamese.embedding.embed_all`.
        max_broken: The share of photos that may be broken.

    Raises:
        CatalogError: More than that share cannot be used.
    """
    embedded = embed_with_bar(checkpoint, photos, boxes, people, comparison)
    if len(embedded.broken) > max_broken * len(photos):
        raise CatalogError(
            f"{len(embedded.broken)} of {len(photos)} photos cannot be used, more than "
            f"--max-broken {max_broken:g}; the first is {next(iter(embedded.broken.values()))}"
        )
    report_broken(list(embedded.broken.values()))
    return embedded


def embedded_strangers(
    checkpoint: Checkpoint, photos: Sequence[tuple[str, Box | None]], max_broken: float
) -> EmbeddedPhotos | None:
    """The strangers, seen by the checkpoint's comparison, too; `None` where there are none."""
    if not photos:
        return None
    paths, boxes = zip(*photos, strict=True)
    people = [True] * len(paths)
    embedded = embedded_within(checkpoint, paths, boxes, people, max_broken, checkpoint.comparison)
    if not len(embedded.embeddings):
        raise CatalogError(f"--strangers: none of {len(photos)} photos can be used")
    return embedded


def embedded_distractors(
    checkpoint: Checkpoint, photos: Sequence[ListedPhoto], max_broken: float
) -> tuple[Distractors, Tensor] | None:
    """The distractors, and what the checkpoint's comparison, if it has one, sees in their photos:
    int8 (any, N, S); `None` where there are none."""
    import torch

    from siamese.retrieval import Distractors

    if not photos:
        return None
    comparison = checkpoint.comparison
    products = embedded_products(checkpoint, photos, max_broken, comparison=comparison)
    if not products:
        raise CatalogError(f"--distractors: none of {len(photos)} photos can be used")
    counts = torch.tensor([len(product.paths) for product in products])
    embeddings = torch.cat([torch.from_numpy(product.embeddings) for product in products])
    numbers = torch.arange(len(products)).repeat_interleave(counts)
    found = Distractors(embeddings, numbers)
    if comparison is None:
        return found, torch.empty(0)
    kept = [each for product in products for each in product.sights or []]
    return found, torch.cat([comparison.sight_of(each) for each in kept])


def embedded_cohort(
    checkpoint: Checkpoint, photos: Sequence[ListedPhoto], limit: int | None, max_broken: float
) -> Cohort | None:
    """The cohort that a sample of these photos makes; none of none.

    Raises:
        UserError: They are too few.
    """
    from siamese.cohort import FEWEST, MOST, cohort_of, sample

    if not photos:
        return None
    chosen = [photos[place] for place in sample(len(photos), limit or MOST)]
    paths, boxes = [photo.path for photo in chosen], [photo.box for photo in chosen]
    try:
        embedded = embedded_within(checkpoint, paths, boxes, [False] * len(chosen), max_broken)
    except CatalogError as error:
        remedy = "--cohort names other products, or none"
        raise CatalogError(f"the cohort, by default the training's: {error}; {remedy}") from error
    known = cohort_of(embedded.embeddings, [chosen[place].product_id for place in embedded.usable])
    if known is None:
        raise UserError(
            f"a cohort takes at least {FEWEST} product photos, not {len(embedded.usable)}; raise "
            "--cohort-limit, or --cohort names more of them, or none"
        )
    return known

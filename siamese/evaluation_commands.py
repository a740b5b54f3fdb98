"""`infer.py evaluate`, `calibrate` and `adapt` once their arguments are parsed.

Progress and warnings go to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from siamese.boxes import boxes_of
from siamese.embedded_splits import (
    embedded_cohort,
    embedded_distractors,
    embedded_split,
    embedded_strangers,
    embedded_within,
)
from siamese.errors import UserError
from siamese.listing import ListedPhoto
from siamese.preprocessing import Box
from siamese.roles import roles_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from siamese.adaptation import Adaptation
    from siamese.checkpoint import Checkpoint
    from siamese.comparison import Comparison
    from siamese.comparison_commands import ShopPhotos
    from siamese.evaluation_report import Evaluation


def evaluate(
    checkpoint: Checkpoint,
    manifest: pd.DataFrame,
    split: str,
    max_broken: float = 0.01,
    distractors: Sequence[ListedPhoto] = (),
    strangers: Sequence[tuple[str, Box | None]] = (),
) -> Evaluation:
    """All reports of one split of a manifest, with lines more for distractors and strangers.

    Args:
        checkpoint: The encoder.
        manifest: Of any splits.
        split: To report on.
        max_broken: The share of photos that may be left out because they cannot be used.
        distractors: Photos of products that nobody is looking for.
        strangers: Photos of people who wear none of the products, and the part to look at.

    Raises:
        CatalogError: The split is empty, or too many photos are broken.
    """
    from siamese.evaluation import evaluate as reports

    embedded, usable = embedded_split(checkpoint, manifest, split, max_broken)
    if told := _of_the_cohort(checkpoint, embedded.embeddings, usable):
        print(f"{told}, so what is said of missing products is too good", file=sys.stderr)
    others = embedded_distractors(checkpoint, distractors, max_broken)
    unknown = embedded_strangers(checkpoint, strangers, max_broken)
    if checkpoint.comparison is None:
        return reports(
            embedded.embeddings,
            usable,
            checkpoint.calibration,
            cohort=checkpoint.cohort,
            distractors=None if others is None else others[0],
            strangers=None if unknown is None else unknown.embeddings,
        )
    from siamese.comparison_commands import reported

    seen = reported(checkpoint.comparison, embedded, others, unknown)
    return reports(
        seen.vectors,
        usable,
        checkpoint.comparison.calibration,
        cohort=checkpoint.cohort,
        distractors=seen.distractors,
        strangers=seen.strangers,
        likeness=seen.likeness,
    )


def _of_the_cohort(checkpoint: Checkpoint, embeddings: Tensor, frame: pd.DataFrame) -> str | None:
    """How many products that are asked for are the cohort's, which then speak against themselves
    where they are missing; `None`: hardly any, for a few have look-alikes there."""
    if checkpoint.cohort is None:
        return None
    shown = embeddings[[role != "person" for role in frame["role"]]]
    own = int(checkpoint.cohort.same(shown).any(dim=1).sum())
    if own <= len(shown) / 10:
        return None
    return f"{own} of {len(shown)} product photos are in the checkpoint's cohort"


def calibrate(
    checkpoint: Checkpoint,
    manifest: pd.DataFrame,
    split: str,
    max_broken: float = 0.01,
    cohort: Sequence[ListedPhoto] | None = (),
    cohort_limit: int | None = None,
) -> None:
    """Fit a checkpoint's probabilities and thresholds on one split of a manifest.

    Those for after `adapt` are fitted with the encoder adapted to that very split.

    Args:
        checkpoint: Its calibrations and its cohort are replaced, and its comparison, if it has
            one, is fitted to it.
        manifest: Of any splits.
        split: One that the encoder was not trained on.
        cohort: Photos of products that no photo of the split shows, see `siamese.cohort`; `None`:
            the checkpoint keeps the cohort that it has, unless the split's products are in it.
        cohort_limit: At most so many of them, a sample; `None` for what `siamese.cohort` takes.
        max_broken: The share of photos that may be left out because they cannot be used.

    Raises:
        UserError: The split is empty, has no two products with photos of both kinds, the cohort has
            too few photos, or too many photos are broken.
    """
    import torch

    from siamese.adaptation import FEWEST, fit_adaptation
    from siamese.evaluation import fit

    if checkpoint.comparison is not None:
        # Of products it sees what the encoder does, the garment alone where that is cut out.
        checkpoint.comparison = replace(checkpoint.comparison, cut_out=checkpoint.cut_out)
    embedded, frame = embedded_split(checkpoint, manifest, split, max_broken)
    embeddings = embedded.embeddings
    plain = replace(checkpoint, adaptation=None)
    known = checkpoint.own_cohort
    if cohort is not None:
        known = embedded_cohort(plain, cohort, cohort_limit, max_broken)
    elif told := _of_the_cohort(checkpoint, embeddings, frame):
        print(f"{told}, which is left out", file=sys.stderr)
        known = None
    checkpoint.own_cohort = known
    checkpoint.calibration = fit(embeddings, frame, cohort=checkpoint.cohort)
    adaptation = None
    if checkpoint.adaptation is None:
        checkpoint.adapted_calibration = None  # of another manifest, if there was one
        people = torch.tensor((frame["role"] == "person").tolist())
        if FEWEST <= int(people.sum()) <= len(people) - FEWEST:
            adaptation = fit_adaptation(embeddings[people], embeddings[~people])
            adapted = adaptation(embeddings, roles_of(people.tolist(), boxes_of(frame)))
            checkpoint.adapted_calibration = fit(
                adapted, frame, cohort=known and known.adapted(adaptation)
            )
    if checkpoint.comparison is not None:
        from siamese.comparison_commands import fit_comparison

        checkpoint.comparison = fit_comparison(
            checkpoint.comparison, embedded, frame, checkpoint.cohort, adaptation
        )


def adapt(
    checkpoint: Checkpoint,
    people: Sequence[tuple[str, Box | None]],
    products: Sequence[ListedPhoto],
    max_broken: float = 0.01,
) -> tuple[Checkpoint, int, int]:
    """A checkpoint fitted to a shop's photos, see `siamese.adaptation`.

    Args:
        checkpoint: One that is not adapted; it stays as it is.
        people: Photos of people, and the part to look at.
        products: Product photos.
        max_broken: The share of photos of a kind that may be left out because they cannot be used.

    Returns:
        The checkpoint, and how many photos of people and of products it was fitted to.

    Raises:
        UserError: It is adapted already, nothing is known of its scores afterwards, there are too
            few photos, or too many are broken.
    """
    from siamese.adaptation import fit_adaptation

    if checkpoint.adaptation is not None:
        raise UserError("the encoder is adapted already; give the one that it was made from")
    if checkpoint.adapted_calibration is None:
        raise UserError(
            "nothing says what the encoder's scores mean once it is adapted; make a file that "
            "does: infer.py calibrate MANIFEST --encoder FILE --out NEW"
        )
    shown = [(photo.path, photo.box) for photo in products]
    embedded = []
    for places, of_people in ((people, True), (shown, False)):
        paths, boxes = zip(*places, strict=True)
        sides, known = [of_people] * len(paths), checkpoint.comparison
        made = embedded_within(checkpoint, paths, boxes, sides, max_broken, known)
        roles = roles_of(sides, boxes)
        embedded.append((made, [roles[place] for place in made.usable]))
    worn, alone = embedded
    adaptation = fit_adaptation(worn[0].embeddings, alone[0].embeddings)
    adapted = replace(
        checkpoint,
        adaptation=adaptation,
        calibration=checkpoint.adapted_calibration,
        comparison=_comparison_beside(checkpoint.comparison, adaptation, worn, alone),
    )
    return adapted, len(worn[1]), len(alone[1])


def _comparison_beside(
    comparison: Comparison | None,
    adaptation: Adaptation,
    people: ShopPhotos,
    products: ShopPhotos,
) -> Comparison | None:
    """That of an encoder once it is adapted; where nothing is known of it, none, and a warning.

    Args:
        comparison: Of the encoder as it was.
        adaptation, people, products: As of `siamese.comparison_commands.adapted_comparison`.
    """
    if comparison is None:
        return None
    if comparison.adapted_calibration is None:
        print(
            "what its comparison says once it is adapted is not known, so it is left out; "
            "infer.py calibrate --encoder makes a file that knows",
            file=sys.stderr,
        )
        return None
    from siamese.comparison_commands import adapted_comparison

    return adapted_comparison(comparison, adaptation, people, products)

"""`infer.py evaluate` and `calibrate` of checkpoints that compare the best products.

Shapes: R photos of a split, D embedding size, N positions, S numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from siamese.adaptation import Adaptation
from siamese.boxes import boxes_of
from siamese.cohort import Cohort, sample
from siamese.comparison import Comparison
from siamese.comparison_report import ComparedLikeness, moved_onto, weight_of
from siamese.embedding import EmbeddedPhotos
from siamese.evaluation import codes, fit, worn_codes
from siamese.pair_score import Calibration
from siamese.retrieval import Distractors
from siamese.roles import Role, roles_of

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 500  # photos of each kind that say where cosines and logits lie

Shown = tuple[Tensor, Tensor]  # embeddings of photos, and what these show
ShopPhotos = tuple[EmbeddedPhotos, Sequence[Role]]


class Reported(NamedTuple):
    """What reports take.

    Args:
        vectors: Of the split's photos, see `ComparedLikeness`, float32 (R, D + 1).
        distractors: With such vectors.
        strangers: Such vectors.
        likeness: Of all of them.
    """

    vectors: Tensor
    distractors: Distractors | None
    strangers: Tensor | None
    likeness: ComparedLikeness


def fit_comparison(
    comparison: Comparison,
    embedded: EmbeddedPhotos,
    frame: pd.DataFrame,
    cohort: Cohort | None,
    adaptation: Adaptation | None = None,
) -> Comparison:
    """The comparison fitted to an encoder on validation photos.

    Args:
        comparison: Any.
        embedded: These photos, seen by it, too.
        frame: Their R rows.
        cohort: Of the encoder.
        adaptation: Of the encoder to these photos, which tells what likeness means in a shop that
            it will be adapted to.

    Raises:
        UserError: As of `siamese.evaluation.fit`.
    """
    embeddings, sights = embedded.embeddings, embedded.seen
    product, is_person = codes(frame)
    worn = worn_codes(frame)[is_person]
    same = torch.from_numpy((worn[:, :, None] == product[~is_person]).any(axis=1))
    moved, calibration = _fitted(comparison, sights, embeddings, frame, cohort, same)
    later = None
    if adaptation is not None:
        adapted = adaptation(embeddings, roles_of(is_person.tolist(), boxes_of(frame)))
        known = cohort and cohort.adapted(adaptation)
        _, later = _fitted(moved, sights, adapted, frame, known)
    return replace(moved, calibration=calibration, adapted_calibration=later)


def _fitted(
    comparison: Comparison,
    sights: Tensor,
    embeddings: Tensor,
    frame: pd.DataFrame,
    cohort: Cohort | None,
    same: Tensor | None = None,
) -> tuple[Comparison, Calibration]:
    """The comparison as of `moved_comparison`, and what its likeness then means."""
    is_person = torch.from_numpy(codes(frame)[1])
    people, products = ((embeddings[side], sights[side]) for side in (is_person, ~is_person))
    moved = moved_comparison(comparison, people, products, same)
    likeness = ComparedLikeness(moved, sights)
    vectors = likeness.vectors(embeddings)
    return moved, fit(vectors, frame, cohort=cohort, likeness=likeness)


def moved_comparison(
    comparison: Comparison, people: Shown, products: Shown, same: Tensor | None = None
) -> Comparison:
    """The comparison with a scale and an offset that bring what it says to where cosines lie.

    Args:
        comparison: Any.
        people, products: Embeddings of P and T photos of each kind, float32 (any, D), and what
            these show, int8 (any, N, S).
        same: Who wears what, bool (P, T): then its weight is fitted, too. `None` if nobody knows.
    """
    if not (len(people[0]) and len(products[0])):
        return comparison
    rows, columns = (sample(len(side[0]), ENOUGH) for side in (people, products))
    cosines = people[0][rows] @ products[0][columns].T
    logits = comparison.logits(people[1][rows], products[1][columns])
    scale, offset = moved_onto(cosines, logits)
    weight = comparison.weight
    if same is not None:
        weight = weight_of(cosines, scale * logits + offset, same[rows][:, columns])
    return replace(comparison, scale=scale, offset=offset, weight=weight)


def adapted_comparison(
    comparison: Comparison, adaptation: Adaptation, people: ShopPhotos, products: ShopPhotos
) -> Comparison:
    """The comparison beside an encoder that is adapted to a shop.

    Args:
        comparison: Fitted to the encoder as it was; it knows what likeness means afterwards.
        adaptation: Of the encoder.
        people, products: The shop's photos of each kind by the encoder as it was, seen by the
            comparison, too; and what each shows.
    """
    assert comparison.adapted_calibration is not None
    worn, alone = (
        (adaptation(embedded.embeddings, roles), embedded.seen)
        for embedded, roles in (people, products)
    )
    moved = moved_comparison(comparison, worn, alone)
    return replace(moved, calibration=comparison.adapted_calibration, adapted_calibration=None)


def reported(
    comparison: Comparison,
    embedded: EmbeddedPhotos,
    distractors: tuple[Distractors, Tensor] | None,
    strangers: EmbeddedPhotos | None,
) -> Reported:
    """What the reports of a split take.

    Args:
        comparison: Fitted to the encoder.
        embedded: The split's photos, seen by it, too.
        distractors: And what their photos show, int8 (any, N, S).
        strangers: Likewise seen by it.
    """
    sights, others, people = [embedded.seen], None, None
    if distractors is not None:
        others, shown = distractors
        vectors = ComparedLikeness.vectors(others.embedding, len(embedded.seen))
        others = Distractors(vectors, others.product)
        sights.append(shown)
    if strangers is not None:
        first = sum(map(len, sights))
        sights.append(strangers.seen)
        people = ComparedLikeness.vectors(strangers.embeddings, first)
    likeness = ComparedLikeness(comparison, torch.cat(sights))
    return Reported(likeness.vectors(embedded.embeddings), others, people, likeness)

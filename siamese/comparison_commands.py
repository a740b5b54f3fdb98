"""`infer.py evaluate` and `calibrate` of checkpoints that compare the best products.

Shapes: R photos of a split, D embedding size, N positions, S numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from siamese.adaptation import Adaptation
from siamese.boxes import boxes_of
from siamese.cohort import Cohort, sample
from siamese.comparison import Comparison
from siamese.comparison_report import ComparedLikeness, moved_onto
from siamese.evaluation import codes, fit
from siamese.pair_score import Calibration
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.retrieval import Distractors
from siamese.roles import roles_of
from siamese.second_opinion import SecondOpinion

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 64  # photos between two steps of the bar
ENOUGH = 500  # photos of each kind that say where cosines and logits lie

Places = Sequence[tuple[PhotoSource, Box | None]]  # photos, and the part of each to look at
Shown = tuple[Tensor, Tensor]  # embeddings of photos, and what these show


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
    embeddings: Tensor,
    frame: pd.DataFrame,
    cohort: Cohort | None,
    adaptation: Adaptation | None = None,
) -> Comparison:
    """The comparison fitted to an encoder on validation photos.

    Args:
        comparison: Any.
        embeddings: Of these photos, float32 (R, D).
        frame: Their rows.
        cohort: Of the encoder.
        adaptation: Of the encoder to these photos, which tells what likeness means in a shop that
            it will be adapted to.

    Raises:
        PhotoError: A photo cannot be used.
        UserError: As of `siamese.evaluation.fit`.
    """
    sights = _of_split(comparison, frame)
    moved, calibration = _fitted(comparison, sights, embeddings, frame, cohort)
    later = None
    if adaptation is not None:
        adapted = adaptation(embeddings, roles_of(codes(frame)[1].tolist(), boxes_of(frame)))
        known = cohort and cohort.adapted(adaptation)
        _, later = _fitted(comparison, sights, adapted, frame, known)
    return replace(moved, calibration=calibration, adapted_calibration=later)


def _fitted(
    comparison: Comparison,
    sights: Tensor,
    embeddings: Tensor,
    frame: pd.DataFrame,
    cohort: Cohort | None,
) -> tuple[Comparison, Calibration]:
    """The comparison moved to where cosines lie, and what its likeness then means."""
    is_person = torch.from_numpy(codes(frame)[1])
    sides = [(embeddings[side], sights[side]) for side in (is_person, ~is_person)]
    moved = moved_comparison(comparison, *sides)
    likeness = ComparedLikeness(moved, sights)
    vectors = likeness.vectors(embeddings)
    return moved, fit(vectors, frame, cohort=cohort, likeness=likeness)


def moved_comparison(comparison: Comparison, people: Shown, products: Shown) -> Comparison:
    """The comparison with a scale and an offset that bring what it says to where cosines lie.

    Args:
        comparison: Any.
        people, products: Embeddings of some photos of each kind, float32 (any, D), and what these
            show, int8 (any, N, S); nobody needs to know who wears what.
    """
    if not (len(people[0]) and len(products[0])):
        return comparison
    (worn, worn_shown), (alone, alone_shown) = (
        tuple(each[sample(len(each), ENOUGH)] for each in side) for side in (people, products)
    )
    scale, offset = moved_onto(worn @ alone.T, comparison.logits(worn_shown, alone_shown))
    return replace(comparison, scale=scale, offset=offset)


def adapted_comparison(
    comparison: Comparison,
    adaptation: Adaptation,
    people: tuple[Tensor, Places],
    products: tuple[Tensor, Places],
) -> Comparison:
    """The comparison beside an encoder that is adapted to a shop.

    Args:
        comparison: Fitted to the encoder as it was; it knows what likeness means afterwards.
        adaptation: Of the encoder.
        people, products: Embeddings of the shop's photos of each kind by the encoder as it was,
            float32 (any, D), and where these are.

    Raises:
        PhotoError: A photo cannot be used.
    """
    assert comparison.adapted_calibration is not None
    shown = []
    for (embeddings, places), of_people in ((people, True), (products, False)):
        chosen = sample(len(places), ENOUGH)
        some = [places[place] for place in chosen]
        roles = roles_of([of_people] * len(some), [box for _, box in some])
        seen = sights_of(comparison, some, of_people)
        shown.append((adaptation(embeddings[chosen], roles), seen))
    moved = moved_comparison(comparison, *shown)
    return replace(moved, calibration=comparison.adapted_calibration, adapted_calibration=None)


def reported(
    comparison: Comparison,
    embeddings: Tensor,
    frame: pd.DataFrame,
    distractors: tuple[Distractors | None, Places],
    strangers: tuple[Tensor | None, Places],
) -> Reported:
    """What the reports of a split take.

    Args:
        comparison: Fitted to the encoder.
        embeddings: float32 (R, D).
        frame: Manifest rows.
        distractors: And where their photos are.
        strangers: Embeddings, float32 (any, D), and where the photos are.

    Raises:
        PhotoError: A photo cannot be used.
    """
    others, people = distractors[0], strangers[0]
    sights = [_of_split(comparison, frame)]
    if others is not None:
        sights.append(sights_of(comparison, distractors[1], people=False))
        vectors = ComparedLikeness.vectors(others.embedding, len(frame))
        others = Distractors(vectors, others.product)
    if people is not None:
        first = sum(map(len, sights))
        sights.append(sights_of(comparison, strangers[1], people=True))
        people = ComparedLikeness.vectors(people, first)
    likeness = ComparedLikeness(comparison, torch.cat(sights))
    return Reported(likeness.vectors(embeddings), others, people, likeness)


def _of_split(comparison: Comparison, frame: pd.DataFrame) -> Tensor:
    """What a split's photos show, int8 (R, N, S)."""
    is_person = codes(frame)[1]
    photos = list(zip(frame["path"].tolist(), boxes_of(frame), strict=True))
    config = comparison.head.config
    shape = len(frame), config.rows * config.columns, config.size
    sights = torch.empty(shape, dtype=torch.int8)
    for side, people in ((is_person, True), (~is_person, False)):
        rows = side.nonzero()[0]
        sights[rows] = sights_of(comparison, [photos[row] for row in rows], people)
    return sights


def sights_of(comparison: Comparison, photos: Places, people: bool) -> Tensor:
    """What photos show at each position, int8 (len(photos), N, S); with a bar on a terminal.

    Raises:
        PhotoError: One of them cannot be used.
    """
    opinion, config = SecondOpinion(comparison), comparison.head.config
    found = [torch.empty(0, config.rows * config.columns, config.size, dtype=torch.int8)]
    with tqdm(total=len(photos), unit=" photos", desc="looking again", disable=None) as bar:
        for start in range(0, len(photos), CHUNK):
            some = photos[start : start + CHUNK]
            sources, boxes = (list(each) for each in zip(*some, strict=True))
            for seen in opinion.sights(sources, boxes, [people] * len(some)):
                if isinstance(seen, PhotoError):
                    raise seen
                found.append(seen)
            bar.update(len(some))
    return torch.cat(found)

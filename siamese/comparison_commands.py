"""`infer.py evaluate` and `calibrate` of checkpoints that compare the best candidates.

Shapes: R photos of a split, E of distractors, F of strangers, D embedding size, N positions, S
numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from siamese.boxes import boxes_of
from siamese.cohort import Cohort
from siamese.comparison import Comparison
from siamese.comparison_table import Photos, logits_of, moved_onto, table_of
from siamese.evaluation import codes, fit
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.retrieval import Distractors
from siamese.second_opinion import SecondOpinion

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 64  # photos between two steps of the bar

Places = Sequence[tuple[PhotoSource, Box | None]]  # photos, and the part of each to look at


class Compared(NamedTuple):
    """What reports take, with vectors whose inner products are likenesses.

    Args:
        vectors: float32 (R, any).
        distractors: As they were given.
        strangers: float32 (F, any).
        cohort: As `Checkpoint.cohort`.
    """

    vectors: Tensor
    distractors: Distractors | None
    strangers: Tensor | None
    cohort: Cohort | None


def fit_comparison(
    comparison: Comparison, embeddings: Tensor, frame: pd.DataFrame, cohort: Cohort | None
) -> Comparison:
    """The comparison fitted to an encoder on validation photos.

    Args:
        comparison: Any.
        embeddings: Of these photos, float32 (R, D).
        frame: Their rows.
        cohort: Of the encoder.

    Raises:
        PhotoError: A photo cannot be used.
        UserError: As of `siamese.evaluation.fit`.
    """
    queries, gallery = _sides(comparison, embeddings, frame)
    cosines = queries.embeddings @ gallery.embeddings.T
    logits = logits_of(comparison, cosines, queries.positions, gallery.positions, len(gallery[0]))
    scale, offset = moved_onto(cosines, logits)
    moved = comparison.fitted(scale, offset, comparison.calibration)
    likeness = moved.likeness(cosines, logits)
    table = table_of(likeness, queries.embeddings, gallery.embeddings, cohort)
    vectors = _in_rows(frame, table.queries, table.gallery)
    return moved.fitted(scale, offset, fit(vectors, frame, cohort=table.cohort))


def compared(
    comparison: Comparison,
    embeddings: Tensor,
    frame: pd.DataFrame,
    distractors: tuple[Distractors | None, Places],
    strangers: tuple[Tensor | None, Places],
    cohort: Cohort | None,
) -> Compared:
    """What the reports of a split take.

    Args:
        comparison: Fitted to the encoder.
        embeddings: float32 (R, D).
        frame: Manifest rows.
        distractors: And where their E photos are.
        strangers: Embeddings, float32 (F, D), and where the photos are.
        cohort: Of the encoder.

    Raises:
        PhotoError: A photo cannot be used.
    """
    queries, gallery = _sides(comparison, embeddings, frame)
    own, people = len(gallery.embeddings), len(queries.embeddings)
    others, of_others = distractors
    if others is not None:
        seen = positions_of(comparison, of_others, False)
        gallery = Photos(*map(torch.cat, zip(gallery, (others.embedding, seen), strict=True)))
    others_of, of_strangers = strangers
    if others_of is not None:
        seen = positions_of(comparison, of_strangers, True)
        queries = Photos(*map(torch.cat, zip(queries, (others_of, seen), strict=True)))
    cosines = queries.embeddings @ gallery.embeddings.T
    logits = logits_of(comparison, cosines, queries.positions, gallery.positions, own)
    likeness = comparison.likeness(cosines, logits)
    table = table_of(likeness, queries.embeddings, gallery.embeddings, cohort)
    return Compared(
        _in_rows(frame, table.queries[:people], table.gallery[:own]),
        others and Distractors(table.gallery[own:], others.product),
        None if others_of is None else table.queries[people:],
        table.cohort,
    )


def positions_of(comparison: Comparison, photos: Places, people: bool) -> Tensor:
    """What photos show at each position, float32 (len(photos), N, S); with a bar on a terminal.

    Raises:
        PhotoError: One of them cannot be used.
    """
    opinion, found = SecondOpinion(comparison), []
    with tqdm(total=len(photos), unit=" photos", desc="looking again", disable=None) as bar:
        for start in range(0, len(photos), CHUNK):
            sources, boxes = zip(*photos[start : start + CHUNK], strict=True)
            for seen in opinion.sights(sources, boxes, [people] * len(sources)):
                if isinstance(seen, PhotoError):
                    raise seen
                found.append(seen)
            bar.update(len(sources))
    return torch.cat(found)


def _sides(
    comparison: Comparison, embeddings: Tensor, frame: pd.DataFrame
) -> tuple[Photos, Photos]:
    """The split's people and its products."""
    _, is_person = codes(frame)
    photos = list(zip(frame["path"].tolist(), boxes_of(frame), strict=True))
    sides = []
    for side, people in ((is_person, True), (~is_person, False)):
        places = [photo for photo, chosen in zip(photos, side, strict=True) if chosen]
        sides.append(
            Photos(embeddings[torch.from_numpy(side)], positions_of(comparison, places, people))
        )
    return sides[0], sides[1]


def _in_rows(frame: pd.DataFrame, people: Tensor, products: Tensor) -> Tensor:
    """Vectors of both sides in the order of the manifest's rows."""
    is_person = torch.from_numpy(codes(frame)[1])
    rows = people.new_empty(len(frame), people.shape[1])
    rows[is_person], rows[~is_person] = people, products
    return rows

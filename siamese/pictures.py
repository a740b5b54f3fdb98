"""The pictures that `infer.py search` writes: a contact sheet, and why the first were found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from siamese.catalog import CatalogError
from siamese.explanation import Explanation, explain
from siamese.explanation_sheet import ExplainedRow, explanation_sheet, in_words
from siamese.files import replacing
from siamese.finder import Finder
from siamese.output import asked, not_predicted, verdict
from siamese.preprocessing import Box
from siamese.ranking import Match, Ranking
from siamese.recommend.voting import vote
from siamese.sheet import SheetMatch, SheetRow, ranking_sheet

SIDES = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # pixels that the formats allow
QUERIES = 50  # rows of a picture
EXPLAINED = 3  # products per query
OTHER_PHOTO = 0.01  # difference of cosines from which the photo cannot be the one in the catalog


def save_sheet(
    path: str,
    rankings: Sequence[Ranking],
    threshold: float | None,
    columns: Sequence[str] = (),
    scores: bool = False,
) -> None:
    """Write the contact sheet of these rankings.

    Args:
        path: Where to.
        rankings, threshold, columns, scores: As in `siamese.output.rankings_as_text`.

    Raises:
        CatalogError: It cannot be written.
    """
    rows = []
    for ranking in rankings[:QUERIES]:
        votes = [vote(ranking.matches, column) for column in columns]
        matches = []
        for rank, match in enumerate(ranking.matches, 1):
            likely = "" if threshold is None else f"p {match.probability:.3f}  "
            told = [f"{rank}. {match.product_id}", f"{likely}cos {match.cosine:.3f}"]
            told += [f"score {match.score:.3f}"] * scores
            if wrong := not_predicted(votes, rank - 1):
                told += ["not predicted:", wrong]
            matches.append(SheetMatch(match.path, told))
        elected = [f"{each.column}: {each.label} ({each.share:.0%})" for each in votes]
        lines = (*_query_lines(ranking, threshold), *elected)
        rows.append(SheetRow(ranking.query, lines, matches))
    _save(path, ranking_sheet(rows), len(rankings))


def _query_lines(ranking: Ranking, threshold: float | None) -> tuple[str, str]:
    """What was asked, and the answer."""
    if ranking.product_id is not None:
        return ranking.product_id, "and what is like it"
    return asked(Path(ranking.query).name, ranking), verdict(ranking, threshold)


def save_explanation(
    path: str, finder: Finder, rankings: Sequence[Ranking], box: Box | None = None
) -> None:
    """Write a picture of why the first products of these rankings were found.

    Of photos that were asked together the first is explained, and of products that were ranked
    by the mean of their photos the one that stands for them.

    Raises:
        PhotoError: A query's photo has gone since it was ranked.
        CatalogError: It cannot be written.
    """
    threshold = finder.checkpoint.calibration.known_threshold
    rows = []
    for ranking in rankings[:QUERIES]:
        matches = ranking.matches[:EXPLAINED]
        photos = [match.path for match in matches]
        explanation = explain(finder.checkpoint, ranking.query, photos, box)
        if finder.product_score == "max" and not ranking.together and not finder.moves_queries:
            _report_changed(matches, explanation)
        captions = [
            (
                f"{rank}. {match.product_id}",
                f"cos {match.cosine:.3f}" if threshold is None else _likely(match.probability),
            )
            for rank, match in enumerate(matches, 1)
        ]
        lines = _query_lines(ranking, threshold)
        rows.append(ExplainedRow(ranking.query, lines, photos, captions, explanation))
    _save(path, explanation_sheet(rows), len(rankings))


def _report_changed(matches: Sequence[Match], explanation: Explanation) -> None:
    """A line on stderr for each photo that is not what was ranked."""
    for match, cosine in zip(matches, explanation.cosines, strict=True):
        if cosine is None:
            print(f"{match.path}: cannot be opened, so nothing explains it", file=sys.stderr)
        elif abs(cosine - match.cosine) > OTHER_PHOTO:
            print(
                f"{match.path}: has changed, or only a part of it is in the catalog; "
                "all of it as it is now is explained",
                file=sys.stderr,
            )


def _save(path: str, picture: Image.Image, queries: int) -> None:
    """Write a picture of the first of so many queries."""
    save_picture(path, picture)
    if queries > QUERIES:
        print(f"{path}: shows the first {QUERIES} queries", file=sys.stderr)


def save_picture(path: str, picture: Image.Image) -> None:
    """Write a picture whole, or not at all.

    Raises:
        CatalogError: It cannot be written.
    """
    most = SIDES.get(Path(path).suffix.lower())
    if most is not None and max(picture.size) > most:
        raise CatalogError(
            f"{path}: a picture of {picture.width} x {picture.height} pixels is too large for "
            "this format; name a .png, or ask for less"
        )
    try:
        with replacing(path) as temporary:
            picture.save(temporary)
    except (OSError, ValueError) as error:  # the latter where a format takes no such size
        reason = getattr(error, "strerror", None) or str(error)
        raise CatalogError(f"{path}: the picture cannot be written ({reason})") from error


def _likely(probability: float) -> str:
    return f"{in_words(probability)} ({probability:.2f})"

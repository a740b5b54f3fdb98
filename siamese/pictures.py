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
from siamese.finder import Finder, Match, Ranking
from siamese.output import asked, verdict
from siamese.preprocessing import Box
from siamese.sheet import SheetMatch, SheetRow, ranking_sheet

QUERIES = 50  # rows of a picture
EXPLAINED = 3  # products per query
OTHER_PHOTO = 0.01  # difference of cosines from which the photo cannot be the one in the catalog


def save_sheet(path: str, rankings: Sequence[Ranking]) -> None:
    """Write the contact sheet of these rankings.

    Raises:
        CatalogError: It cannot be written.
    """
    rows = []
    for ranking in rankings[:QUERIES]:
        matches = [
            SheetMatch(
                match.path,
                (f"{rank}. {match.product_id}", _scores(match.probability, match.cosine)),
            )
            for rank, match in enumerate(ranking.matches, 1)
        ]
        name = asked(Path(ranking.query).name, ranking)
        rows.append(SheetRow(ranking.query, (name, verdict(ranking)), matches))
    _save(path, ranking_sheet(rows), len(rankings))


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
    rows = []
    for ranking in rankings[:QUERIES]:
        matches = ranking.matches[:EXPLAINED]
        photos = [match.path for match in matches]
        explanation = explain(finder.checkpoint, ranking.query, photos, box)
        if finder.product_score == "max" and not ranking.together:
            _report_changed(matches, explanation)
        captions = [
            (f"{rank}. {match.product_id}", _likely(match.probability))
            for rank, match in enumerate(matches, 1)
        ]
        caption = (asked(Path(ranking.query).name, ranking), verdict(ranking))
        rows.append(ExplainedRow(ranking.query, caption, photos, captions, explanation))
    _save(path, explanation_sheet(rows), len(rankings))


def _report_changed(matches: Sequence[Match], explanation: Explanation) -> None:
    """A line on stderr for each photo that is not what was ranked."""
    for match, cosine in zip(matches, explanation.cosines, strict=True):
        if cosine is not None and abs(cosine - match.cosine) > OTHER_PHOTO:
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
    try:
        with replacing(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise CatalogError(f"{path}: the picture cannot be written ({error.strerror})") from error


def _scores(probability: float, cosine: float) -> str:
    return f"p {probability:.3f}  cos {cosine:.3f}"


def _likely(probability: float) -> str:
    return f"{in_words(probability)} ({probability:.2f})"

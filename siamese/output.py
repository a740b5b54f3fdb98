"""How infer.py shows rankings and products: lines for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from siamese.products import MARK, PRODUCT, Attribute, plain, probability_of, whole_or_fraction
from siamese.recommend.voting import Vote, vote

if TYPE_CHECKING:
    import pandas as pd

    from siamese.ranking import Ranking

SHOWN_ATTRIBUTES = 4
WIDEST = 24  # characters of a value in a table for people


def rankings_as_json(
    rankings: Sequence[Ranking], threshold: float | None, columns: Sequence[str] = ()
) -> str:
    """A list with query, matches, probability and in_catalog of each ranking.

    Without a threshold (see `rankings_as_text`) all probabilities and `in_catalog` are null. Of
    each column that is voted on, `votes` has the label, its share and which matches have another.
    """
    rows = [asdict(ranking) for ranking in rankings]
    if threshold is None:
        for row in rows:
            row |= {"probability": None, "in_catalog": None}
            for match in row["matches"]:
                match["probability"] = None
    if columns:
        for row, ranking in zip(rows, rankings, strict=True):
            row["votes"] = [asdict(vote(ranking.matches, column)) for column in columns]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def rankings_as_text(
    rankings: Sequence[Ranking],
    threshold: float | None,
    columns: Sequence[str] = (),
    scores: bool = False,
) -> Iterator[str]:
    """A heading and a line per product for each ranking.

    Args:
        rankings: What to show.
        threshold: Of the probability that the product is in the catalog; `None` where the
            encoder was never fitted to pairs, so that its probabilities mean nothing.
        columns: To vote on; a product with another label than the elected one is marked.
        scores: Whether to show the cosine moved to [0, 1] as well.
    """
    for ranking in rankings:
        yield _heading(ranking, threshold)
        votes = [vote(ranking.matches, column) for column in columns]
        yield from (str(each) for each in votes)
        width = max(len("product"), *(len(match.product_id) for match in ranking.matches))
        score = "  score" if scores else ""
        yield f"{'rank':>6}  {'product':<{width}}  probability  cosine{score}  attributes"
        for rank, match in enumerate(ranking.matches, 1):
            score = f"  {match.score:>5.3f}" if scores else ""
            likely = "unknown" if threshold is None else f"{match.probability:.3f}"
            line = (
                f"{rank:>6}  {match.product_id:<{width}}  {likely:>11}  "
                f"{match.cosine:>6.3f}{score}  {few_attributes(match.attributes)}"
            )
            wrong = not_predicted(votes, rank - 1)
            yield line.rstrip() + (f"  [{wrong} not predicted]" if wrong else "")


def not_predicted(votes: Sequence[Vote], place: int) -> str:
    """The columns in which the match at that place has another label than the elected one."""
    return ", ".join(each.column for each in votes if each.not_predicted[place])


def _heading(ranking: Ranking, threshold: float | None) -> str:
    """What was asked, and whether that is in the catalog."""
    if ranking.product_id is not None:
        return f"like product {ranking.product_id}:"
    name = asked(ranking.query, ranking)
    if threshold is None:
        return f"{name}: {verdict(ranking, threshold)}, this encoder was not fitted to pairs"
    compared = f"probability {ranking.probability:.3f}, threshold {threshold:.3f}"
    return f"{name}: {verdict(ranking, threshold)} ({compared})"


def asked(name: str, ranking: Ranking) -> str:
    """What was asked in words, by the name of its first photo."""
    return f"{name} and {len(ranking.together)} more" if ranking.together else name


def verdict(ranking: Ranking, threshold: float | None) -> str:
    """The answer in words; `threshold` as in `rankings_as_text`."""
    if not ranking.matches:
        return "no product fits"
    if threshold is None:
        return "ranked by likeness alone"
    return "probably in this catalog" if ranking.in_catalog else "probably not in this catalog"


def products_as_json(products: pd.DataFrame) -> str:
    """A list with the columns of each product; unknown attributes are null."""
    rows = [
        {str(name): whole_or_fraction(plain(value)) for name, value in row.items()}
        for row in products.to_dict("records")
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def products_as_text(products: pd.DataFrame) -> str:
    """A table of the products, as wide as its widest values."""
    if products.empty:
        return "no products"
    known = products.astype(object).where(products.notna(), "")
    known["path"] = [p if len(p) <= WIDEST else f"…{p[1 - WIDEST :]}" for p in known["path"]]
    cells = [[str(name) for name in known], *([str(v) for v in row] for row in known.to_numpy())]
    columns = [
        [cell if column[0] == PRODUCT else clipped(cell) for cell in column]
        for column in zip(*cells, strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in zip(*columns, strict=True))
    return "\n".join(line.rstrip() for line in lines)


def clipped(text: str) -> str:
    """One line of at most `WIDEST` characters; of a longer text the beginning."""
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def few_attributes(attributes: Mapping[str, Attribute]) -> str:
    """The first attributes; those that a tagger filled in with their probability."""
    some = [item for item in attributes.items() if not item[0].endswith(MARK)]
    return ", ".join(
        f"{name} {clipped(str(value))}{_predicted(probability_of(attributes, name))}"
        for name, value in some[:SHOWN_ATTRIBUTES]
    )


def _predicted(probability: float | None) -> str:
    """The mark of a predicted value, nothing at a given one."""
    return "" if probability is None else f" (predicted {probability:.2f})"

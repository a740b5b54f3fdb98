"""How infer.py shows rankings and products: lines for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from siamese.products import MARK, Attribute, plain, whole_or_fraction

if TYPE_CHECKING:
    import pandas as pd

    from siamese.finder import Ranking

SHOWN_ATTRIBUTES = 4
WIDEST = 24  # characters of an id or value in a table for people


def rankings_as_json(rankings: Sequence[Ranking]) -> str:
    """A list with query, matches, probability and in_catalog of each ranking."""
    return json.dumps([asdict(ranking) for ranking in rankings], indent=2, ensure_ascii=False)


def rankings_as_text(rankings: Sequence[Ranking], threshold: float) -> Iterator[str]:
    """A heading and a line per product for each ranking."""
    for ranking in rankings:
        compared = f"probability {ranking.probability:.3f}, threshold {threshold:.3f}"
        yield f"{asked(ranking.query, ranking)}: {verdict(ranking)} ({compared})"
        width = max(len("product"), *(len(clipped(match.product_id)) for match in ranking.matches))
        yield f"{'rank':>6}  {'product':<{width}}  probability  cosine  attributes"
        for rank, match in enumerate(ranking.matches, 1):
            line = (
                f"{rank:>6}  {clipped(match.product_id):<{width}}  {match.probability:>11.3f}  "
                f"{match.cosine:>6.3f}  {_few(match.attributes)}"
            )
            yield line.rstrip()


def asked(name: str, ranking: Ranking) -> str:
    """What was asked in words, by the name of its first photo."""
    return f"{name} and {len(ranking.together)} more" if ranking.together else name


def verdict(ranking: Ranking) -> str:
    """The answer in words."""
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
    columns = [[clipped(cell) for cell in column] for column in zip(*cells, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in zip(*columns, strict=True))
    return "\n".join(line.rstrip() for line in lines)


def clipped(text: str) -> str:
    """At most `WIDEST` characters; of a longer text the beginning."""
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _few(attributes: Mapping[str, Attribute]) -> str:
    """The first attributes; those that a tagger filled in with their probability."""
    some = [item for item in attributes.items() if not item[0].endswith(MARK)]
    return ", ".join(
        f"{name} {clipped(str(value))}{_predicted(attributes.get(name + MARK))}"
        for name, value in some[:SHOWN_ATTRIBUTES]
    )


def _predicted(probability: Attribute) -> str:
    """The mark of a predicted value, nothing at a given one."""
    return "" if probability is None else f" (predicted {probability:.2f})"

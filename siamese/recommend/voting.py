"""Label voting: the label that most of the retrieved products have is the predicted one.

System 2's rule, with votes weighted by similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from siamese.products import Attribute

TIE = 1e-9  # sums of weights that are nearer than this are equal


class Voter(Protocol):
    """What votes, best first: a `siamese.finder.Match`, for example."""

    @property
    def cosine(self) -> float: ...

    @property
    def attributes(self) -> dict[str, Attribute]: ...


@dataclass(frozen=True)
class Vote:
    """The result of one column.

    Args:
        column: Whose labels were voted on.
        label: The elected one; `None` if no product has a label.
        share: Of the weight of all products that have a label, in [0, 1].
        not_predicted: Of each product, whether it has another label than the elected one.
            Products without a label have no other.
    """

    column: str
    label: Attribute
    share: float
    not_predicted: tuple[bool, ...]

    def __str__(self) -> str:
        if self.label is None:
            return f"{self.column}: none of these products has one"
        return f"{self.column}: {self.label}, by {self.share:.0%} of the vote"


def vote(matches: Sequence[Voter], column: str) -> Vote:
    """Elect a label: every product votes for its own with its cosine as weight.

    A product at a cosine of 0 or below weighs nothing, unless all do: then all weigh the same.
    Of labels with equal weight the one of the product ranked first wins.

    Args:
        matches: Best first.
        column: An attribute.
    """
    labels = [match.attributes.get(column) for match in matches]
    weights = [max(match.cosine, 0.0) for match in matches]
    known = [place for place, label in enumerate(labels) if label is not None]
    if not any(weights[place] for place in known):
        weights = [1.0] * len(matches)
    totals: dict[Attribute, float] = {}
    for place in known:
        totals[labels[place]] = totals.get(labels[place], 0.0) + weights[place]
    best = max(totals.values(), default=0.0)
    elected = next((label for label, total in totals.items() if total > best - TIE), None)
    share = totals[elected] / sum(totals.values()) if totals else 0.0
    others = tuple(label is not None and label != elected for label in labels)
    return Vote(column, elected, share, others)

"""The label that most of the retrieved products have, weighted by their likeness."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from siamese.products import Attribute
from siamese.recommend.voting import Vote, vote


@dataclass(frozen=True)
class Retrieved:
    cosine: float
    attributes: dict[str, Attribute]


def retrieved(*pairs: tuple[float, Attribute]) -> list[Retrieved]:
    return [Retrieved(cosine, {} if label is None else {"kind": label}) for cosine, label in pairs]


def test_the_label_with_the_largest_sum_of_cosines_wins() -> None:
    """Two shirts weigh .9, three hats .8: the vote is not by heads."""
    result = vote(
        retrieved((0.5, "shirt"), (0.4, "shirt"), (0.3, "hat"), (0.3, "hat"), (0.2, "hat")), "kind"
    )
    assert result.label == "shirt"
    assert result.share == pytest.approx(0.9 / 1.7)
    assert result.not_predicted == (False, False, True, True, True)
    assert str(result) == "kind: shirt, by 53% of the vote"


def test_products_without_the_label_neither_vote_nor_are_marked() -> None:
    result = vote(retrieved((0.9, None), (0.5, "hat"), (0.2, "shirt")), "kind")
    assert result == Vote("kind", "hat", 0.5 / 0.7, (False, False, True))


@pytest.mark.parametrize("pairs", [[("b", 0.4), ("a", 0.4)], [("b", 0.5), ("a", 0.3), ("a", 0.2)]])
def test_of_equal_weights_the_label_ranked_first_wins(pairs: list[tuple[str, float]]) -> None:
    """.3 + .2 is not exactly .5 in binary."""
    assert vote(retrieved(*[(cosine, label) for label, cosine in pairs]), "kind").label == "b"


def test_opposites_weigh_nothing_unless_there_is_nothing_else() -> None:
    assert vote(retrieved((0.1, "hat"), (-0.9, "shirt"), (-0.9, "shirt")), "kind").share == 1.0
    result = vote(retrieved((-0.1, "hat"), (-0.5, "shirt"), (-0.6, "shirt")), "kind")
    assert (result.label, result.share) == ("shirt", 2 / 3)


def test_one_product_or_none_is_no_error() -> None:
    assert vote(retrieved((0.3, "hat")), "kind") == Vote("kind", "hat", 1.0, (False,))
    nobody = vote(retrieved((0.3, None)), "kind")
    assert nobody == Vote("kind", None, 0.0, (False,))
    assert str(nobody) == "kind: none of these products has one"
    assert vote([], "kind").label is None


def test_truth_values_and_numbers_are_labels_too() -> None:
    assert vote(retrieved((0.3, True), (0.2, False)), "kind").label is True
    assert vote(retrieved((0.3, 2011.0), (0.2, 2012.0)), "kind").label == 2011.0

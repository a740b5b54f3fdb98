"""A ranking for one person: moved by likes, without what is never shown, preferred values first.

Shapes: Q queries, D embedding size, A liked and B disliked products, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siamese.catalog import CatalogError
from siamese.comparison import Comparison
from siamese.exact_search import CANDIDATES
from siamese.finder import Finder
from siamese.ranking import Match, Ranking
from siamese.recommend.taste import Taste, embeddings_of, preferred
from siamese.recommend.variety import vary
from siamese.snapshot import Snapshot

QUERY, LIKED, DISLIKED = 1.0, 0.75, 0.15  # weights of Rocchio's formula, as the source has them
PREFERENCE = 2.0  # standard deviations that a preferred value is worth
POOL = 5  # so many times the wanted products are looked at, where they are ordered anew


class PersonalFinder(Finder):
    """Ranks a catalog for one person.

    Cosines and probabilities are of the query after the likes have moved it; preferences and
    variety change the order alone. With any of these the best products are not compared with the
    photo (`siamese.comparison`).

    Args:
        finder: Ranks for everybody, and is asked with the moved query.
        taste: The person's profile.
        variety: From 0 (the most alike first) to 1 (each as different from those before it as
            can be); see `siamese.recommend.variety`.
    """

    def __init__(self, finder: Finder, taste: Taste, variety: float = 0.0) -> None:
        super().__init__(
            finder.checkpoint, finder.catalog, finder.product_score, finder.rerank, finder.codes
        )
        self.finder = finder
        self.taste = taste
        self.variety = variety

    @property
    def moves_queries(self) -> bool:
        return bool(self.taste.likes or self.taste.dislikes)

    @property
    def looks(self) -> Comparison | None:
        others = self.moves_queries or self.taste.prefer or self.variety
        return None if others else self.finder.looks

    def rank_in(
        self,
        snapshot: Snapshot,
        embeddings: Tensor,
        top: int = 20,
        chosen: np.ndarray | None = None,
        names: Sequence[str] | None = None,
        sights: Sequence[Tensor | None] | None = None,
    ) -> list[Ranking]:
        """As `Finder.rank_in`, for this person.

        Raises:
            CatalogError: The profile names what the catalog does not know, or leaves nothing.
        """
        self.taste.check(snapshot)
        photos = np.arange(len(snapshot.product)) if chosen is None else chosen
        chosen = photos[self.taste.allows(snapshot)[snapshot.product[photos]]]
        if not len(chosen):
            raise CatalogError("the profile rules out every product; loosen `never`")
        moved = rocchio(
            embeddings,
            torch.from_numpy(embeddings_of(snapshot, self.taste.likes)),
            torch.from_numpy(embeddings_of(snapshot, self.taste.dislikes)),
        )
        if not self.taste.prefer and not self.variety:
            seen = None if self.moves_queries else sights
            return self.finder.rank_in(snapshot, moved, top, chosen, names, seen)
        considered = max(CANDIDATES, POOL * top)
        rankings = self.finder.rank_in(snapshot, moved, considered, chosen, names)
        return [reordered(r, snapshot, self.taste, top, self.variety) for r in rankings]


def reordered(
    ranking: Ranking, snapshot: Snapshot, taste: Taste, top: int, variety: float
) -> Ranking:
    """The ranking's best products after preferred values and variety have had their say.

    Each column with a preferred value is worth two standard deviations of the cosines of the
    products looked at, so that the weight means the same with any encoder.
    """
    cosines = np.array([match.cosine for match in ranking.matches])
    wanted = np.array([preferred(taste, match.attributes) for match in ranking.matches])
    scores = cosines + PREFERENCE * cosines.std() * wanted
    ids = [match.product_id for match in ranking.matches]
    order = vary(scores, embeddings_of(snapshot, ids), top, variety)
    matches: list[Match] = [ranking.matches[place] for place in order]
    return replace(ranking, matches=tuple(matches))


def rocchio(query: Tensor, liked: Tensor, disliked: Tensor) -> Tensor:
    """Queries moved towards what is liked and away from what is disliked.

    q' = a q + b mean(liked) − c mean(disliked), with a, b, c = 1, 0.75, 0.15 (Rocchio 1971; these
    weights: Manning, Raghavan and Schütze 2008, section 9.1.1), here of unit length again.

    Args:
        query: float32 (Q, D).
        liked: float32 (A, D), A may be 0.
        disliked: float32 (B, D), B may be 0.

    Returns:
        float32 (Q, D).
    """
    if not len(liked) and not len(disliked):
        return query
    moved = QUERY * query.double()
    if len(liked):
        moved = moved + LIKED * liked.double().mean(dim=0)
    if len(disliked):
        moved = moved - DISLIKED * disliked.double().mean(dim=0)
    return functional.normalize(moved, dim=1).float()

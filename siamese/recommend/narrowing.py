"""System 4's two steps for an unknown photo: its category, then the nearest candidate's kind.

An option, not the default: it saves milliseconds of the ranking, and is less often right than
ranking everything or asking a tagger (benchmarks/unknown_photo.py).

Shapes: Q queries, G kinds, M catalog photos, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from siamese.attributes.label_table import column_of, table_of
from siamese.attributes.tagger import Tagger
from siamese.attributes.tensor_file import TaggerError
from siamese.finder import Finder
from siamese.products import Attribute
from siamese.ranking import Ranking
from siamese.recommend.candidates import Candidates, candidates_of
from siamese.recommend.defaults import CATEGORY, LABEL
from siamese.snapshot import Snapshot


@dataclass(frozen=True)
class Kinds:
    """The candidates of one version of a catalog.

    Args:
        version: Of the catalog.
        candidates: A medoid per kind.
        category: Of each medoid, G of them.
    """

    version: int
    candidates: Candidates
    category: np.ndarray

    def nearest(self, queries: np.ndarray, category: Sequence[Attribute]) -> np.ndarray:
        """The kind of the nearest candidate of each query's category.

        Args:
            queries: float32 (Q, D), unit length.
            category: Q of them; one that no candidate has leaves all candidates.

        Returns:
            int64 (Q,), of equally near ones the first.
        """
        cosines = queries @ self.candidates.embeddings.T
        same = np.array([self.category == wanted for wanted in category]).reshape(cosines.shape)
        same |= ~same.any(axis=1, keepdims=True)
        kinds: np.ndarray = np.where(same, cosines, -np.inf).argmax(axis=1)
        return kinds


class NarrowingFinder(Finder):
    """Ranks only the products of the kind that a photo seems to show.

    Args:
        finder: Checkpoint, catalog and ways of ranking.
        tagger: Predicts the category from embeddings.
        label: The column that says the kind.
        category: The tagger's column that is asked first.

    Raises:
        TaggerError: The tagger looks at something else, or does not know the category.
    """

    def __init__(
        self, finder: Finder, tagger: Tagger, label: str = LABEL, category: str = CATEGORY
    ) -> None:
        super().__init__(
            finder.checkpoint, finder.catalog, finder.product_score, finder.rerank, finder.codes
        )
        tagger.check(finder.checkpoint.fingerprint)
        known = [column.name for column in tagger.card.columns]
        if tagger.card.input != "embedding" or category not in known:
            raise TaggerError(
                f"narrowing needs a tagger of {category} that looks at embeddings; train one with "
                f"infer.py tagger train --input embedding --columns {category}"
            )
        self.tagger = tagger
        self.label = label
        self.category = category
        self._kinds: Kinds | None = None

    def rank_in(
        self,
        snapshot: Snapshot,
        embeddings: Tensor,
        top: int = 20,
        chosen: np.ndarray | None = None,
        names: Sequence[str] | None = None,
        sights: Sequence[Tensor | None] | None = None,
    ) -> list[Ranking]:
        """As `Finder.rank_in`, each query among the products of its kind.

        Where a filter leaves none of the kind, all that it leaves is ranked.
        """
        names = names or [f"photo {number}" for number in range(1, len(embeddings) + 1)]
        kinds = self.kinds_of(snapshot)
        photos = np.arange(len(snapshot.product)) if chosen is None else chosen
        group = kinds.candidates.group[snapshot.product[photos]]
        rankings = []
        for number, kind in enumerate(self.kinds(snapshot, embeddings)):
            one = slice(number, number + 1)
            narrowed = photos[group == kind]
            within = narrowed if len(narrowed) else photos
            seen = None if sights is None else sights[one]
            rankings += super().rank_in(snapshot, embeddings[one], top, within, names[one], seen)
        return rankings

    def kinds(self, snapshot: Snapshot, embeddings: Tensor) -> np.ndarray:
        """The kind that each photo seems to show, as places in the candidates, int64 (Q,)."""
        tags = self.tagger.tags(embeddings)
        category = [row[self.category].value for row in tags]
        return self.kinds_of(snapshot).nearest(embeddings.numpy(), category)

    def kinds_of(self, snapshot: Snapshot) -> Kinds:
        """The candidates, worked out once per version of the catalog."""
        if self._kinds is None or self._kinds.version != snapshot.version:
            table = table_of(snapshot, [self.label], np.arange(len(snapshot.product_ids)))
            found = candidates_of(table)
            medoids = np.array([snapshot.place_of[name] for name in found.product_ids])
            category = column_of(snapshot, self.category, medoids, predicted=True)
            self._kinds = Kinds(snapshot.version, found, np.array(category, dtype=object))
        return self._kinds

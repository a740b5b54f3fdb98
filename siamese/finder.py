"""Checkpoint + catalog: which products does a photo show? Exact, and the same every time.

Shapes: Q queries, M catalog photos, N catalog products, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from siamese.catalog import Catalog, CatalogError
from siamese.checkpoint import Checkpoint
from siamese.exact_search import CANDIDATES, best_photos
from siamese.photos import PhotoSource
from siamese.preprocessing import Box
from siamese.products import Attribute
from siamese.quantisation import Codes, Int8Codes, SignBits, codes_of
from siamese.reranking import RERANKINGS
from siamese.snapshot import Snapshot

DIGITS = 5  # of a probability or score
ALIKE = 1e-6  # cosines that differ by less are equal

ProductScore = Literal["max", "mean"]
Rerank = Literal["none", "expansion", "reciprocal"]


@dataclass(frozen=True)
class Match:
    """A product of the catalog, as an answer.

    Args:
        product_id: Which.
        path: Its photo that is most alike; of products ranked by their mean, the first one.
        cosine: Of the query and that photo, or the mean of the product's photos.
        probability: That the photo shows this very product rather than another of the catalog
            or none of it, in (0, 1).
        attributes: What the catalog knows of it.
        score: The cosine moved to [0, 1]: 1 for the best of all products that were ranked, shown
            or not, and 0 for the worst (min-max normalisation, as in system 3).
    """

    product_id: str
    path: str
    cosine: float
    probability: float
    attributes: dict[str, Attribute]
    score: float


@dataclass(frozen=True)
class Ranking:
    """The answer to one photo.

    Args:
        query: What the photo is called.
        matches: The best products, best first; ties in order of the product ids. After a
            re-ranking neither cosines nor probabilities fall in that order, for both are still
            of the photo itself: the calibration was fitted on cosines, not on new orders.
        probability: That the photo's product is in the catalog (or its filtered part) at all.
        in_catalog: Whether that reaches the checkpoint's threshold.
        together: Further photos of the same garment that were asked together with the query.
        product_id: The product of the catalog that was asked for the like of; then the query is
            its first photo.
    """

    query: str
    matches: tuple[Match, ...]
    probability: float
    in_catalog: bool
    together: tuple[str, ...] = ()
    product_id: str | None = None


class Finder:
    """Ranks a catalog's products for photos; sees what other processes write to it.

    Args:
        checkpoint: The encoder that made the catalog's embeddings, and what its cosines mean.
        catalog: An open catalog, or where it is.
        product_score: What counts of a product with several photos: the one that is most alike
            (`max`), or the normalised mean of their embeddings. Probabilities are fitted for
            single photos, so for a mean they are somewhat off; benchmarks/tricks.py measures it.
        rerank: How the best products are ordered anew, see `siamese.reranking`.
        codes: What a first pass looks at: embeddings, or codes of them that are made once per
            version of the catalog. Exact cosines of the photos that can be among the best
            (`int8`: the matches are the same) or seem to be (`binary`: nearly) follow. What signs
            say of all others is rough, and so are the probabilities then.

    Raises:
        CatalogError: There is no such catalog, or another encoder made it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        catalog: Catalog | str | Path,
        product_score: ProductScore = "max",
        rerank: Rerank = "none",
        codes: Codes = "none",
    ) -> None:
        if not isinstance(catalog, Catalog):
            catalog = Catalog.open(catalog)
        catalog.check(checkpoint.fingerprint)
        self.checkpoint = checkpoint
        self.cohort = checkpoint.cohort
        self.catalog = catalog
        self.product_score = product_score
        self.rerank = rerank
        self.codes = codes
        self._coded: tuple[np.ndarray | None, Int8Codes | SignBits | None] = (None, None)

    @property
    def moves_queries(self) -> bool:
        """Whether cosines are of something else than the photo that was given."""
        return False

    def rank(
        self,
        photos: Sequence[PhotoSource],
        top: int = 20,
        where: str | None = None,
        boxes: Sequence[Box | None] | None = None,
    ) -> list[Ranking]:
        """Rank the catalog for each photo of a person.

        Args:
            photos: Paths, encoded bytes or open binary files.
            top: How many products of each ranking.
            where: Rank only products that this SQL condition holds for, for example
                `articleType = 'Tshirts'`.
            boxes: For each photo the part to look at, in its own pixels, or None for all of it.

        Raises:
            PhotoError: A photo cannot be used.
            CatalogError: The catalog is empty, or the filter is wrong or matches nothing.
        """
        names = [
            str(photo) if isinstance(photo, str | Path) else f"photo {number}"
            for number, photo in enumerate(photos, start=1)
        ]
        embeddings = self.checkpoint.embed(photos, boxes, people=True)
        return self.rank_embeddings(embeddings, top, where, names)

    def rank_embeddings(
        self,
        embeddings: Tensor,
        top: int = 20,
        where: str | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Ranking]:
        """Rank the catalog for photos that are embedded already.

        Args:
            embeddings: float32 (Q, D), unit length.
            top, where: As in `rank`.
            names: What the rankings call their photos.

        Raises:
            CatalogError: As in `rank`.
        """
        snapshot = self.catalog.snapshot()
        chosen = self._chosen(snapshot, where)
        return self.rank_in(snapshot, embeddings, top, chosen, names)

    def rank_in(
        self,
        snapshot: Snapshot,
        embeddings: Tensor,
        top: int = 20,
        chosen: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Ranking]:
        """Rank one version of the catalog for photos that are embedded already.

        Args:
            snapshot: Of this catalog, not empty.
            embeddings, top, names: As in `rank_embeddings`.
            chosen: Places of the photos to rank, ascending int64 (at least 1,); `None` for all.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, not {top}")
        names = names or [f"photo {number}" for number in range(1, len(embeddings) + 1)]
        gallery, product, photo, codes = self._gallery(snapshot, chosen)
        considered = top if self.rerank == "none" else max(top, CANDIDATES)
        rankings = []
        found = best_photos(embeddings, gallery, product, considered, codes=codes)
        for name, query, (places, cosines, others) in zip(names, embeddings, found, strict=True):
            order = self._order(query, gallery[torch.from_numpy(places)])
            shown, hidden = order[:top], torch.from_numpy(cosines[order[top:]])
            others = torch.cat([hidden, others])
            cohort = self._cohort(snapshot, query, photo[places[0]])
            rankings.append(
                self._ranking(name, snapshot, photo[places[shown]], cosines[shown], others, cohort)
            )
        return rankings

    def _gallery(
        self, snapshot: Snapshot, chosen: np.ndarray | None
    ) -> tuple[Tensor, np.ndarray, np.ndarray, Int8Codes | SignBits | None]:
        """What is ranked: embeddings (M, D), of each the product and the photo shown, and codes.

        A product's mean is over all of its photos, also where a filter chose some of them.
        """
        if self.product_score == "mean":
            gallery, product = snapshot.means, np.arange(len(snapshot.product_ids))
            photo = snapshot.first
            chosen = chosen if chosen is None else np.unique(snapshot.product[chosen])
        else:
            gallery, product = snapshot.embeddings, snapshot.product
            photo = np.arange(len(product))
        codes = self._codes(gallery)
        if chosen is not None:
            gallery, product, photo = gallery[chosen], product[chosen], photo[chosen]
            codes = codes and codes.of(chosen)
        return torch.from_numpy(gallery), product, photo, codes

    def _codes(self, embeddings: np.ndarray) -> Int8Codes | SignBits | None:
        """Codes of all that can be ranked, made once per version of the catalog."""
        coded = self._coded
        if coded[0] is not embeddings:
            coded = self._coded = (embeddings, codes_of(embeddings, self.codes))
        return coded[1]

    def _order(self, query: Tensor, candidates: Tensor) -> np.ndarray:
        """Candidates' places from best to worst, int64; as they are without a re-ranking."""
        if self.rerank == "none":
            return np.arange(len(candidates))
        scores = RERANKINGS[self.rerank](query, candidates)
        return scores.argsort(descending=True, stable=True).numpy()

    def _cohort(self, snapshot: Snapshot, query: Tensor, first: int) -> Tensor | None:
        """Cosines of a query (D,) with the checkpoint's cohort, (1, B), as of `Cohort.cosines`.

        first: Place of the photo that was found first.
        """
        cohort = self.cohort
        if cohort is None:
            return None
        product = snapshot.product[first]
        start, stop = np.searchsorted(snapshot.product, [product, product + 1])
        own = torch.from_numpy(snapshot.embeddings[start:stop])
        found = cohort.of_product(snapshot.product_ids[product], own)
        return cohort.cosines(query[None], found)

    def _chosen(self, snapshot: Snapshot, where: str | None) -> np.ndarray | None:
        """Places of the photos to rank, `None` for all."""
        if not snapshot.product_ids:
            raise CatalogError(f"{self.catalog.uri}: the catalog is empty; add products to it")
        if where is None:
            return None
        return snapshot.select_some(where)

    def _ranking(
        self,
        name: str,
        snapshot: Snapshot,
        places: np.ndarray,
        cosines: np.ndarray,
        others: Tensor,
        cohort: Tensor | None,
    ) -> Ranking:
        """The ranking whose matches are these photos of the catalog, in order."""
        calibration = self.checkpoint.calibration
        every = torch.cat([torch.from_numpy(cosines), others])[None]
        among = calibration.among(every, cohort)[0]
        # The others' scores are of float32, whose last digits depend on the batch.
        probabilities = among[: len(cosines)].numpy().round(DIGITS).tolist()
        present = round(1 - float(among[-1]), DIGITS)
        matches = tuple(
            Match(
                snapshot.product_ids[snapshot.product[place]],
                path,
                cosine,
                probability,
                known,
                score,
            )
            for place, cosine, probability, score, (path, known) in zip(
                places,
                cosines.tolist(),
                probabilities,
                normalised(cosines, others),
                snapshot.describe(places),
                strict=True,
            )
        )
        return Ranking(name, matches, present, present >= calibration.catalog_threshold)


def normalised(cosines: np.ndarray, others: Tensor) -> list[float]:
    """Cosines moved so that the best of all is 1 and the worst 0; all 1 where they are equal.

    Args:
        cosines: Of the products shown, float64 (k,).
        others: Of all others, float64 (any,).
    """
    every = np.concatenate([cosines, others.numpy()])
    lowest, spread = every.min(), np.ptp(every)
    # The others' are of float32: less than this is no difference.
    moved = (cosines - lowest) / spread if spread > ALIKE else np.ones_like(cosines)
    return [float(score) for score in moved.clip(0, 1).round(DIGITS)]

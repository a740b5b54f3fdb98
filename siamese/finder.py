"""Checkpoint + catalog: which products does a photo show? Exact, and the same every time.

Shapes: Q queries, M catalog photos, N catalog products, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from siamese.catalog import Catalog, CatalogError
from siamese.checkpoint import Checkpoint
from siamese.comparison import COMPARED, Comparison
from siamese.embedding import embed_all
from siamese.exact_search import CANDIDATES, best_photos
from siamese.photos import PhotoSource
from siamese.preprocessing import Box
from siamese.quantisation import Codes, Int8Codes, SignBits, codes_of
from siamese.ranking import DIGITS, Candidates, Match, Ranking, normalised
from siamese.reranking import RERANKINGS
from siamese.second_opinion import SecondOpinion
from siamese.snapshot import Snapshot

ProductScore = Literal["max", "mean"]
Rerank = Literal["none", "expansion", "reciprocal"]


class Finder:
    """Ranks a catalog's products for photos; sees what other processes write to it.

    Args:
        checkpoint: The encoder that made the catalog's embeddings, and what its cosines mean.
        catalog: An open catalog, or where it is.
        product_score: What counts of a product with several photos: the one that is most alike
            (`max`), or the normalised mean of their embeddings. Probabilities are fitted for
            single photos, so for a mean they are somewhat off; benchmarks/tricks.py measures it.
        rerank: How the best products are ordered anew, see `siamese.reranking`; then they are
            not compared.
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
        own = checkpoint.comparison
        self.second_opinion = None if own is None else SecondOpinion(own)
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
        if self.second_opinion is not None:  # which looks again; an open file can be read once
            photos = [p if isinstance(p, str | Path | bytes) else p.read() for p in photos]
        people = [True] * len(photos)
        embedded = embed_all(self.checkpoint, photos, boxes, people=people, comparison=self.looks)
        if embedded.broken:
            raise next(iter(embedded.broken.values()))
        return self.rank_embeddings(embedded.embeddings, top, where, names, embedded.each_seen())

    @property
    def looks(self) -> Comparison | None:
        """What has to look at photos, too, that are ranked; None where nothing is compared."""
        return None if self.rerank != "none" else self.checkpoint.comparison

    def rank_embeddings(
        self,
        embeddings: Tensor,
        top: int = 20,
        where: str | None = None,
        names: Sequence[str] | None = None,
        sights: Sequence[Tensor | None] | None = None,
    ) -> list[Ranking]:
        """Rank the catalog for photos that are embedded already.

        Args:
            embeddings: float32 (Q, D), unit length.
            top, where: As in `rank`.
            names: What the rankings call their photos.
            sights: Of each query's photos, as of `Comparison.sights`, int8 (any, N, S); None,
                of one or of all: by embeddings alone.

        Raises:
            CatalogError: As in `rank`.
        """
        snapshot = self.catalog.snapshot()
        chosen = self._chosen(snapshot, where)
        return self.rank_in(snapshot, embeddings, top, chosen, names, sights)

    def rank_in(
        self,
        snapshot: Snapshot,
        embeddings: Tensor,
        top: int = 20,
        chosen: np.ndarray | None = None,
        names: Sequence[str] | None = None,
        sights: Sequence[Tensor | None] | None = None,
    ) -> list[Ranking]:
        """Rank one version of the catalog for photos that are embedded already.

        Args:
            snapshot: Of this catalog, not empty.
            embeddings, top, names, sights: As in `rank_embeddings`.
            chosen: Places of the photos to rank, ascending int64 (at least 1,); `None` for all.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, not {top}")
        names = names or [f"photo {number}" for number in range(1, len(embeddings) + 1)]
        gallery, product, photo, codes = self._gallery(snapshot, chosen)
        considered = top if self.rerank == "none" else max(top, CANDIDATES)
        if sights is not None:
            considered = max(considered, COMPARED)
        rankings = []
        found = best_photos(embeddings, gallery, product, considered, codes=codes)
        for number, (places, cosines, others) in enumerate(found):
            query = embeddings[number]
            candidates = Candidates(photo[places], cosines, torch.from_numpy(cosines), others)
            sight = None if sights is None else sights[number]
            if self.rerank != "none":
                order = self._order(query, gallery[torch.from_numpy(places)])
            else:
                if sight is not None:
                    candidates = self._compared(snapshot, sight, candidates)
                order = candidates.likeness.argsort(descending=True, stable=True).numpy()
            first = candidates.photos[int(candidates.likeness.argmax())]
            cohort = self._cohort(snapshot, query, first)
            rankings.append(self._ranking(names[number], snapshot, candidates, order[:top], cohort))
        return rankings

    def _compared(self, snapshot: Snapshot, sight: Tensor, found: Candidates) -> Candidates:
        """The first candidates looked at again; as they are where no photo of them can be used."""
        opinion = self.second_opinion
        if opinion is None:
            raise ValueError("the checkpoint has no comparison, so there is nothing to see with")
        best = found.photos[:COMPARED]
        paths = [path for path, _ in snapshot.describe(best)]
        keeps = snapshot.comparison == opinion.comparison.fingerprint
        logits = opinion.logits(sight, paths, snapshot.sights(best) if keeps else None)
        known = logits[logits.isfinite()].double()
        if not len(known):
            return replace(found, uncompared=len(paths))
        own = torch.full((len(found.photos),), float(known.min()), dtype=torch.double)
        own[: len(logits)] = logits.double().nan_to_num(float(known.min()))
        comparison = opinion.comparison
        return replace(
            found,
            likeness=comparison.likeness(found.likeness, own),
            others=comparison.of_others(found.others, known),
            compared=len(known),
            uncompared=len(paths) - len(known),
        )

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
        """Candidates' places from best to worst after a re-ranking, int64."""
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
        found: Candidates,
        shown: np.ndarray,
        cohort: Tensor | None,
    ) -> Ranking:
        """The ranking whose matches are these of the candidates, in order.

        shown: Their places, int64 (at least 1,).
        """
        calibration = self.checkpoint.calibration
        if found.compared and self.checkpoint.comparison is not None:
            calibration = self.checkpoint.comparison.calibration
        hidden = np.setdiff1d(np.arange(len(found.photos)), shown)
        likeness, others = found.likeness[shown], torch.cat([found.likeness[hidden], found.others])
        among = calibration.among(torch.cat([likeness, others])[None], cohort)[0]
        # The others' scores are of float32, whose last digits depend on the batch.
        probabilities = among[: len(shown)].numpy().round(DIGITS).tolist()
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
                found.photos[shown],
                found.cosines[shown].tolist(),
                probabilities,
                normalised(likeness.numpy(), others),
                snapshot.describe(found.photos[shown]),
                strict=True,
            )
        )
        is_in = present >= calibration.catalog_threshold
        return Ranking(
            name,
            matches,
            present,
            is_in,
            compared=found.compared,
            uncompared=found.uncompared,
        )

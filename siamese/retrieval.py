"""Ranking a catalog for query photos, and how good the ranking is: pure functions on tensors.

Shapes: Q queries, M gallery photos, N gallery products, E photos of distractors, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from siamese.errors import UserError

TOP = (1, 5, 10, 20)


@dataclass(frozen=True)
class RetrievalReport:
    """How often the right product is among the first k.

    Args:
        queries: Person photos asked per draw, those whose product is missing included.
        distinct_queries: Different person photos over all draws: the sample size of intervals.
        catalog_size: Products ranked for each of them.
        draws: Random galleries that the figures are means over.
        top: Share of queries whose product is among the first k, for each k.
        mean_reciprocal_rank: Mean of 1 / rank of the right product; 0 for a missing one.
        mean_average_precision: Mean over queries of the average precision of all gallery photos
            of the right product; equals the former where products have one photo.
    """

    queries: int
    distinct_queries: int
    catalog_size: int
    draws: int
    top: dict[int, float]
    mean_reciprocal_rank: float
    mean_average_precision: float

    def chance(self, k: int) -> float:
        """Share that a random order would reach at k."""
        return min(1.0, k / self.catalog_size)

    def interval(self, k: int) -> tuple[float, float]:
        """95 % Wilson interval of the share at k; repeated queries are not counted as new ones."""
        return wilson_interval(self.top[k], self.distinct_queries)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        row: dict[str, Any] = {
            "queries": self.queries,
            "distinct_queries": self.distinct_queries,
            "catalog_size": self.catalog_size,
            "draws": self.draws,
        }
        for k, share in self.top.items():
            low, high = self.interval(k)
            row |= {f"top_{k}": share, f"top_{k}_low": low, f"top_{k}_high": high}
            row[f"chance_{k}"] = self.chance(k)
        row["mean_reciprocal_rank"] = self.mean_reciprocal_rank
        row["mean_average_precision"] = self.mean_average_precision
        return row


@dataclass(frozen=True)
class Distractors:
    """Products in the gallery that nobody is looking for.

    Args:
        embedding: Unit embeddings, float32 (E, D).
        product: int64 (E,), any numbers; they are other products than all others of the gallery.
    """

    embedding: Tensor
    product: Tensor

    def __len__(self) -> int:
        """How many products."""
        return len(self.product.unique())

    def numbered_below(self, smallest: int) -> Tensor:
        """Their products as int64 (E,) below that number, so that they come first in a tie."""
        _, number = self.product.unique(return_inverse=True)
        return smallest - 1 - number


class Cosines:
    """How alike photos are: by the cosines of their embeddings, which their vectors are.

    `siamese.comparison_report` has another way, for which a vector is more than an embedding.
    """

    def embeddings(self, vectors: Tensor) -> Tensor:
        """Unit embeddings, float32 (any, D), of vectors."""
        return vectors

    def of_pairs(self, people: Tensor, things: Tensor) -> Tensor:
        """Of photos side by side, vectors (P, any) each: float32 (P,)."""
        return (people * things).sum(dim=1)

    def of_gallery(self, queries: Tensor, gallery: Tensor, product: Tensor) -> Tensor:
        """Of each query with each photo of a gallery: float32 (Q, M).

        Args:
            queries: Vectors, (Q, any).
            gallery: Likewise, (M, any).
            product: int64 (M,), whose photos these are, any numbers.
        """
        return queries @ gallery.T


COSINES = Cosines()


def wilson_interval(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % confidence interval of a share of `count` trials (Wilson 1927); (0, 1) for none."""
    if count == 0:
        return 0.0, 1.0
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    total = 1 + z * z / count
    return max(0.0, (centre - spread) / total), min(1.0, (centre + spread) / total)


def mean_embedding(embeddings: Tensor) -> Tensor:
    """One query for several photos of one garment: float32 (any, D) → (1, D), unit length."""
    return functional.normalize(embeddings.double().mean(dim=0, keepdim=True), dim=1).float()


def product_scores(cosine: Tensor, product: Tensor, products: int) -> Tensor:
    """Best cosine over each product's photos.

    Args:
        cosine: float (Q, M), query against gallery photo.
        product: int64 (M,), the product of each gallery photo, in 0…products − 1.
        products: N.

    Returns:
        float (Q, N); −inf for a product without photo.
    """
    scores = cosine.new_full((cosine.shape[0], products), -torch.inf)
    return scores.scatter_reduce(1, product.expand_as(cosine), cosine, "amax")


def ranks_of(scores: Tensor, right: Tensor) -> Tensor:
    """Rank of each query's right product, from 1; ties go to the smaller product number.

    Args:
        scores: float (Q, N).
        right: int64 (Q,), number of the right product, −1 where it is not in the gallery.

    Returns:
        float64 (Q,); +inf where the right product is missing or its score is not a number: a miss
        at every k.
    """
    own = scores.gather(1, right.clamp(min=0)[:, None])
    known = (right >= 0) & ~own[:, 0].isnan()
    earlier = torch.arange(scores.shape[1], device=scores.device) < right[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    ranks = 1.0 + ahead.sum(dim=1).double()
    return torch.where(known, ranks, torch.inf)


def average_precisions(cosine: Tensor, relevant: Tensor) -> Tensor:
    """Average precision of each query over gallery photos, ties in gallery order.

    Args:
        cosine: float (Q, M).
        relevant: bool (Q, M).

    Returns:
        float64 (Q,); 0 for a query without any relevant photo.
    """
    order = cosine.argsort(dim=1, descending=True, stable=True)
    hits = relevant.gather(1, order).double()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1, device=hits.device)
    return (precision * hits).sum(1) / hits.sum(1).clamp(min=1)


def measure(
    query: Tensor,
    query_product: Tensor,
    gallery: Tensor,
    gallery_product: Tensor,
    top: Sequence[int] = TOP,
    chunk: int = 1024,
    likeness: Cosines = COSINES,
) -> RetrievalReport:
    """Rank the gallery for every query.

    Args:
        query: Unit embeddings, float (Q, D).
        query_product: int64 (Q,), any numbers; or (Q, A), where any of a query's A products is
            right, and negative numbers are none.
        gallery: Unit embeddings, float (M, D).
        gallery_product: int64 (M,), any numbers; several photos of one product count by the best.
        top: The k of top-k.
        chunk: Queries ranked at a time, to bound memory.
        likeness: Of vectors, which may be more than embeddings.

    Raises:
        UserError: No query or no gallery photo, or embeddings that are not numbers.
    """
    if not len(query) or not len(gallery):
        raise UserError(f"{len(query)} queries and {len(gallery)} gallery photos: nothing to rank")
    if not (query.isfinite().all() and gallery.isfinite().all()):
        raise UserError("embeddings are not finite: the training diverged; lower its learning_rate")
    products, number = gallery_product.unique(return_inverse=True)
    # In order of the products, so that ties of photos go the way that ties of products go.
    number, order = number.sort(stable=True)
    gallery = gallery[order]
    ranks, precisions = [], []
    for start in range(0, len(query), chunk):
        cosine = likeness.of_gallery(query[start : start + chunk], gallery, number)
        asked = query_product[start : start + chunk].reshape(len(cosine), -1)
        place = torch.searchsorted(products, asked).clamp(max=len(products) - 1)
        right = torch.where(products[place] == asked, place, -1)
        scores = product_scores(cosine, number, len(products))
        ranks.append(torch.stack([ranks_of(scores, each) for each in right.T]).amin(dim=0))
        precisions.append(average_precisions(cosine, (number == right[:, :, None]).any(dim=1)))
    rank = torch.cat(ranks)
    return RetrievalReport(
        queries=len(query),
        distinct_queries=len(query),
        catalog_size=len(products),
        draws=1,
        top={k: float((rank <= k).double().mean()) for k in top},
        mean_reciprocal_rank=float((1 / rank).mean()),
        mean_average_precision=float(torch.cat(precisions).mean()),
    )


def measure_drawn(
    query: Tensor,
    query_product: Tensor,
    gallery: Tensor,
    gallery_product: Tensor,
    catalog_size: int,
    draws: int = 10,
    seed: int = 0,
    distractors: Distractors | None = None,
    likeness: Cosines = COSINES,
) -> RetrievalReport:
    """The LookBook report's experiment 2: G products, one person photo each, rank all G for each.

    Args:
        query, query_product, gallery, gallery_product, likeness: As in `measure`.
        catalog_size: G; at most the products that have photos of both kinds.
        draws: Random choices of products and photos whose figures are averaged.
        seed: Of the draws.
        distractors: Ranked along with the G products of every draw, but never asked for.

    Raises:
        UserError: Fewer than G products have photos of both kinds.
    """
    if distractors is None:
        distractors = Distractors(gallery[:0], gallery_product[:0])
    others = distractors.numbered_below(int(gallery_product.min()) if len(gallery_product) else 0)
    reports, used = [], torch.zeros(len(query), dtype=torch.bool)
    for chosen, photos in _drawn_galleries(
        query_product, gallery_product, catalog_size, draws, seed
    ):
        in_gallery = torch.isin(gallery_product, chosen)
        used[photos] = True
        reports.append(
            measure(
                query[photos],
                query_product[photos],
                torch.cat([distractors.embedding, gallery[in_gallery]]),
                torch.cat([others, gallery_product[in_gallery]]),
                likeness=likeness,
            )
        )

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    return RetrievalReport(
        queries=catalog_size,
        distinct_queries=int(used.sum()),
        catalog_size=catalog_size + len(distractors),
        draws=draws,
        top={k: mean([report.top[k] for report in reports]) for k in TOP},
        mean_reciprocal_rank=mean([report.mean_reciprocal_rank for report in reports]),
        mean_average_precision=mean([report.mean_average_precision for report in reports]),
    )


def _drawn_galleries(
    query_product: Tensor, gallery_product: Tensor, catalog_size: int, draws: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Per draw the chosen products (G,) and the row of one person photo of each (G,)."""
    both = query_product.unique()
    both = both[torch.isin(both, gallery_product)]
    if len(both) < catalog_size:
        raise UserError(
            f"a gallery of {catalog_size} needs as many products; {len(both)} have both a product "
            "and a person photo"
        )
    generator = torch.Generator().manual_seed(seed)
    order = query_product.argsort(stable=True)
    ordered = query_product[order]
    for _ in range(draws):
        chosen = both[torch.randperm(len(both), generator=generator)[:catalog_size]]
        first = torch.searchsorted(ordered, chosen)
        count = torch.searchsorted(ordered, chosen, right=True) - first
        offset = (torch.rand(catalog_size, generator=generator) * count).long()
        yield chosen, order[first + torch.minimum(offset, count - 1)]

"""A second look at the best candidates of a ranking, by how they lie to each other.

Pure functions of one query and its candidates. Nothing is fitted, and none but the candidates is
looked at: what the first ranking missed stays missed. The scores order candidates; they are no
cosines of the query's photo, and no probability follows from them.

Shapes: C candidates, D embedding size, n = C + 1 for the query before its candidates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def expansion_scores(
    query: Tensor, candidates: Tensor, neighbours: int = 3, alpha: float = 3.0
) -> Tensor:
    """Cosines with the query after its best candidates were added to it.

    Alpha-weighted query expansion (Radenović et al. 2019, Fine-tuning CNN Image Retrieval with
    No Human Annotation, section 3.4): a neighbour counts by its cosine to the power of alpha. With
    alpha 0 it is average query expansion (Chum et al. 2007, Total Recall).

    Args:
        query: Unit embedding, float (D,).
        candidates: Unit embeddings, float (C, D).
        neighbours: How many candidates are added; those at no positive cosine weigh nothing.
        alpha: Power of the weights, from 0.

    Returns:
        float (C,), from -1 to 1.
    """
    cosine, nearest = (candidates @ query).topk(min(neighbours, len(candidates)))
    weight = torch.where(cosine > 0, cosine.clamp(min=0) ** alpha, 0.0)
    expanded = query + weight @ candidates[nearest]
    return candidates @ functional.normalize(expanded, dim=0)


def reciprocal_scores(
    query: Tensor,
    candidates: Tensor,
    k1: int = 20,
    k2: int = 6,
    original: float = 0.3,
) -> Tensor:
    """Minus the k-reciprocal distance of each candidate to the query.

    Zhong et al. 2017, Re-ranking Person Re-identification with k-reciprocal Encoding, with the
    paper's settings: photos are alike when they are each other's neighbours and share further
    ones. Exact among the query and its candidates, which the paper calls the whole gallery.

    Args:
        query: Unit embedding, float (D,).
        candidates: Unit embeddings, float (C, D).
        k1: Neighbours among whom reciprocal ones are looked for.
        k2: Neighbours, itself included, over whom encodings are averaged.
        original: Share of the squared Euclidean distance in the result, the paper's lambda.

    Returns:
        float64 (C,), from -1 to 0.
    """
    points = torch.cat([query[None], candidates]).double()
    distance = (2 - 2 * points @ points.T).clamp(min=0)  # (n, n)
    # The authors' code scales by each point's farthest, so that exp(-d) and lambda have a scale.
    distance = distance / distance.amax(dim=1, keepdim=True).clamp(min=1e-12)
    order = _nearest_first(distance)
    encoding = torch.exp(-distance) * _expanded_neighbours(order, k1)
    encoding = encoding / encoding.sum(dim=1, keepdim=True)
    encoding = encoding[order[:, :k2]].mean(dim=1)
    shared = torch.minimum(encoding[0], encoding).sum(dim=1)
    jaccard = 1 - shared / torch.maximum(encoding[0], encoding).sum(dim=1)
    return -((1 - original) * jaccard + original * distance[0])[1:]


def _nearest_first(distance: Tensor) -> Tensor:
    """Every point's points by distance, itself first, int64 (n, n)."""
    from_others = distance.clone().fill_diagonal_(-1.0)  # twins may be at no distance either
    return from_others.argsort(dim=1, stable=True)


def _expanded_neighbours(order: Tensor, k1: int) -> Tensor:
    """Zhong et al.'s R*: k1-reciprocal neighbours, and the sets of those who share most with them.

    Args:
        order: int64 (n, n), from `_nearest_first`.
        k1: Neighbours besides the point itself.

    Returns:
        bool (n, n).
    """
    own = _reciprocal(order, k1)
    half = _reciprocal(order, round(k1 / 2)).double()
    shared = own.double() @ half.T  # how many of a candidate's own set lie in the point's
    joins = own & (shared >= 2 / 3 * half.sum(dim=1))
    return own | (joins.double() @ half > 0)


def _reciprocal(order: Tensor, k: int) -> Tensor:
    """Who is among each other's k nearest, and each point itself, bool (n, n)."""
    near = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, : k + 1], True)
    return near & near.T


RERANKINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expansion": expansion_scores,
    "reciprocal": reciprocal_scores,
}

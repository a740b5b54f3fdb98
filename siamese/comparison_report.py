"""Reports on encoders that compare the best products: what a search of each gallery would say.

Shapes: F photos of any kind, Q queries, M gallery photos, P pairs, D embedding size, N positions, S
numbers of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from siamese.comparison import COMPARED, Comparison
from siamese.pair_score import info_nce_loss
from siamese.retrieval import Cosines

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

FEWEST = 50  # people; what fewer say of a weight is chance
WEIGHTS = 0.25, 8.0  # that a comparison may have
SHARPNESS = 1.0, 500.0  # of a softmax over likenesses


class ComparedLikeness(Cosines):
    """Of the best products of a gallery, by their best photos' cosines, the likeness of both; all
    others count as in a search.

    A photo's vector is its embedding and, behind it, its number among all photos.

    Args:
        comparison: Compares, each pair once.
        sights: What all photos show, int8 (F, N, S), see `Comparison.sights`.
    """

    def __init__(self, comparison: Comparison, sights: Tensor) -> None:
        self.comparison = comparison
        self.sights = sights
        self._known: dict[int, dict[int, float]] = {}  # query → photo → logit

    @staticmethod
    def vectors(embeddings: Tensor, first: int = 0) -> Tensor:
        """Of photos whose numbers begin with `first`: float32 (any, D + 1)."""
        numbers = torch.arange(first, first + len(embeddings), dtype=torch.float32)
        return torch.cat([embeddings, numbers[:, None]], dim=1)

    def embeddings(self, vectors: Tensor) -> Tensor:
        return vectors[:, :-1]

    def of_pairs(self, people: Tensor, things: Tensor) -> Tensor:
        cosines = super().of_pairs(self.embeddings(people), self.embeddings(things))
        numbers = zip(_numbers(people), _numbers(things), strict=True)
        logits = [float(self._logits(query, [photo])) for query, photo in numbers]
        return self.comparison.likeness(cosines, torch.tensor(logits))

    def of_gallery(self, queries: Tensor, gallery: Tensor, product: Tensor) -> Tensor:
        cosines = self.embeddings(queries) @ self.embeddings(gallery).T
        asked, shown, owner = _numbers(queries), _numbers(gallery), product.numpy()
        rows = []
        for query, row in zip(asked, cosines, strict=True):
            best = torch.from_numpy(_best_photos(row.numpy(), owner)[:COMPARED])
            logits = self._logits(query, [shown[place] for place in best])
            alike = self.comparison.of_others(row, logits)
            alike[best] = self.comparison.likeness(row[best], logits)
            rows.append(alike)
        return torch.stack(rows)

    def _logits(self, query: int, photos: list[int]) -> Tensor:
        """Of one photo with others, float32 (len(photos),)."""
        known = self._known.setdefault(query, {})
        new = [photo for photo in photos if photo not in known]
        if new:
            sight = self.sights[query : query + 1]
            (found,) = self.comparison.logits(sight, self.sights[new]).tolist()
            known |= dict(zip(new, found, strict=True))
        return torch.tensor([known[photo] for photo in photos])


def _numbers(vectors: Tensor) -> list[int]:
    """Which photos these are."""
    return [int(number) for number in vectors[:, -1]]


def _best_photos(cosines: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Places of each product's most alike photo, the most alike product first, int64."""
    order = np.argsort(-cosines, kind="stable")
    _, first = np.unique(product[order], return_index=True)
    return order[np.sort(first)]


def moved_onto(cosines: Tensor, logits: Tensor) -> tuple[float, float]:
    """Scale and offset that give logits the mean and the deviation that cosines have.

    Args:
        cosines, logits: Of the same pairs, float (any,), at least two.
    """
    spread = float(logits.std())
    scale = float(cosines.std()) / spread if spread > 0 else 0.0
    return scale, float(cosines.mean()) - scale * float(logits.mean())


def weight_of(cosines: Tensor, moved: Tensor, same: Tensor) -> float:
    """What a comparison shall count beside cosines, which count 1.

    Where the likeness is least surprised by the right products, at the temperature that suits it
    best (a softmax over the gallery).

    Args:
        cosines: Of people's photos with a gallery's, float (Q, M).
        moved: What the comparison says of them, moved to where cosines lie, float (Q, M).
        same: bool (Q, M), whether they show the same product.
    """
    from scipy.optimize import minimize_scalar

    asked = same.any(dim=1) & ~same.all(dim=1)
    if int(asked.sum()) < FEWEST:
        return 1.0
    cosines, moved, same = cosines[asked].double(), moved[asked].double(), same[asked]

    def least(function: Callable[[float], float], bounds: tuple[float, float]) -> OptimizeResult:
        return minimize_scalar(function, bounds=[math.log(bound) for bound in bounds])

    def surprise(log_weight: float) -> float:
        weight = math.exp(log_weight)
        alike = (cosines + weight * moved) / (1 + weight)
        return least(lambda log: float(info_nce_loss(math.exp(log) * alike, same)), SHARPNESS).fun

    return math.exp(least(surprise, WEIGHTS).x)

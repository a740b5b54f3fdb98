"""Products that a photo surely does not show: what they look like says what a likeness is worth.

A plain black top is like a hundred others, so a catalog without it has something like it; a print
that nothing else has is like itself alone. What a photo's product is like in general is told by
how near the products of a *cohort* are to it, of which it shows none: those of the training. The
catalog's have to stand out from these (score normalisation by a cohort, as in speaker
verification: Auckenthaler, Carey and Lloyd-Thomas 2000). `Calibration.cohort_weight` says by how
much, fitted on validation products; benchmarks/README.md has the figures.

Shapes: Q queries, B products of the cohort, D embedding size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamese.adaptation import Adaptation
from siamese.roles import Role

TENSOR, IDS = "cohort", "cohort_product_ids"  # of a cohort in a checkpoint's file
FEWEST, MOST = 100, 5000  # products: fewer say little, more add little but size
SAME = 0.995  # cosine from which two product photos are taken for one


@dataclass(frozen=True)
class Cohort:
    """Embeddings of products that no query shows.

    Args:
        embeddings: Unit length, as exact as float16, as which files keep them; float32 (B, D).
        product_ids: What these products are called, str (B,), or (0,) where nobody knows.
    """

    embeddings: Tensor
    product_ids: np.ndarray = field(default_factory=lambda: np.empty(0, str))

    def same(self, photos: Tensor) -> Tensor:
        """Which of the cohort's photos each of these is, by embeddings (M, D): bool (M, B)."""
        return photos @ self.embeddings.T >= SAME

    def of_product(self, product_id: str, photos: Tensor) -> Tensor:
        """Which photos of the cohort are of a product of a catalog: bool (B,).

        Those that look the same, and those of its name: photos of one product may differ. A shop
        that calls another product so loses one of thousands.

        Args:
            product_id: Its name.
            photos: Embeddings of its photos there, float32 (any, D).
        """
        alike = self.same(photos).any(dim=0)
        if not len(self.product_ids):
            return alike
        return alike | torch.from_numpy(self.product_ids == product_id)

    def cosines(self, queries: Tensor, found: Tensor) -> Tensor:
        """How like each product of the cohort the queries are: float32 (Q, B).

        A catalog may hold products of the cohort, too. That which was found is not compared with
        itself: −inf.

        Args:
            queries: Unit embeddings, float32 (Q, D).
            found: Which of them the first product that each found in the catalog has photos of,
                bool (Q, B) or (B,).
        """
        return (queries @ self.embeddings.T).masked_fill(found, -torch.inf)

    def adapted(self, adaptation: Adaptation) -> Cohort:
        """The same products as an encoder sees them that was adapted to a shop."""
        moved = adaptation(self.embeddings, [Role.PRODUCT] * len(self.embeddings))
        return Cohort(moved, self.product_ids)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint's file keeps of it: tensors by name, and JSON values that belong in
        the file's description."""
        embeddings = self.embeddings.half().contiguous()
        card = {TENSOR: _digest_of(embeddings), IDS: self.product_ids.tolist()}
        return {TENSOR: embeddings}, card


def stored_cohort(weights: dict[str, Tensor], card: dict[str, Any]) -> Cohort | None:
    """What `Cohort.stored` gave, taken out of a file's tensors; `None` if it kept none.

    Raises:
        ValueError: It is damaged.
    """
    embeddings = weights.pop(TENSOR, None)
    if embeddings is None and card.get(TENSOR) is None:
        return None
    if embeddings is None or card.get(TENSOR) != _digest_of(embeddings):
        raise ValueError("its cohort changed after it was saved")
    ids = np.array(card.get(IDS, []), str)  # none, as until November 29, 2026
    if len(ids) not in (0, len(embeddings)):
        raise ValueError(f"{len(ids)} names for {len(embeddings)} photos of its cohort")
    return Cohort(embeddings.cpu().float(), ids)


def _digest_of(tensor: Tensor) -> str:
    """16 hex digits of a tensor's values."""
    return hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def cohort_of(embeddings: Tensor, product_ids: Sequence[str] = ()) -> Cohort | None:
    """The cohort of these product photos; `None` where they are too few to say something.

    Args:
        embeddings: Unit length, float32 (any, D).
        product_ids: Of each photo's product, if they are known.
    """
    if len(embeddings) < FEWEST:
        return None
    return Cohort(embeddings.half().float(), np.array(product_ids, str))


def sample(photos: int, most: int = MOST, seed: int = 0) -> np.ndarray:
    """Places of at most so many of all photos, ascending int64."""
    if photos <= most:
        return np.arange(photos)
    return np.sort(np.random.default_rng(seed).choice(photos, most, replace=False))

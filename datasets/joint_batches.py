"""Batches that a joint embedding is trained on, of what networks say of photos.

Shapes: R photos, V views of each, P products in a batch, C features of all networks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from datasets.look_alikes import NEAREST, nearest_of
from siamese.errors import UserError
from siamese.verification import rows_by_product

GROUPS, ALIKE = 16, 32  # of a batch, and products of each that look alike
ANY = 384  # products of a batch of any


class Seen(NamedTuple):
    """What the networks say of a training's photos.

    Args:
        features: float16 (V, R, C), see `Concatenation.studied`, or, of N positions each,
            (V, R, N, C), see `datasets.comparison_training`.
        beside: Unit embeddings of the encoders side by side, float32 (V, R, any).
        product: int64 (R,).
        is_person: bool (R,).
    """

    features: np.ndarray
    beside: Tensor
    product: np.ndarray
    is_person: np.ndarray


class Batch(NamedTuple):
    """A person's photo and a product's photo of each of P products.

    Args:
        person, thing: Features, float32 (P, C) or (P, N, C).
        beside: Cosines of the encoders side by side, float32 (P, P), persons in rows.
    """

    person: Tensor
    thing: Tensor
    beside: Tensor


class ProductBatches(Dataset[Batch]):
    """Batches of groups of products whose embeddings are near to each other, or of any products.

    Batch number n depends on the seed and n alone.

    Args:
        seen: Of a training's photos.
        steps: Number of batches.
        seed: Of all draws.
        alike: Whether they are groups of look-alikes.
        groups: How many groups, and products of each; None: `GROUPS` and `ALIKE`.

    Raises:
        UserError: Fewer than two products have photos of both kinds.
    """

    def __init__(
        self,
        seen: Seen,
        steps: int,
        seed: int,
        alike: bool = True,
        groups: tuple[int, int] | None = None,
    ) -> None:
        self.seen, self.steps, self.seed, self.alike = seen, steps, seed, alike
        self.groups = groups
        self.people = rows_by_product(seen.product, seen.is_person)
        self.things = rows_by_product(seen.product, ~seen.is_person)
        self.products = sorted(self.people.keys() & self.things.keys())
        if len(self.products) < 2:
            raise UserError(
                f"{len(self.products)} products have both a product and a person photo; "
                "training takes two at least, and is better on thousands"
            )
        first = seen.beside[0]
        means = [
            first[self.people[one]].mean(dim=0) + first[self.things[one]].mean(dim=0)
            for one in self.products
        ]
        self.nearest = nearest_of(functional.normalize(torch.stack(means), dim=1), NEAREST)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, number: int) -> Batch:
        random = np.random.default_rng([self.seed, number])
        chosen = self._chosen(random)
        photos = [
            np.array([random.choice(rows[self.products[one]]) for one in chosen])
            for rows in (self.people, self.things)
        ]
        views = random.integers(len(self.seen.features), size=(2, len(chosen)))
        person, thing = (
            torch.from_numpy(self.seen.features[view, rows]).float()
            for view, rows in zip(views, photos, strict=True)
        )
        of_person, of_thing = (
            self.seen.beside[view, rows] for view, rows in zip(views, photos, strict=True)
        )
        return Batch(person, thing, of_person @ of_thing.T)

    def _chosen(self, random: np.random.Generator) -> np.ndarray:
        """Places of a batch's products, int64 (P,)."""
        products = len(self.products)
        if not self.alike:
            return random.choice(products, min(ANY, products), replace=False)
        count, alike = self.groups or (GROUPS, ALIKE)
        anchors = random.choice(products, min(count, products), replace=False)
        size = min(alike - 1, self.nearest.shape[1])
        groups = [random.choice(self.nearest[one], size, replace=False) for one in anchors]
        return np.unique(np.concatenate([anchors, *groups]))

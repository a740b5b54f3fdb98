"""Which photos meet in a batch, drawn from (seed, epoch) alone so that a resumed run repeats them.

Shapes: B photos or pairs of a batch, P products, K person photos per product, R manifest rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import albumentations
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from datasets.cache import CachedPhotos
from datasets.transforms import reseed
from siamese.errors import UserError
from siamese.module import PairBatch, PhotoBatch
from siamese.verification import Booleans, Integers, Pairs, rows_by_product


@dataclass(frozen=True)
class Draw:
    """The rows of one batch, int64, and the seed of its views."""

    rows: Integers
    seed: int


class ProductBatches(Sampler[Draw]):
    """Batches of P products, each with one product photo and K person photos.

    Every epoch goes once through the products in a new order, without the last ones that would
    not fill a batch; photos are drawn anew, and a product with fewer than K person photos repeats
    some of them. Under several processes each takes its share of every batch, so that P products
    meet whatever their number. After `gather`, batches are made of look-alikes instead.

    Args:
        product: int64 (R,), product of each training row.
        is_person: bool (R,).
        products_per_batch: P.
        persons_per_product: K.
        seed: Of all draws.
        rank: Number of this process.
        world_size: Number of processes; P must be a multiple.

    Raises:
        UserError: Fewer than two products have photos of both kinds, or P does not divide.
    """

    def __init__(
        self,
        product: Integers,
        is_person: Booleans,
        products_per_batch: int,
        persons_per_product: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.product_photos = rows_by_product(product, ~is_person)
        self.person_photos = rows_by_product(product, is_person)
        self.usable = np.array(sorted(self.product_photos.keys() & self.person_photos.keys()))
        if len(self.usable) < 2:
            raise UserError(
                f"{len(self.usable)} training products have both a product and a person photo; "
                "training compares products and needs at least two"
            )
        self.products_per_batch = min(products_per_batch, len(self.usable))
        if self.products_per_batch % world_size:
            raise UserError(
                f"products_per_batch = {self.products_per_batch} cannot be shared by {world_size} "
                "processes; choose a multiple"
            )
        self.persons_per_product = persons_per_product
        self.seed, self.epoch, self.rank, self.world_size = seed, 0, rank, world_size
        self.alike, self.nearest = 1, np.empty((len(self.usable), 0), np.int64)

    def gather(self, nearest: Integers, alike: int) -> None:
        """Make batches of groups of look-alikes from now on.

        A group is a product, of which an epoch has each at most once, and others drawn of its
        nearest; some products so come more often than others, and in an epoch not all.

        Args:
            nearest: Products that look like each of `usable`, int64 (U, any), see
                `datasets.look_alikes`.
            alike: Products of a group; what P leaves over is any product.
        """
        self.alike, self.nearest = alike, nearest

    def set_epoch(self, epoch: int) -> None:
        """The trainer calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.usable) // self.products_per_batch

    def __iter__(self) -> Iterator[Draw]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.usable)
        share = self.products_per_batch // self.world_size
        for batch in range(len(self)):
            first = batch * self.products_per_batch
            chosen = order[first : first + self.products_per_batch]
            if self.alike > 1:
                chosen = self._groups(random, order, batch)
            rows = [self._draw(random, number) for number in chosen]
            own = rows[self.rank * share : (self.rank + 1) * share]
            seed = int(random.integers(2**31)) + self.rank
            yield Draw(np.concatenate(own), seed)

    def _groups(self, random: np.random.Generator, order: Integers, batch: int) -> Integers:
        """The P products of a batch, each once, look-alikes side by side."""
        chosen: list[int] = []
        for group in range(self.products_per_batch // self.alike):
            first = order[group * len(self) + batch]
            near = random.permutation(self.nearest[np.searchsorted(self.usable, first)])
            others = (one for one in (first, *near) if one not in chosen)
            chosen += islice(others, self.alike)
        if missing := self.products_per_batch - len(chosen):
            others = (one for one in random.permutation(order) if one not in chosen)
            chosen += islice(others, missing)
        return np.array(chosen)

    def _draw(self, random: np.random.Generator, number: int) -> Integers:
        """Rows (1 + K,): the product photo first."""
        wearers, count = self.person_photos[number], self.persons_per_product
        persons = random.choice(wearers, count, replace=len(wearers) < count)
        return np.concatenate([random.choice(self.product_photos[number], 1), persons])


class DrawnPairs(Sampler[Draw]):
    """The LookBook report's batches: fixed pairs in a new order each epoch.

    A draw's rows are the numbers of B pairs; the last ones of an epoch that would not fill a batch
    are left out. Several processes take every n-th pair of each batch.

    Args:
        pairs: Number of pairs.
        batch_size: B over all processes.
        seed: Of the order.
        rank: Number of this process.
        world_size: Number of processes; B must be a multiple.

    Raises:
        UserError: B does not divide.
    """

    def __init__(
        self, pairs: int, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.pairs, self.batch_size = pairs, min(batch_size, pairs)
        if self.batch_size % world_size:
            raise UserError(
                f"pairs_per_batch = {self.batch_size} cannot be shared by {world_size} processes; "
                "choose a multiple"
            )
        self.seed, self.epoch, self.rank, self.world_size = seed, 0, rank, world_size

    def set_epoch(self, epoch: int) -> None:
        """The trainer calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.pairs // self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.pairs)
        for batch in range(len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield Draw(rows[self.rank :: self.world_size], int(random.integers(2**31)) + self.rank)


class PhotoBatches(Dataset[PhotoBatch]):
    """A draw of rows → their photos as a batch, seen through the training views if there are any.

    Args:
        cached: Pixels of the manifest's rows.
        product: int64 (R,).
        is_person: bool (R,).
        views: Applied to each photo; None leaves it as it is.
        labels: int64 (R, L), classes of L attributes; None for no attribute.

    Raises:
        UserError: A row's photo is not in the cache.
    """

    def __init__(
        self,
        cached: CachedPhotos,
        product: Integers,
        is_person: Booleans,
        views: albumentations.Compose | None = None,
        labels: Integers | None = None,
    ) -> None:
        _check_all_cached(cached)
        self.cached, self.product, self.is_person, self.views = cached, product, is_person, views
        self.labels = np.empty((len(product), 0), np.int64) if labels is None else labels

    def __getitem__(self, draw: Draw) -> PhotoBatch:
        if self.views is not None:
            reseed(self.views, draw.seed)
        pixels = self.cached.pixels[self.cached.slot[draw.rows]]
        if self.views is not None:
            pixels = np.stack([self.views(image=photo)["image"] for photo in pixels])
        return PhotoBatch(
            torch.from_numpy(pixels),
            torch.from_numpy(self.product[draw.rows]),
            torch.from_numpy(self.is_person[draw.rows]),
            torch.from_numpy(self.labels[draw.rows]),
        )


class PairBatches(Dataset[PairBatch]):
    """A draw of pair numbers → both photos of each pair and its label, without any change."""

    def __init__(self, cached: CachedPhotos, pairs: Pairs) -> None:
        _check_all_cached(cached)
        self.cached, self.pairs = cached, pairs

    def __getitem__(self, draw: Draw) -> PairBatch:
        def pixels_of(rows: Integers) -> torch.Tensor:
            return torch.from_numpy(self.cached.pixels[self.cached.slot[rows]])

        return PairBatch(
            pixels_of(self.pairs.product_photo[draw.rows]),
            pixels_of(self.pairs.person_photo[draw.rows]),
            torch.from_numpy(self.pairs.same[draw.rows]),
        )


def _check_all_cached(cached: CachedPhotos) -> None:
    """Slot −1 would silently show the last photo of the cache."""
    unusable = int((cached.slot < 0).sum())
    if unusable:
        raise UserError(f"{unusable} photos are not in the cache; drop their rows before batching")

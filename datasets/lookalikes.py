"""Which products meet late in training: look-alikes, so that small differences must be told.

Shapes: P products, R manifest rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from siamese.verification import Integers

GROUP = 8  # a product and its seven nearest; so a batch of 64 holds four such groups
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LookAlikes:
    """Makes batches half of look-alikes, half of chance.

    Args:
        embed: Rows → their unit embeddings by the network as it is, float32 (rows, D).
        first_epoch: From this epoch on batches are of look-alikes.
        twins: int64 (R,), the group of products that no photo can tell apart (see `twin_numbers`).
    """

    embed: Callable[[Integers], Floats]
    first_epoch: float
    twins: Integers

    def order(
        self, random: np.random.Generator, photos: Sequence[Integers], per_batch: int
    ) -> Integers:
        """An order of P products such that each next `per_batch` of them make a batch.

        Args:
            random: For the order within batches.
            photos: Rows of each product's product photos, in a random order of the products.
            per_batch: Products of a batch.
        """
        first = np.cumsum([0, *(len(rows) for rows in photos[:-1])])
        sums = np.add.reduceat(self.embed(np.concatenate(photos)), first)
        embedding = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        twins = self.twins[[rows[0] for rows in photos]]
        return lookalike_order(random, embedding, twins, per_batch)


def lookalike_order(
    random: np.random.Generator, embedding: Floats, twins: Integers, per_batch: int
) -> Integers:
    """Order the products so that the first half of each batch's products are look-alikes.

    A batch takes the next product that is still free and the nearest free ones, up to a group of
    `GROUP`, then the next such group; what is missing of the batch are the next free products,
    whatever they look like. Twins of a group's first product do not join that group as long as
    others are free. At last each batch is shuffled.

    Args:
        random: For the shuffle.
        embedding: Unit embeddings of products in a random order, float32 (P, D).
        twins: int64 (P,), group of each product's twins.
        per_batch: Products of a batch.

    Returns:
        int64 (P,), a permutation of 0 … P − 1.
    """
    free = np.ones(len(embedding), dtype=bool)
    batches = []
    for start in range(0, len(embedding), per_batch):
        size = min(per_batch, len(embedding) - start)
        batch: list[int] = []
        while size // 2 - len(batch) > 1:
            seed = int(free.argmax())
            cosine = np.where(free & (twins != twins[seed]), embedding @ embedding[seed], -np.inf)
            count = min(GROUP, size // 2 - len(batch)) - 1
            nearest = np.argsort(-cosine, kind="stable")[:count]
            group = [seed, *nearest[np.isfinite(cosine[nearest])].tolist()]
            free[group] = False
            batch += group
        others = np.flatnonzero(free)[: size - len(batch)]
        free[others] = False
        batches.append(random.permutation(np.concatenate([batch, others]).astype(np.int64)))
    return np.concatenate(batches)


def twin_numbers(frame: pd.DataFrame) -> Integers:
    """Each row's group of products that look the same, int64 (R,).

    By the manifest's column `twin_group` (see `datasets.splits.twin_groups`); without it, or where
    it is empty, every product is a group of its own.
    """
    own = "product " + frame["product_id"]
    if "twin_group" not in frame:
        keys = own
    else:
        keys = ("group " + frame["twin_group"].astype("str")).where(
            frame["twin_group"].notna(), own
        )
    return pd.factorize(keys, sort=True)[0].astype(np.int64)

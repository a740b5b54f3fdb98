"""Photos of the products that were found first, looked at again beside the photo that is asked.

Shapes: n photos of one query, k candidates, N positions, S numbers of each.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from siamese.comparison import Comparison
from siamese.embedding import decoded_batches
from siamese.photos import PhotoError
from siamese.roles import Role

KEPT = 8000  # product photos whose sights are kept: 7 KB each
BATCH = 32  # photos per forward pass

File = tuple[str, int]  # path, and when it was changed


class SecondOpinion:
    """Compares queries with product photos, and keeps what it saw in those.

    A catalog keeps what it saw in its product photos (`sights`). Of those it does not keep, for a
    comparison came to the checkpoint later, the photos are read; as a whole, for the catalog does
    not say which part of them it embedded. Threads may share one.

    Args:
        comparison: Looks at all photos.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self._kept: OrderedDict[File, Tensor] = OrderedDict()
        self._lock = Lock()

    def logits(
        self, sight: Tensor, paths: Sequence[str], kept: Sequence[bytes | None] | None = None
    ) -> Tensor:
        """What the comparison says of one query and products' photos.

        Args:
            sight: Of the query's photos, int8 (n, N, S); what is said of each is averaged.
            paths: Of k photos of products.
            kept: Of these what the catalog keeps, their N · S bytes; None where it keeps nothing.

        Returns:
            float32 (k,); NaN where a photo cannot be used.
        """
        seen: list[Tensor | None] = [
            None if each is None else self.comparison.sight_of(each)
            for each in kept or [None] * len(paths)
        ]
        new = [place for place, each in enumerate(seen) if each is None]
        for place, each in zip(new, self._products([paths[i] for i in new]), strict=True):
            seen[place] = each
        usable = [place for place, each in enumerate(seen) if each is not None]
        logits = torch.full((len(paths),), torch.nan)
        if usable:
            shown = torch.cat([each for each in seen if each is not None])
            logits[usable] = self.comparison.logits(sight, shown).mean(dim=0)
        return logits

    def _products(self, paths: Sequence[str]) -> list[Tensor | None]:
        """What product photos show, int8 (1, N, S); `None` where one cannot be used."""
        files = [_file(path) for path in paths]
        there = list(dict.fromkeys(file for file in files if file is not None))
        with self._lock:
            known = {file: self._kept[file] for file in there if file in self._kept}
        new = [file for file in there if file not in known]
        known |= self._looked_at(new)
        with self._lock:
            for file, each in known.items():
                self._kept[file] = each
                self._kept.move_to_end(file)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return [None if file is None else known.get(file) for file in files]

    def _looked_at(self, files: Sequence[File]) -> dict[File, Tensor]:
        """What those of the photos show that can be used."""

        def read(place: int) -> np.ndarray:
            return self.comparison.read(files[place][0], None, Role.PRODUCT)

        found: dict[File, Tensor] = {}
        for start, decoded in decoded_batches(read, len(files), BATCH):
            pixels = {
                file: each
                for file, each in zip(files[start:], decoded, strict=False)
                if not isinstance(each, PhotoError)
            }
            if pixels:
                roles = [Role.PRODUCT] * len(pixels)
                sights = self.comparison.sights(np.stack(list(pixels.values())), roles)
                # Copies, or one that is kept would keep the whole batch.
                found |= {f: each.clone() for f, each in zip(pixels, sights.split(1), strict=True)}
        return found


def _file(path: str) -> File | None:
    """What a photo is kept under, so that another one in its place is seen; `None`: not there."""
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return None

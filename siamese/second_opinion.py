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
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.roles import Role, roles_of

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

    def sights(
        self, photos: Sequence[PhotoSource], boxes: Sequence[Box | None], people: Sequence[bool]
    ) -> list[Tensor | PhotoError]:
        """What photos show at each position, int8 (1, N, S), or why they cannot be used."""
        roles = roles_of(people, boxes)

        def read(place: int) -> np.ndarray:
            return self.comparison.read(photos[place], boxes[place], roles[place])

        found: list[Tensor | PhotoError] = []
        for start, decoded in decoded_batches(read, len(photos), BATCH):
            found += decoded_sights(self.comparison, decoded, roles[start:])
        return found

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
        known = [None] * len(paths) if kept is None else [self._taken_up(each) for each in kept]
        new = [place for place, each in enumerate(known) if each is None]
        seen: list[Tensor | None] = list(known)
        for place, each in zip(new, self._products([paths[i] for i in new]), strict=True):
            seen[place] = each
        usable = [place for place, each in enumerate(seen) if each is not None]
        logits = torch.full((len(paths),), torch.nan)
        if usable:
            shown = torch.cat([each for each in seen if each is not None])
            logits[usable] = self.comparison.logits(sight, shown).mean(dim=0)
        return logits

    def _taken_up(self, stored: bytes | None) -> Tensor | None:
        """The bytes that a catalog keeps, as int8 (1, N, S)."""
        if stored is None:
            return None
        codes = np.frombuffer(stored, np.int8).copy()  # PyTorch wants writable memory
        return torch.from_numpy(codes).view(1, -1, self.comparison.head.config.size)

    def _products(self, paths: Sequence[str]) -> list[Tensor | None]:
        """What product photos show, int8 (1, N, S); `None` where one cannot be used."""
        files = [_file(path) for path in paths]
        there = list(dict.fromkeys(file for file in files if file is not None))
        with self._lock:
            known = {file: self._kept[file] for file in there if file in self._kept}
        new = [file for file in there if file not in known]
        seen = self.sights([path for path, _ in new], [None] * len(new), [False] * len(new))
        known |= {
            file: each for file, each in zip(new, seen, strict=True) if isinstance(each, Tensor)
        }
        with self._lock:
            for file, each in known.items():
                self._kept[file] = each
                self._kept.move_to_end(file)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return [None if file is None else known.get(file) for file in files]


def decoded_sights(
    comparison: Comparison,
    decoded: Sequence[np.ndarray | PhotoError],
    roles: Sequence[Role],
) -> list[Tensor | PhotoError]:
    """What the photos of a batch show, int8 (1, N, S), past those that cannot be used."""
    usable = [place for place, each in enumerate(decoded) if not isinstance(each, PhotoError)]
    found: list[Tensor | PhotoError] = [
        each if isinstance(each, PhotoError) else torch.empty(0) for each in decoded
    ]
    if usable:
        pixels = np.stack([each for each in decoded if not isinstance(each, PhotoError)])
        sights = comparison.sights(pixels, [roles[place] for place in usable])
        for place, each in zip(usable, sights.split(1), strict=True):
            found[place] = each.clone()  # or one that is kept keeps the whole batch
    return found


def _file(path: str) -> File | None:
    """What a photo is kept under, so that another one in its place is seen; `None`: not there."""
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return None

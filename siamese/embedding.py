"""Many photos → embeddings: threads decode the next photos while the encoder works.

Shapes: P photos, D embedding size, H height, W width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from siamese.checkpoint import Checkpoint
from siamese.comparison import Comparison
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.roles import roles_of

BATCHES_AHEAD = 3  # decoded or being decoded; bounds the memory
Decoded = TypeVar("Decoded")


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Photos that could be used, and those that could not.

    Args:
        embeddings: float32 (usable, D).
        usable: Places of these among the P photos, ascending.
        broken: For each other place what is wrong with its photo.
        sights: What a comparison saw in them, int8 (usable, N, S), if one was asked.
    """

    embeddings: Tensor
    usable: list[int]
    broken: dict[int, PhotoError]
    sights: Tensor | None = None

    @property
    def seen(self) -> Tensor:
        """The sights of photos that a comparison was asked about; a programming error else."""
        if self.sights is None:
            raise ValueError("no comparison has looked at these photos")
        return self.sights

    def each_seen(self) -> list[Tensor] | None:
        """The sights one by one, int8 (1, N, S) each."""
        return None if self.sights is None else list(self.sights.split(1))

    def sights_as_bytes(self) -> list[bytes] | None:
        """The sights as a catalog keeps them, N · S bytes each."""
        return None if self.sights is None else [each.tobytes() for each in self.sights.numpy()]


def embed_all(
    checkpoint: Checkpoint,
    photos: Sequence[PhotoSource],
    boxes: Sequence[Box | None] | None = None,
    batch: int = 64,
    threads: int = 2,
    progress: Callable[[int], object] | None = None,
    people: Sequence[bool] | None = None,
    comparison: Comparison | None = None,
) -> EmbeddedPhotos:
    """Embed photos and go on past broken ones.

    Args:
        checkpoint: The encoder.
        photos: P paths, encoded bytes or open binary files.
        boxes: For each photo the part to look at, in its own pixels, or None for all of it.
        batch: Photos per forward pass.
        threads: That decode; Pillow lets them run at the same time.
        progress: Called after each batch with the number of its photos.
        people: For each photo whether it shows a person, not a product; None: no one.
        comparison: Sees them, too.
    """
    roles = roles_of(people or [False] * len(photos), boxes or [None] * len(photos))
    parts = [torch.empty(0, checkpoint.embedding_size)]
    usable: list[int] = []
    broken: dict[int, PhotoError] = {}
    sights: list[Tensor] = []

    def read(place: int) -> tuple[np.ndarray, np.ndarray | None]:
        photo, box = photos[place], None if boxes is None else boxes[place]
        looks = checkpoint.read(photo, box, roles[place])
        if comparison is None:
            return looks, None
        if comparison.sees_as(checkpoint.preprocessing, checkpoint.cut_out):
            return looks, looks[-1]
        return looks, comparison.read(photo, box, roles[place])

    for start, decoded in decoded_batches(read, len(photos), batch, threads):
        seen = {}
        for place, result in enumerate(decoded, start):
            if isinstance(result, PhotoError):
                broken[place] = result
            else:
                seen[place] = result
        usable += seen
        if seen:
            shown, looks = [roles[place] for place in seen], [len(p) for p, _ in seen.values()]
            pixels = np.concatenate([each for each, _ in seen.values()])
            found = checkpoint.see(pixels, shown, looks)
            parts.append(found.embeddings)
            if comparison is not None:
                again = np.stack([each for _, each in seen.values() if each is not None])
                focus = checkpoint.focus_for(comparison, found.closer)
                sights.append(comparison.sights(again, shown, focus))
        if progress is not None:
            progress(len(decoded))
    saw = None
    if comparison is not None:
        saw = torch.cat([comparison.no_sights(), *sights])
    return EmbeddedPhotos(torch.cat(parts), usable, broken, saw)


def decoded_batches(
    read: Callable[[int], Decoded], count: int, batch: int = 64, threads: int = 2
) -> Iterator[tuple[int, list[Decoded | PhotoError]]]:
    """Batches of what photos were read to, each with the place of its first photo.

    Args:
        read: Place of a photo → what it is decoded to, or `PhotoError` raised, which then is
            the outcome.
        count: Of photos.
        batch, threads: As of `embed_all`.
    """

    def decode(place: int) -> Decoded | PhotoError:
        try:
            return read(place)
        except PhotoError as error:
            return error

    waiting: deque[tuple[int, list[Future[Decoded | PhotoError]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, batch):
            places = range(start, min(start + batch, count))
            waiting.append((start, [pool.submit(decode, place) for place in places]))
            if len(waiting) == BATCHES_AHEAD:
                first, results = waiting.popleft()
                yield first, [result.result() for result in results]
        for first, results in waiting:
            yield first, [result.result() for result in results]

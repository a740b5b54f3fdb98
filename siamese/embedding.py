"""Many photos → embeddings: threads decode the next photos while the encoder works.

Shapes: P photos, D embedding size, H height, W width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamese.checkpoint import Checkpoint
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box
from siamese.roles import roles_of

BATCHES_AHEAD = 3  # decoded or being decoded; bounds the memory
Decoded = np.ndarray | PhotoError


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Photos that could be used, and those that could not.

    Args:
        embeddings: float32 (usable, D).
        usable: Places of these among the P photos, ascending.
        broken: For each other place what is wrong with its photo.
    """

    embeddings: Tensor
    usable: list[int]
    broken: dict[int, PhotoError]


def embed_all(
    checkpoint: Checkpoint,
    photos: Sequence[PhotoSource],
    boxes: Sequence[Box | None] | None = None,
    batch: int = 64,
    threads: int = 2,
    progress: Callable[[int], object] | None = None,
    people: Sequence[bool] | None = None,
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
    """
    roles = roles_of(people or [False] * len(photos), boxes or [None] * len(photos))
    parts = [torch.empty(0, checkpoint.embedding_size)]
    usable: list[int] = []
    broken: dict[int, PhotoError] = {}

    def read(place: int) -> np.ndarray:
        return checkpoint.read(photos[place], None if boxes is None else boxes[place], roles[place])

    for start, decoded in decoded_batches(read, len(photos), batch, threads):
        seen = {}
        for place, result in enumerate(decoded, start):
            if isinstance(result, PhotoError):
                broken[place] = result
            else:
                seen[place] = result
        usable += seen
        if seen:
            shown, looks = [roles[place] for place in seen], [len(each) for each in seen.values()]
            pixels = np.concatenate(list(seen.values()))
            parts.append(checkpoint.embed_pixels(pixels, shown, looks))
        if progress is not None:
            progress(len(decoded))
    return EmbeddedPhotos(torch.cat(parts), usable, broken)


def decoded_batches(
    read: Callable[[int], np.ndarray], count: int, batch: int = 64, threads: int = 2
) -> Iterator[tuple[int, list[Decoded]]]:
    """Batches of what photos were read to, each with the place of its first photo.

    Args:
        read: Place of a photo → its pixels; where it raises `PhotoError`, that is the outcome.
        count: Of photos.
        batch, threads: As of `embed_all`.
    """

    def decode(place: int) -> Decoded:
        try:
            return read(place)
        except PhotoError as error:
            return error

    waiting: deque[tuple[int, list[Future[Decoded]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, batch):
            places = range(start, min(start + batch, count))
            waiting.append((start, [pool.submit(decode, place) for place in places]))
            if len(waiting) == BATCHES_AHEAD:
                first, results = waiting.popleft()
                yield first, [result.result() for result in results]
        for first, results in waiting:
            yield first, [result.result() for result in results]

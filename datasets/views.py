"""Photos of a training in several views, of the kind that `train.py` shows: what networks that
stay as they are look at, once, before something is trained on what they see.

Shapes: R photos, V views of each, B photos of a chunk, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from datasets.cache import CachedPhotos
from datasets.transforms import reseed, training_views
from siamese.boxes import boxes_of
from siamese.evaluation import codes
from siamese.roles import Role, roles_of
from siamese.second_look import closer

CHUNK = 64  # photos per forward pass


def views_of(
    frame: pd.DataFrame,
    cached: CachedPhotos,
    views: int,
    light: float,
    seed: int,
    focus: Callable[[Tensor], Tensor],
) -> Iterator[tuple[int, slice, np.ndarray]]:
    """All photos in every view, chunk by chunk, with a progress bar on a terminal.

    Photos of people without a box are seen closer, where the second look of a search would be.

    Args:
        frame: R rows of a manifest.
        cached: Their pixels.
        views: V.
        light: How much light and colours differ; cameras always do.
        seed: Of the views.
        focus: Photos, uint8 (B, H, W, 3) → the boxes where they are seen closer, (B, 4).

    Yields:
        Number of the view, the rows, and their pixels, uint8 (B, H, W, 3).
    """
    _, is_person = codes(frame)
    roles = roles_of(is_person.tolist(), boxes_of(frame))
    closely = np.array([role is Role.PERSON for role in roles])
    change = training_views(strength=0.6, erase=0.1, light=light, camera=1.0)
    places: dict[int, Tensor] = {}  # of the closer look, found once for all views
    starts = range(0, len(frame), CHUNK)
    for number, start in tqdm(
        [(number, start) for number in range(views) for start in starts],
        unit_scale=CHUNK,
        unit=" photos",
        desc="looking",
        disable=None,
    ):
        rows = slice(start, start + CHUNK)
        pixels = np.array(cached.pixels[cached.slot[rows]])
        near = closely[rows]
        if near.any():
            photos = torch.from_numpy(pixels[near])
            if start not in places:
                places[start] = focus(photos)
            pixels[near] = closer(photos, places[start]).round().byte().numpy()
        reseed(change, int(np.random.SeedSequence([seed, number, start]).generate_state(1)[0]))
        yield number, rows, np.stack([change(image=photo)["image"] for photo in pixels])


def views_of_ways(
    ways: Sequence[tuple[pd.DataFrame, CachedPhotos]],
    views: int,
    light: float,
    seed: int,
    focus: Callable[[Tensor], Tensor],
) -> Iterator[tuple[int, slice, np.ndarray]]:
    """`views_of` the same photos seen in several ways, their views numbered one after the other.

    Args:
        ways: R rows of a manifest and their pixels, each.
        views, light, seed, focus: As of `views_of`; each way draws its own.
    """
    for way, (frame, cached) in enumerate(ways):
        for view, rows, pixels in views_of(frame, cached, views, light, seed + way, focus):
            yield way * views + view, rows, pixels

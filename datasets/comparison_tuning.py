"""Trains a comparison's networks along with its head, on a shop's own pairs.

Networks that stay as they are have to make do with what they learned of other products; when the
judgement of two photos seen together goes back through them, they learn what to look at. That takes
several times as long as a head, for the networks see every batch anew.

Shapes: R photos, V views of each, P products in a batch, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from datasets.cache import CachedPhotos
from datasets.head_training import RATE, HeadModule
from datasets.joint_batches import Batch
from datasets.views import views_of_ways
from siamese.comparison import Comparison, maps_of

NETWORKS_RATE = 3e-4  # three tenths of a head's, for they have learned before


class TuningModule(HeadModule):
    """InfoNCE both ways of photos, through the head and the networks.

    Args:
        comparison: Its head and its networks are trained in place; the statistics of their
            normalisation stay as they are, as the head's standardisation does.
        steps: Of the whole training.
    """

    def __init__(self, comparison: Comparison, steps: int) -> None:
        super().__init__(steps)
        self.comparison = comparison
        self.head, self.networks = comparison.head, comparison.encoder

    def train(self, mode: bool = True) -> TuningModule:
        super().train(mode)
        self.networks.eval()
        return self

    def rates(self) -> list[tuple[nn.Module, float]]:
        return [(self.head, RATE), (self.networks, NETWORKS_RATE)]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Of photos as `pixels_of` gives them, float32 (P, H, W, 3)."""
        photos = self.comparison.normalised(torch.cat([batch.person, batch.thing]))
        maps = maps_of(self.networks, photos, self.head.config)
        seen = self.head.seen(self.head.standardised(maps))
        return self.loss_of(self.head(*seen.split(len(batch.person))))


def pixels_of(
    comparison: Comparison,
    ways: Sequence[tuple[pd.DataFrame, CachedPhotos]],
    views: int,
    light: float,
    seed: int,
    file: Path,
) -> np.ndarray:
    """All photos in all views, uint8 (V, R, H, W, 3), those of each way after the other's.

    Args:
        comparison: Finds where people without a box are seen closer.
        ways: R photos in one or several ways.
        views: Of each photo in each way.
        light, seed: As of `views_of`.
        file: Where they are kept, for they can be larger than the memory.
    """
    size = comparison.preprocessing
    shape = (len(ways) * views, len(ways[0][0]), size.height, size.width, 3)
    photos = np.memmap(file, np.uint8, "w+", shape=shape)
    with torch.inference_mode():
        for view, rows, pixels in views_of_ways(ways, views, light, seed, comparison.focus):
            photos[view, rows] = pixels
    return photos

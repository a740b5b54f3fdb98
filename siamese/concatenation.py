"""Several encoders side by side as one: system 2 found ResNet18 and ResNet50 together the best.

Shapes: B photos, H height, W width, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.checkpoint import Checkpoint
from siamese.encoder import ConcatenationConfig, Encoder, Part
from siamese.errors import UserError
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing


class Concatenation(nn.Module):
    """The parts' unit embeddings one after the other, (B, 3, H, W) → (B, sum of all D).

    The cosine of two such vectors is the weighted mean of the parts' cosines, however many
    numbers each has.

    Args:
        parts: At least one; each gets the photo at its own size and normalisation.

    Attributes:
        lengths: Of each part's share of an embedding; their squares sum to 1.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.preprocessings = [part.preprocessing for part in parts]
        total = sum(part.weight for part in parts)
        self.lengths = [math.sqrt(part.weight / total) for part in parts]
        self.encoders = nn.ModuleList(
            Encoder(part.encoder, part.preprocessing.height, part.preprocessing.width)
            for part in parts
        )

    def views(self, photos: Tensor) -> Iterator[tuple[Encoder, Tensor]]:
        """Each part with what it sees of photos with values in [0, 1], float (B, 3, H, W)."""
        for encoder, preprocessing in zip(self.encoders, self.preprocessings, strict=True):
            assert isinstance(encoder, Encoder)
            yield encoder, _seen_by(preprocessing, photos)

    def forward(self, photos: Tensor) -> Tensor:
        """Photos with values in [0, 1], float (B, 3, H, W)."""
        embeddings = [encoder(seen) for encoder, seen in self.views(photos)]
        return self.joined(embeddings)

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """What the encoders say of the same photos, each (..., its D), side by side."""
        pairs = zip(parts, self.lengths, strict=True)
        return torch.cat([part * length for part, length in pairs], dim=-1)


def concatenated(
    checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None = None
) -> Checkpoint:
    """One checkpoint of several; its photos are as large as the largest of theirs.

    Parts that take smaller photos see one that was shrunk twice, so that their embeddings differ in
    the last digits from what they are alone.

    Args:
        checkpoints: At least one.
        weights: Above 0, of each one's cosine; None: the same for all.

    Raises:
        UserError: One of several is adapted to a shop.
    """
    if len(checkpoints) > 1 and any(each.adaptation is not None for each in checkpoints):
        raise UserError(
            "an adapted encoder cannot stand beside others; put those side by side that they were "
            "made from, and adapt what comes out"
        )
    weights = weights or [1.0] * len(checkpoints)
    parts = tuple(
        Part(each.encoder.config, each.preprocessing, weight)
        for each, weight in zip(checkpoints, weights, strict=True)
    )
    height = max(part.preprocessing.height for part in parts)
    width = max(part.preprocessing.width for part in parts)
    size = sum(part.encoder.embedding_size for part in parts)
    preprocessing = Preprocessing(height, width, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    config = ConcatenationConfig("concatenation", size, parts=parts)
    encoder = Encoder(config, height, width)
    assert isinstance(encoder.backbone, Concatenation)
    for own, given in zip(encoder.backbone.encoders, checkpoints, strict=True):
        own.load_state_dict(given.encoder.state_dict())
    label = " + ".join(dict.fromkeys(each.trained_on for each in checkpoints))
    return Checkpoint(encoder, preprocessing, Calibration(), label)


def _seen_by(preprocessing: Preprocessing, photos: Tensor) -> Tensor:
    """Photos with values in [0, 1] as another preprocessing makes them: (B, 3, H', W')."""
    placement = preprocessing.placement(photos.shape[3], photos.shape[2])
    left, top, right, bottom = placement.target
    fitted = photos.float()
    if (bottom - top, right - left) != photos.shape[2:]:
        size = bottom - top, right - left
        fitted = functional.interpolate(fitted, size=size, mode="bicubic", antialias=True)
    around = (left, preprocessing.width - right, top, preprocessing.height - bottom)
    padded = functional.pad(fitted.clamp(0, 1), around, value=1.0)
    mean = torch.tensor(preprocessing.mean, device=photos.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=photos.device)[:, None, None]
    return (padded - mean) / std

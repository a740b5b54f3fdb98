"""A tagger as an encoder: products are near each other if their photos show the same labels.

A product's vector begins with its label probabilities. They are shorter than a unit vector, the
more so the less certain they are; the length that is missing is filled with what the features
show besides, in directions that are nearly at right angles for any two photos. So the cosine of a
photo and a product is about the probability that their labels agree, and a product whose labels
are plain is nearer to a doubtful photo than another doubtful one is.

Shapes: B photos, H height, W width, C the tagger's inputs, V values of all columns, R remainder.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.attributes.tagger import Tagger, card_from, strip_neck
from siamese.checkpoint import Checkpoint
from siamese.encoder import Encoder, LabelledConfig

LEAST_SPREAD = 0.01  # of a direction, as a share of the widest one
REMAINDER = 256  # R, at most: the more, the nearer to right angles


class Labelled(nn.Module):
    """Normalised photos, float (B, 3, H, W), → unit vectors, float32 (B, V + R).

    Args:
        config: The encoder that the tagger reads with, and the tagger's card.
        height: H.
        width: W.
    """

    centre: Tensor
    directions: Tensor

    def __init__(self, config: LabelledConfig, height: int, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(config.reader, height, width)
        self.tagger = Tagger(card_from(config.card))
        if self.tagger.card.input == "features":
            strip_neck(self.encoder)
        remainder = config.embedding_size - sum(len(codes) for codes in self.tagger.codes)
        self.register_buffer("centre", torch.zeros(self.tagger.card.size))
        self.register_buffer("directions", torch.zeros(self.tagger.card.size, remainder))

    def forward(self, photos: Tensor) -> Tensor:
        inputs = self.encoder(photos)
        shares = self.tagger.probabilities(inputs)
        labels = torch.cat(shares, dim=1) / math.sqrt(len(shares))
        besides = functional.normalize((inputs - self.centre) @ self.directions, dim=1)
        missing = (1 - labels.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
        return torch.cat([labels, missing * besides], dim=1)


def labelled(reader: Checkpoint, tagger: Tagger, inputs: np.ndarray) -> Checkpoint:
    """The encoder of a tagger.

    Args:
        reader: What makes the tagger's inputs of photos, of `Tagger.reader`.
        tagger: Any.
        inputs: Those that the tagger was trained on, float32 (N, C): their principal directions,
            each divided by its spread, are the remainder's.
    """
    pixels = reader.preprocessing
    centre = inputs.mean(axis=0)
    _, spread, directions = np.linalg.svd(inputs - centre, full_matrices=False)
    # A direction in which these inputs hardly differ is noise, and dividing would let it rule.
    size = min(REMAINDER, max(1, int((spread > LEAST_SPREAD * spread[0]).sum())))
    values = sum(len(codes) for codes in tagger.codes)
    config = LabelledConfig(
        "labels", values + size, reader=reader.encoder.config, card=asdict(tagger.card)
    )
    encoder = Encoder(config, pixels.height, pixels.width)
    network = encoder.backbone
    assert isinstance(network, Labelled)
    network.encoder.load_state_dict(reader.encoder.state_dict())
    network.tagger.load_state_dict(tagger.state_dict())
    whitened = directions[:size] / np.maximum(spread[:size, None], 1e-12)
    network.centre.copy_(torch.from_numpy(centre))
    network.directions.copy_(torch.from_numpy(whitened.T))
    names = ", ".join(column.name for column in tagger.card.columns)
    return reader.with_encoder(encoder, f"{reader.trained_on}; labels {names}")

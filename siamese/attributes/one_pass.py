"""Embedding and labels of photos by one pass through the encoder, for a server in a hurry.

Shapes: B photos, H height, W width, D embedding size, C features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siamese.attributes.tagger import Tag, Tagger
from siamese.checkpoint import Checkpoint


@torch.inference_mode()
def embed_and_tag(
    checkpoint: Checkpoint, tagger: Tagger, pixels: np.ndarray
) -> tuple[Tensor, list[dict[str, Tag]]]:
    """What `Checkpoint.embed_pixels` and `Tagger.tags` say, for half the work.

    Args:
        checkpoint: The encoder.
        tagger: Trained with it, on embeddings or features.
        pixels: Preprocessed photos, uint8 (B, H, W, 3).

    Returns:
        Unit embeddings, float32 (B, D), on the CPU; a dictionary of labels per photo.

    Raises:
        TaggerError: The tagger was trained with another encoder.
    """
    tagger.check(checkpoint.fingerprint)
    encoder = checkpoint.encoder
    if tagger.card.input == "embedding":
        embeddings = checkpoint.embed_pixels(pixels)
        return embeddings, tagger.tags(embeddings)
    device = next(iter(encoder.buffers()), torch.empty(0)).device
    tensor = checkpoint.preprocessing.normalise(torch.as_tensor(pixels).to(device))
    views = [tensor, tensor.flip(3)] if encoder.config.flip_average else [tensor]
    features = [encoder.backbone(view) for view in views]
    # As `Encoder.forward` does with and without a neck.
    embedding = _mean([encoder.embed_features(view) for view in features])
    pooled = _mean([functional.normalize(view.float(), dim=1) for view in features])
    return embedding.cpu(), tagger.tags(pooled.cpu())


def _mean(vectors: list[Tensor]) -> Tensor:
    """The normalised mean of unit vectors (B, any); a single one as it is."""
    if len(vectors) == 1:
        return vectors[0]
    return functional.normalize(torch.stack(vectors).sum(dim=0), dim=1)

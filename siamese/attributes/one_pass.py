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
from siamese.concatenation import Concatenation
from siamese.encoder import Encoder, mean_of_units
from siamese.roles import Role


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
    embedding, pooled = (each.cpu() for each in _with_and_without_neck(encoder, tensor)[:2])
    if checkpoint.adaptation is not None:
        embedding = checkpoint.adaptation(embedding, [Role.PRODUCT] * len(pixels))
    return embedding, tagger.tags(pooled)


def _with_and_without_neck(encoder: Encoder, photos: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """What `Encoder.forward` gives, what it gives after `strip_neck`, (B, D) and (B, C), and views.

    The last as of `Encoder.pooled_views`.
    """
    several = encoder.backbone
    if isinstance(several, Concatenation):
        found = [_with_and_without_neck(*each) for each in several.views(photos)]
        embeddings, bare, pooled = zip(*found, strict=True)
        embedding = several.together(embeddings, pooled)
        return embedding, several.joined(bare), [embedding]
    views = encoder.pooled_views(photos)
    own = [functional.normalize(encoder.own(view).float(), dim=1) for view in views]
    features = mean_of_units(own)
    return encoder.embed_views(views), features, views

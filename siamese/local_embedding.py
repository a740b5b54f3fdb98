"""What each position of a photo adds to its embedding: exact where a feature map is pooled.

An embedding is `normalise(neck(pool(feature map)))`. In evaluation the neck is affine, and both
poolings are homogeneous of degree one: by Euler's theorem the pooled value is the sum over
positions of activation x gradient, `v · x_i^p / Σ x_j^p` for the generalised mean and `x_i / n` for
the average. So a position's share, sent through the neck and divided by the embedding's length,
is its *part*, and the parts sum to the unit embedding. Source: Stylianou et al. 2019, Visualizing
Deep Similarity Networks (average pooling); for the generalised mean it is integrated gradients
from an empty feature map, whose completeness is this sum (Sundararajan et al. 2017, Axiomatic
Attribution for Deep Networks). The neck's constant, which no position causes, is spread evenly.

Other encoders are asked by occlusion (Zeiler & Fergus 2014): a part is the difference that hiding
a patch makes to the embedding. These parts do not sum to it.

Shapes: B photos, H height, W width, h x w positions, C channels, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.adaptation import Adaptation
from siamese.checkpoint import Checkpoint
from siamese.concatenation import Concatenation
from siamese.encoder import Encoder, GeneralisedMeanPooling, SmallResNet
from siamese.histogram import LabHistogram
from siamese.roles import Role
from siamese.second_look import back_in_place, middle_of

PATCHES = 8  # hidden in turn along the longer side of a photo
HIDING = (0, 255)  # black and white: one of them at least differs from any garment
BATCH = 64  # photos with a hidden patch per forward pass
TOLERANCE = 1e-3  # by which the parts' sum may differ from an embedding and still count as exact


@dataclass(frozen=True)
class LocalEmbeddings:
    """What the positions of photos add to their embeddings.

    Args:
        parts: float32 (B, h, w, D).
        whole: The unit embeddings, float32 (B, D).
        exact: Whether the parts sum to the whole; otherwise they were found by occlusion.
    """

    parts: Tensor
    whole: Tensor
    exact: bool


@torch.inference_mode()
def local_embeddings(
    checkpoint: Checkpoint, pixels: np.ndarray, roles: Sequence[Role] | None = None
) -> LocalEmbeddings:
    """The parts of preprocessed photos; on the CPU.

    Whether they are exact is measured, not assumed: an encoder that does more than pooling and an
    affine neck falls back to occlusion.

    Args:
        checkpoint: The encoder.
        pixels: uint8 (B, H, W, 3).
        roles: What each shows; None: products.
    """
    roles = roles or [Role.PRODUCT] * len(pixels)
    whole = checkpoint.embed_pixels(pixels, roles)
    tensor = torch.as_tensor(pixels)
    parts = _exact_parts(checkpoint, tensor)
    if parts is not None:
        twice = torch.tensor([role is Role.PERSON for role in roles])
        if checkpoint.second_look and twice.any():
            middle = _exact_parts(checkpoint, middle_of(tensor[twice]))
            assert middle is not None  # as those of the whole photos
            parts[twice] = _of_unit_sum(parts[twice] + back_in_place(middle))
        if checkpoint.adaptation is not None:
            parts = _adapted(checkpoint.adaptation, parts, roles)
        return LocalEmbeddings(parts, whole, True)
    return LocalEmbeddings(occluded_parts(checkpoint, pixels, whole, roles), whole, False)


def _adapted(adaptation: Adaptation, parts: Tensor, roles: Sequence[Role]) -> Tensor:
    """Parts of adapted embeddings; the mean that is taken off is taken off each alike."""
    positions = parts.shape[1] * parts.shape[2]
    constant = adaptation.moved(torch.zeros(len(parts), parts.shape[3]), roles)
    return _of_unit_sum(parts @ adaptation.axes + constant[:, None, None] / positions)


def _exact_parts(checkpoint: Checkpoint, pixels: Tensor) -> Tensor | None:
    """Parts (B, h, w, D) that sum to the embeddings of uint8 (B, H, W, 3); None if unknown."""
    device = next(iter(checkpoint.encoder.buffers()), torch.empty(0)).device
    parts = _parts_of(checkpoint.encoder, checkpoint.preprocessing.normalise(pixels.to(device)))
    return None if parts is None else parts.cpu()


def _parts_of(encoder: Encoder, photos: Tensor) -> Tensor | None:
    """The same of normalised photos, on their device."""
    if isinstance(encoder.backbone, Concatenation):
        return _parts_side_by_side(encoder.backbone, photos)
    whole = encoder(photos)
    views = [photos, photos.flip(3)] if encoder.config.flip_average else [photos]
    for shares in zip(*(_pooled_shares(encoder, view) for view in views), strict=True):
        parts, *mirrored = (_through_neck(encoder.neck, share) for share in shares)
        parts = _of_unit_sum(sum((each.flip(2) for each in mirrored), parts))
        if torch.allclose(parts.sum(dim=(1, 2)), whole, rtol=0, atol=TOLERANCE):
            return parts
    return None


def _parts_side_by_side(several: Concatenation, photos: Tensor) -> Tensor | None:
    """The same of encoders side by side, whose positions must be those of one another."""
    found = [_parts_of(encoder, seen) for encoder, seen in several.views(photos)]
    known = [parts for parts in found if parts is not None]
    sizes = {(each.height, each.width) for each in several.preprocessings}
    if len(known) < len(found) or len({parts.shape[:3] for parts in known}) > 1 or len(sizes) > 1:
        return None
    return several.joined(known)


def _through_neck(neck: nn.Module, shares: Tensor) -> Tensor:
    """Shares of the pooled vectors, (B, h, w, C), → parts of unit embeddings, (B, h, w, D)."""
    count, rows, columns, channels = shares.shape
    positions = rows * columns
    constant = neck(shares.new_zeros(1, channels))
    # Each share gets the neck's constant once; together they shall have it once.
    parts = neck(shares.reshape(-1, channels)) - constant * (1 - 1 / positions)
    return _of_unit_sum(parts.view(count, rows, columns, -1).float())


def _of_unit_sum(parts: Tensor) -> Tensor:
    """Parts (B, h, w, D), scaled so that each photo's sum to a vector of length 1."""
    return parts / parts.sum(dim=(1, 2), keepdim=True).norm(dim=3, keepdim=True)


def _pooled_shares(encoder: Encoder, photos: Tensor) -> Iterator[Tensor]:
    """Ways in which the backbone may have pooled a map, as shares (B, h, w, C) of the vector.

    The caller finds out which of them is true.
    """
    if isinstance(encoder.backbone, LabHistogram):
        yield encoder.backbone.shares(photos)
        return
    features = feature_map(encoder, photos)
    if features is None:
        return
    for pool in encoder.backbone.children():
        if isinstance(pool, GeneralisedMeanPooling):
            pooled = pool(features.permute(0, 3, 1, 2))[:, None, None]
            powers = features.float().clamp(min=pool.least).pow(pool.power)
            yield powers / powers.sum(dim=(1, 2), keepdim=True) * pooled
            return
    positions = features.shape[1] * features.shape[2]
    yield features / positions
    # ConvNeXt and some transformers normalise the average. Given its spread, which is held as it
    # is (like the length of the embedding above), that is affine, too.
    mean = features.mean(dim=(1, 2), keepdim=True)
    for norm in encoder.backbone.modules():
        if isinstance(norm, nn.LayerNorm) and norm.normalized_shape == (features.shape[3],):
            spread = (mean.var(dim=3, keepdim=True, correction=0) + norm.eps).sqrt()
            centred = features - features.mean(dim=3, keepdim=True)
            yield (centred / spread * norm.weight + norm.bias) / positions


def feature_map(encoder: Encoder, photos: Tensor) -> Tensor | None:
    """The features before pooling, float (B, h, w, C); None where no map of them is known."""
    trunk: Any = encoder.backbone
    channels = next((m.in_features for m in encoder.neck.modules() if isinstance(m, nn.Linear)), 0)
    if isinstance(trunk, nn.Sequential) and isinstance(trunk[0], SmallResNet):
        features = trunk[0](photos)
    elif hasattr(trunk, "forward_features"):  # timm
        features = trunk.forward_features(photos)
    elif hasattr(trunk, "layer4"):  # torchvision's ResNets
        stem = (trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        stages = (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
        features = nn.Sequential(*stem, *stages)(photos)
    elif hasattr(trunk, "features"):  # most others of torchvision
        features = trunk.features(photos)
    else:
        return None
    grid = getattr(getattr(trunk, "patch_embed", None), "grid_size", None)
    if features.ndim == 3 and grid is not None:  # tokens, those of no position first
        features = features[:, -grid[0] * grid[1] :].unflatten(1, grid)
    if features.ndim == 4 and features.shape[1] == channels:
        features = features.permute(0, 2, 3, 1)
    return features if features.ndim == 4 and features.shape[3] == channels else None


def occluded_parts(
    checkpoint: Checkpoint,
    pixels: np.ndarray,
    whole: Tensor,
    roles: Sequence[Role] | None = None,
) -> Tensor:
    """Embedding minus embedding with one patch hidden, the mean over black and white patches.

    Args:
        checkpoint: The encoder.
        pixels: uint8 (B, H, W, 3).
        whole: The unit embeddings, float32 (B, D).
        roles: As of `local_embeddings`.

    Returns:
        float32 (B, h, w, D) with the longer side of `PATCHES` positions.
    """
    patches = _patches(*pixels.shape[1:3])
    parts = torch.zeros(len(pixels), patches.size, whole.shape[1])
    roles = roles or [Role.PRODUCT] * len(pixels)
    for photo, embedding, part, role in zip(pixels, whole, parts, roles, strict=True):
        hidden = photo[None].repeat(patches.size, axis=0)
        for shade in HIDING:
            for copy, patch in zip(hidden, patches.ravel(), strict=True):
                copy[patch] = shade
            without = [
                checkpoint.embed_pixels(some, [role] * len(some))
                for some in torch.from_numpy(hidden).split(BATCH)
            ]
            part += (embedding - torch.cat(without)) / len(HIDING)
    return parts.view(len(pixels), *patches.shape, -1)


def _patches(height: int, width: int) -> np.ndarray:
    """Where the patches of a photo are, each (rows, columns) as slices: objects, (h, w)."""
    side = max(height, width) / PATCHES
    edges = [
        np.linspace(0, length, max(1, round(length / side)) + 1).round().astype(int)
        for length in (height, width)
    ]
    down, across = ([slice(*pair) for pair in pairwise(edge)] for edge in edges)
    patches = np.empty((len(down), len(across)), object)
    for place in np.ndindex(patches.shape):
        patches[place] = (down[place[0]], across[place[1]])
    return patches

"""What each position of a photo adds to its embedding: exact where a feature map is pooled.

An embedding is `normalise(neck(pool(feature map)))`. In evaluation the neck is affine, and both
poolings are homogeneous of degree one: by Euler's theorem the pooled value is the sum over
positions of activation x gradient, `v · x_i^p / Σ x_j^p` for the generalised mean and `x_i / n` for
the average. So a position's share, sent through the neck and divided by the embedding's length,
is its *part*, and the parts sum to the unit embedding (of levels' statistics see
`siamese.levels.shares_of`). Source: Stylianou et al. 2019, Visualizing
Deep Similarity Networks (average pooling); for the generalised mean it is integrated gradients
from an empty feature map, whose completeness is this sum (Sundararajan et al. 2017, Axiomatic
Attribution for Deep Networks). The neck's constant, which no position causes, is spread evenly.

Shapes: B photos, h x w positions, C channels, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from siamese.backbones import GeneralisedMeanPooling, SmallResNet
from siamese.concatenation import Concatenation
from siamese.encoder import Encoder
from siamese.histogram import LabHistogram
from siamese.levels import LevelStatistics, PooledLevels, shares_of, statistics_of

TOLERANCE = 1e-3  # by which the parts' sum may differ from an embedding and still count as exact


class _Found(NamedTuple):
    """Of photos: unit embeddings (B, D), their parts, pooled views, and shares of these' mean.

    Parts, (B, h, w, D), and shares, (B, h, w, C), are None where they are not known.
    """

    whole: Tensor
    parts: Tensor | None
    pooled: Sequence[Tensor]
    shares: Tensor | None


def parts_of(encoder: Encoder, photos: Tensor) -> tuple[Tensor, Tensor | None]:
    """Normalised photos (B, 3, H, W) → unit embeddings (B, D), and their parts (B, h, w, D).

    Whether parts are exact is measured, not assumed: they are None of an encoder that does more
    than pooling and an affine neck.
    """
    found = _found(encoder, photos)
    return found.whole, found.parts


def _found(encoder: Encoder, photos: Tensor) -> _Found:
    if isinstance(encoder.backbone, Concatenation):
        return _side_by_side(encoder.backbone, photos)
    views = [photos, photos.flip(3)] if encoder.config.flip_average else [photos]
    seen = [_seen(encoder, view) for view in views]
    pooled = [each for each, _ in seen]
    whole = encoder.embed_views(pooled)
    for shares in zip(*(candidates for _, candidates in seen), strict=True):
        parts = of_unit_sum(
            _mirrored_back([_through_neck(encoder.neck, encoder.own(each)) for each in shares])
        )
        if torch.allclose(parts.sum(dim=(1, 2)), whole, rtol=0, atol=TOLERANCE):
            return _Found(whole, parts, pooled, _mirrored_back(shares) / len(shares))
    return _Found(whole, None, pooled, None)


def _mirrored_back(views: Sequence[Tensor]) -> Tensor:
    """The sum of what belongs to positions of photos, (B, h, w, any), and of mirror images."""
    first, *mirrored = views
    return torch.stack([first, *(each.flip(2) for each in mirrored)]).sum(dim=0)


def _side_by_side(several: Concatenation, photos: Tensor) -> _Found:
    """The same of encoders side by side, whose positions must be those of one another."""
    found = [_found(encoder, seen) for encoder, seen in several.views(photos)]
    whole = several.together([each.whole for each in found], [each.pooled for each in found])
    known = [each.parts for each in found if each.parts is not None]
    sizes = {(each.height, each.width) for each in several.preprocessings}
    if len(known) < len(found) or len({parts.shape[:3] for parts in known}) > 1 or len(sizes) > 1:
        return _Found(whole, None, [whole], None)
    parts = several.joined(known)
    if several.joint is not None:
        shares = several.studied([[] if each.shares is None else [each.shares] for each in found])
        parts = several.with_joint(parts, of_unit_sum(several.joint.parts(shares)))
    return _Found(whole, parts, [whole], None)


def _seen(encoder: Encoder, photos: Tensor) -> tuple[Tensor, Iterator[Tensor]]:
    """Pooled features of one view, and ways in which they may be made of shares (B, h, w, C).

    One pass through a backbone of ours, two through others. The caller finds out which of the
    ways is true.
    """
    backbone = encoder.backbone
    if isinstance(backbone, LabHistogram):
        shares = backbone.shares(photos)
        return shares.sum(dim=(1, 2)), iter([shares])
    if isinstance(backbone, LevelStatistics):
        levels = backbone.levels(photos)
        return statistics_of(levels), iter([shares_of(levels)])
    if isinstance(backbone, PooledLevels):
        levels = backbone.levels(photos)
        last = _generalised_mean_shares(backbone.pool, levels[-1].permute(0, 2, 3, 1))
        return backbone.pooled(levels), iter([torch.cat([last, backbone.shares(levels)], dim=3)])
    if isinstance(backbone, nn.Sequential) and isinstance(backbone[0], SmallResNet):
        features = backbone[0](photos)
        return backbone[1:](features), _pooled_shares(encoder, features.permute(0, 2, 3, 1))
    features = _feature_map(encoder, photos)
    ways = iter([]) if features is None else _pooled_shares(encoder, features)
    return backbone(photos), ways


def _through_neck(neck: nn.Module, shares: Tensor) -> Tensor:
    """Shares of the pooled vectors, (B, h, w, C), → parts of unit embeddings, (B, h, w, D)."""
    count, rows, columns, channels = shares.shape
    positions = rows * columns
    constant = neck(shares.new_zeros(1, channels))
    # Each share gets the neck's constant once; together they shall have it once.
    parts = neck(shares.reshape(-1, channels)) - constant * (1 - 1 / positions)
    return of_unit_sum(parts.view(count, rows, columns, -1).float())


def of_unit_sum(parts: Tensor) -> Tensor:
    """Parts (B, h, w, D), scaled so that each photo's sum to a vector of length 1."""
    return parts / parts.sum(dim=(1, 2), keepdim=True).norm(dim=3, keepdim=True)


def _pooled_shares(encoder: Encoder, features: Tensor) -> Iterator[Tensor]:
    """Ways in which the backbone may have pooled a map (B, h, w, C), as shares of the vector."""
    for pool in encoder.backbone.children():
        if isinstance(pool, GeneralisedMeanPooling):
            yield _generalised_mean_shares(pool, features)
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


def _generalised_mean_shares(pool: GeneralisedMeanPooling, features: Tensor) -> Tensor:
    """Of a map, (B, h, w, C), shares (B, h, w, C) of what the pooling makes of it."""
    pooled = pool(features.permute(0, 3, 1, 2))[:, None, None]
    powers = features.float().clamp(min=pool.least).pow(pool.power)
    return powers / powers.sum(dim=(1, 2), keepdim=True) * pooled


def _feature_map(encoder: Encoder, photos: Tensor) -> Tensor | None:
    """A published network's features before pooling, (B, h, w, C); None where none are known."""
    trunk: Any = encoder.backbone
    channels = next((m.in_features for m in encoder.neck.modules() if isinstance(m, nn.Linear)), 0)
    if hasattr(trunk, "forward_features"):  # timm
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

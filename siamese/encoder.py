"""The shared image encoder: backbone → neck → unit embedding.

Shapes: B batch, H height, W width, C channels, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.backbones import GeneralisedMeanPooling, ReportCNN, SmallResNet
from siamese.errors import UserError
from siamese.histogram import HISTOGRAMS
from siamese.levels import PooledLevels
from siamese.preprocessing import Preprocessing, preprocessing_from

Pooling = Literal["gem", "average", "max", "levels", "gem+levels"]


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is made of; saved in its checkpoint, so that it can be made again.

    Args:
        backbone: `small_resnet` (ours), `report_cnn` (the LookBook report's),
            `colour_histogram` or `lab_histogram` (untrained; embedding_size 512 or 128),
            `timm/NAME` or `torchvision/NAME`, for example `timm/convnext_tiny.fb_in22k`.
            `infer.py index --encoder` makes `eigenfaces` and `concatenation`, `infer.py tagger
            train --encoder` makes `labels`.
        embedding_size: Length of the embedding, D.
        widths: Channels of each stage of `small_resnet`.
        depth: Residual blocks per stage of `small_resnet`.
        pooling: How `small_resnet`'s feature map becomes one vector: `gem` (generalised mean,
            Radenović et al. 2019), `average`, or `gem+levels` (`gem`, and beside it statistics of
            all levels, which a joint embedding alone takes into account, see `siamese.levels`).
            Published backbones keep their own, but for `max` and, of timm's, `levels` (mean and
            deviation of all levels).
        flip_average: Embed a photo and its mirror image, and take the mean: twice the work, at
            search and validation alike; training steps are not concerned.
        neck: `linear`, or `none` to take the features of a published backbone as they are:
            embedding_size is then their number.
    """

    backbone: str = "small_resnet"
    embedding_size: int = 128
    widths: tuple[int, ...] = (64, 128, 256)
    depth: int = 2
    pooling: Pooling = "gem"
    flip_average: bool = False
    neck: Literal["linear", "none"] = "linear"

    def __post_init__(self) -> None:
        if min(self.embedding_size, self.depth, len(self.widths), *self.widths) < 1:
            raise UserError("embedding_size, depth and each of widths must be at least 1")
        if self.pooling not in (known := get_args(Pooling)):
            raise UserError(f"pooling must be one of {', '.join(known)}, not {self.pooling!r}")
        for pooling, backbone in (("levels", "timm/"), ("gem+levels", "small_resnet")):
            if self.pooling == pooling and not self.backbone.startswith(backbone):
                raise UserError(
                    f"{self.backbone} has no pooling {pooling!r}, which is for {backbone}; "
                    "choose another"
                )
        if self.neck not in ("linear", "none"):
            raise UserError(f"neck must be 'linear' or 'none', not {self.neck!r}")


@dataclass(frozen=True)
class Part:
    """One encoder of a concatenation, the photos that it takes, and what its cosine counts."""

    encoder: EncoderConfig
    preprocessing: Preprocessing
    weight: float = 1.0


@dataclass(frozen=True)
class ConcatenationConfig(EncoderConfig):
    """Several encoders side by side, see `siamese.concatenation`; its size is the sum of theirs."""

    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class JointConfig(ConcatenationConfig):
    """Several encoders side by side and a joint embedding, see `siamese.joint_head`.

    Args:
        joint: Numbers of the joint embedding; they are part of `embedding_size`.
        joint_weight: What its cosine counts, as the parts' weights say it of theirs.
    """

    joint: int = 256
    joint_weight: float = 1.0


@dataclass(frozen=True)
class StandardisedJointConfig(JointConfig):
    """One whose features are normalised each by itself, see `siamese.joint_head`.

    Args:
        standardised: Always; files tell it by this.
    """

    standardised: Literal[True] = True


@dataclass(frozen=True)
class LabelledConfig(EncoderConfig):
    """A tagger as an encoder, see `siamese.attributes.labelled`.

    Args:
        reader: The encoder that the tagger's inputs come from.
        card: The tagger's, as JSON values.
    """

    reader: EncoderConfig = EncoderConfig()
    card: dict[str, Any] = field(default_factory=dict)


class Encoder(nn.Module):
    """Photo tensor → unit embedding; the one network that both sides of a pair go through.

    Args:
        config: What to build.
        height: Input height in pixels.
        width: Input width in pixels.
        pretrained: Of a timm or torchvision backbone: `True` fetches the published weights from
            the hub, a path or `hf-hub:OWNER/REPOSITORY` is read by `siamese.weights`.

    Attributes:
        features: C, length of the backbone's pooled features.
        own_features: How many of them, from the first, the embedding is made of.

    Raises:
        UserError: Unknown backbone, or one that cannot be built for this input or embedding size.
    """

    def __init__(
        self,
        config: EncoderConfig,
        height: int,
        width: int,
        pretrained: bool | str | Path = False,
    ) -> None:
        super().__init__()
        size = config.embedding_size
        library, _, name = config.backbone.partition("/")
        neck: nn.Module = nn.Identity()
        own_features = None
        if config.backbone == "report_cnn":
            self.backbone: nn.Module = ReportCNN(height, width, size)
            features = size
        elif config.backbone == "small_resnet":
            self.backbone, features = _small_resnet(config)
            own_features = config.widths[-1]
            neck = _neck(own_features, config)
        elif config.backbone in HISTOGRAMS:
            self.backbone = histogram = HISTOGRAMS[config.backbone]()
            features = histogram.size
            if size != features:
                raise UserError(f"{config.backbone} needs embedding_size {features}, not {size}")
        elif config.backbone == "eigenfaces":
            from siamese.eigenfaces import Eigenfaces

            self.backbone, features = Eigenfaces(size - 1, height, width), size
        elif isinstance(config, ConcatenationConfig):
            from siamese.concatenation import Concatenation

            self.backbone, features = Concatenation(config), size
        elif isinstance(config, LabelledConfig):
            from siamese.attributes.labelled import Labelled

            self.backbone, features = Labelled(config, height, width), size
        elif library in ("timm", "torchvision") and name:
            from siamese.pretrained import load_backbone

            pooling = config.pooling if config.pooling in ("max", "levels") else None
            self.backbone, features = load_backbone(
                library, name, pretrained, height, width, pooling
            )
            if config.neck == "none":
                config = replace(config, embedding_size=features)
            else:
                neck = _neck(features, config)
        else:
            raise UserError(
                f"unknown backbone {config.backbone!r}: use small_resnet, report_cnn, "
                "colour_histogram, lab_histogram, timm/NAME or torchvision/NAME"
            )
        self.neck, self.config, self.features = neck, config, features
        self.own_features = own_features or features

    def forward(self, photos: Tensor) -> Tensor:
        """Normalised photos, float (B, 3, H, W), → unit embeddings, float32 (B, D)."""
        return self.embed_views(self.pooled_views(photos))

    def pooled_views(self, photos: Tensor) -> list[Tensor]:
        """Pooled features, (B, C), of photos and, if that is set, of their mirror images."""
        views = [photos]
        if self.config.flip_average and not self.training:
            views.append(photos.flip(3))
        return [self.backbone(view) for view in views]

    def embed_views(self, pooled: Sequence[Tensor]) -> Tensor:
        """What `pooled_views` gives → the views' normalised mean, float32 (B, D)."""
        return mean_of_units([self.embed_features(features) for features in pooled])

    def embed_features(self, features: Tensor) -> Tensor:
        """Pooled features of the backbone, (B, C), → unit embeddings, float32 (B, D)."""
        embedding: Tensor = self.neck(self.own(features))
        return functional.normalize(embedding.float(), dim=1)

    def own(self, features: Tensor) -> Tensor:
        """Of pooled features, (..., C), those that the embedding is made of."""
        return features[..., : self.own_features]


def mean_of_units(vectors: Sequence[Tensor]) -> Tensor:
    """The normalised mean of unit vectors, each (B, any); a single one as it is."""
    if len(vectors) == 1:
        return vectors[0]
    return functional.normalize(torch.stack(list(vectors)).sum(dim=0), dim=1)


def _neck(features: int, config: EncoderConfig) -> nn.Sequential:
    """Map to D, and batch normalisation that centres it (BNNeck, Luo et al. 2019)."""
    size = config.embedding_size
    return nn.Sequential(nn.Linear(features, size, bias=False), nn.BatchNorm1d(size))


def _small_resnet(config: EncoderConfig) -> tuple[nn.Module, int]:
    """Our network with its pooling, and the number of its features."""
    trunk = SmallResNet(tuple(config.widths), config.depth)
    if config.pooling == "gem+levels":
        pooled = PooledLevels(trunk, GeneralisedMeanPooling())
        return pooled, pooled.features
    if config.pooling == "gem":
        return nn.Sequential(trunk, GeneralisedMeanPooling()), trunk.channels
    kind = nn.AdaptiveMaxPool2d if config.pooling == "max" else nn.AdaptiveAvgPool2d
    return nn.Sequential(trunk, nn.Sequential(kind(1), nn.Flatten())), trunk.channels


def config_from(arguments: dict[str, Any]) -> EncoderConfig:
    """An `EncoderConfig` from plain JSON values, as a checkpoint keeps them."""
    settings = {**arguments, "widths": tuple(arguments["widths"])}
    if "reader" in settings:
        return LabelledConfig(**{**settings, "reader": config_from(settings["reader"])})
    if "parts" not in settings:
        return EncoderConfig(**settings)
    parts = (
        Part(
            config_from(part["encoder"]),
            preprocessing_from(part["preprocessing"]),
            part.get("weight", 1.0),
        )
        for part in settings["parts"]
    )
    kind = JointConfig if "joint" in settings else ConcatenationConfig
    if "standardised" in settings:
        kind = StandardisedJointConfig
    return kind(**{**settings, "parts": tuple(parts)})

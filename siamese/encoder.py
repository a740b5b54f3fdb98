"""The shared image encoder: backbone → neck → unit embedding.

Shapes: B batch, H height, W width, C channels, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.errors import UserError
from siamese.histogram import HISTOGRAMS
from siamese.preprocessing import Preprocessing, preprocessing_from


class ReportCNN(nn.Sequential):
    """The LookBook report's network, (B, 3, 100, 100) → (B, 1000).

    Source: SYSTEMS 1 (Siamese network on LookBook): two convolutions with He initialisation,
    batch normalisation, dropout 0.5 and two linear layers with tanh between.
    """

    def __init__(self, height: int = 100, width: int = 100, embedding_size: int = 1000) -> None:
        first = nn.Conv2d(3, 3, kernel_size=3)
        second = nn.Conv2d(3, 10, kernel_size=3)
        for convolution in (first, second):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="leaky_relu")
        flat = 10 * (((height - 2) // 2 - 2) // 4) * (((width - 2) // 2 - 2) // 4)
        if not flat:
            raise UserError(
                f"report_cnn needs an input of 14x14 pixels or more, not {height}x{width}"
            )
        super().__init__(
            first,
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            second,
            nn.LeakyReLU(),
            nn.MaxPool2d(4),
            nn.BatchNorm2d(10),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(flat, 2000),
            nn.Tanh(),
            nn.Linear(2000, embedding_size),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016), (B, C, H, W) → (B, C', H', W')."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.body(features) + self.shortcut(features), inplace=True)


class SmallResNet(nn.Sequential):
    """A residual network sized for training from scratch on two cores.

    (B, 3, H, W) → (B, C, H/16, W/16). The stem folds 4x4 pixels into one position at once: fine
    stripes stay in its channels, and no convolution runs at the costly full resolution.
    """

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256), depth: int = 2) -> None:
        stem = [
            nn.Conv2d(3, widths[0], kernel_size=6, stride=4, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        blocks: list[nn.Module] = []
        channels = widths[0]
        for stage, width in enumerate(widths):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(channels, width, stride))
                channels = width
        super().__init__(*stem, *blocks)
        self.channels = channels


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
            Radenović et al. 2019) or `average`. Published backbones keep their own, but for `max`.
        flip_average: Embed a photo and its mirror image, and take the mean: twice the work, at
            search and validation alike; training steps are not concerned.
        neck: `linear`, or `none` to take the features of a published backbone as they are:
            embedding_size is then their number.
    """

    backbone: str = "small_resnet"
    embedding_size: int = 128
    widths: tuple[int, ...] = (64, 128, 256)
    depth: int = 2
    pooling: Literal["gem", "average", "max"] = "gem"
    flip_average: bool = False
    neck: Literal["linear", "none"] = "linear"

    def __post_init__(self) -> None:
        if min(self.embedding_size, self.depth, len(self.widths), *self.widths) < 1:
            raise UserError("embedding_size, depth and each of widths must be at least 1")
        if self.pooling not in ("gem", "average", "max"):
            raise UserError(f"pooling must be 'gem', 'average' or 'max', not {self.pooling!r}")
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
class LabelledConfig(EncoderConfig):
    """A tagger as an encoder, see `siamese.attributes.labelled`.

    Args:
        reader: The encoder that the tagger's inputs come from.
        card: The tagger's, as JSON values.
    """

    reader: EncoderConfig = EncoderConfig()
    card: dict[str, Any] = field(default_factory=dict)


class GeneralisedMeanPooling(nn.Module):
    """(mean of x^p)^(1/p) over positions with a learned p, (B, C, H, W) → (B, C)."""

    least = 1e-4  # that a feature counts as: 0 has no logarithm, and so no gradient to p

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))

    def forward(self, features: Tensor) -> Tensor:
        # In float32: bfloat16 has too few digits for the powers and their gradient.
        positive = features.float().clamp(min=self.least)
        return positive.pow(self.power).mean(dim=(2, 3)).pow(1.0 / self.power)


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
        if config.backbone == "report_cnn":
            self.backbone: nn.Module = ReportCNN(height, width, size)
            features = size
        elif config.backbone == "small_resnet":
            self.backbone, features = _small_resnet(config)
            neck = _neck(features, config)
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

            self.backbone, features = Concatenation(config.parts), size
        elif isinstance(config, LabelledConfig):
            from siamese.attributes.labelled import Labelled

            self.backbone, features = Labelled(config, height, width), size
        elif library in ("timm", "torchvision") and name:
            from siamese.pretrained import load_backbone

            pooling = config.pooling if config.pooling == "max" else None
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

    def forward(self, photos: Tensor) -> Tensor:
        """Normalised photos, float (B, 3, H, W), → unit embeddings, float32 (B, D)."""
        embedding = self.embed_features(self.backbone(photos))
        if self.config.flip_average and not self.training:
            mirrored = self.embed_features(self.backbone(photos.flip(3)))
            embedding = functional.normalize(embedding + mirrored, dim=1)
        return embedding

    def embed_features(self, features: Tensor) -> Tensor:
        """Pooled features of the backbone, (B, C), → unit embeddings, float32 (B, D)."""
        embedding: Tensor = self.neck(features)
        return functional.normalize(embedding.float(), dim=1)


def _neck(features: int, config: EncoderConfig) -> nn.Sequential:
    """Map to D, and batch normalisation that centres it (BNNeck, Luo et al. 2019)."""
    size = config.embedding_size
    return nn.Sequential(nn.Linear(features, size, bias=False), nn.BatchNorm1d(size))


def _small_resnet(config: EncoderConfig) -> tuple[nn.Module, int]:
    """Our network with its pooling, and the number of its features."""
    trunk = SmallResNet(tuple(config.widths), config.depth)
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
    return ConcatenationConfig(**{**settings, "parts": tuple(parts)})

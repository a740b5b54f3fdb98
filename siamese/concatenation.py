"""Several encoders side by side as one: system 2 found ResNet18 and ResNet50 together the best.

Shapes: B photos, H height, W width, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.checkpoint import Checkpoint
from siamese.encoder import (
    ConcatenationConfig,
    Encoder,
    JointConfig,
    Part,
    StandardisedJointConfig,
)
from siamese.errors import UserError
from siamese.joint_head import JointHead
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing


class Concatenation(nn.Module):
    """The parts' unit embeddings one after the other, (B, 3, H, W) → (B, D).

    The cosine of two such vectors is the weighted mean of the parts' cosines, however many
    numbers each has; a part of weight 0 has none of them. A joint embedding may follow, and counts
    as one part more. It is made of what the parts see that have a neck, or weight 0: those are
    there for its sake.

    Args:
        config: Of at least one part; each gets the photo at its own size and normalisation.

    Attributes:
        lengths: Of each part's share of the parts' vector; their squares sum to 1.
        joint: The head that makes the joint embedding, or None.

    Raises:
        UserError: A joint embedding is asked for, and no part is there for it.
    """

    def __init__(self, config: ConcatenationConfig) -> None:
        super().__init__()
        parts = config.parts
        self.preprocessings = [part.preprocessing for part in parts]
        total = sum(part.weight for part in parts)
        self.lengths = [math.sqrt(part.weight / total) for part in parts]
        self.encoders = nn.ModuleList(
            Encoder(part.encoder, part.preprocessing.height, part.preprocessing.width)
            for part in parts
        )
        # Whether a part learned which of its features matter, or the joint head shall.
        self._studied = [
            not length or next(member.neck.parameters(), None) is not None
            for member, length in zip(self.members, self.lengths, strict=True)
        ]
        self.joint: JointHead | None = None
        if isinstance(config, JointConfig):
            pairs = zip(self.members, self._studied, strict=True)
            studied = [member.features for member, is_studied in pairs if is_studied]
            if not studied:
                raise UserError(
                    "a joint embedding needs an encoder with a neck that was trained, or one of "
                    "weight 0"
                )
            standardised = isinstance(config, StandardisedJointConfig)
            self.joint = JointHead(sum(studied), config.joint, standardised)
            self.joint_share = config.joint_weight / (total + config.joint_weight)

    @property
    def members(self) -> list[Encoder]:
        """The encoders of the parts."""
        return [member for member in self.encoders if isinstance(member, Encoder)]

    def views(self, photos: Tensor) -> Iterator[tuple[Encoder, Tensor]]:
        """Each part with what it sees of photos with values in [0, 1], float (B, 3, H, W)."""
        for encoder, preprocessing in zip(self.members, self.preprocessings, strict=True):
            yield encoder, _seen_by(preprocessing, photos)

    def forward(self, photos: Tensor) -> Tensor:
        """Photos with values in [0, 1], float (B, 3, H, W)."""
        pooled = [encoder.pooled_views(seen) for encoder, seen in self.views(photos)]
        pairs = zip(self.members, pooled, strict=True)
        return self.together([encoder.embed_views(views) for encoder, views in pairs], pooled)

    def together(self, embeddings: Sequence[Tensor], pooled: Sequence[Sequence[Tensor]]) -> Tensor:
        """The whole embedding, (B, D), of the parts' embeddings and of their pooled views."""
        beside = self.joined(embeddings)
        if self.joint is None:
            return beside
        return self.with_joint(beside, self.joint(self.studied(pooled)))

    def studied(self, pooled: Sequence[Sequence[Tensor]]) -> Tensor:
        """Features that the joint embedding is made of, (..., C), of all parts' pooled views."""
        pairs = zip(pooled, self._studied, strict=True)
        learned = [torch.stack(list(views)).float() for views, is_studied in pairs if is_studied]
        return torch.cat([views.mean(dim=0) for views in learned], dim=-1)

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """What the encoders say of the same photos, each (..., its D), side by side."""
        pairs = zip(parts, self.lengths, strict=True)
        return torch.cat([part * length for part, length in pairs if length], dim=-1)

    def with_joint(self, beside: Tensor, joint: Tensor) -> Tensor:
        """The parts' vector and the joint one, of length 1 each, as one of length 1."""
        shares = math.sqrt(1 - self.joint_share), math.sqrt(self.joint_share)
        return torch.cat([beside * shares[0], joint * shares[1]], dim=-1)


def with_levels(several: Checkpoint) -> Checkpoint:
    """Encoders side by side of which each `small_resnet` shows all of its levels.

    Their embeddings stay what they are; a joint one that was made of less is left out.

    Raises:
        UserError: It is one encoder alone, or none of them is of that kind.
    """
    given = several.encoder
    parts = given.config.parts if isinstance(given.config, ConcatenationConfig) else ()
    wider = [
        replace(part, encoder=replace(part.encoder, pooling="gem+levels"))
        if (part.encoder.backbone, part.encoder.pooling) == ("small_resnet", "gem")
        else part
        for part in parts
    ]
    if not any(part.encoder.pooling == "gem+levels" for part in wider):
        raise UserError("levels are those of small_resnet encoders side by side; there is none")
    if wider == list(parts):
        return several
    config = ConcatenationConfig("concatenation", _size_of(wider), parts=tuple(wider))
    encoder = Encoder(config, several.preprocessing.height, several.preprocessing.width)
    kept = {n: w for n, w in given.state_dict().items() if ".joint." not in n}
    encoder.load_state_dict(kept)
    return several.with_encoder(encoder)


def with_joint_head(
    several: Checkpoint, size: int, weight: float, standardised: bool = False
) -> Checkpoint:
    """Encoders side by side, and a head for a joint embedding that is to be trained.

    Args:
        several: Of `concatenated`; its own head, if it has one of that kind, is trained further.
        size: Numbers of the joint embedding.
        weight: What its cosine counts, as `concatenated` has it.
        standardised: Of `JointHead`.

    Raises:
        UserError: It is one encoder alone, adapted, or of parts that are not there for it.
    """
    given = several.encoder
    if not isinstance(given.config, ConcatenationConfig) or several.adaptation is not None:
        raise UserError(
            "a joint embedding is of several encoders side by side that are not adapted to a "
            "shop; name them as a + b"
        )
    sizes = _size_of(given.config.parts)
    plain = {f.name: getattr(given.config, f.name) for f in fields(ConcatenationConfig)}
    kind = StandardisedJointConfig if standardised else JointConfig
    config = kind(**plain | {"embedding_size": sizes + size}, joint=size, joint_weight=weight)
    encoder = Encoder(config, several.preprocessing.height, several.preprocessing.width)
    there = given.config
    same = isinstance(there, JointConfig) and type(there) is kind and there.joint == size
    weights = {n: w for n, w in given.state_dict().items() if same or ".joint." not in n}
    encoder.load_state_dict(weights, strict=same)
    return several.with_encoder(encoder)


def concatenated(
    checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None = None
) -> Checkpoint:
    """One checkpoint of several; its photos are as large as the largest of theirs.

    Parts that take smaller photos see one that was shrunk twice, so that their embeddings differ in
    the last digits from what they are alone.

    Args:
        checkpoints: At least one.
        weights: At least 0, of each one's cosine; None: the same for all.

    Raises:
        UserError: One of several is adapted to a shop, or none counts.
    """
    if len(checkpoints) > 1 and any(each.adaptation is not None for each in checkpoints):
        raise UserError(
            "an adapted encoder cannot stand beside others; put those side by side that they were "
            "made from, and adapt what comes out"
        )
    weights = weights or [1.0] * len(checkpoints)
    if not any(weights):
        raise UserError("none of the encoders counts; give one of them a weight above 0")
    parts = tuple(
        Part(each.encoder.config, each.preprocessing, weight)
        for each, weight in zip(checkpoints, weights, strict=True)
    )
    height = max(part.preprocessing.height for part in parts)
    width = max(part.preprocessing.width for part in parts)
    size = _size_of(parts)
    preprocessing = Preprocessing(height, width, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    config = ConcatenationConfig("concatenation", size, parts=parts)
    encoder = Encoder(config, height, width)
    assert isinstance(encoder.backbone, Concatenation)
    for own, given in zip(encoder.backbone.encoders, checkpoints, strict=True):
        own.load_state_dict(given.encoder.state_dict())
    label = " + ".join(dict.fromkeys(each.trained_on for each in checkpoints))
    return Checkpoint(encoder, preprocessing, Calibration(), label)


def _size_of(parts: Sequence[Part]) -> int:
    """Numbers of the parts that count."""
    return sum(part.encoder.embedding_size for part in parts if part.weight)


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

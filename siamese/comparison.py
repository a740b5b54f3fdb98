"""A second opinion on the best candidates of a ranking: photos compared pair by pair.

Networks look at a person's photo and at the photos of the products that were found first, and a
head (`siamese.comparison_head`) says of each pair whether it is one product. What counts then is
a mean of its cosine and of what the head says, moved to where cosines lie: the pair's likeness.
`datasets.comparison_training` trains one, `infer.py calibrate --comparison` fits it to an encoder;
benchmarks/README.md has the figures.

Shapes: B photos, H height, W width, h x w positions of a map, N positions that are compared, C
channels of all levels, S numbers of a position, k candidates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.comparison_head import ComparisonHead, HeadConfig
from siamese.encoder import Encoder, config_from
from siamese.errors import UserError
from siamese.looks import looks_at
from siamese.pair_score import Calibration
from siamese.photos import PhotoSource
from siamese.preprocessing import Box, Preprocessing, preprocessing_from
from siamese.roles import Role
from siamese.second_look import closer, focus_of

COMPARED = 20  # candidates of a ranking that are compared
DIGITS = 4  # of a logit
NETWORKS, HEAD = "comparison.networks.", "comparison.head."  # in names of a file's tensors
CARD = "comparison"


@dataclass
class Comparison:
    """Networks, the head that compares what they see, and what that means beside an encoder.

    Args:
        encoder: Networks side by side that show their levels, in evaluation mode.
        preprocessing: How photos become their input.
        head: In evaluation mode.
        trained_on: Label of the data, for people.
        cut_out: Whether product photos without a box are seen without their background where the
            garment can be cut out, as the last look of the encoder beside it is.
        scale, offset: Move what the head says to where the encoder's cosines lie.
        weight: What it then counts in the mean with the cosine, which counts 1.
        calibration: Likeness → probability; of an encoder's checkpoint alone.
        adapted_calibration: The same once the encoder is adapted to a shop; None if unknown.
    """

    encoder: Encoder
    preprocessing: Preprocessing
    head: ComparisonHead
    trained_on: str
    cut_out: bool = False
    scale: float = 1.0
    offset: float = 0.0
    weight: float = 1.0
    calibration: Calibration = field(default_factory=Calibration)
    adapted_calibration: Calibration | None = None

    def __post_init__(self) -> None:
        self.encoder.eval().to(memory_format=torch.channels_last)
        self.head.eval()

    def to(self, device: str) -> Comparison:
        """The same on that device."""
        self.encoder.to(device)
        self.head.to(device)
        return self

    def sees_as(self, preprocessing: Preprocessing, cut_out: bool) -> bool:
        """Whether the last look that an encoder takes at a photo is its own."""
        return (self.preprocessing, self.cut_out) == (preprocessing, cut_out)

    def likeness(self, cosines: Tensor, logits: Tensor) -> Tensor:
        """Of pairs whose cosines and logits are known, both float (...,)."""
        moved = self.scale * logits + self.offset
        return (cosines + self.weight * moved) / (1 + self.weight)

    def of_others(self, cosines: Tensor, logits: Tensor) -> Tensor:
        """Likeness of candidates that were not compared, float (any,): as that of the worst pair.

        Args:
            cosines: Of these candidates.
            logits: Of those that were compared, at least one.
        """
        return self.likeness(cosines, logits.min().expand_as(cosines))

    def read(self, photo: PhotoSource, box: Box | None, role: Role) -> np.ndarray:
        """A photo's pixels, uint8 (H, W, 3).

        Raises:
            PhotoError: It cannot be used.
        """
        return looks_at(self.preprocessing, photo, box, role, self.cut_out)[-1].pixels

    @torch.inference_mode()
    def sights(
        self,
        pixels: np.ndarray | Tensor,
        roles: Sequence[Role],
        focus: Tensor | None = None,
    ) -> Tensor:
        """What photos show at each position: int8 (B, N, S), on the CPU.

        Args:
            pixels: uint8 (B, H, W, 3).
            roles: What they show; people without a box are seen closer, at their garment.
            focus: Where, boxes (B, 4), if an encoder that takes the same pixels has found that
                out (`siamese.checkpoint.SeenPixels`); else this finds it out itself.
        """
        return self.head.codes(self.maps(torch.as_tensor(pixels), roles, focus)).cpu()

    def maps(self, pixels: Tensor, roles: Sequence[Role], focus: Tensor | None = None) -> Tensor:
        """What the networks see in photos, as the head takes it: float32 (B, N, C)."""
        whole = torch.tensor([role is Role.PERSON for role in roles])
        pixels = pixels.float()
        if whole.any():
            known = focus is not None and bool(focus[whole].isfinite().all())
            boxes = focus[whole] if focus is not None and known else self.focus(pixels[whole])
            pixels[whole] = closer(pixels[whole], boxes)
        return maps_of(self.encoder, self.normalised(pixels), self.head.config)

    def focus(self, pixels: Tensor) -> Tensor:
        """Where photos of people are seen closer, boxes (B, 4) as of `siamese.second_look`."""
        from siamese.parts import parts_of  # which knows encoders made of several checkpoints

        _, parts = parts_of(self.encoder, self.normalised(pixels))
        return focus_of(parts, len(pixels)).cpu()

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the networks take, float32 (B, 3, H, W) on their device, of pixels (B, H, W, 3)."""
        return self.preprocessing.normalise(pixels.to(next(self.head.parameters()).device))

    def no_sights(self) -> Tensor:
        """Of no photo: int8 (0, N, S)."""
        config = self.head.config
        return torch.empty(0, config.rows * config.columns, config.size, dtype=torch.int8)

    def sight_of(self, stored: bytes) -> Tensor:
        """What a catalog keeps of a photo, as `sights` gave it: int8 (1, N, S)."""
        codes = np.frombuffer(stored, np.int8).copy()  # PyTorch wants writable memory
        return torch.from_numpy(codes).view(1, -1, self.head.config.size)

    @torch.inference_mode()
    def logits(self, people: Tensor, products: Tensor) -> Tensor:
        """What the head says of each person's photo with each product's: float32 (P, T).

        Args:
            people, products: Of `sights`, int8 (P, N, S) and (T, N, S).
        """
        device = next(self.head.parameters()).device
        seen = (self.head.decoded(sights.to(device)) for sights in (people, products))
        logits = self.head.logits(*seen).cpu()
        # Their last digits depend on the batch; twins shall come in the same order every time.
        return logits.round(decimals=DIGITS)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, the same for comparisons that see the same in photos."""
        seen = {key: self.card[key] for key in ("encoder", "preprocessing", "head", "cut_out")}
        weights = _digest_of(self._tensors())
        return hashlib.sha256(json.dumps([seen, weights], sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def card(self) -> dict[str, Any]:
        """All that makes it, besides weights, as JSON values."""
        card = {
            "encoder": asdict(self.encoder.config),
            "preprocessing": asdict(self.preprocessing),
            "head": asdict(self.head.config),
            "trained_on": self.trained_on,
            "cut_out": self.cut_out,
            "scale": self.scale,
            "offset": self.offset,
            "weight": self.weight,
            "calibration": asdict(self.calibration),
        }
        adapted = self.adapted_calibration
        return card if adapted is None else card | {"adapted_calibration": asdict(adapted)}

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a file keeps of it: tensors by name, and JSON values of the file's description."""
        tensors = self._tensors()
        return tensors, {CARD: self.card | {"digest": _digest_of(tensors)}}

    def _tensors(self) -> dict[str, Tensor]:
        """By the names that files have for them."""
        parts: list[tuple[str, nn.Module]] = [(NETWORKS, self.encoder), (HEAD, self.head)]
        return {
            prefix + name: tensor.detach().contiguous()
            for prefix, module in parts
            for name, tensor in module.state_dict().items()
        }


def stored_comparison(weights: dict[str, Tensor], card: dict[str, Any]) -> Comparison | None:
    """What `Comparison.stored` gave, taken out of a file's tensors; `None` if it kept none.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, RuntimeError: It is damaged.
    """
    known = card.get(CARD)
    own = {name: each for name, each in weights.items() if name.startswith((NETWORKS, HEAD))}
    if known is not None and known["digest"] != _digest_of(own):
        raise ValueError("its comparison changed after it was saved")
    networks, of_head = (
        {name.removeprefix(p): weights.pop(name) for name in list(weights) if name.startswith(p)}
        for p in (NETWORKS, HEAD)
    )
    if known is None:
        return None
    preprocessing = preprocessing_from(known["preprocessing"])
    encoder = Encoder(config_from(known["encoder"]), preprocessing.height, preprocessing.width)
    encoder.load_state_dict(networks)
    head = ComparisonHead(HeadConfig(**known["head"]))
    head.load_state_dict(of_head)
    adapted = known.get("adapted_calibration")
    return Comparison(
        encoder,
        preprocessing,
        head,
        str(known["trained_on"]),
        bool(known.get("cut_out", False)),
        float(known["scale"]),
        float(known["offset"]),
        float(known.get("weight", 1.0)),
        Calibration(**known["calibration"]),
        None if adapted is None else Calibration(**adapted),
    )


def _digest_of(tensors: dict[str, Tensor]) -> str:
    """16 hex digits of tensors' names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def maps_of(encoder: Encoder, photos: Tensor, config: HeadConfig) -> Tensor:
    """All levels of networks side by side, brought to one number of positions: (B, N, C).

    Args:
        encoder: The networks.
        photos: As they take them, float32 (B, 3, H, W).
        config: How many positions.
    """
    shape = config.rows, config.columns
    aligned = [
        functional.adaptive_avg_pool2d(level, shape)
        if level.shape[2] > shape[0] and level.shape[3] > shape[1]
        else functional.interpolate(level, shape, mode="bilinear", align_corners=False)
        for levels in levels_of(encoder, photos)
        for level in (each.float() for each in levels)
    ]
    return torch.cat(aligned, dim=1).flatten(2).transpose(1, 2)


def levels_of(encoder: Encoder, photos: Tensor) -> list[list[Tensor]]:
    """The levels of each network that shows its own, each (B, its C, its h, its w).

    Raises:
        UserError: None of them does.
    """
    from siamese.concatenation import Concatenation  # which knows checkpoints
    from siamese.levels import LevelStatistics, PooledLevels

    several = encoder.backbone
    views = several.views(photos) if isinstance(several, Concatenation) else [(encoder, photos)]
    found = [
        member.backbone.levels(seen)
        for member, seen in views
        if isinstance(member.backbone, LevelStatistics | PooledLevels)
    ]
    if not found:
        raise UserError(
            "a comparison needs networks that show their levels: small_resnet, or timm's with "
            "pooling levels"
        )
    return found

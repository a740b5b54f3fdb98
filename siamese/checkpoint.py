"""What serving needs of a training: weights, how to make the encoder, and what its scores mean.

One safetensors file; loading it runs no code of the file's and needs no training data.

Shapes: B batch, H height, W width, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siamese.adaptation import Adaptation
from siamese.cohort import Cohort
from siamese.comparison import Comparison
from siamese.encoder import Encoder
from siamese.errors import UserError
from siamese.files import write_tensors
from siamese.looks import Look, looks_at
from siamese.pair_score import Calibration
from siamese.photos import PhotoSource
from siamese.preprocessing import Box, Preprocessing
from siamese.roles import Role, roles_of
from siamese.second_look import closer, focus_of

FORMAT = "siamese-1"
ADAPTED = "adaptation."  # names of the adaptation's tensors begin so
LATER_FIELDS = {"flip_average": False, "neck": "linear"}  # of an encoder's config


class CheckpointError(UserError):
    """A file that is not a usable checkpoint; the message says why and what to do."""


class SeenPixels(NamedTuple):
    """Photos as an encoder sees them, on the CPU.

    Args:
        embeddings: float32 (B, D), unit length.
        closer: Where each was looked at a second time, boxes as of `siamese.second_look`, float32
            (B, 4); NaN for those that were not.
    """

    embeddings: Tensor
    closer: Tensor


@dataclass
class Checkpoint:
    """A trained encoder with all that decides an embedding and what its cosines mean.

    Args:
        encoder: In evaluation mode.
        preprocessing: How photos become its input.
        calibration: Cosine → probability, and the threshold, fitted on validation products.
        trained_on: Label of the data, for people.
        second_look: Whether photos of people without a box are looked at twice, see
            `siamese.second_look`; products' embeddings do not depend on it.
        cut_out: Whether product photos without a box are looked at twice, too: as they are, and
            at the garment cut out of its background, see `siamese.looks`.
        adaptation: To a shop's photos; None: as it was trained.
        adapted_calibration: What cosines mean once the encoder is adapted; None if unknown.
        own_cohort: Products that no photo is likely to show, as the encoder sees them before
            it is adapted; None: there is none. The calibrations were fitted with it.
        comparison: Looks at the best candidates of a ranking again, and was fitted to this
            encoder; None: there is none.
    """

    encoder: Encoder
    preprocessing: Preprocessing
    calibration: Calibration
    trained_on: str
    second_look: bool = False
    cut_out: bool = False
    adaptation: Adaptation | None = None
    adapted_calibration: Calibration | None = None
    own_cohort: Cohort | None = None
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        self.encoder.eval().to(memory_format=torch.channels_last)

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.encoder.config.embedding_size

    @property
    def cohort(self) -> Cohort | None:
        """Of what `calibration` was fitted with, as the encoder sees it now."""
        own, adapted = self.own_cohort, self.adaptation
        if own is None or adapted is None:
            return own
        return own.adapted(adapted)

    def with_encoder(self, encoder: Encoder, trained_on: str | None = None) -> Checkpoint:
        """The same looks at the same photos by another encoder, of whose cosines nothing is known.

        Args:
            encoder: Of photos of the same preprocessing.
            trained_on: Another label.
        """
        return replace(
            self,
            encoder=encoder,
            calibration=Calibration(),
            trained_on=self.trained_on if trained_on is None else trained_on,
            adapted_calibration=None,
            own_cohort=None,
            comparison=None,
        )

    def comparison_of(self, fingerprint: str | None) -> Comparison | None:
        """Its comparison, if that is the one of which a catalog keeps what it saw."""
        own = self.comparison
        return own if own is not None and own.fingerprint == fingerprint else None

    def looking(self, second_look: bool | None, cut_out: bool | None) -> Checkpoint:
        """The same encoder that looks at people or at products once or twice; `None`: as it does.

        A cohort is kept as long as products are looked at as before, a comparison as long as all
        photos are.
        """
        second_look = self.second_look if second_look is None else second_look
        cut_out = self.cut_out if cut_out is None else cut_out
        cohort = self.own_cohort if cut_out == self.cut_out else None
        as_before = (second_look, cut_out) == (self.second_look, self.cut_out)
        return replace(
            self,
            second_look=second_look,
            cut_out=cut_out,
            own_cohort=cohort,
            comparison=self.comparison if as_before else None,
        )

    def to(self, device: str) -> Checkpoint:
        """The same on that device."""
        self.encoder.to(device)
        if self.comparison is not None:
            self.comparison.to(device)
        return self

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of all that decides an embedding: weights, architecture, preprocessing.

        Worked out once: an encoder that is trained further needs a new checkpoint.
        """
        digest = hashlib.sha256(json.dumps(self._recipe(), sort_keys=True).encode())
        for name, tensor in sorted(self._weights().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def embed_pixels(
        self,
        pixels: np.ndarray | Tensor,
        roles: Sequence[Role] | None = None,
        looks: Sequence[int] | None = None,
    ) -> Tensor:
        """`see` without what else it says: float32 (B, D)."""
        return self.see(pixels, roles, looks).embeddings

    @torch.inference_mode()
    def see(
        self,
        pixels: np.ndarray | Tensor,
        roles: Sequence[Role] | None = None,
        looks: Sequence[int] | None = None,
    ) -> SeenPixels:
        """Preprocessed photos → unit embeddings, and where photos were looked at closer.

        In float32 throughout, so that an embedding hardly depends on what else is in its batch.

        Args:
            pixels: 0 to 255, uint8 (B, H, W, 3); float32 of photos made of others.
            roles: What each photo shows; None: products.
            looks: How many of the pixels, one after the other, are looks at each photo, whose
                embedding is their normalised mean; None: one each.
        """
        tensor, looks = torch.as_tensor(pixels), looks or [1] * len(pixels)
        roles = roles or [Role.PRODUCT] * len(looks)
        of_looks = [role for role, count in zip(roles, looks, strict=True) for _ in range(count)]
        embedding, boxes = self._looked_at(tensor, of_looks)
        if len(roles) < len(embedding):
            photo = torch.arange(len(looks)).repeat_interleave(torch.tensor(looks))
            total = torch.zeros(len(looks), self.embedding_size).index_add(0, photo, embedding)
            embedding = functional.normalize(total, dim=1)
            boxes = boxes[torch.tensor(looks).cumsum(dim=0) - 1]
        if self.adaptation is not None:
            embedding = self.adaptation(embedding, roles)
        return SeenPixels(embedding, boxes)

    def focus_for(self, comparison: Comparison, closer: Tensor) -> Tensor | None:
        """Where a comparison shall see people closer: where the encoder did, (B, 4), if both take
        the same pixels."""
        return closer if comparison.preprocessing == self.preprocessing else None

    def _looked_at(self, pixels: Tensor, roles: Sequence[Role]) -> SeenPixels:
        """Before they are adapted: of one look, or of two."""
        twice = torch.tensor([self.second_look and role is Role.PERSON for role in roles])
        boxes = torch.full((len(pixels), 4), torch.nan)
        if not twice.any():
            return SeenPixels(self._seen(pixels), boxes)
        embedding = torch.empty(len(pixels), self.embedding_size)
        if not twice.all():
            embedding[~twice] = self._seen(pixels[~twice])
        embedding[twice], boxes[twice] = self._seen_twice(pixels[twice])
        return SeenPixels(embedding, boxes)

    def _seen_twice(self, pixels: Tensor) -> SeenPixels:
        from siamese.parts import parts_of  # which knows encoders made of several checkpoints

        whole, parts = parts_of(self.encoder, self.normalised(pixels))
        boxes = focus_of(parts, len(pixels)).cpu()
        near = self._seen(closer(pixels, boxes))
        return SeenPixels(functional.normalize(whole.cpu() + near, dim=1), boxes)

    def _seen(self, pixels: Tensor) -> Tensor:
        embedding: Tensor = self.encoder(self.normalised(pixels))
        return embedding.cpu()

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the encoder takes, float32 (B, 3, H, W) on its device, of pixels (B, H, W, 3)."""
        tensors = chain(self.encoder.parameters(), self.encoder.buffers())
        device = next(tensors, torch.empty(0)).device
        return self.preprocessing.normalise(pixels.to(device))

    def embed(
        self,
        photos: Sequence[PhotoSource],
        boxes: Sequence[Box | None] | None = None,
        batch: int = 64,
        people: bool = False,
    ) -> Tensor:
        """Embed photos: float32 (len(photos), D).

        Args:
            photos: Paths, encoded bytes or open binary files.
            boxes: For each photo the part to look at, in its own pixels, or None for all of it.
            batch: Photos per forward pass.
            people: Whether they show people, not products.

        Raises:
            PhotoError: A photo cannot be used.
        """
        boxes = boxes or [None] * len(photos)
        parts = [torch.empty(0, self.embedding_size)]
        for start in range(0, len(photos), batch):
            here = boxes[start : start + batch]
            roles = roles_of([people] * len(here), here)
            chosen = zip(photos[start : start + batch], here, roles, strict=True)
            seen = [self.read(*each) for each in chosen]
            parts.append(self.embed_pixels(np.concatenate(seen), roles, list(map(len, seen))))
        return torch.cat(parts)

    def read(self, photo: PhotoSource, box: Box | None, role: Role) -> np.ndarray:
        """The looks at a photo as `embed_pixels` takes them, uint8 (1 or 2, H, W, 3).

        Raises:
            PhotoError: It cannot be used.
        """
        return np.stack([look.pixels for look in self.looks_at(photo, box, role)])

    def looks_at(self, photo: PhotoSource, box: Box | None, role: Role) -> list[Look]:
        """The same, with where in the photo each of them looks."""
        return looks_at(self.preprocessing, photo, box, role, self.cut_out)

    def save(self, path: str | Path) -> None:
        """Write the checkpoint whole or not at all.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        card = self._recipe() | {
            "calibration": asdict(self.calibration),
            "trained_on": self.trained_on,
            "fingerprint": self.fingerprint,
        }
        if self.second_look:
            card["second_look"] = True
        if self.adapted_calibration is not None:
            card["adapted_calibration"] = asdict(self.adapted_calibration)
        weights = {name: weight.detach().contiguous() for name, weight in self._weights().items()}
        if self.own_cohort is not None:
            of_cohort, its_card = self.own_cohort.stored()
            weights, card = weights | of_cohort, card | its_card
        if self.comparison is not None:
            of_comparison, its_card = self.comparison.stored()
            weights, card = weights | of_comparison, card | its_card
        write_tensors(path, weights, FORMAT, card)

    def _weights(self) -> dict[str, Tensor]:
        """All tensors that decide an embedding, by name."""
        adapted = {} if self.adaptation is None else self.adaptation.tensors()
        of_adaptation = {f"{ADAPTED}{name}": tensor for name, tensor in adapted.items()}
        return self.encoder.state_dict() | of_adaptation

    def _recipe(self) -> dict[str, Any]:
        """Everything besides the weights that decides an embedding, as JSON values."""
        encoder = asdict(self.encoder.config)
        for name, usual in LATER_FIELDS.items():
            if encoder[name] == usual:
                del encoder[name]  # as in checkpoints and catalogs from before it was there
        for part in encoder.get("parts", ()):
            if part["weight"] == 1:
                del part["weight"]  # likewise
        recipe = {"encoder": encoder, "preprocessing": asdict(self.preprocessing)}
        return recipe | ({"cut_out": "second look"} if self.cut_out else {})

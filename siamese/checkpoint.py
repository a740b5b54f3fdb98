"""What serving needs of a training: weights, how to make the encoder, and what its scores mean.

One safetensors file; loading it runs no code of the file's and needs no training data.

Shapes: B batch, H height, W width, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siamese.encoder import ConcatenationConfig, Encoder, config_from
from siamese.errors import UserError
from siamese.files import replacing
from siamese.pair_score import Calibration
from siamese.photos import PhotoSource
from siamese.preprocessing import Box, Preprocessing, preprocessing_from
from siamese.second_look import middle_of

FORMAT = "siamese-1"
LATER_FIELDS = {"flip_average": False, "neck": "linear"}  # of an encoder's config
log = logging.getLogger(__name__)


class CheckpointError(UserError):
    """A file that is not a usable checkpoint; the message says why and what to do."""


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
    """

    encoder: Encoder
    preprocessing: Preprocessing
    calibration: Calibration
    trained_on: str
    second_look: bool = False

    def __post_init__(self) -> None:
        self.encoder.eval().to(memory_format=torch.channels_last)

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.encoder.config.embedding_size

    def to(self, device: str) -> Checkpoint:
        """The same on that device."""
        self.encoder.to(device)
        return self

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of all that decides an embedding: weights, architecture, preprocessing.

        Worked out once: an encoder that is trained further needs a new checkpoint.
        """
        digest = hashlib.sha256(json.dumps(self._recipe(), sort_keys=True).encode())
        for name, tensor in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.inference_mode()
    def embed_pixels(self, pixels: np.ndarray | Tensor) -> Tensor:
        """Preprocessed photos, uint8 (B, H, W, 3), → unit embeddings, float32 (B, D), on the CPU.

        In float32 throughout, so that an embedding hardly depends on what else is in its batch.
        """
        device = next(iter(self.encoder.buffers()), torch.empty(0)).device
        tensor = torch.as_tensor(pixels).to(device)
        embedding: Tensor = self.encoder(self.preprocessing.normalise(tensor))
        return embedding.cpu()

    @torch.inference_mode()
    def embed_queries(self, pixels: np.ndarray | Tensor, whole: Sequence[bool]) -> Tensor:
        """The same for photos of people, float32 (B, D).

        Args:
            pixels: uint8 (B, H, W, 3).
            whole: For each whether it is all of a photo: it may then be looked at twice.
        """
        tensor, twice = torch.as_tensor(pixels), torch.tensor(whole, dtype=torch.bool)
        if not (self.second_look and twice.any()):
            return self.embed_pixels(tensor)
        both = torch.cat([tensor, middle_of(tensor[twice])])
        embedding, closer = self.embed_pixels(both).split([len(tensor), int(twice.sum())])
        embedding[twice] = functional.normalize(embedding[twice] + closer, dim=1)
        return embedding

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
            chosen = zip(photos[start : start + batch], here, strict=True)
            pixels = np.stack([self.preprocessing.read(photo, box) for photo, box in chosen])
            whole = [people and box is None for box in here]
            parts.append(self.embed_queries(pixels, whole))
        return torch.cat(parts)

    def save(self, path: str | Path) -> None:
        """Write the checkpoint whole or not at all.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        card = self._recipe() | {
            "calibration": asdict(self.calibration),
            "trained_on": self.trained_on,
            "fingerprint": self.fingerprint,
        }
        if self.second_look:
            card["second_look"] = True
        weights = {name: w.detach().contiguous() for name, w in self.encoder.state_dict().items()}
        with replacing(path) as temporary:
            try:
                save_file(weights, temporary, {"format": FORMAT, "card": json.dumps(card)})
            except SafetensorError as error:  # the library's name for a full disk, too
                raise OSError(f"{path}: cannot be written ({error})") from error

    def _recipe(self) -> dict[str, Any]:
        """Everything besides the weights that decides an embedding, as JSON values."""
        encoder = asdict(self.encoder.config)
        for name, usual in LATER_FIELDS.items():
            if encoder[name] == usual:
                del encoder[name]  # as in checkpoints and catalogs from before it was there
        for part in encoder.get("parts", ()):
            if part["weight"] == 1:
                del part["weight"]  # likewise
        return {"encoder": encoder, "preprocessing": asdict(self.preprocessing)}


def load_checkpoint(path: str | Path, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint that `Checkpoint.save` wrote.

    Raises:
        CheckpointError: Missing, damaged, or not a checkpoint of this version.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; train one with train.py or name another --checkpoint"
        )
    try:
        with safe_open(path, framework="pt", device=device) as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint or damaged ({error}); give a model.safetensors of train.py"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: is of format {metadata.get('format')!r}, this version reads {FORMAT!r}; "
            "give a model.safetensors of train.py"
        )
    try:
        card = json.loads(metadata["card"])
        checkpoint = _assemble(card, weights, device)
        same = checkpoint.fingerprint == card["fingerprint"]
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(
            f"{path}: its weights do not fit its description ({reason}); copy or train it again"
        ) from error
    if not same:
        raise CheckpointError(f"{path}: changed after it was saved; copy or train it again")
    return checkpoint


def start_from_checkpoint(encoder: Encoder, preprocessing: Preprocessing, path: str | Path) -> None:
    """Copy a checkpoint's weights into an encoder that is to be trained further.

    The size of the embedding and the neck may differ; then the neck keeps its own new weights, and
    the log says so. So may the size of the photos, where the weights do not depend on it, and
    `flip_average`, which no weight depends on.

    Args:
        encoder: Gets the weights.
        preprocessing: Of its photos.
        path: Of the checkpoint; of several encoders side by side the first is taken, or by
            `PATH#2` the second, and so on.

    Raises:
        UserError: Missing, damaged, or of another architecture or normalisation.
    """
    name, mark, number = str(path).rpartition("#")
    if not mark or not number.isdecimal() or Path(path).is_file():
        name, number = str(path), "1"
    if not Path(name).is_file():
        raise UserError(f"{name}: no such checkpoint; check model.start_from")
    given, pixels = _one_encoder(load_checkpoint(name), int(number), name)
    there, here = given.config, encoder.config
    same_neck = (there.embedding_size, there.neck) == (here.embedding_size, here.neck)
    free = ("embedding_size", "neck", "flip_average")
    alike = replace(there, **{name: getattr(here, name) for name in free})
    if alike != here:
        settings = asdict(here)
        other = [f"{k} {v!r}" for k, v in asdict(there).items() if v != settings.get(k)]
        raise UserError(
            f"{path}: is another encoder, with {', '.join(other)}; "
            "set model.encoder alike, or leave out model.start_from"
        )
    if (pixels.mean, pixels.std) != (preprocessing.mean, preprocessing.std):
        raise UserError(
            f"{path}: was trained with mean {pixels.mean} and std {pixels.std}; "
            "set model.preprocessing.mean and std alike"
        )
    weights = {
        name: weight
        for name, weight in given.state_dict().items()
        if same_neck or not name.startswith("neck.")
    }
    try:
        encoder.load_state_dict(weights, strict=same_neck)
    except RuntimeError as error:
        raise UserError(
            f"{path}: its weights fit only photos of {pixels.height}x{pixels.width} and "
            f"embeddings of {there.embedding_size} numbers; set both alike"
        ) from error
    if not same_neck:
        differs = f"embeddings of {there.embedding_size} numbers, not {here.embedding_size}"
        if there.embedding_size == here.embedding_size:
            differs = f"the neck {there.neck!r}, not {here.neck!r}"
        log.warning("%s has %s: the neck starts anew", path, differs)


def _one_encoder(checkpoint: Checkpoint, number: int, path: str) -> tuple[Encoder, Preprocessing]:
    """An encoder alone and what it sees: of several side by side that number, from 1."""
    config = checkpoint.encoder.config
    parts = config.parts if isinstance(config, ConcatenationConfig) else ()
    if not 1 <= number <= max(len(parts), 1):
        raise UserError(f"{path}#{number}: number its encoders from 1 to {max(len(parts), 1)}")
    if not parts:
        return checkpoint.encoder, checkpoint.preprocessing
    encoder = checkpoint.encoder.get_submodule(f"backbone.encoders.{number - 1}")
    return cast(Encoder, encoder), parts[number - 1].preprocessing


def _assemble(card: dict[str, Any], weights: dict[str, Tensor], device: str) -> Checkpoint:
    """The checkpoint that a card and weights describe; any built-in error if they do not fit."""
    preprocessing = preprocessing_from(card["preprocessing"])
    config = config_from(card["encoder"])
    with torch.device(device):
        encoder = Encoder(config, preprocessing.height, preprocessing.width)
    encoder.load_state_dict(weights)
    return Checkpoint(
        encoder,
        preprocessing,
        Calibration(**card["calibration"]),
        str(card["trained_on"]),
        bool(card.get("second_look", False)),
    )

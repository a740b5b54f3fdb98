"""Weights that a training goes on from."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from siamese.backbones import SmallResNet
from siamese.checkpoint_part import file_and_number, load_part
from siamese.encoder import Encoder
from siamese.errors import UserError
from siamese.preprocessing import Preprocessing

log = logging.getLogger(__name__)


def start_from_checkpoint(encoder: Encoder, preprocessing: Preprocessing, path: str | Path) -> None:
    """Copy a checkpoint's weights into an encoder that is to be trained further.

    The size of the embedding and the neck may differ; then the neck keeps its own new weights, and
    the log says so. So may the size of the photos, where the weights do not depend on it, and
    `flip_average` and the levels beside `gem`, which no weight depends on. A `small_resnet` may
    become deeper: blocks that are added to its stages change nothing before they are trained.

    Args:
        encoder: Gets the weights.
        preprocessing: Of its photos.
        path: Of the checkpoint; of several encoders side by side the first is taken, or by
            `PATH#2` the second, and so on.

    Raises:
        UserError: Missing, damaged, or of another architecture or normalisation.
    """
    file, _ = file_and_number(path)
    if not Path(file).is_file():
        raise UserError(f"{file}: no such checkpoint; check model.start_from")
    start = load_part(path, default=1)
    given, pixels = start.encoder, start.preprocessing
    there, here = given.config, encoder.config
    same_neck = (there.embedding_size, there.neck) == (here.embedding_size, here.neck)
    free = ["embedding_size", "neck", "flip_average"]
    deeper = there.backbone == "small_resnet" and there.depth < here.depth
    if deeper:
        free.append("depth")
    if {there.pooling, here.pooling} == {"gem", "gem+levels"}:
        free.append("pooling")
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
    if deeper:
        weights = _deeper(weights, encoder, there.depth)
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


def _deeper(weights: dict[str, Tensor], encoder: Encoder, depth: int) -> dict[str, Tensor]:
    """Weights of a `small_resnet` of fewer blocks per stage as those of a deeper one's first ones.

    A block that is added begins as the identity: the scale of its last normalisation is 0
    (Goyal et al. 2017), and what it is given is never negative.
    """
    trunk = encoder.backbone[0]  # type: ignore[index]
    added: dict[str, Tensor] = {}
    kept = {str(place): str(place) for place in range(SmallResNet.STEM)}
    for place in range(SmallResNet.STEM, len(trunk)):
        stage, block = divmod(place - SmallResNet.STEM, encoder.config.depth)
        if block < depth:
            kept[str(SmallResNet.STEM + stage * depth + block)] = str(place)
            continue
        torch.nn.init.zeros_(trunk[place].body[-1].weight)
        fresh = trunk[place].state_dict().items()
        added |= {f"backbone.0.{place}.{name}": weight for name, weight in fresh}
    moved = {}
    for name, weight in weights.items():
        parts = name.split(".")
        if parts[:2] == ["backbone", "0"]:
            parts[2] = kept[parts[2]]
        moved[".".join(parts)] = weight
    return added | moved

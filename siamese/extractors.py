"""Encoders by name: published networks, Eigenfaces, colours, a checkpoint, or several together.

    siamese                  the checkpoint that comes with Siamese
    a/model.safetensors      any other checkpoint
    resnet50                 published weights from the hub (fetched once)
    resnet50=r50.pth         the same from a local file
    resnet18+resnet50        both side by side

Random weights are never used: where weights cannot be had, one line says so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from siamese.arguments import KEPT, SHIPPED
from siamese.checkpoint import Checkpoint, load_checkpoint
from siamese.concatenation import concatenated
from siamese.eigenfaces import fit_eigenfaces
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.pair_score import Calibration
from siamese.photos import PhotoSource
from siamese.preprocessing import Box, Preprocessing
from siamese.pretrained import normalised_for
from siamese.products import CatalogError
from siamese.storage import folder_of
from siamese.weights import NotFetchedError


@dataclass(frozen=True)
class Published:
    """A published network: its backbone, the side of its square photos, and its pooling."""

    backbone: str
    side: int = 224
    pooling: Literal["gem", "max"] = "gem"  # as published, unless `max`


PUBLISHED = {
    "resnet18": Published("torchvision/resnet18"),
    "resnet50": Published("torchvision/resnet50"),
    "resnet152": Published("torchvision/resnet152"),
    "vgg16": Published("torchvision/vgg16", pooling="max"),
    "mobilenet": Published("torchvision/mobilenet_v3_large"),
    "inception": Published("torchvision/inception_v3", 299),
    "xception": Published("timm/legacy_xception.tf_in1k", 299),
    "vit": Published("timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"),
}
OTHERS = ("siamese", "report_cnn", "colour_histogram", "eigenfaces")


@dataclass(frozen=True)
class Sample:
    """Photos that an encoder may be fitted to, and the part of each to look at."""

    photos: Sequence[PhotoSource] = ()
    boxes: Sequence[Box | None] | None = None


def extractor(name: str, sample: Sample = Sample(), tolerance: float | None = None) -> Checkpoint:
    """The encoder of that name, ready to embed.

    Args:
        name: See the module; several are joined by `+`.
        sample: What `eigenfaces` finds its components in.
        tolerance: Of `eigenfaces`, see `siamese.eigenfaces.fit_eigenfaces`.

    Raises:
        UserError: Unknown name, or its weights cannot be had.
    """
    if os.path.isfile(name):
        return load_checkpoint(name)
    parts = [part.strip() for part in name.split("+")]
    for part in parts:  # all of them before the first is fetched
        _check_name(part)
    found = [_single(part, sample, tolerance) for part in parts]
    return found[0] if len(found) == 1 else concatenated(found)


def _single(text: str, sample: Sample, tolerance: float | None) -> Checkpoint:
    """An encoder that is not a concatenation."""
    name, _, file = text.partition("=")
    if name in PUBLISHED:
        return _published(name, PUBLISHED[name], file)
    if name.startswith(("timm/", "torchvision/")):
        return _published(name, Published(name, _side_of(name)), file)
    if file:
        return _from_file(name, file)
    if name == "siamese":
        return load_checkpoint(SHIPPED)
    if name == "colour_histogram":
        preprocessing = normalised_for(Preprocessing(128, 96), name)
        return _untrained(EncoderConfig(name, 512), preprocessing, "nothing")
    if name == "eigenfaces":
        return fit_eigenfaces(sample.photos, sample.boxes, tolerance=tolerance)
    if name == "report_cnn":
        raise UserError(
            "report_cnn: has no published weights; train it with train.py --config "
            "configs/baseline.yaml and write report_cnn=ITS/model.safetensors"
        )
    return load_checkpoint(name)


def _check_name(text: str) -> None:
    """Raise `UserError` unless it is a name of this module or may be a file."""
    name = text.partition("=")[0]
    if name in (*OTHERS, *PUBLISHED) or text.endswith(".safetensors") or name != text:
        return
    if not name.startswith(("timm/", "torchvision/")):
        known = ", ".join((*OTHERS, *PUBLISHED))
        raise UserError(
            f"--encoder {text}: unknown; there are {known}, timm/NAME, torchvision/NAME, the path "
            "of a model.safetensors, and several of these joined by +"
        )


def _from_file(name: str, file: str) -> Checkpoint:
    """A checkpoint that is said to be of this backbone."""
    checkpoint = load_checkpoint(file)
    backbone = checkpoint.encoder.config.backbone
    if name not in (backbone, "siamese"):
        raise UserError(f"{name}={file}: that file is of {backbone}; name it alone")
    return checkpoint


def _published(name: str, published: Published, file: str) -> Checkpoint:
    """A published network without its classifier."""
    if file and not os.path.isfile(file):
        raise UserError(f"{name}={file}: no such file of weights; check the path")
    backbone, side = published.backbone, published.side
    config = EncoderConfig(backbone, pooling=published.pooling, neck="none")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every new try
    try:
        preprocessing = normalised_for(Preprocessing(side, side), backbone, file or True)
        encoder = Encoder(config, side, side, file or True)
    except NotFetchedError as error:
        raise UserError(
            f"{name}: its weights cannot be fetched ({error.reason}); check the connection, or "
            f"download {error.link} elsewhere and write {name}=FILE"
        ) from error
    return Checkpoint(encoder, preprocessing, Calibration(), f"{name}, published weights")


def _untrained(config: EncoderConfig, preprocessing: Preprocessing, label: str) -> Checkpoint:
    """An encoder that has no weights."""
    encoder = Encoder(config, preprocessing.height, preprocessing.width)
    return Checkpoint(encoder, preprocessing, Calibration(), label)


def _side_of(name: str) -> int:
    """Side of the photos that a model of timm or torchvision was published for."""
    library, _, model = name.partition("/")
    if library == "timm":
        import timm

        config = timm.get_pretrained_cfg(model)
        return int(config.input_size[-1]) if config else Published.side
    import torchvision

    if model in torchvision.models.list_models():
        photos = torchvision.models.get_model_weights(model)["DEFAULT"].transforms()
        if hasattr(photos, "crop_size"):
            return int(photos.crop_size[0])
    return Published.side


def keep_encoder(uri: str, checkpoint: Checkpoint | None) -> None:
    """Write a catalog's encoder beside its table, so that a search finds it; `None` removes it.

    Raises:
        CatalogError: The catalog is not in a folder of this machine.
    """
    folder = folder_of(uri)
    if checkpoint is not None:
        if folder is None:
            raise CatalogError(
                f"{uri}: --encoder is kept in the catalog's folder, and this is none; make the "
                "catalog in a folder, and copy it there"
            )
        checkpoint.save(folder / KEPT)
    elif folder is not None:
        (folder / KEPT).unlink(missing_ok=True)

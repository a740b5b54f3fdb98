"""Encoders by name: published networks, Eigenfaces, colours, a checkpoint, or several together.

    siamese                  the checkpoint that comes with Siamese
    a/model.safetensors      any other checkpoint
    a/model.safetensors#2    of encoders side by side in a checkpoint the second alone
    resnet50                 published weights from the hub (fetched once)
    resnet50=r50.pth         the same from a local file
    resnet18+resnet50        both side by side
    resnet50+0.3*vgg16       a cosine of the second counts 0.3 of one of the first
    siamese+100*eigenfaces   whose cosines lie between 0.98 and 1, so that they need such a weight

Random weights are never used: where weights cannot be had, one line says so.

`vgg16` is pooled by its maximum, as in the published notebook (SYSTEMS 3), which ranked by dot
products of the raw features. Here as everywhere they are taken between unit vectors. No encoder
could do otherwise: the unit vector of a photo is nearest to itself, while a raw dot product may
put a photo with longer features first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.checkpoint_part import file_and_number, load_part
from siamese.concatenation import concatenated
from siamese.default_checkpoint import KEPT, SHIPPED
from siamese.eigenfaces import RADIUS, fit_eigenfaces
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.files import replacing
from siamese.histogram import HISTOGRAMS
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
OTHERS = ("siamese", "report_cnn", *HISTOGRAMS, "eigenfaces")
OWN = (*OTHERS, "small_resnet", "concatenation", "labels")  # backbones of our own files
LIBRARIES = ("timm/", "torchvision/")


@dataclass(frozen=True)
class Sample:
    """Photos that an encoder may be fitted to, and the part of each to look at."""

    photos: Sequence[PhotoSource] = ()
    boxes: Sequence[Box | None] | None = None


def extractor(
    name: str, sample: Sample = Sample(), tolerance: float | None = None, studied: bool = False
) -> Checkpoint:
    """The encoder of that name, ready to embed.

    Args:
        name: See the module; several are joined by `+`, each with a weight if it is not to
            count as 1.
        sample: What `eigenfaces` finds its components in.
        tolerance: Of `eigenfaces`, see `siamese.eigenfaces.fit_eigenfaces`.
        studied: A joint embedding will be made of it, for whose sake alone encoders of weight 0
            may be there.

    Raises:
        UserError: Unknown name, or its weights cannot be had.
    """
    check_extractor(name, studied)
    parts = _parts(name)
    _warn_of_light_eigenfaces(parts)
    found = [_single(part, sample, tolerance) for part, _ in parts]
    return found[0] if len(found) == 1 else concatenated(found, [weight for _, weight in parts])


def check_extractor(name: str, studied: bool = False) -> None:
    """Raise `UserError` for what can be told of a name before anything is fetched or fitted."""
    for part, weight in _parts(name):
        if not 0 <= weight < float("inf") or not (weight or studied):
            least = "of at least 0" if studied else "above 0"
            raise UserError(f"{name!r}: the weight of {part} must be a number {least}")
        name, equals, file = part.partition("=")
        if part == "report_cnn":
            raise UserError(
                "report_cnn: has no published weights; train it with train.py --config "
                "configs/baseline.yaml and write report_cnn=ITS/model.safetensors"
            )
        known = name in (*(OWN if equals else OTHERS), *PUBLISHED) or name.startswith(LIBRARIES)
        if os.path.isfile(file_and_number(part)[0]) or (
            known and (not equals or os.path.isfile(file))
        ):
            continue
        if known or file_and_number(part)[0].endswith(".safetensors"):
            raise UserError(f"{part}: no such file of weights; check the path")
        raise UserError(
            f"{part!r} is no encoder; there are {', '.join((*OTHERS, *PUBLISHED))}, timm/NAME, "
            "torchvision/NAME, the path of a model.safetensors, NAME=FILE, and several joined by "
            "+, such as a+0.3*b"
        )


def _parts(name: str) -> list[tuple[str, float]]:
    """The encoders that a name joins, and their weights.

    The path of a file may hold a `+` or a `*` of its own.
    """
    pieces = name.split("+")
    parts = []
    while pieces:
        count = len(pieces)  # of the pieces that make one file's name, else one
        while count > 1 and not _is_of_a_file(_weighed("+".join(pieces[:count]))[0]):
            count -= 1
        parts.append(_weighed("+".join(pieces[:count])))
        pieces = pieces[count:]
    return parts


def _weighed(text: str) -> tuple[str, float]:
    """An encoder's name, and the number before it; 1 if there is none."""
    number, times, encoder = text.partition("*")
    if not times or _is_of_a_file(text.strip()):
        return text.strip(), 1.0
    try:
        return encoder.strip(), float(number)
    except ValueError:
        return text.strip(), 1.0


def _is_of_a_file(name: str) -> bool:
    """Whether this is the path of a file, or NAME=FILE."""
    return os.path.isfile(file_and_number(name)[0]) or os.path.isfile(name.partition("=")[2])


def _warn_of_light_eigenfaces(parts: Sequence[tuple[str, float]]) -> None:
    """One line on stderr where eigenfaces stand beside others and hardly count.

    Their cosines are 1 − d² / 2R² of distances d that are at most 2 R / RADIUS: RADIUS² of them
    spread as widely as one of another encoder can.
    """
    weight = dict(parts).get("eigenfaces")
    others = [weight for part, weight in parts if part != "eigenfaces"]
    enough = RADIUS**2
    if weight is not None and others and weight < max(others) * enough / 10:
        print(
            f"eigenfaces hardly count beside others: their cosines lie between "
            f"{1 - 2 / enough:.2f} and 1; write {enough:g}*eigenfaces for about as much",
            file=sys.stderr,
        )


def _single(text: str, sample: Sample, tolerance: float | None) -> Checkpoint:
    """An encoder that is not a concatenation."""
    if os.path.isfile(file_and_number(text)[0]):  # whose path may hold a `=`
        return load_part(text)
    name, _, file = text.partition("=")
    if name in PUBLISHED:
        return _published(name, PUBLISHED[name], file)
    if name.startswith(LIBRARIES):
        return _published(name, Published(name, _side_of(name)), file)
    if file:
        return _from_file(name, file)
    if name == "siamese":
        return load_checkpoint(SHIPPED)
    if name in HISTOGRAMS:
        preprocessing = normalised_for(Preprocessing(128, 96), name)
        config = EncoderConfig(name, HISTOGRAMS[name]().size)
        encoder = Encoder(config, preprocessing.height, preprocessing.width)
        return Checkpoint(encoder, preprocessing, Calibration(), "colours alone")
    return fit_eigenfaces(sample.photos, sample.boxes, tolerance=tolerance)


def _from_file(name: str, file: str) -> Checkpoint:
    """A checkpoint that is said to be of this backbone."""
    checkpoint = load_checkpoint(file)
    backbone = checkpoint.encoder.config.backbone
    if name not in (backbone, "siamese"):
        raise UserError(f"{name}={file}: that file is of {backbone}; name it alone")
    return checkpoint


def _published(name: str, published: Published, file: str) -> Checkpoint:
    """A published network without its classifier."""
    from huggingface_hub.utils import logging as hub  # timm's

    backbone, side = published.backbone, published.side
    config = EncoderConfig(backbone, pooling=published.pooling, neck="none")
    hub.set_verbosity_error()  # it tells of every new try
    try:
        preprocessing = normalised_for(Preprocessing(side, side), backbone, file or True)
        encoder = Encoder(config, side, side, file or True)
    except NotFetchedError as error:
        raise UserError(
            f"{name}: its weights cannot be fetched ({error.reason}); check the connection, or "
            f"download {error.link} elsewhere and write {name}=FILE"
        ) from error
    return Checkpoint(encoder, preprocessing, Calibration(), f"{name}, published weights")


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


def check_place(uri: str) -> None:
    """Raise `CatalogError` unless an encoder can be kept with that catalog."""
    if folder_of(uri) is None:
        raise CatalogError(
            f"{uri}: --encoder is kept in the catalog's folder, and this is none; make the "
            "catalog in a folder, and copy it there"
        )


@contextmanager
def keeping_encoder(uri: str, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Around the making of a catalog: its encoder comes to lie beside its table, `None` removes it.

    It is on the disk before the catalog is made, and takes its name once that is done; if either
    fails, the encoder that was there before stays.

    Raises:
        CatalogError: The catalog is not in a folder of this machine.
    """
    if checkpoint is None:
        yield
        if (folder := folder_of(uri)) is not None:
            (folder / KEPT).unlink(missing_ok=True)
        return
    check_place(uri)
    with replacing(Path(uri) / KEPT) as temporary:
        checkpoint.save(temporary)
        yield

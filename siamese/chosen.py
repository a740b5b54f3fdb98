"""What the arguments of a command choose, opened and on its device.

Libraries that are slow to import are so where something needs them: `list` shall not wait for
PyTorch.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.catalog import Catalog
    from siamese.checkpoint import Checkpoint
    from siamese.comparison import Comparison
    from siamese.garment_choice import GarmentChoice
    from siamese.listing import ListedPhoto


def catalog_of(arguments: Namespace) -> Catalog:
    """The catalog, opened.

    Raises:
        UserError: There is none at that place.
    """
    from siamese.catalog import Catalog

    return Catalog.open(arguments.catalog)


def checkpoint_of(arguments: Namespace, many: bool = False) -> Checkpoint:
    """The checkpoint on its device: with `many` photos to embed, on a GPU if there is one.

    Raises:
        UserError: The file cannot be used, or the device.
    """
    device = device_of(arguments, many)
    from siamese.checkpoint_file import load_checkpoint

    checkpoint = load_checkpoint(arguments.checkpoint, device)
    if getattr(arguments, "no_comparison", False):
        checkpoint.comparison = None
    return checkpoint


def encoder_of(arguments: Namespace, photos: Sequence[ListedPhoto]) -> Checkpoint:
    """The encoder that `--encoder` names, on its device.

    Args:
        photos: What Eigenfaces are fitted to.

    Raises:
        UserError: There is none of that name, or the device cannot be used.
    """
    device = device_of(arguments, many=True)
    from siamese.extractors import Sample, extractor

    sample = Sample([photo.path for photo in photos], [photo.box for photo in photos])
    return extractor(arguments.encoder, sample, arguments.tolerance).to(device)


def comparison_of(arguments: Namespace) -> Comparison | None:
    """The comparison that `--comparison` names, on its device; `none` is none.

    Raises:
        UserError: The file holds none, or the device cannot be used.
    """
    if arguments.comparison == "none":
        return None
    from siamese.comparison_file import comparison_at

    return comparison_at(arguments.comparison).to(device_of(arguments, many=True))


def device_of(arguments: Namespace, many: bool) -> str:
    """Where to compute, checked.

    Raises:
        UserError: Nothing can be computed there.
    """
    from siamese.runtime import keep_freed_memory

    if many:
        keep_freed_memory()  # a fifth more photos per second
    import torch

    device: str = arguments.device or ("cuda" if many and torch.cuda.is_available() else "cpu")
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: cannot be used here; try cpu") from error
    return device


def garment_of(arguments: Namespace) -> GarmentChoice | None:
    """What finds the garment that a search is for; None where all of the photo or a box is.

    Raises:
        UserError: Its weights cannot be used.
    """
    if arguments.garment is None:
        return None
    if arguments.box is not None:
        print("infer.py: --box is given, so --garment is not looked for", file=sys.stderr)
        return None
    from siamese.garment_choice import GarmentChoice, load_finder_of_garments

    isolation = load_finder_of_garments(arguments.isolation, arguments.isolation_weights)
    return GarmentChoice(isolation, arguments.garment, arguments.remove_background)

"""One of the encoders side by side in a checkpoint: `model.safetensors#2` is the second."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.encoder import ConcatenationConfig, Encoder
from siamese.errors import UserError
from siamese.pair_score import Calibration


def file_and_number(path: str | Path) -> tuple[str, int | None]:
    """`PATH#2` → the path and 2; the number is None where there is none to be read.

    The path of a file may end in a `#` and digits of its own.
    """
    name, mark, number = str(path).rpartition("#")
    if not mark or not number.isdecimal() or Path(path).is_file():
        return str(path), None
    return name, int(number)


def load_part(path: str | Path, default: int | None = None) -> Checkpoint:
    """A checkpoint, or the one of its encoders that the path names.

    What was fitted to all encoders together is not of one alone: a part of several is neither
    calibrated nor adapted, and looks once.

    Args:
        path: May end in `#` and a number, from 1.
        default: The number where the path names none; None takes the checkpoint as it is.

    Raises:
        UserError: There is no such number.
        CheckpointError: As of `load_checkpoint`.
    """
    file, number = file_and_number(path)
    checkpoint = load_checkpoint(file)
    number = default if number is None else number
    if number is None:
        return checkpoint
    config = checkpoint.encoder.config
    parts = config.parts if isinstance(config, ConcatenationConfig) else ()
    if not 1 <= number <= max(len(parts), 1):
        raise UserError(f"{path}: number its encoders from 1 to {max(len(parts), 1)}")
    if not parts:
        return checkpoint
    encoder = cast(Encoder, checkpoint.encoder.get_submodule(f"backbone.encoders.{number - 1}"))
    return Checkpoint(
        encoder, parts[number - 1].preprocessing, Calibration(), checkpoint.trained_on
    )

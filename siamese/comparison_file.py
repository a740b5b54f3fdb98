"""Files of a comparison that stands beside no encoder yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from siamese.comparison import Comparison, stored_comparison
from siamese.errors import UserError
from siamese.files import Kind, form_of, read_kind, write_tensors


class ComparisonError(UserError):
    """A file that is not a usable comparison; the message says why and what to do."""


KIND = Kind(
    "comparison",
    "siamese-comparison-1",
    "datasets.comparison_training",
    "train it with `python -m datasets.comparison_training`",
    ComparisonError,
)


def save_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write networks and head whole or not at all.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    weights, card = comparison.stored()
    write_tensors(path, weights, KIND.form, card)


def load_comparison(path: str | Path) -> Comparison:
    """Read what `save_comparison` wrote; no code in the file is run.

    Raises:
        ComparisonError: Missing, damaged, or not of this version.
    """
    return read_kind(path, KIND, _assemble)


def comparison_at(path: str | Path) -> Comparison:
    """The comparison of such a file, or of a checkpoint that has one.

    Raises:
        CheckpointError, ComparisonError: Missing, damaged, or a checkpoint that has none.
    """
    from siamese.checkpoint import FORMAT
    from siamese.checkpoint_file import load_checkpoint

    if form_of(path) != FORMAT:
        return load_comparison(path)
    found = load_checkpoint(path).comparison
    if found is None:
        raise ComparisonError(f"{path}: this checkpoint has no comparison; {KIND.remedy}")
    return found


def _assemble(card: dict[str, Any], weights: dict[str, Tensor]) -> Comparison:
    comparison = stored_comparison(weights, card)
    if comparison is None:
        raise ValueError("it holds no comparison")
    return comparison

"""Files of a comparison that stands beside no encoder yet."""

from __future__ import annotations

import json
from pathlib import Path

from siamese.comparison import Comparison, stored_comparison
from siamese.errors import UserError
from siamese.files import read_tensors, write_tensors

FORMAT = "siamese-comparison-1"


class ComparisonError(UserError):
    """A file that is not a usable comparison; the message says why and what to do."""


def save_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write networks and head whole or not at all.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    weights, card = comparison.stored()
    write_tensors(path, weights, FORMAT, card)


def load_comparison(path: str | Path) -> Comparison:
    """Read what `save_comparison` wrote; no code in the file is run.

    Raises:
        ComparisonError: Missing, damaged, or not of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise ComparisonError(
            f"{path}: no such comparison; train it with `python -m datasets.comparison_training`"
        )
    try:
        metadata, weights = read_tensors(path)
    except OSError as error:
        raise ComparisonError(
            f"{path}: no comparison or damaged ({error}); copy or train it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise ComparisonError(
            f"{path}: is of format {metadata.get('format')!r}, this version reads {FORMAT!r}; "
            "give a file of datasets.comparison_training"
        )
    try:
        comparison = stored_comparison(weights, json.loads(metadata["card"]))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ComparisonError(
            f"{path}: its weights do not fit its description ({reason}); copy or train it again"
        ) from error
    if comparison is None:
        raise ComparisonError(f"{path}: holds no comparison; copy or train it again")
    return comparison

"""Reading the files that `Checkpoint.save` writes; no code in them is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siamese.adaptation import Adaptation
from siamese.checkpoint import ADAPTED, FORMAT, Checkpoint, CheckpointError
from siamese.cohort import stored_cohort
from siamese.comparison import stored_comparison
from siamese.encoder import Encoder, config_from
from siamese.files import read_tensors
from siamese.pair_score import Calibration
from siamese.preprocessing import preprocessing_from


def load_checkpoint(path: str | Path, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint that `Checkpoint.save` wrote.

    Raises:
        CheckpointError: Missing, damaged, or not a checkpoint of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; train one with train.py or name another --checkpoint"
        )
    try:
        metadata, weights = read_tensors(path, device)
    except OSError as error:
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


def _assemble(card: dict[str, Any], weights: dict[str, Tensor], device: str) -> Checkpoint:
    """The checkpoint that a card and weights describe; any built-in error if they do not fit."""
    preprocessing = preprocessing_from(card["preprocessing"])
    config = config_from(card["encoder"])
    with torch.device(device):
        encoder = Encoder(config, preprocessing.height, preprocessing.width)
    adapted = {
        name.removeprefix(ADAPTED): weights.pop(name)
        for name in list(weights)
        if name.startswith(ADAPTED)
    }
    cohort = stored_cohort(weights, card)
    comparison = stored_comparison(weights, card)
    encoder.load_state_dict(weights)
    calibration = Calibration(**card["calibration"])
    later = card.get("adapted_calibration")
    later = None if later is None else Calibration(**later)
    known = [calibration, later, None if comparison is None else comparison.calibration]
    if cohort is None and any(each.cohort_weight for each in known if each is not None):
        raise ValueError("the cohort that its score was fitted with is missing")
    return Checkpoint(
        encoder,
        preprocessing,
        calibration,
        str(card["trained_on"]),
        bool(card.get("second_look", False)),
        bool(card.get("cut_out", False)),
        Adaptation(**{name: each.cpu() for name, each in adapted.items()}) if adapted else None,
        later,
        cohort,
        None if comparison is None else comparison.to(device),
    )

"""Small models on disk: tensors and a card of JSON values in one safetensors file, no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from siamese.errors import UserError
from siamese.files import replacing


class TaggerError(UserError):
    """A tagger or flag that cannot be used; the message says why and what to do."""


def save_tensors(
    path: str | Path, tensors: dict[str, Tensor], kind: str, card: dict[str, Any]
) -> None:
    """A safetensors file with a card of JSON values, written whole or not at all."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file(tensors, temporary, {"format": kind, "card": json.dumps(card)})


def load_tensors(
    path: str | Path, kind: str, name: str, command: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of such a file.

    Raises:
        TaggerError: Missing, damaged or something else than `name`, which `command` makes.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise TaggerError(f"{path}: no such file; make {name} with infer.py {command}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TaggerError(f"{path}: not {name} or damaged; use infer.py {command}") from error
    if metadata.get("format") != kind:
        raise TaggerError(f"{path}: not {name}; make one with infer.py {command}")
    return tensors, json.loads(metadata["card"])

"""Small models on disk: tensors and a card of JSON values in one safetensors file, no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from siamese.errors import UserError
from siamese.files import read_tensors


class TaggerError(UserError):
    """A tagger or flag that cannot be used; the message says why and what to do."""


def load_tensors(
    path: str | Path, kind: str, name: str, command: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of such a file.

    Raises:
        TaggerError: Missing, damaged or something else than `name`, which `command` makes.
    """
    if not Path(path).is_file():
        raise TaggerError(f"{path}: no such file; make {name} with infer.py {command}")
    try:
        metadata, tensors = read_tensors(path)
    except OSError as error:
        raise TaggerError(f"{path}: not {name} or damaged; use infer.py {command}") from error
    if metadata.get("format") != kind:
        raise TaggerError(f"{path}: not {name}; make one with infer.py {command}")
    return tensors, json.loads(metadata["card"])

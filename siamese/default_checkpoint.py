"""Which checkpoint is used where none is named."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = str(Path(__file__).parent.parent / "checkpoints" / "shipped" / "model.safetensors")
KEPT = "encoder.safetensors"  # in the folder of a catalog made by `index --encoder`


def kept_encoder(uri: str) -> str | None:
    """The checkpoint in a catalog's folder that `index --encoder` made it with, if it did."""
    path = os.path.join(uri, KEPT)
    return path if os.path.isfile(path) else None

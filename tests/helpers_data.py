"""The small drawn data set of `conftest.py` as a data module, and a trainer for it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from datasets.module import ProductPhotos
from siamese.preprocessing import Preprocessing

SIZE = Preprocessing(32, 24)
# The drawn folder's own parameters, which reading it must repeat.
OPTIONS = {"products": 16, "person_photos": [2, 3], "validation": 4, "test": 4}


def data_of(drawn: Path, folder: Path, **arguments: Any) -> ProductPhotos:
    """Its photos in small batches, cached in `folder`."""
    settings: dict[str, Any] = {
        "path": str(drawn),
        "options": OPTIONS,
        "cache": str(folder / "cache"),
        "products_per_batch": 4,
        "workers": 0,
    }
    data = ProductPhotos(**settings | arguments)
    data.preprocessing = SIZE
    return data


def trainer_of(**arguments: Any) -> pl.Trainer:
    """One that leaves and prints nothing."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**settings | arguments)


def write_config(settings: dict[str, object], path: Path) -> list[str]:
    """The arguments that use these settings."""
    path.write_text(yaml.safe_dump(settings))
    return ["--config", str(path)]

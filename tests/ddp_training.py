"""Trains a few steps in one of several processes; `test_two_processes.py` starts them.

Arguments: folder of the drawn data, folder to write to, losses. The number of processes and which
one this is are in the environment, as `torchrun` leaves them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from torch import nn

import datasets.module
from datasets.module import ProductPhotos
from siamese.encoder import EncoderConfig
from siamese.module import Loss, SiameseModule
from siamese.preprocessing import Preprocessing

EPOCHS = 2
SIZE = Preprocessing(32, 24)


def train(drawn: Path, folder: Path, loss: Loss) -> None:
    """A few steps of one loss; the result is saved by loss, number of processes and process."""
    torch.manual_seed(0)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    # Views are drawn apart in each process, and batch norms see their own share: without both,
    # the processes together must do just what one does.
    datasets.module.training_views = lambda *_: None
    module = SiameseModule(
        EncoderConfig(widths=(8, 16), depth=1, embedding_size=8),
        SIZE,
        loss=loss,
        optimiser="sgd",
        learning_rate=0.1,
        warmup=None,
        label_weight=0.01,  # features without batch norms are large
    )
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm1d):
                setattr(parent, name, nn.Identity())
    data = ProductPhotos(
        path=str(drawn),
        options={"products": 16, "person_photos": [2, 3], "validation": 5, "test": 3},
        cache=str(folder / "cache"),
        batches="pairs" if loss == "bare_sigmoid" else "products",
        products_per_batch=4,
        persons_per_product=2,
        labels=None if loss == "bare_sigmoid" else ["role"],
        pairs_per_batch=16,
        workers=0,
    )
    data.preprocessing = SIZE
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=EPOCHS,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    result = {
        "weights": module.state_dict(),
        "figures": figures,
        "steps": trainer.global_step,
        "validated": tuple(module.validated),
    }
    torch.save(result, folder / f"{loss}-{processes}-{trainer.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[3:]:
        train(Path(sys.argv[1]), Path(sys.argv[2]), cast(Loss, name))

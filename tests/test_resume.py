"""A training that was killed goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from helpers_data import SIZE, data_of, trainer_of
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from siamese.encoder import EncoderConfig
from siamese.module import SiameseModule


class KilledError(Exception):
    """Stands for the end of the process."""


class KillAt(Callback):
    """Ends the training in the given epoch, after its first batch or after its last."""

    def __init__(self, epoch: int, middle: bool) -> None:
        self.epoch, self.middle = epoch, middle

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.middle and trainer.current_epoch == self.epoch:
            raise KilledError

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.middle and trainer.current_epoch == self.epoch:
            raise KilledError


@pytest.mark.parametrize("middle", [False, True])
@pytest.mark.parametrize(
    ("backbone", "model", "data"),
    [
        ("small_resnet", {}, {}),
        ("small_resnet", {"mix_styles": 0.5}, {"labels": ["role"]}),
        ("report_cnn", {}, {}),
        ("report_cnn", {}, {"workers": 2}),
    ],
)
def test_a_resumed_training_ends_with_the_very_same_weights(
    backbone: str,
    model: dict[str, Any],
    data: dict[str, Any],
    middle: bool,
    rendered: Path,
    tmp_path: Path,
) -> None:
    """Killed between two epochs or within the third; dropout and views are drawn as before."""
    config = EncoderConfig(backbone, 8, widths=(8, 16), depth=1)

    def run(folder: Path, kill: KillAt | None, resume: Path | None) -> tuple[Any, ...]:
        torch.manual_seed(1 if resume is None else 2)  # what a new process starts with is chance
        module = SiameseModule(config, SIZE, learning_rate=3e-3, seed=4, **model)
        if resume is None:
            module.load_state_dict(initial)
        checkpoints = ModelCheckpoint(folder, filename="best", save_last=True)
        trainer = trainer_of(
            max_epochs=4,
            enable_checkpointing=True,
            callbacks=[checkpoints, *([kill] if kill else [])],
        )
        photos = data_of(rendered, tmp_path, persons_per_product=2, **data)
        try:
            trainer.fit(module, photos, ckpt_path=resume)
        except KilledError:
            return ()
        return module.state_dict(), trainer.global_step, dict(trainer.callback_metrics)

    initial = SiameseModule(config, SIZE).state_dict()
    straight, steps, figures = run(tmp_path / "straight", None, None)
    assert run(tmp_path / "killed", KillAt(2, middle), None) == ()
    resumed, resumed_steps, resumed_figures = run(
        tmp_path / "killed", None, tmp_path / "killed" / "last.ckpt"
    )
    assert resumed_steps == steps == 8
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert resumed_figures == figures
    moved = [name for name in initial if not torch.equal(initial[name], straight[name])]
    assert len(moved) > len(initial) / 2

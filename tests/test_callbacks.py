"""Pictures of a training: curves of what was measured, hits and misses from all over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from siamese.callbacks import BestCheckpoint, LastCheckpoint, LearningCurves, _spread


@pytest.mark.parametrize(
    ("numbers", "count", "chosen"),
    [
        ([], 3, []),  # a perfect validation has no misses, a hopeless one no hits
        ([4], 3, [4]),
        ([4, 7], 3, [4, 7]),
        (list(range(100)), 3, [0, 49, 99]),
        ([4, 7], 0, []),
    ],
)
def test_queries_are_spread_and_none_is_shown_twice(
    numbers: list[int], count: int, chosen: list[int]
) -> None:
    assert _spread(numbers, count) == chosen


def test_epochs_without_a_validation_have_no_validation_figures(tmp_path: Path) -> None:
    """The trainer keeps telling the last ones; a curve through them would be flat and wrong."""
    curves, seen = LearningCurves(tmp_path / "curves.png"), {"loss_epoch": torch.tensor(1.0)}
    trainer = SimpleNamespace(callback_metrics=seen, current_epoch=0, is_global_zero=True)
    module = pl.LightningModule()
    for epoch in range(4):
        trainer.current_epoch = epoch
        curves.on_train_epoch_start(cast(pl.Trainer, trainer), module)
        if epoch % 2:
            seen["validation/top_1"] = torch.tensor(epoch / 4)
            curves.on_validation_end(cast(pl.Trainer, trainer), module)
        curves.on_train_epoch_end(cast(pl.Trainer, trainer), module)
    assert [row.get("validation/top_1") for row in curves.history] == [None, 0.25, None, 0.75]
    curves.on_train_end(cast(pl.Trainer, trainer), module)
    assert (tmp_path / "curves.png").is_file()


def test_checkpoints_of_earlier_versions_know_the_best_and_others_may_stand_beside(
    tmp_path: Path,
) -> None:
    """Lightning tells the states of callbacks apart by these keys."""
    usual = ModelCheckpoint(tmp_path, monitor="validation/mean_reciprocal_rank", mode="max")
    assert BestCheckpoint(tmp_path).state_key == usual.state_key
    assert LastCheckpoint(tmp_path).state_key != ModelCheckpoint(tmp_path).state_key

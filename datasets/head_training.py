"""How a head is trained on what networks that stay as they are have seen, and what its command
line takes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.joint_batches import ProductBatches
from datasets.module import ProductPhotos
from siamese.cli import failing_when_stopped
from siamese.pair_score import info_nce_loss
from siamese.preprocessing import Preprocessing
from siamese.runtime import training_precision

RATE, DECAY = 1e-3, 0.05


class HeadModule(LightningModule):
    """The optimiser and the loss of a head; what its logits are, others say.

    Args:
        steps: Of the whole training.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def loss_of(self, logits: Tensor) -> Tensor:
        """InfoNCE both ways, of logits (P, P) whose right pairs lie on the diagonal."""
        same = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        loss = (info_nce_loss(logits, same) + info_nce_loss(logits.T, same)) / 2
        self.log("loss", loss, prog_bar=True)
        return loss

    def rates(self) -> list[tuple[nn.Module, float]]:
        """What is trained, and the highest rate of each."""
        return [(self, RATE)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        groups = [{"params": part.parameters(), "lr": rate} for part, rate in self.rates()]
        optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
        rise = 0.1 if self.steps != 10 else 0.2  # a rise of one step would divide by zero
        highest = [rate for _, rate in self.rates()]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, highest, total_steps=self.steps, pct_start=rise
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def fit_head(module: HeadModule, batches: ProductBatches) -> None:
    """Train a head in place, once through the batches, which are the whole training."""
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision=training_precision("cpu"),
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )
    with failing_when_stopped():
        trainer.fit(module.train(), DataLoader(batches, batch_size=None))


def head_parser(
    program: str, description: str | None, views: int, light: float, steps: int, dropout: float
) -> argparse.ArgumentParser:
    """A command line with what every training of a head takes; the numbers are what is usual."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("manifest", help="whose training split is studied")
    add("--out", required=True, help="file to write")
    add("--views", type=int, default=views, help="of each photo")
    add("--light", type=float, default=light, help="see data.view_light of train.py")
    add("--steps", type=int, default=steps)
    add("--dropout", type=float, default=dropout, help="share of features a photo goes without")
    add("--seed", type=int, default=0)
    add("--cache", type=Path, default=Path("data/cache"))
    return parser


def parse_head(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The choices; a number that is out of range ends the process with a line."""
    choice = parser.parse_args(words)
    if min(choice.views, choice.steps) < 1:
        parser.error("--views and --steps must be at least 1")
    if not 0 <= choice.seed < 2**32:
        parser.error("--seed must be from 0 to 4294967295")
    if not 0 <= choice.dropout < 1:
        parser.error("--dropout must be at least 0 and below 1")
    if not 0 <= choice.light <= 1:
        parser.error("--light must be from 0 to 1")
    return choice


def studied_photos(choice: argparse.Namespace, preprocessing: Preprocessing) -> ProductPhotos:
    """The manifest's photos as networks take them.

    Raises:
        UserError: The manifest cannot be used.
    """
    photos = ProductPhotos("manifest", choice.manifest, cache=str(choice.cache))
    photos.preprocessing = preprocessing
    photos.prepare_data()
    return photos

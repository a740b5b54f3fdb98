"""How a head is trained on what networks that stay as they are have seen."""

from __future__ import annotations

import sys

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.joint_batches import ProductBatches
from siamese.pair_score import info_nce_loss
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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimiser = torch.optim.AdamW(self.parameters(), RATE, weight_decay=DECAY)
        rise = 0.1 if self.steps != 10 else 0.2  # a rise of one step would divide by zero
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, RATE, total_steps=self.steps, pct_start=rise
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
    trainer.fit(module.train(), DataLoader(batches, batch_size=None))

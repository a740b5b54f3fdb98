"""Training a tagger on inputs that are worked out already: seconds, on any machine.

Shapes: N products, D input size, L label columns.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siamese.attributes.tagger import Tagger, TaggerCard
from siamese.labels import UNKNOWN

EPOCHS = 80
BATCH = 128
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01


def train_tagger(
    card: TaggerCard, inputs: np.ndarray, labels: np.ndarray, epochs: int = EPOCHS, seed: int = 0
) -> Tagger:
    """A tagger that has seen these products.

    AdamW with a one-cycle learning rate. Hidden size, dropout and epochs were chosen on the
    validation products of the fashion catalog.

    Args:
        card: What to train.
        inputs: float32 (N, D).
        labels: int64 (N, L), places among the columns' values, `UNKNOWN` is left out.
        epochs: Passes over the products.
        seed: Of weights, order and dropout.

    Returns:
        In evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tagger = Tagger(card)
        x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
        tagger.mean.copy_(x.mean(dim=0))
        tagger.std.copy_(x.std(dim=0, unbiased=False).clamp(min=1e-6))
        batches = -(-len(x) // BATCH)
        optimizer = torch.optim.AdamW(tagger.parameters(), weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=epochs * batches
        )
        tagger.train()
        for _ in range(epochs):
            for chosen in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                tagger_loss(tagger, x[chosen], y[chosen]).backward()
                optimizer.step()
                schedule.step()
    return tagger.eval()


def tagger_loss(tagger: Tagger, inputs: Tensor, labels: Tensor) -> Tensor:
    """Sum over columns of the mean loss over products whose label is known.

    Args:
        tagger: Its card's `output` says which loss: cross-entropy of a softmax, or the sum of
            the binary cross-entropies of the column's sigmoid outputs.
        inputs: float32 (B, D).
        labels: int64 (B, L).
    """
    losses = []
    for logits, codes, label in zip(tagger(inputs), tagger.codes, labels.T, strict=True):
        known = label != UNKNOWN
        if tagger.card.output == "softmax":
            scores = logits[known] @ codes.T
            loss = functional.cross_entropy(scores, label[known], reduction="sum")
        else:
            loss = functional.binary_cross_entropy_with_logits(
                logits[known], codes[label[known]], reduction="sum"
            )
        losses.append(loss / known.sum().clamp(min=1))
    return torch.stack(losses).sum()

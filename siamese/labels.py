"""Attributes of products as a second thing to learn: they teach what garments have in common.

Shapes: B photos, C features, L attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

UNKNOWN = -1


class LabelHeads(nn.Module):
    """A linear classifier of the encoder's pooled features per attribute, for training only.

    Args:
        features: C.
        classes: Number of classes of each of L attributes.
    """

    def __init__(self, features: int, classes: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(features, count) for count in classes)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean over attributes of the mean cross-entropy over photos whose class is known.

        Args:
            features: float (B, C).
            labels: int64 (B, L), classes from 0; `UNKNOWN` is left out.

        Returns:
            Scalar; an attribute that no photo of the batch knows counts as 0.
        """
        losses = []
        for head, label in zip(self.heads, labels.T, strict=True):
            total = functional.cross_entropy(
                head(features), label, ignore_index=UNKNOWN, reduction="sum"
            )
            losses.append(total / (label != UNKNOWN).sum().clamp(min=1))
        return torch.stack(losses).mean()

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
    """A linear classifier per attribute, for training only.

    On the encoder's pooled features, or, with a scale, on its unit embeddings: then every class is
    a direction, and its logit the scaled cosine (Wang et al. 2017, NormFace), so that the products
    of a class gather around it. The smaller the scale, the nearer they must come.

    Args:
        features: C.
        classes: Number of classes of each of L attributes.
        scale: Of the cosines; `None` for classifiers of features.
    """

    def __init__(self, features: int, classes: Sequence[int], scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        plain = scale is None
        self.heads = nn.ModuleList(nn.Linear(features, count, bias=plain) for count in classes)

    def logits(self, head: nn.Module, features: Tensor) -> Tensor:
        """What one head says: (B, C) → (B, classes)."""
        if self.scale is None:
            answer: Tensor = head(features)
            return answer
        assert isinstance(head, nn.Linear)
        return self.scale * functional.linear(features, functional.normalize(head.weight, dim=1))

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
                self.logits(head, features), label, ignore_index=UNKNOWN, reduction="sum"
            )
            losses.append(total / (label != UNKNOWN).sum().clamp(min=1))
        return torch.stack(losses).mean()

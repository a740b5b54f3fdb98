"""One embedding of what several networks side by side see: what none of them could learn alone.

Each network was trained by itself, in batches of a few dozen products. Their features together, and
what tells the most alike of hundreds of products apart, are learned by one linear map in seconds
(`datasets.joint_training`), because the networks stay as they are.

Shapes: B photos, h x w positions, C features of all networks, D numbers of the joint embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_SPREAD = 1e-4  # of a feature that tells something


class Standardisation(nn.Module):
    """Each feature less its mean, in units of its standard deviation: (B, C) → (B, C).

    Args:
        features: C.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    def fit(self, features: Tensor) -> None:
        """Take mean and deviation of photos' features, float32 (B, C), for all that follow."""
        spread, mean = torch.std_mean(features, dim=0, correction=0)
        self.set(mean, spread)

    def set(self, mean: Tensor, spread: Tensor) -> None:
        """Take these means and standard deviations, float (C,)."""
        self.mean.copy_(mean)
        # A feature that is the same in all photos tells nothing, and shall not be divided by 0.
        self.spread.copy_(torch.where(spread > LEAST_SPREAD, spread, torch.inf))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.spread


class JointHead(nn.Module):
    """Normalisation and a linear map, (B, C) → unit embeddings, float32 (B, D).

    Args:
        features: C.
        size: D.
        standardised: Normalise each feature by itself, as features of different networks need;
            else all of a photo's together (layer normalisation).
    """

    def __init__(self, features: int, size: int, standardised: bool = False) -> None:
        super().__init__()
        self.norm: Standardisation | nn.LayerNorm
        self.norm = Standardisation(features) if standardised else nn.LayerNorm(features)
        self.dropout = nn.Dropout(0.0)  # a training sets its share
        self.map = nn.Linear(features, size)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features of all networks, side by side."""
        embedding: Tensor = self.map(self.dropout(self.norm(features.float())))
        return functional.normalize(embedding.float(), dim=1)

    def parts(self, shares: Tensor) -> Tensor:
        """What each position adds to an embedding, (B, h, w, D), see `siamese.parts`.

        Given the spread of the features, which is held as it is, the normalisation is affine; its
        constants, which no position causes, are spread evenly.

        Args:
            shares: Of the features, (B, h, w, C), summing to them.
        """
        positions = shares.shape[1] * shares.shape[2]
        if isinstance(self.norm, Standardisation):
            normal = (shares - self.norm.mean / positions) / self.norm.spread
            return functional.linear(normal, self.map.weight, self.map.bias / positions)
        variance = shares.sum(dim=(1, 2)).var(dim=1, correction=0)
        spread = (variance + self.norm.eps).sqrt()[:, None, None, None]
        centred = (shares - shares.mean(dim=3, keepdim=True)) / spread
        normal = centred * self.norm.weight + self.norm.bias / positions
        return functional.linear(normal, self.map.weight, self.map.bias / positions)

"""One embedding of what several networks side by side see: what none of them could learn alone.

Each network was trained by itself, in batches of a few dozen products. Their features together, and
what tells the most alike of hundreds of products apart, are learned by one linear map in seconds
(`datasets.joint_training`), because the networks stay as they are.

Shapes: B photos, h x w positions, C features of all networks, D numbers of the joint embedding.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class JointHead(nn.Module):
    """Layer normalisation and a linear map, (B, C) → unit embeddings, float32 (B, D).

    Args:
        features: C.
        size: D.
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.map = nn.Linear(features, size)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features of all networks, side by side."""
        embedding: Tensor = self.map(self.norm(features.float()))
        return functional.normalize(embedding.float(), dim=1)

    def parts(self, shares: Tensor) -> Tensor:
        """What each position adds to an embedding, (B, h, w, D), see `siamese.parts`.

        Given the spread of the features, which is held as it is, the normalisation is affine; its
        constants, which no position causes, are spread evenly.

        Args:
            shares: Of the features, (B, h, w, C), summing to them.
        """
        positions = shares.shape[1] * shares.shape[2]
        variance = shares.sum(dim=(1, 2)).var(dim=1, correction=0)
        spread = (variance + self.norm.eps).sqrt()[:, None, None, None]
        centred = (shares - shares.mean(dim=3, keepdim=True)) / spread
        normal = centred * self.norm.weight + self.norm.bias / positions
        return functional.linear(normal, self.map.weight, self.map.bias / positions)

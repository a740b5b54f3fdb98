"""Fits an encoder to a shop's own photos, without a label.

An encoder puts photos of people and photos of products apart from each other, by what all of one
kind have in common: studios, walls, hair. That is of no use, and in a shop that the encoder was not
trained on it hides part of what is. So the mean of the shop's photos of each kind is taken off
their embeddings, and directions in which all of its photos differ much are shortened
(correlation alignment, Sun, Feng and Saenko 2016, Return of Frustratingly Easy Domain Adaptation;
whitened in part only). Nobody needs to know which person wears which product.

Shapes: N photos, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from siamese.errors import UserError
from siamese.roles import Role

FEWEST = 20  # photos of each kind; below, their mean says little
POWER = 0.25  # of the variances that directions are divided by: 0 leaves them, .5 is whitening
FLOOR = 0.05  # share of the largest variance that is added to each


@dataclass(frozen=True)
class Adaptation:
    """What is done to embeddings: an affine map for each kind of photo, then unit length.

    Args:
        people: Mean embedding of photos of people, float32 (D,).
        products: Mean embedding of product photos, float32 (D,).
        axes: What differences to the mean are multiplied by, float32 (D, D).
    """

    people: Tensor
    products: Tensor
    axes: Tensor

    def __call__(self, embeddings: Tensor, roles: Sequence[Role]) -> Tensor:
        """Unit embeddings, float (N, D), → unit embeddings of the adapted encoder, (N, D)."""
        return functional.normalize(self.moved(embeddings, roles), dim=1)

    def moved(self, embeddings: Tensor, roles: Sequence[Role]) -> Tensor:
        """The same before it is brought to unit length."""
        product = torch.tensor([role is Role.PRODUCT for role in roles], dtype=torch.bool)
        return (embeddings - torch.where(product[:, None], self.products, self.people)) @ self.axes

    def tensors(self) -> dict[str, Tensor]:
        """All that it consists of, by name."""
        return {"people": self.people, "products": self.products, "axes": self.axes}


def fit_adaptation(people: Tensor, products: Tensor) -> Adaptation:
    """The adaptation to a shop.

    Args:
        people: Unit embeddings of photos of people, float32 (N, D).
        products: Of product photos, float32 (any, D); they need not be those that the people wear.

    Raises:
        UserError: Fewer than `FEWEST` of either.
    """
    for name, photos in (("people", people), ("products", products)):
        if len(photos) < FEWEST:
            raise UserError(
                f"{len(photos)} photos of {name} are too few to adapt to; give at least {FEWEST}"
            )
    spread = torch.cov(people.double().T) + torch.cov(products.double().T)
    variances, directions = torch.linalg.eigh(spread)
    lengths = (variances.clamp(min=0) + FLOOR * variances.max()) ** -POWER
    # Back in the encoder's own directions, so that a little noise changes a little.
    axes = (directions * lengths) @ directions.T
    return Adaptation(people.mean(dim=0), products.mean(dim=0), axes.float().contiguous())

"""Which products look alike: those are the hard ones to tell apart, and meet in batches.

Shapes: U products with photos of both kinds, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from datasets.batches import ProductBatches
from datasets.cache import CachedPhotos
from siamese.module import SiameseModule
from siamese.verification import Integers

NEAREST = 40  # products that those of a group are drawn from
CHUNK = 128  # photos per forward pass


def nearest_of(embeddings: Tensor, count: int) -> Integers:
    """The places of each one's nearest others, int64 (N, min(count, N - 1)), of unit (N, any)."""
    found = []
    for start in range(0, len(embeddings), 512):
        cosines = embeddings[start : start + 512] @ embeddings.T
        rows = torch.arange(len(cosines))
        cosines[rows, start + rows] = -torch.inf
        found.append(cosines.topk(min(count, len(embeddings) - 1), dim=1).indices)
    return torch.cat(found).numpy()


def look_alikes_of(
    module: SiameseModule, cached: CachedPhotos, batches: ProductBatches
) -> Integers:
    """The products that look most like each of `batches.usable`, int64 (U, up to 40).

    As the network sees it at present: by the mean embedding of a photo of the product and one of
    a person.

    Args:
        module: Whose encoder looks.
        cached: Pixels of the rows that batches are drawn of.
        batches: Which products there are.
    """
    sides = []
    for photos in (batches.product_photos, batches.person_photos):
        slots = cached.slot[[photos[number][0] for number in batches.usable]]
        chunks = [slots[start : start + CHUNK] for start in range(0, len(slots), CHUNK)]
        seen = [module.embed(torch.from_numpy(cached.pixels[chunk])) for chunk in chunks]
        sides.append(torch.cat(seen).float())
    means = functional.normalize(sides[0] + sides[1], dim=1)
    return batches.usable[nearest_of(means, NEAREST)]

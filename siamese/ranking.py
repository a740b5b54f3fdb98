"""The answer to a photo: products of a catalog, best first, and whether its own is among them.

Shapes: N catalog products, k candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from siamese.products import Attribute

DIGITS = 5  # of a probability or score
ALIKE = 1e-6  # cosines that differ by less are equal


@dataclass(frozen=True)
class Match:
    """A product of the catalog, as an answer.

    Args:
        product_id: Which.
        path: Its photo that is most alike; of products ranked by their mean, the first one.
        cosine: Of the query and that photo, or the mean of the product's photos.
        probability: That the photo shows this very product rather than another of the catalog
            or none of it, in (0, 1).
        attributes: What the catalog knows of it.
        score: The cosine, or the likeness where products were compared, moved to [0, 1]: 1 for the
            best of all products that were ranked, shown or not, and 0 for the worst (min-max
            normalisation, as in system 3).
    """

    product_id: str
    path: str
    cosine: float
    probability: float
    attributes: dict[str, Attribute]
    score: float


@dataclass(frozen=True)
class Ranking:
    """The answer to one photo.

    Args:
        query: What the photo is called.
        matches: The best products, best first; ties in order of the product ids. After a
            re-ranking neither cosines nor probabilities fall in that order, for both are still
            of the photo itself: the calibration was fitted on cosines, not on new orders. Where
            products were compared, cosines do not, but probabilities do.
        probability: That the photo's product is in the catalog (or its filtered part) at all.
        in_catalog: Whether that reaches the checkpoint's threshold.
        together: Further photos of the same garment that were asked together with the query.
        product_id: The product of the catalog that was asked for the like of; then the query is
            its first photo.
        compared: How many of the best products were looked at again beside the photo, see
            `siamese.comparison`. They come in order of what that says and of their cosines.
        uncompared: How many of them could not be, because their photos cannot be used.
    """

    query: str
    matches: tuple[Match, ...]
    probability: float
    in_catalog: bool
    together: tuple[str, ...] = ()
    product_id: str | None = None
    compared: int = 0
    uncompared: int = 0


@dataclass(frozen=True)
class Candidates:
    """The best products for one query, best first by cosine, and what is known of all others.

    Args:
        photos: Places of their photos in the catalog, int64 (k,).
        cosines: float64 (k,).
        likeness: What counts of each, float64 (k,): the cosine, unless they were compared.
        others: The same of all other products, float64 (N − k,).
        compared: How many of the k were looked at again.
        uncompared: How many of them should have been.
    """

    photos: np.ndarray
    cosines: np.ndarray
    likeness: Tensor
    others: Tensor
    compared: int = 0
    uncompared: int = 0


def normalised(cosines: np.ndarray, others: Tensor) -> list[float]:
    """Cosines moved so that the best of all is 1 and the worst 0; all 1 where they are equal.

    Args:
        cosines: Of the products shown, float64 (k,).
        others: Of all others, float64 (any,).
    """
    every = np.concatenate([cosines, others.numpy()])
    lowest, spread = every.min(), np.ptp(every)
    # The others' are of float32: less than this is no difference.
    moved = (cosines - lowest) / spread if spread > ALIKE else np.ones_like(cosines)
    return [float(score) for score in moved.clip(0, 1).round(DIGITS)]

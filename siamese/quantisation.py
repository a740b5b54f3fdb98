"""Unit embeddings in fewer bytes: int8 (a quarter) and sign bits (1/32), and their similarities.

A pass over codes reads less memory than one over embeddings. It finds the photos whose exact
cosines are worth a look, see `siamese.exact_search.best_photos`.

Shapes: M embeddings, Q queries, D embedding size, W words of 64 bits, D / 64 rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Codes = Literal["none", "int8", "binary"]
LARGEST = 127  # of int8; -128 is left out, so that a code and its negative are both there


@dataclass(frozen=True)
class Int8Codes:
    """Embeddings as whole numbers times one scale each.

    Args:
        codes: int8 (M, D), from -127 to 127.
        scale: float32 (M,), so that codes · scale are nearly the embeddings.
        error: float32 (M,), Euclidean distance of that to the embedding.
    """

    codes: Tensor
    scale: Tensor
    error: Tensor

    def of(self, photos: np.ndarray) -> Int8Codes:
        """Those at these places, int64 (any,)."""
        return Int8Codes(self.codes[photos], self.scale[photos], self.error[photos])

    def cosines(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Of unit embeddings, float32 (Q, D): (Q, M), and how far they can be off, (Q, 1)."""
        asked = int8_codes(queries)
        return int8_cosines(asked, self), int8_slack(asked, self)


@dataclass(frozen=True)
class SignBits:
    """The signs of embeddings.

    Args:
        bits: uint64 (M, W).
        size: D.
    """

    bits: np.ndarray
    size: int

    def of(self, photos: np.ndarray) -> SignBits:
        """Those at these places, int64 (any,)."""
        return SignBits(self.bits[photos], self.size)

    def cosines(self, queries: Tensor) -> tuple[Tensor, None]:
        """What the angles would be if signs differed at random: float32 (Q, M); no bound holds.

        The share of differing signs estimates angle / pi (Charikar 2002, Similarity Estimation
        Techniques from Rounding Algorithms).
        """
        asked = sign_bits(queries.numpy())
        distance = np.stack([hamming(query, self.bits) for query in asked]).astype(np.float32)
        return torch.from_numpy(np.cos(distance * np.float32(math.pi / self.size))), None


def codes_of(embeddings: np.ndarray, kind: Codes) -> Int8Codes | SignBits | None:
    """Codes of unit embeddings, float32 (M, D); `None` where none are wanted."""
    if kind == "int8":
        return int8_codes(torch.from_numpy(embeddings))
    return SignBits(sign_bits(embeddings), embeddings.shape[1]) if kind == "binary" else None


def int8_codes(embeddings: Tensor) -> Int8Codes:
    """Each embedding scaled so that its largest number becomes 127, and rounded.

    Args:
        embeddings: float32 (M, D).
    """
    scale = embeddings.abs().amax(dim=1).clamp(min=1e-12) / LARGEST
    codes = (embeddings / scale[:, None]).round()
    error = (embeddings - codes * scale[:, None]).norm(dim=1)
    return Int8Codes(codes.to(torch.int8), scale, error)


def int8_cosines(queries: Int8Codes, gallery: Int8Codes) -> Tensor:
    """Cosines of the rounded embeddings, summed in whole numbers: float32 (Q, M).

    Far from the true cosine by at most `int8_slack`.
    """
    # (M, D) x (D, Q): this way round one query costs a pass over the gallery's bytes, no copy.
    dots = torch._int_mm(gallery.codes, queries.codes.T.contiguous())
    return (dots * gallery.scale[:, None]).T * queries.scale[:, None]


def int8_slack(queries: Int8Codes, gallery: Int8Codes) -> Tensor:
    """The farthest that a cosine of codes can be from the true one: float32 (Q, 1).

    With rounding errors r and s of unit vectors q and g, the difference of both products is
    q·s + r·g − r·s, which Cauchy and Schwarz bound. A little more for sums in float32.
    """
    query, farthest = queries.error[:, None], gallery.error.max()
    return query + farthest + query * farthest + 1e-6


def sign_bits(embeddings: np.ndarray) -> np.ndarray:
    """One bit per number, set where it is above 0: float (M, D) → uint64 (M, W)."""
    bits = np.packbits(embeddings > 0, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)


def hamming(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """How many bits differ: uint64 (W,) against uint64 (M, W) → uint16 (M,)."""
    distance = np.zeros(len(gallery), dtype=np.uint16)
    for word in range(gallery.shape[1]):  # a column at a time: sums over short rows are slow
        distance += np.bitwise_count(gallery[:, word] ^ query[word])
    return distance

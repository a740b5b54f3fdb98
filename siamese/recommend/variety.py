"""Lists that are not ten twins: maximal marginal relevance.

Shapes: K candidates, D embedding size.
"""

from __future__ import annotations

import numpy as np


def vary(scores: np.ndarray, embeddings: np.ndarray, top: int, variety: float) -> np.ndarray:
    """Choose candidates one by one, each good and unlike those that were chosen before.

    The next one has the largest (1 − v) score − v max cosine with the chosen ones (Carbonell and
    Goldstein 1998, with λ = 1 − v).

    Args:
        scores: float (K,), on the scale of cosines.
        embeddings: float32 (K, D), unit length.
        top: How many.
        variety: v, from 0 to 1; at 0 the order is that of the scores.

    Returns:
        Places, int64 (min(top, K),); of equally good ones the earlier comes first.
    """
    if not 0 <= variety <= 1:
        raise ValueError(f"variety must be from 0 to 1, not {variety}")
    if not variety:
        return np.argsort(-scores, kind="stable")[:top]
    left = np.ones(len(scores), dtype=bool)
    nearest = np.full(len(scores), -1.0)
    chosen: list[int] = []
    while len(chosen) < min(top, len(scores)):
        gain = (1 - variety) * scores - (variety * nearest if chosen else 0.0)
        best = int(np.where(left, gain, -np.inf).argmax())
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, embeddings @ embeddings[best])
    return np.array(chosen, np.int64)

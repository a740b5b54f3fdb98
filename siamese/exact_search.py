"""The best photos of a gallery for each query: exact, and the same every time.

Shapes: Q queries, M gallery photos, N products, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from siamese.quantisation import Int8Codes, SignBits
from siamese.retrieval import product_scores

CHUNK = 2**24  # cosines held at a time: 64 MiB
CANDIDATES = 100  # products that a re-ranking, or the second look after sign bits, orders anew


def best_photos(
    queries: Tensor,
    gallery: Tensor,
    product: np.ndarray,
    top: int,
    chunk: int = CHUNK,
    codes: Int8Codes | SignBits | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, Tensor]]:
    """The best photo of each of the best products, for each query.

    A matrix product in float32 finds all photos that could be among them; their cosines are then
    summed again in float64, row by row. So neither the batch nor the chunk nor a photo's place
    in the catalog can change a result, and equal photos have equal cosines. Codes may find them
    instead: with int8 the results stay the same, with sign bits these are the photos of the
    products that seem to be the first hundred.

    Args:
        queries: float32 (Q, D), unit length.
        gallery: float32 (M, D), unit length.
        product: int64 (M,), ascending; a smaller number wins a tie.
        top: How many products.
        chunk: Cosines held at a time.
        codes: Of the gallery.

    Yields:
        Per query: places in the gallery, int64 (k,) with k = min(top, N), and cosines, float64;
        and the best cosine of each other product, float64 (N − k,), as exact as float32, or as
        the codes where the second look left a product out.
    """
    _, number = np.unique(product, return_inverse=True)
    products = int(number[-1]) + 1
    step = max(1, chunk // len(gallery))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        cosine, slack = _first_look(part, gallery, codes)
        scores = cosine
        if products < len(gallery):
            scores = product_scores(cosine, torch.from_numpy(number), products)
        wanted = min(top if slack is not None else max(top, CANDIDATES), products)
        least = scores.topk(wanted).values[:, -1:] - (0 if slack is None else 2 * slack)
        for query, possible, row in zip(part, cosine >= least, scores, strict=True):
            candidates = possible.nonzero()[:, 0].numpy()
            places, exact = _order(
                query.numpy(), gallery[candidates].numpy(), product[candidates], candidates
            )
            if codes is not None:
                row[torch.from_numpy(number[places])] = torch.from_numpy(exact).float()
            other = torch.ones(products, dtype=torch.bool)
            other[torch.from_numpy(number[places[:top]])] = False
            yield places[:top], exact[:top], row[other].double()


def _first_look(
    queries: Tensor, gallery: Tensor, codes: Int8Codes | SignBits | None
) -> tuple[Tensor, Tensor | float | None]:
    """Cosines (Q, M) in float32 or of codes, and how far each can be off; `None`: any distance."""
    if codes is not None:
        return codes.cosines(queries)
    # The largest error of a cosine in float32 (Higham 2002, section 3.1, unit vectors).
    return queries @ gallery.T, 1.01 * gallery.shape[1] * 2.0**-24


def _order(
    query: np.ndarray, candidates: np.ndarray, product: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates by exact cosine, then product, then place; the first of each product."""
    exact = (candidates.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((places, product, -exact))
    _, first = np.unique(product[order], return_index=True)
    best = order[np.sort(first)]
    return places[best], exact[best]

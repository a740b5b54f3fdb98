"""Reports on a comparison by the functions that know embeddings: likeness as inner products.

A split has finitely many photos, so the likeness of every query to every product photo can be
written down, and a table of numbers is a table of inner products: a query's vector is its row of
the table, a product photo's is 1 in its own column (or a photo's is its column, and a query's is 1
in its own row, where there are fewer queries). So whatever multiplies embeddings
(`siamese.evaluation`) reports on likeness instead.

Shapes: Q queries, M gallery photos, B products of the cohort, D embedding size, N positions, S
numbers of each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from siamese.cohort import Cohort
from siamese.comparison import Comparison

ALL = 500  # gallery photos that every query is compared with; of more, its most alike
MOST = 100  # of these
STEP = 8  # queries between two steps of the bar


class Photos(NamedTuple):
    """What is known of photos, by an encoder and by a comparison.

    Args:
        embeddings: Unit length, float32 (any, D).
        positions: float32 (any, N, S).
    """

    embeddings: Tensor
    positions: Tensor


class Table(NamedTuple):
    """Vectors whose inner products are likenesses.

    Args:
        queries: float32 (Q, min(Q, M) + 2B).
        gallery: float32 (M, min(Q, M) + 2B).
        cohort: Its inner products are cosines, with queries and with the gallery.
    """

    queries: Tensor
    gallery: Tensor
    cohort: Cohort | None


def logits_of(
    comparison: Comparison, cosines: Tensor, queries: Tensor, gallery: Tensor, all_of: int
) -> Tensor:
    """What a comparison says of each query and gallery photo, float32 (Q, M).

    Photos that are not compared count as the worst of those that are.

    Args:
        comparison: Compares.
        cosines: Of each query and gallery photo, float32 (Q, M).
        queries, gallery: Positions, float32 (Q, N, S) and (M, N, S).
        all_of: So many photos, the first of the gallery, are compared in any case, at most `ALL`.
    """
    all_of = min(all_of, ALL)
    logits = torch.full_like(cosines, torch.nan)
    bar = tqdm(total=len(queries), unit=" photos", desc="comparing", disable=None)
    for start in range(0, len(queries), STEP):
        some = slice(start, start + STEP)
        logits[some, :all_of] = comparison.logits(queries[some], gallery[:all_of])
        bar.update(len(logits[some]))
        for row in range(start, min(start + STEP, len(queries))):
            best = cosines[row].topk(min(MOST, len(gallery))).indices
            further = best[best >= all_of]
            if len(further):
                logits[row, further] = comparison.logits(queries[row, None], gallery[further])[0]
    bar.close()
    least = logits.nan_to_num(torch.inf).amin(dim=1, keepdim=True)
    return torch.where(logits.isnan(), least, logits)


def moved_onto(cosines: Tensor, logits: Tensor) -> tuple[float, float]:
    """Scale and offset that give logits the mean and the deviation that cosines have.

    Args:
        cosines, logits: Of the same pairs, float (any,), at least two of them different.
    """
    spread = float(logits.std())
    scale = float(cosines.std()) / spread if spread > 0 else 0.0
    return scale, float(cosines.mean()) - scale * float(logits.mean())


def table_of(likeness: Tensor, queries: Tensor, gallery: Tensor, cohort: Cohort | None) -> Table:
    """Vectors of which the inner products of queries and gallery are these.

    Args:
        likeness: float32 (Q, M).
        queries, gallery: Unit embeddings, float32 (Q, D) and (M, D).
        cohort: Of the encoder.
    """
    if len(queries) < len(gallery):
        of_queries, of_gallery = torch.eye(len(queries)), likeness.T
    else:
        of_queries, of_gallery = likeness, torch.eye(len(gallery))
    if cohort is None:
        return Table(of_queries, of_gallery, None)
    members = torch.eye(len(cohort.embeddings))
    asked, shown = (photos @ cohort.embeddings.T for photos in (queries, gallery))
    # The first cosines of the cohort are those with queries, the others those with the gallery.
    none = members.new_zeros(len(members), of_queries.shape[1])
    return Table(
        torch.cat([of_queries, asked, torch.zeros_like(asked)], dim=1),
        torch.cat([of_gallery, torch.zeros_like(shown), shown], dim=1),
        Cohort(torch.cat([none, members, members], dim=1), cohort.product_ids),
    )

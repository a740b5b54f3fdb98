"""Re-ranking equals the papers' definitions, done naively with sets and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers_catalog import unit_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.reranking import RERANKINGS, expansion_scores, reciprocal_scores


def naive_expansion(
    query: np.ndarray, candidates: np.ndarray, neighbours: int, alpha: float
) -> list[float]:
    """Radenović et al. 2019, 3.4: the sum of the query and its neighbours, weighted."""
    cosines = [float(c @ query) for c in candidates]
    total = query.astype(np.float64)
    for place in sorted(range(len(candidates)), key=lambda i: -cosines[i])[:neighbours]:
        if cosines[place] > 0:
            total = total + cosines[place] ** alpha * candidates[place]
    total = total / math.sqrt(float(total @ total))
    return [float(c @ total) for c in candidates]


def naive_reciprocal(
    query: np.ndarray, candidates: np.ndarray, k1: int, k2: int, original: float
) -> list[float]:
    """Zhong et al. 2017, equations 1 to 12, with sets; minus the final distance."""
    points = np.concatenate([query[None], candidates]).astype(np.float64)
    n = len(points)
    distance = np.array([[max(0.0, 2 - 2 * float(a @ b)) for b in points] for a in points])
    distance = distance / distance.max(axis=1, keepdims=True)
    ranked = [sorted(range(n), key=lambda j: (j != i, distance[i, j])) for i in range(n)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in ranked[i][: k + 1] if i in ranked[j][: k + 1]}

    encoding = np.zeros((n, n))
    for i in range(n):
        expanded = set(reciprocal(i, k1))
        for j in reciprocal(i, k1):
            theirs = reciprocal(j, round(k1 / 2))
            if len(reciprocal(i, k1) & theirs) >= 2 / 3 * len(theirs):
                expanded |= theirs
        for j in expanded:
            encoding[i, j] = math.exp(-distance[i, j])
        encoding[i] /= encoding[i].sum()
    encoding = np.array([np.mean([encoding[j] for j in ranked[i][:k2]], axis=0) for i in range(n)])
    scores = []
    for j in range(1, n):
        shared = sum(min(encoding[0, g], encoding[j, g]) for g in range(n))
        either = sum(max(encoding[0, g], encoding[j, g]) for g in range(n))
        scores.append(-((1 - original) * (1 - shared / either) + original * distance[0, j]))
    return scores


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 15),
    neighbours=st.integers(1, 6),
    alpha=st.sampled_from([0.0, 1.0, 3.0]),
)
def test_expansion_is_the_weighted_sum_of_the_paper(
    seed: int, count: int, neighbours: int, alpha: float
) -> None:
    query, *candidates = unit_vectors(count + 1, seed=seed)
    found = expansion_scores(
        torch.from_numpy(query), torch.from_numpy(np.stack(candidates)), neighbours, alpha
    )
    expected = naive_expansion(query, np.stack(candidates), neighbours, alpha)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_expansion_by_hand() -> None:
    """Query x, candidates at cosine .6 (in y) and 0 (in z): x + .6^alpha (.6, .8, 0)."""
    query = torch.tensor([1.0, 0.0, 0.0])
    candidates = torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.8, 0.0]])
    average = expansion_scores(query, candidates, neighbours=1, alpha=0.0)
    assert average.tolist() == pytest.approx([0.0, 1.6 / math.hypot(1.6, 0.8)])
    weighted = expansion_scores(query, candidates, neighbours=2, alpha=2.0)
    x, y = 1 + 0.36 * 0.6, 0.36 * 0.8
    assert weighted.tolist() == pytest.approx([0.0, (0.6 * x + 0.8 * y) / math.hypot(x, y)])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 25),
    k1=st.integers(1, 12),
    k2=st.integers(1, 5),
    original=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_reciprocal_distances_are_those_of_the_paper(
    seed: int, count: int, k1: int, k2: int, original: float
) -> None:
    query, *candidates = unit_vectors(count + 1, seed=seed)
    found = reciprocal_scores(
        torch.from_numpy(query), torch.from_numpy(np.stack(candidates)), k1, k2, original
    )
    expected = naive_reciprocal(query, np.stack(candidates), k1, k2, original)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_stranger_with_other_friends_is_overtaken_by_the_querys_own() -> None:
    """Angles to the query: a stranger at 25 degrees has 24 friends beyond it, and the query has 25
    candidates at 26 degrees on the other side, whose nearest is the query."""
    degrees = torch.tensor([-25.0, *torch.linspace(-40, -38, 24), *torch.linspace(26, 26.5, 25)])
    angle = degrees.deg2rad()
    candidates = torch.stack([angle.cos(), angle.sin()], dim=1)
    query = torch.tensor([1.0, 0.0])
    assert (candidates @ query).argmax() == 0
    for rerank in RERANKINGS.values():
        assert rerank(query, candidates).argmax() >= 25


@pytest.mark.parametrize("name", list(RERANKINGS))
def test_equal_photos_and_single_ones_have_finite_scores(name: str) -> None:
    query = torch.eye(4)[0]
    for candidates in (query[None], query.repeat(5, 1), torch.eye(4)[1:2]):
        scores = RERANKINGS[name](query, candidates)
        assert scores.shape == (len(candidates),)
        assert scores.isfinite().all()
        assert (scores == scores[0]).all()

"""Codes keep what they promise: never farther from the cosine than said, and bits that differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers_catalog import unit_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.quantisation import hamming, int8_codes, int8_cosines, int8_slack, sign_bits


def test_int8_codes_by_hand() -> None:
    """Largest .8 becomes 127, so -.6 is -95.25 of these steps, rounded to -95."""
    codes = int8_codes(torch.tensor([[0.8, -0.6, 0.0], [0.0, 0.0, 0.0]]))
    assert codes.codes.tolist() == [[127, -95, 0], [0, 0, 0]]
    assert codes.codes.dtype == torch.int8
    assert float(codes.scale[0]) == pytest.approx(0.8 / 127)
    assert codes.error.tolist() == pytest.approx([0.25 * 0.8 / 127, 0.0], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    photos=st.integers(1, 40),
    queries=st.integers(1, 4),
    size=st.sampled_from([1, 3, 16, 65, 128]),
)
def test_cosines_of_codes_are_sums_of_whole_numbers_within_the_slack(
    seed: int, photos: int, queries: int, size: int
) -> None:
    gallery = unit_vectors(photos, size, seed)
    asked = unit_vectors(queries, size, seed + 1)
    left, right = int8_codes(torch.from_numpy(asked)), int8_codes(torch.from_numpy(gallery))
    found = int8_cosines(left, right)
    dots = left.codes.numpy().astype(np.int64) @ right.codes.numpy().astype(np.int64).T
    naive = dots * right.scale.numpy() * left.scale.numpy()[:, None]
    np.testing.assert_allclose(found, naive, rtol=1e-5, atol=1e-7)
    exact = asked.astype(np.float64) @ gallery.astype(np.float64).T
    assert (np.abs(found.numpy() - exact) <= int8_slack(left, right).numpy()).all()
    assert float(int8_slack(left, right).max()) < 0.03


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1, 7, 64, 100, 128, 512]))
def test_hamming_distances_equal_a_count_of_different_signs(seed: int, size: int) -> None:
    vectors = unit_vectors(9, size, seed)
    bits = sign_bits(vectors)
    assert bits.shape == (9, -(-size // 64))
    for query, vector in zip(bits, vectors, strict=True):
        expected = ((vector > 0) != (vectors > 0)).sum(axis=1)
        assert hamming(query, bits).tolist() == expected.tolist()

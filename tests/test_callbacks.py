"""The picture of hits and misses chooses queries from all over the validation photos."""

from __future__ import annotations

import pytest

from siamese.callbacks import _spread


@pytest.mark.parametrize(
    ("numbers", "count", "chosen"),
    [
        ([], 3, []),  # a perfect validation has no misses, a hopeless one no hits
        ([4], 3, [4]),
        ([4, 7], 3, [4, 7]),
        (list(range(100)), 3, [0, 49, 99]),
        ([4, 7], 0, []),
    ],
)
def test_queries_are_spread_and_none_is_shown_twice(
    numbers: list[int], count: int, chosen: list[int]
) -> None:
    assert _spread(numbers, count) == chosen

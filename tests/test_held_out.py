"""Products held out: those that share a photo are on one side, however it was embedded."""

import numpy as np
import pytest
from helpers_catalog import unit_vectors

from siamese.attributes import held_out as module
from siamese.attributes.held_out import SAME, held_out, same_photo

IDS = [f"{number}" for number in range(1000)]


def nearly(vectors: np.ndarray, seed: int = 1) -> np.ndarray:
    """The same photos, embedded in a batch of another size."""
    noise = np.random.default_rng(seed).uniform(-2e-7, 2e-7, vectors.shape)
    return (vectors + noise).astype(np.float32)


def naive(vectors: np.ndarray) -> list[int]:
    """The first product of each one's connected component, by walking over the full table."""
    near = vectors @ vectors.T > SAME
    leaders = [-1] * len(vectors)
    for start in range(len(vectors)):
        waiting = [start] if leaders[start] < 0 else []
        while waiting:
            place = waiting.pop()
            if leaders[place] < 0:
                leaders[place] = start
                waiting += np.flatnonzero(near[place]).tolist()
    return leaders


def test_products_with_one_photo_stay_together_though_it_was_embedded_twice() -> None:
    vectors = unit_vectors(500, 64)
    again = nearly(vectors)
    assert not (again == vectors).all(axis=1).any()
    test = held_out(IDS, np.concatenate([vectors, again]))
    assert (test[:500] == test[500:]).all()
    assert test[:500].tolist() == held_out(IDS[:500], vectors).tolist()


def test_the_split_of_products_whose_photos_differ_or_are_equal_is_what_it_was() -> None:
    """By the group of equal rows, as catalogs have been split before."""
    vectors = unit_vectors(700, 16)[np.random.default_rng(2).integers(0, 700, 1000)]
    _, first, group = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    assert same_photo(vectors).tolist() == first[group].tolist()


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_nearness_is_transitive_and_chunks_say_what_the_whole_table_says(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chains of steps that are near, whose ends are not; the rest of them is far apart."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    steps = np.arange(5) * 0.0012  # the cosine of a step is 1 - 7e-7, of two 1 - 3e-6
    one, two = unit_vectors(80, 6, seed=3).reshape(2, 40, 6).astype(np.float64)
    two -= (one * two).sum(axis=1, keepdims=True) * one
    two /= np.linalg.norm(two, axis=1, keepdims=True)
    chains = np.cos(steps)[:, None, None] * one + np.sin(steps)[:, None, None] * two
    vectors = chains.reshape(-1, 6).astype(np.float32)
    vectors = vectors[np.random.default_rng(4).permutation(len(vectors))]
    found = same_photo(vectors).tolist()
    assert found == naive(vectors)
    assert len(set(found)) == 40


def test_one_product_and_photos_that_are_all_alike_are_groups_of_their_own() -> None:
    assert same_photo(unit_vectors(1)).tolist() == [0]
    alike = nearly(np.repeat(unit_vectors(1, 64), 600, axis=0))
    assert same_photo(alike).tolist() == [0] * 600
    assert same_photo(np.zeros((3, 4), np.float32)).tolist() == [0, 0, 0]

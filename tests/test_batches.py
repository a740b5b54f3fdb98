"""Which photos meet: every product once, by (seed, epoch) alone, shared out among processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.batches import Draw, DrawnPairs, PairBatches, PhotoBatches, ProductBatches
from datasets.cache import CachedPhotos
from datasets.transforms import training_views
from siamese.errors import UserError
from siamese.verification import Booleans, Integers, Pairs


def shop(persons: list[int], product_photos: int = 1) -> tuple[Integers, Booleans]:
    """Rows of each product: its product photos, then its person photos; numbers 100, 101, …"""
    product = np.repeat(np.arange(len(persons)) + 100, [product_photos + p for p in persons])
    kinds = [[False] * product_photos + [True] * count for count in persons]
    return product, np.concatenate([np.array(kind, bool) for kind in kinds])


def epoch_of(sampler: ProductBatches | DrawnPairs, epoch: int) -> list[Draw]:
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert len(draws) == len(sampler)
    return draws


def same_draws(one: list[Draw], other: list[Draw]) -> bool:
    return [(d.rows.tolist(), d.seed) for d in one] == [(d.rows.tolist(), d.seed) for d in other]


def test_an_epoch_shows_every_product_once_in_blocks_of_a_product_and_its_persons() -> None:
    product, is_person = shop([3] * 12)
    draws = epoch_of(ProductBatches(product, is_person, 4, persons_per_product=2), 0)
    seen: list[int] = []
    for draw in draws:
        blocks = draw.rows.reshape(4, 3)
        assert (is_person[blocks] == [False, True, True]).all()
        assert (product[blocks] == product[blocks[:, :1]]).all()
        assert (blocks[:, 1] != blocks[:, 2]).all()  # two different persons
        seen += product[blocks[:, 0]].tolist()
    assert sorted(seen) == list(range(100, 112))


@settings(max_examples=60, deadline=None)
@given(
    products=st.integers(2, 20),
    per_batch=st.integers(1, 24),
    epoch=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_no_product_comes_twice_and_only_a_part_of_a_batch_is_left_out(
    products: int, per_batch: int, epoch: int, seed: int
) -> None:
    product, is_person = shop([1] * products)
    draws = epoch_of(ProductBatches(product, is_person, per_batch, 1, seed), epoch)
    size = min(per_batch, products)
    assert all(len(draw.rows) == 2 * size for draw in draws)
    seen = product[np.concatenate([draw.rows for draw in draws])]
    assert set(Counter(seen.tolist()).values()) == {2}  # its photo and its person
    assert products - len(seen) // 2 < size


def test_whoever_is_left_out_changes_from_epoch_to_epoch() -> None:
    """Of 10 products 9 come in an epoch; in 60 epochs each is left out at some time."""
    product, is_person = shop([1] * 10)
    sampler = ProductBatches(product, is_person, 3, 1)
    left_out = {
        (set(product) - set(product[np.concatenate([d.rows for d in epoch_of(sampler, e)])])).pop()
        for e in range(60)
    }
    assert left_out == set(product)


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    product, is_person = shop([4] * 20)

    def sampler(seed: int = 3) -> ProductBatches:
        return ProductBatches(product, is_person, 5, 2, seed)

    first = epoch_of(sampler(), 2)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (it must not matter)
    resumed = sampler()
    assert same_draws(first, epoch_of(resumed, 2))  # without having drawn epochs 0 and 1
    assert not same_draws(first, epoch_of(resumed, 3))
    assert not same_draws(first, epoch_of(sampler(seed=4), 2))
    assert len({draw.seed for epoch in range(5) for draw in epoch_of(resumed, epoch)}) == 20


def test_a_product_with_fewer_persons_repeats_them() -> None:
    product, is_person = shop([1, 5])
    for draw in epoch_of(ProductBatches(product, is_person, 2, persons_per_product=3), 0):
        for block in draw.rows.reshape(2, 4):
            different = len(set(block[1:].tolist()))
            assert different == (1 if product[block[0]] == 100 else 3)


def test_of_several_product_photos_and_persons_each_is_drawn_at_some_time() -> None:
    product, is_person = shop([3, 3], product_photos=2)
    sampler = ProductBatches(product, is_person, 2, 1)
    seen = {int(row) for epoch in range(40) for d in epoch_of(sampler, epoch) for row in d.rows}
    assert seen == set(range(10))


def test_products_with_photos_of_one_kind_are_left_out() -> None:
    product, is_person = shop([2, 0, 2, 2])
    sampler = ProductBatches(product[1:], is_person[1:], 9, 1)  # the first has no product photo
    rows = np.concatenate([draw.rows for draw in epoch_of(sampler, 0)])
    assert set(product[1:][rows]) == {102, 103}


@pytest.mark.parametrize("persons", [[2], [2, 0], []])
def test_training_needs_two_products(persons: list[int]) -> None:
    product, is_person = shop(persons) if persons else (np.empty(0, np.int64), np.empty(0, bool))
    with pytest.raises(UserError, match="at least two"):
        ProductBatches(product, is_person, 4, 1)


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_shares_of_all_processes_are_the_batch_of_one(world_size: int) -> None:
    product, is_person = shop([3] * 19)
    whole = epoch_of(ProductBatches(product, is_person, 8, 2, seed=5), 1)
    shares = [
        epoch_of(ProductBatches(product, is_person, 8, 2, 5, rank, world_size), 1)
        for rank in range(world_size)
    ]
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert np.concatenate([part.rows for part in parts]).tolist() == batch.rows.tolist()
        assert len({part.seed for part in parts}) == world_size  # views of their own
        assert len({len(part.rows) for part in parts}) == 1


def neighbours(usable: Integers, count: int) -> Integers:
    """Each product's next ones, in a circle."""
    return np.stack([np.roll(usable, -1 - place) for place in range(count)], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    products=st.integers(2, 40),
    per_batch=st.integers(1, 24),
    alike=st.integers(2, 9),
    near=st.integers(1, 12),
    epoch=st.integers(0, 3),
)
def test_gathered_batches_are_full_and_hold_each_product_once(
    products: int, per_batch: int, alike: int, near: int, epoch: int
) -> None:
    product, is_person = shop([1] * products)
    sampler = ProductBatches(product, is_person, per_batch, 1)
    sampler.gather(neighbours(sampler.usable, min(near, products - 1)), alike)
    draws = epoch_of(sampler, epoch)
    size = min(per_batch, products)
    for draw in draws:
        assert set(Counter(product[draw.rows].tolist()).values()) == {2}
        assert len(draw.rows) == 2 * size
    assert same_draws(draws, epoch_of(sampler, epoch))
    assert not size < products or not same_draws(draws, epoch_of(sampler, epoch + 1))


def test_groups_are_of_look_alikes_of_their_first() -> None:
    """Of 240 products 3 groups of 4 meet, and two more that just fill the batch."""
    product, is_person = shop([2] * 240)
    sampler = ProductBatches(product, is_person, 14, 1, seed=1)
    sampler.gather(neighbours(sampler.usable, 20), 4)
    first: list[int] = []
    for draw in epoch_of(sampler, 0):
        groups = (product[draw.rows[::2]] - 100)[:12].reshape(3, 4)
        ahead = (groups[:, 1:] - groups[:, :1]) % 240
        # where groups meet, the first of one may be in the other already
        assert (((ahead >= 1) & (ahead <= 20)).all(axis=1)).sum() >= 2
        first += groups[:, 0].tolist()
    assert len(set(first)) > 0.9 * len(first)


def test_what_groups_leave_over_is_filled_with_other_products_each_time() -> None:
    product, is_person = shop([1] * 200)
    sampler = ProductBatches(product, is_person, 60, 1)
    sampler.gather(neighbours(sampler.usable, 30), 31)  # one group, and 29 more
    first, second, third = (set(product[draw.rows].tolist()) for draw in epoch_of(sampler, 0))
    assert len(first & second & third) < 20


def test_the_shares_of_gathered_batches_are_the_batch_of_one() -> None:
    product, is_person = shop([3] * 19)

    def draws(*place: int) -> list[Draw]:
        sampler = ProductBatches(product, is_person, 8, 2, 5, *place)
        sampler.gather(neighbours(sampler.usable, 6), 4)
        return epoch_of(sampler, 1)

    for batch, *parts in zip(draws(), draws(0, 2), draws(1, 2), strict=True):
        assert np.concatenate([part.rows for part in parts]).tolist() == batch.rows.tolist()


def test_batches_that_cannot_be_shared_equally_are_refused() -> None:
    product, is_person = shop([1] * 9)
    with pytest.raises(UserError, match="products_per_batch = 9 cannot be shared by 2"):
        ProductBatches(product, is_person, 64, 1, world_size=2)
    with pytest.raises(UserError, match="pairs_per_batch = 5 cannot be shared by 2"):
        DrawnPairs(100, 5, world_size=2)


def test_drawn_pairs_come_once_per_epoch_in_another_order_each() -> None:
    sampler = DrawnPairs(20, 5, seed=1)
    orders = [np.concatenate([d.rows for d in epoch_of(sampler, e)]).tolist() for e in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != np.concatenate(
        [d.rows for d in epoch_of(DrawnPairs(20, 5, seed=2), 0)]
    ).tolist()  # fmt: skip


def test_drawn_pairs_fill_every_batch() -> None:
    assert [len(draw.rows) for draw in epoch_of(DrawnPairs(23, 5), 0)] == [5] * 4
    assert [len(draw.rows) for draw in epoch_of(DrawnPairs(3, 32), 0)] == [3]


def test_the_shares_of_drawn_pairs_are_the_batch_of_one() -> None:
    whole = epoch_of(DrawnPairs(25, 6, seed=4), 3)
    shares = [epoch_of(DrawnPairs(25, 6, 4, rank, 3), 3) for rank in range(3)]
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        together = np.concatenate([part.rows for part in parts])
        assert sorted(together.tolist()) == sorted(batch.rows.tolist())
        assert {len(part.rows) for part in parts} == {2}


# ---- photos of a draw


@pytest.fixture
def cached() -> CachedPhotos:
    """Five photos, in the cache in reversed order of their rows."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 24, 16, 3), dtype=np.uint8)
    return CachedPhotos(pixels, np.arange(5)[::-1].copy(), {})


PRODUCT, IS_PERSON = np.array([7, 7, 8, 8, 8]), np.array([False, True, False, True, True])


def test_a_batch_holds_the_photos_of_its_rows(cached: CachedPhotos) -> None:
    batch = PhotoBatches(cached, PRODUCT, IS_PERSON)[Draw(np.array([4, 0, 3]), 0)]
    assert batch.pixels.dtype == torch.uint8
    assert torch.equal(batch.pixels, torch.from_numpy(cached.pixels[[0, 4, 1]]))
    assert batch.product.tolist() == [8, 7, 8]
    assert batch.is_person.tolist() == [True, False, True]
    assert batch.labels.shape == (3, 0)
    labels = np.array([[5, 0], [6, 1], [7, 2], [8, 3], [9, 4]])
    labelled = PhotoBatches(cached, PRODUCT, IS_PERSON, labels=labels)[Draw(np.array([4, 0]), 0)]
    assert labelled.labels.tolist() == [[9, 4], [5, 0]]


def test_views_depend_on_the_seed_of_the_draw_alone(cached: CachedPhotos) -> None:
    rows = np.array([0, 1, 2, 3])

    def views(seed: int) -> torch.Tensor:
        batches = PhotoBatches(cached, PRODUCT, IS_PERSON, training_views())
        batches[Draw(rows, 77)]  # what was drawn before must not matter
        return batches[Draw(rows, seed)].pixels

    assert torch.equal(views(1), views(1))
    assert not torch.equal(views(1), views(2))
    assert views(1).shape == (4, 24, 16, 3)


def test_photos_of_a_batch_have_views_of_their_own(cached: CachedPhotos) -> None:
    batches = PhotoBatches(cached, PRODUCT, IS_PERSON, training_views())
    one, other = batches[Draw(np.array([0, 0]), 3)].pixels
    assert not torch.equal(one, other)


def test_views_in_worker_processes_are_those_of_this_one(cached: CachedPhotos) -> None:
    """Or a resumed run, or one with another number of workers, would train on others."""
    batches = PhotoBatches(cached, PRODUCT, IS_PERSON, training_views())
    draws = [Draw(np.array([seed % 5, 1]), seed) for seed in range(5)]
    here = [batches[draw].pixels for draw in draws]
    loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=draws, num_workers=2)
    there = [batch.pixels for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_the_cache_is_not_changed_by_views(cached: CachedPhotos) -> None:
    before = cached.pixels.copy()
    batches = PhotoBatches(cached, PRODUCT, IS_PERSON, training_views(erase=1.0))
    for seed in range(5):
        batches[Draw(np.arange(5), seed)]
    assert (cached.pixels == before).all()


def test_pairs_hold_both_photos_and_the_label(cached: CachedPhotos) -> None:
    pairs = Pairs(np.array([0, 2, 2]), np.array([1, 3, 1]), np.array([True, True, False]))
    batch = PairBatches(cached, pairs)[Draw(np.array([2, 0]), 0)]
    assert torch.equal(batch.product_pixels, torch.from_numpy(cached.pixels[[2, 4]]))
    assert torch.equal(batch.person_pixels, torch.from_numpy(cached.pixels[[3, 3]]))
    assert batch.same.tolist() == [False, True]


def test_photos_that_are_not_cached_are_refused(cached: CachedPhotos) -> None:
    """Slot −1 would silently show the last photo of the cache."""
    broken = CachedPhotos(cached.pixels, np.array([0, 1, -1, 3, -1]), {})
    for make in (
        lambda: PhotoBatches(broken, PRODUCT, IS_PERSON),
        lambda: PairBatches(broken, Pairs(np.array([0]), np.array([1]), np.array([True]))),
    ):
        with pytest.raises(UserError, match="2 photos are not in the cache"):
            make()

"""Concurrent tasks share batches, and each caller gets its own answer."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from siamese.serving.batching import Batcher


class Doubler:
    """Doubles numbers; waits in its first batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, tasks: Sequence[int]) -> list[int]:
        self.batches.append(list(tasks))
        self.begun.set()
        assert self.go_on.wait(10)
        if -1 in tasks:
            raise ValueError("minus one")
        return [2 * task for task in tasks]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


async def begun(doubler: Doubler) -> None:
    """Wait, without holding up the loop, until a batch is worked on."""
    await asyncio.to_thread(doubler.begun.wait, 10)


def test_what_waits_meanwhile_becomes_one_batch_no_larger_than_allowed(doubler: Doubler) -> None:
    async def all_of_it() -> list[int]:
        batcher = Batcher(doubler, largest=3)
        batcher.start()
        first = asyncio.ensure_future(batcher.submit(0))
        await begun(doubler)
        others = [asyncio.ensure_future(batcher.submit(n)) for n in range(1, 6)]
        await asyncio.sleep(0)
        doubler.go_on.set()
        answers = await asyncio.gather(first, *others)
        await asyncio.to_thread(batcher.stop)
        return list(answers)

    assert asyncio.run(all_of_it()) == [0, 2, 4, 6, 8, 10]
    assert doubler.batches == [[0], [1, 2, 3], [4, 5]]


def test_a_caller_that_went_away_costs_no_work(doubler: Doubler) -> None:
    async def all_of_it() -> int:
        batcher = Batcher(doubler, largest=8)
        batcher.start()
        first = asyncio.ensure_future(batcher.submit(0))
        await begun(doubler)
        gone, stays = (asyncio.ensure_future(batcher.submit(n)) for n in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        doubler.go_on.set()
        answers = await asyncio.gather(first, stays)
        await asyncio.to_thread(batcher.stop)
        return answers[1]

    assert asyncio.run(all_of_it()) == 4
    assert doubler.batches == [[0], [2]]


def test_a_failed_batch_is_told_to_its_callers_and_the_next_one_works(doubler: Doubler) -> None:
    doubler.go_on.set()

    async def all_of_it() -> int:
        batcher = Batcher(doubler, largest=8)
        batcher.start()
        with pytest.raises(ValueError, match="minus one"):
            await batcher.submit(-1)
        answer = await batcher.submit(4)
        await asyncio.to_thread(batcher.stop)
        return answer

    assert asyncio.run(all_of_it()) == 8


def test_one_bad_task_does_not_fail_the_others_of_its_batch(doubler: Doubler) -> None:
    async def all_of_it() -> list[int | BaseException]:
        batcher = Batcher(doubler, largest=8)
        batcher.start()
        first = asyncio.ensure_future(batcher.submit(0))
        await begun(doubler)
        others = [asyncio.ensure_future(batcher.submit(n)) for n in (1, -1, 2)]
        await asyncio.sleep(0)
        doubler.go_on.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        await asyncio.to_thread(batcher.stop)
        return list(answers)

    zero, two, error, four = asyncio.run(all_of_it())
    assert (zero, two, four) == (0, 2, 4)
    assert isinstance(error, ValueError)
    assert doubler.batches == [[0], [1, -1, 2], [1], [-1], [2]]


def test_stopping_answers_what_waits(doubler: Doubler) -> None:
    async def all_of_it() -> list[int]:
        batcher = Batcher(doubler, largest=8)
        batcher.start()
        waiting = [asyncio.ensure_future(batcher.submit(n)) for n in range(3)]
        await begun(doubler)
        doubler.go_on.set()
        await asyncio.to_thread(batcher.stop)
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(all_of_it()) == [0, 2, 4]

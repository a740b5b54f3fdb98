"""Concurrent queries share one forward pass and one matrix product.

One thread works. Whatever waits when it becomes free is the next batch: nobody waits for a batch
to fill, so a lone query is not slower, and under load batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Batcher(Generic[Task, Answer]):
    """Gathers tasks into batches.

    Args:
        work: Answers to tasks, in their order; called in the batcher's thread.
        largest: Tasks of one batch, at most.
    """

    def __init__(self, work: Callable[[Sequence[Task]], Sequence[Answer]], largest: int) -> None:
        self._work = work
        self._largest = largest
        self._waiting: queue.SimpleQueue[tuple[Task, _Promise[Answer]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after all that waits has been answered."""
        self._waiting.put(None)
        self._thread.join()

    async def submit(self, task: Task) -> Answer:
        """The answer; a caller that is cancelled leaves its task undone if it was not begun.

        Raises:
            Exception: What `work` raised for the task.
        """
        promise: _Promise[Answer] = _Promise(asyncio.get_running_loop())
        self._waiting.put((task, promise))
        try:
            return await promise.future
        finally:
            promise.given_up = True

    def _run(self) -> None:
        """The thread."""
        while True:
            batch, ended = self._next_batch()
            wanted = [(task, promise) for task, promise in batch if not promise.given_up]
            if wanted:
                self._answer(wanted)
            if ended:
                return

    def _next_batch(self) -> tuple[list[tuple[Task, _Promise[Answer]]], bool]:
        """At least one task, unless it is time to end."""
        batch = []
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            if len(batch) == self._largest:
                return batch, False
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _answer(self, batch: Sequence[tuple[Task, _Promise[Answer]]]) -> None:
        """Work, and tell each caller."""
        try:
            answers = self._work([task for task, _ in batch])
        except Exception as error:  # noqa: BLE001 (the caller raises it)
            if len(batch) == 1:
                batch[0][1].fail(error)
            for item in batch if len(batch) > 1 else ():  # one bad task shall not fail the others
                self._answer([item])
            return
        for (_, promise), answer in zip(batch, answers, strict=True):
            promise.keep(answer)


class _Promise(Generic[Answer]):
    """A future of an event loop that another thread fulfils."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Answer] = loop.create_future()
        self.given_up = False
        self._loop = loop

    def keep(self, answer: Answer) -> None:
        self._tell(lambda: self.future.set_result(answer))

    def fail(self, error: Exception) -> None:
        self._tell(lambda: self.future.set_exception(error))

    def _tell(self, act: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(lambda: None if self.future.done() else act())
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

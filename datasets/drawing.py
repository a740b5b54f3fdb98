"""Drawing many photos into a folder: processes that share the work, files that are always whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeVar

import cv2
from tqdm import tqdm

from datasets.rendered_brushes import Image
from siamese.files import replacing

Task = TypeVar("Task")
Result = TypeVar("Result")
JPEG_QUALITY = 90


def run_tasks(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int, title: str
) -> list[Result]:
    """The result of `work` for every task, in order; with a progress bar.

    Args:
        work: A function of a module, so that other processes can import it.
        tasks: Its arguments.
        workers: Processes; with none or one it is done in this one.
        title: Of the bar.
    """
    with tqdm(total=len(tasks), desc=title, unit="product") as bar:
        results = []
        if workers <= 1:
            for result in map(work, tasks):
                results.append(result)
                bar.update()
            return results
        # spawn: forking a process that already runs torch threads can deadlock
        with ProcessPoolExecutor(workers, get_context("spawn"), _prepare_worker) as pool:
            for result in pool.map(work, tasks, chunksize=8):
                results.append(result)
                bar.update()
    return results


def _prepare_worker() -> None:
    """One core per worker; and a worker ends with its parent, even one that was killed."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def as_jpeg(image: Image, quality: int = JPEG_QUALITY) -> bytes:
    """An RGB picture as the bytes of a JPEG file."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def write_atomically(path: Path, data: bytes) -> None:
    """A file under its final name is always whole, whoever else writes it at the same time."""
    with replacing(path) as part:
        part.write_bytes(data)

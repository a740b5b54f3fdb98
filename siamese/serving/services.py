"""All that the routes share, from the start of a process to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ParamSpec, TypeVar

import numpy as np
import torch
from fastapi import Depends, Request
from PIL import Image

from siamese.comparison import COMPARED
from siamese.garment_choice import FindsGarments, load_finder_of_garments
from siamese.roles import Role
from siamese.runtime import available_cores
from siamese.serving.batching import Batcher
from siamese.serving.feedback import FeedbackLog
from siamese.serving.photo_store import KeptUploads, ProductPhotos
from siamese.serving.queries import Found, Query, answer
from siamese.serving.settings import Settings
from siamese.serving.shop import Goods, Shop
from siamese.serving.telemetry import Metrics
from siamese.serving.thumbnails import Thumbnails

DECODERS = 4  # photos decoded at a time, which bounds memory
EXPIRY = 60.0  # seconds between two looks for uploads whose time is over
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Services:
    """Loads what is served; `start` and `stop` run its threads.

    Args:
        settings: How to serve.

    Raises:
        UserError: Something that shall be served cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.shop = Shop(settings, self._gauge)
        self.isolation: FindsGarments | None = None
        if settings.isolation is not None:
            self.isolation = load_finder_of_garments(settings.isolation)
        self.thumbnails = Thumbnails()
        self.product_photos = ProductPhotos(settings.photos)
        self.uploads = KeptUploads(settings.uploads, settings.keep_uploads_hours)
        self.feedback = FeedbackLog(settings.feedback)
        self._batcher: Batcher[Query, Found] = Batcher(self._counted, settings.batch)
        cores = available_cores()
        self.decoders = ThreadPoolExecutor(min(cores, DECODERS), "decode")
        # Neither thumbnails nor the shop, whose writes wait for each other, shall hold up queries.
        self.pictures = ThreadPoolExecutor(1, "thumbnails")
        self.admin = ThreadPoolExecutor(2, "admin")
        self._stopped = threading.Event()
        self._cleaner = threading.Thread(target=self._clean, name="expiry", daemon=True)
        torch.set_num_threads(cores)

    def start(self) -> None:
        """Begin to work; the first query shall not be the slowest."""
        self._warm_up()
        self._batcher.start()
        self.shop.start()
        self._cleaner.start()

    def stop(self) -> None:
        """End, after what was begun is done."""
        self._stopped.set()
        self.shop.stop()
        self.decoders.shutdown()
        self.pictures.shutdown()
        self.admin.shutdown()
        self._batcher.stop()

    async def ask(self, query: Query) -> Found:
        """The answer, from a batch."""
        return await self._batcher.submit(query)

    async def in_thread(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[Arguments, Result],
        *args: Arguments.args,
        **more: Arguments.kwargs,
    ) -> Result:
        """Work aside in one of the pools, so that other requests go on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, lambda: work(*args, **more))

    def vote_column(self, goods: Goods) -> str | None:
        """The column whose labels an answer's products vote on, `None` where there is none."""
        wanted = self.settings.vote
        return wanted if wanted in goods.columns.by_name else None

    def _gauge(self, goods: Goods) -> None:
        """Note in the metrics what is served."""
        self.metrics.products.set(len(goods.snapshot.product_ids))
        self.metrics.version.set(goods.snapshot.version)

    def _warm_up(self) -> None:
        """Run each network once: kernels are chosen and memory is taken at the first time."""
        checkpoint = self.shop.goods.checkpoint
        size = checkpoint.preprocessing.height, checkpoint.preprocessing.width
        for batch in (1, self.settings.batch):
            checkpoint.embed_pixels(np.zeros((batch, *size, 3), np.uint8))
        comparison = checkpoint.comparison
        if comparison is not None:
            size = comparison.preprocessing.height, comparison.preprocessing.width
            for batch in (1, COMPARED):
                pixels = np.zeros((batch, *size, 3), np.uint8)
                seen = comparison.sights(pixels, [Role.PRODUCT] * batch)
            comparison.logits(seen[:1], seen)
        if self.isolation is not None:
            self.isolation.find(Image.new("RGB", (300, 400)))

    def _counted(self, queries: Sequence[Query]) -> list[Found]:
        """What the batcher's thread does."""
        self.metrics.batches.observe(len(queries))
        return answer(queries)

    def _clean(self) -> None:
        """The thread that deletes uploads whose time is over."""
        self.uploads.expire()
        while not self._stopped.wait(EXPIRY):
            self.uploads.expire()


def services_of(request: Request) -> Services:
    """Of this process; `app.create_app` put them there."""
    services: Services = request.app.state.services
    return services


Served = Annotated[Services, Depends(services_of)]

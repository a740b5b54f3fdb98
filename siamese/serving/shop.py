"""What the server works with: a checkpoint and one version of the catalog, replaced as one.

A request takes `Shop.goods` once and keeps to it, so that a new version or checkpoint never
changes a request half-way. A thread looks for newer ones; no request waits for the disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from siamese.catalog import Catalog, CatalogError
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.errors import UserError
from siamese.finder import Finder
from siamese.serving.columns import Columns
from siamese.serving.settings import Settings
from siamese.snapshot import Snapshot
from siamese.storage import LANCE_ERRORS, Stamp, stamp

LOOK = 0.4  # seconds between two looks for something newer
LOOK_AGAIN = 2.0  # after something that could not be used
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Goods:
    """What one request works with from beginning to end.

    Args:
        finder: The checkpoint and the catalog, open for writing.
        snapshot: One version of the catalog.
        columns: Its attributes.
        stamp: Tells this checkpoint file and this catalog from later ones in their place.
    """

    finder: Finder
    snapshot: Snapshot
    columns: Columns
    stamp: tuple[Stamp, Stamp]

    @cached_property
    def product_ids(self) -> np.ndarray:
        """In order, for quick looks."""
        return np.array(self.snapshot.product_ids, dtype=object)

    @property
    def checkpoint(self) -> Checkpoint:
        """The encoder."""
        return self.finder.checkpoint

    @property
    def catalog(self) -> Catalog:
        """The catalog, of whatever version."""
        return self.finder.catalog


class Shop:
    """Keeps the goods fresh.

    Args:
        settings: Where checkpoint and catalog are. With an admin token, a catalog that is not
            there is made.
        changed: Called with the goods whenever they are new, also at first.

    Raises:
        UserError: Checkpoint or catalog cannot be used.
    """

    def __init__(
        self, settings: Settings, changed: Callable[[Goods], None] = lambda goods: None
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.trouble: str | None = None  # why something newer is not served
        checkpoint_stamp = stamp(settings.checkpoint)
        checkpoint = self._loaded()
        if settings.admin_token is not None:
            _make_if_missing(settings.catalog, checkpoint)
        self.goods = self._opened(checkpoint, checkpoint_stamp)
        changed(self.goods)

    def start(self) -> None:
        """Begin to look for newer versions."""
        self._watcher.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def refresh(self) -> Goods:
        """Serve the newest version of everything from now on; the old goods if there is none.

        Raises:
            UserError: What is newer cannot be used, or does not fit together.
        """
        with self._guard:  # whoever waited here finds the work done
            now = self.goods
            checkpoint, before = now.checkpoint, now.stamp[0]
            newest = stamp(self._settings.checkpoint)
            if newest != before:
                checkpoint = self._loaded()
            if newest != before or now.catalog.stamp() != now.stamp[1]:
                self.goods = self._opened(checkpoint, newest, now)
                self._changed(self.goods)
                _tell(self.goods)
            self.trouble = None
            return self.goods

    def _loaded(self) -> Checkpoint:
        """The newest checkpoint, as it is to be served."""
        checkpoint = load_checkpoint(self._settings.checkpoint, self._settings.device)
        if not self._settings.comparison:
            checkpoint.comparison = None
        return checkpoint

    def _opened(
        self, checkpoint: Checkpoint, checkpoint_stamp: Stamp, before: Goods | None = None
    ) -> Goods:
        """Goods of the newest version, which follow others or are the first."""
        catalog = Catalog.open(self._settings.catalog)
        now = catalog.stamp()
        finder = Finder(checkpoint, catalog, codes=self._settings.codes)
        if before is not None and before.checkpoint is checkpoint:
            finder.second_opinion = before.finder.second_opinion  # and what it has seen already
        snapshot = catalog.snapshot()
        return Goods(finder, snapshot, Columns(snapshot), (checkpoint_stamp, now))

    def _watch(self) -> None:
        """The thread: what cannot be taken up is told once, and tried again."""
        while not self._stopped.wait(LOOK if self.trouble is None else LOOK_AGAIN):
            try:
                self.refresh()
            except (UserError, *LANCE_ERRORS) as error:
                if str(error) != self.trouble:
                    log.warning("kept the old version", extra={"data": {"why": str(error)}})
                self.trouble = str(error)


def _make_if_missing(uri: str, checkpoint: Checkpoint) -> None:
    """An empty catalog where there is none; several servers may start at the same time."""
    if Catalog.exists(uri):
        return
    try:
        own = None if checkpoint.comparison is None else checkpoint.comparison.fingerprint
        size = checkpoint.embedding_size
        Catalog.create(uri, checkpoint.fingerprint, size, comparison=own)
    except CatalogError:
        if not Catalog.exists(uri):  # otherwise another server was faster
            raise


def _tell(goods: Goods) -> None:
    """A line in the log about what is served."""
    version = {
        "version": goods.snapshot.version,
        "products": len(goods.snapshot.product_ids),
        "encoder": goods.checkpoint.fingerprint,
    }
    log.info("serves a new version", extra={"data": version})

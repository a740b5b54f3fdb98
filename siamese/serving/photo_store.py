"""Photos on the server's disk: those of products that were added here, and kept uploads.

Every name is made here, from digests; nothing that a client sent becomes a part of a path.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from filelock import FileLock

from siamese.files import replacing

log = logging.getLogger(__name__)
SECONDS_PER_HOUR = 3600.0
LONGEST = 60.0  # seconds to wait for another change of a product


class ProductPhotos:
    """Photos of products, a folder for each.

    Args:
        folder: Of all of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def changing(self, product_id: str) -> FileLock:
        """Held while a product's photos and row change together, by this or another process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self._folder / f"{self._of(product_id).name[0]}.lock", timeout=LONGEST)

    def write(self, product_id: str, photos: Sequence[bytes]) -> list[str]:
        """Put encoded photos on the disk; their paths."""
        paths = []
        for content in photos:
            path = self._of(product_id) / f"{hashlib.sha256(content).hexdigest()[:32]}.jpg"
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            paths.append(str(path))
        return paths

    def keep(self, product_id: str, paths: Iterable[str]) -> None:
        """Delete a product's photos but these."""
        kept, folder = set(paths), self._of(product_id)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        for path in folder.glob("*.jpg"):
            if str(path) not in kept:
                path.unlink(missing_ok=True)

    def _of(self, product_id: str) -> Path:
        return self._folder / hashlib.sha256(product_id.encode()).hexdigest()[:32]


class KeptUploads:
    """Customers' photos, where the shop keeps them; each for a limited time.

    Args:
        folder: Of all of them.
        hours: How long; 0 never writes one.
    """

    def __init__(self, folder: Path, hours: float) -> None:
        self._folder = folder
        self._seconds = hours * SECONDS_PER_HOUR
        self._told = False  # that the disk cannot be written

    def keep(self, content: bytes) -> None:
        """Write an upload that was encoded anew (see `uploads.as_stored`), if any are kept.

        The same photo asked again is kept once. A disk that cannot be written is told once in the
        log: searches do not need it.
        """
        if not self.wanted:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody else's business
            with replacing(self._folder / _name_of(content)) as temporary:
                temporary.write_bytes(content)
            self._told = False
        except OSError as error:
            if not self._told:
                log.warning("cannot keep uploads", extra={"data": {"why": str(error)}})
            self._told = True

    @property
    def wanted(self) -> bool:
        """Whether uploads are kept at all."""
        return self._seconds > 0

    def expire(self) -> None:
        """Delete those whose time is over, also from a run that kept them longer."""
        for path in self._folder.glob("*.jpg"):
            try:
                if path.stat().st_mtime < time.time() - self._seconds:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:  # another worker was faster
                continue


def _name_of(content: bytes) -> str:
    """A file's name that says nothing but whether two are the same."""
    return f"{hashlib.sha256(content).hexdigest()[:32]}.jpg"

"""Small pictures of the catalog's photos, kept in memory, for pages that show many of them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from siamese.photos import open_photo
from siamese.serving.uploads import encoded

SIDES = (160, 320, 640, 1280)  # pixels of the longer side
QUALITY = 82
MEMORY = 64 * 2**20  # bytes of pictures kept


@dataclass(frozen=True)
class Thumbnail:
    """A picture as it is sent.

    Args:
        content: JPEG.
        tag: Differs wherever the content does.
    """

    content: bytes
    tag: str


class Thumbnails:
    """Makes thumbnails, and remembers those that were asked for last.

    Args:
        memory: Bytes of pictures kept.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._used = 0
        self._kept: OrderedDict[tuple[str, int, int], Thumbnail] = OrderedDict()
        self._guard = threading.Lock()

    def known(self, path: str, side: int) -> Thumbnail | None:
        """The one in memory, if its photo is as it was.

        Raises:
            OSError: There is no photo any more.
        """
        key = (path, side, os.stat(path).st_mtime_ns)
        with self._guard:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def make(self, path: str, side: int) -> Thumbnail:
        """Shrink a photo so that its longer side has `side` pixels, or fewer if it is smaller.

        Raises:
            PhotoError: It cannot be used.
            OSError: It is gone.
        """
        key = (path, side, os.stat(path).st_mtime_ns)
        photo = open_photo(path, at_least=(side, side))
        photo.thumbnail((side, side), Image.Resampling.LANCZOS)
        content = encoded(photo, QUALITY)
        made = Thumbnail(content, hashlib.sha256(content).hexdigest()[:16])
        with self._guard:
            if key not in self._kept:
                self._used += len(content)
            self._kept[key] = made
            while self._used > self._memory:
                self._used -= len(self._kept.popitem(last=False)[1].content)
        return made

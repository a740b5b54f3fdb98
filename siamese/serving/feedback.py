"""What customers said of products: a line of JSON each, on the disk before it is acknowledged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class FeedbackLog:
    """A file that several processes append to.

    Args:
        path: Of the file; its folder is made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line; it survives a kill and a power cut once this returns.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # One write of an appending handle is never mixed with others.
            if os.write(handle, line) < len(line):
                raise OSError(f"{self._path}: the disk is full")
            os.fsync(handle)
        finally:
            os.close(handle)

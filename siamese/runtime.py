"""Process-wide settings that make tensor work faster; harmless where they do not apply."""

from __future__ import annotations

import ctypes
import os
import sys


def available_cores() -> int:
    """Cores that this process may run on, which containers and `taskset` make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks for the next tensor instead of returning them.

    Every large tensor is otherwise fresh pages that the kernel has to clear first. The figures
    are in benchmarks/README.md. Nothing happens where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)

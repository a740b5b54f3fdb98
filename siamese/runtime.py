"""Process-wide settings that make tensor work faster; harmless where they do not apply."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Literal

# Names of `torch.cpu.get_capabilities`, the last of ARM's.
BFLOAT16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")


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


def training_precision(accelerator: str = "auto") -> Literal["bf16-mixed", "32-true"]:
    """Lightning's `precision` that trains fastest: bfloat16 only where there is hardware for it.

    Processors without such instructions (AMD's before Zen 4, most of Intel's desktops) do it in
    software, 14 times as slowly as float32: "Precision" in benchmarks/README.md. NVIDIA's cards
    have it from Ampere on.

    Args:
        accelerator: Lightning's; others than NVIDIA's cards and `cpu` have bfloat16.
    """
    import torch

    if accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        has = torch.cpu.get_capabilities()
        fast = any(has.get(name) for name in BFLOAT16_INSTRUCTIONS)
    elif torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = True
    return "bf16-mixed" if fast else "32-true"

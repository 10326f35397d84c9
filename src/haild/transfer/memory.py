"""What the C library does with memory that has been freed: a daemon that moves bodies needs it again at once."""

from __future__ import annotations

import ctypes
from typing import Final

from haild.transfer import fastpath

LARGEST: Final = 4 << 20
"""Bytes: larger blocks come from the kernel one by one and go back to it; no buffer of ours is as large."""
KEPT: Final = 32 << 20
"""Bytes of freed memory at most that are kept."""

# mallopt(3), numbers of malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed() -> None:
    """Have glibc keep freed memory for the next block; elsewhere nothing happens.

    By default it gives back to the kernel what is free at the end of the heap, and each block of a large upload is
    faulted in page by page again: about 100 page faults for a MiB, a tenth of the processor time.
    """
    if not fastpath.enabled("memory"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGEST)
        mallopt(_M_TRIM_THRESHOLD, KEPT)

"""What a process keeps in memory for later, and when it gives that back; of arrays, where its allocator is glibc's."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_FREE, OF_THEIR_OWN = 512 << 20, 32 << 20  # bytes


def keep_memory() -> None:
    """For a process of ours, once all is imported: keep what imports made, and reuse the memory of large arrays.

    To look through the former for garbage, at its end too, takes half a second, and to map and clear the latter anew
    each time more than work does.
    """
    gc.freeze()
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, OF_THEIR_OWN)
        libc.mallopt(TRIM_THRESHOLD, KEPT_FREE)


def give_back_memory() -> None:
    """Give free memory back to the system, once something large is let go that many threads had a part in."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

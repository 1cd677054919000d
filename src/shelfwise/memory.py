"""What glibc's allocator keeps for later, and when it gives that back. Elsewhere both functions do nothing."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_FREE, OF_THEIR_OWN = 512 << 20, 32 << 20  # bytes


def keep_memory() -> None:
    """Let glibc keep and reuse the memory of large arrays: to map and clear it anew each time costs more than work."""
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, OF_THEIR_OWN)
        libc.mallopt(TRIM_THRESHOLD, KEPT_FREE)


def give_back_memory() -> None:
    """Give free memory back to the system, once something large is let go that many threads had a part in."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

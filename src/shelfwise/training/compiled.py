"""Loops that torch would take several passes over memory for, compiled on first use and kept on disk (numba).

They are given numpy's views of CPU tensors, and let other threads go on meanwhile. Loops go over slices of rows, which
is what the compiler makes vector instructions of. What is kept on disk is taken until the file of the function that
Python calls is another: all that it calls stands in the same file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Loop = TypeVar("Loop", bound=Callable[..., Any])
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Words = NDArray[np.uint64]

ZERO, ONE = np.float32(0), np.float32(1)


def compiled(loop: Loop) -> Loop:
    """The loop by numba; where no folder can be written to, it is compiled in each process anew."""
    # Sums over a row may be taken in lanes of a vector register.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc"}}
    try:
        made: Loop = njit(cache=True, **options)(loop)
    except RuntimeError:  # no folder for the cache
        made = njit(**options)(loop)
    return made

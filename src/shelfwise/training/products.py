"""Products of matrices within compiled loops, by a library's sgemm that is there already.

MKL's, which PyTorch brings along, where this is a processor that it has kernels for; else OpenBLAS's, which SciPy does.
Both take Fortran's arguments: pointers, and matrices by columns, so that ours are transposed there.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding
import torch
from numba import types
from numba.extending import get_cython_function_address

SYMBOL = "shelfwise_sgemm"
sgemm: Callable[..., None] = types.ExternalFunction(SYMBOL, types.void(*13 * [types.intp]))


def mkl_sgemm() -> int | None:
    """The address of MKL's in PyTorch's library; None where it is not there, or this is no processor of MKL's maker."""
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        processor = platform.processor()
    if not ("GenuineIntel" in processor and torch.backends.mkl.is_available()):  # type: ignore[no-untyped-call]
        return None
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(library.sgemm_, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def scipy_sgemm() -> int:
    """The address of SciPy's."""
    address: int = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    return address


llvmlite.binding.add_symbol(SYMBOL, mkl_sgemm() or scipy_sgemm())

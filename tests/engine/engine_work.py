"""Functions over blocks for tests of the executors; workers import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from shelfwise.errors import BadValueError


def add(shared: Any, block: Any) -> Any:
    return shared["offset"] + block


def late(shared: float | str, block: int) -> int:
    """The earlier a block, the longer it takes."""
    time.sleep(float(shared) / (block + 1))
    return block


def fail_at(shared: int, block: int) -> int:
    if block == shared:
        raise BadValueError(f"block {block} holds 'x' where stars should be", hint="correct it")
    return block


def break_at(shared: int, block: int) -> float:
    return 1 / (block - shared)


def process(shared: None, block: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def threads(shared: None, block: int) -> tuple[int, int]:
    """Threads that torch and the BLAS of numpy would use."""
    import torch
    from threadpoolctl import threadpool_info

    np.ones((8, 8)) @ np.ones((8, 8))
    return torch.get_num_threads(), max(pool["num_threads"] for pool in threadpool_info())


def big(shared: Any, block: int) -> Any:
    return np.full(4_000_000, block + int(shared[-1]), dtype=np.float32)


def die_once(shared: str, block: int) -> int:
    """Kills its own process the first time that block 3 is reached."""
    mark = Path(shared)
    if block == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return block * block


def die_elsewhere(shared: int, block: int) -> int:
    """Kills its own process, unless it is the one given."""
    if os.getpid() != shared:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return block


def slow_elsewhere(shared: int, block: int) -> bool:
    """Whether the process is another than the one given, where each block takes long."""
    elsewhere = os.getpid() != shared
    time.sleep(1 if elsewhere else 0.2)
    return elsewhere


def die(shared: None, block: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return block

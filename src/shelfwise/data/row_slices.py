"""Work on what is as long as all ratings, a slice of rows at a time, so that threads share it and memory is small."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from shelfwise.engine.contract import Block, Result
from shelfwise.engine.threads import MOST_THREADS

AT_ONCE = 1 << 16  # rows, so that what is made of them stays in a core's cache


def by_slices(function: Callable[[slice], Result], n_rows: int) -> list[Result]:
    """function(slice) of AT_ONCE rows each, in their order: what it writes to its own rows of an array is its own."""
    return by_threads(function, slices(n_rows))


def slices(n_rows: int) -> list[slice]:
    """All rows, AT_ONCE at a time."""
    return [slice(start, start + AT_ONCE) for start in range(0, n_rows, AT_ONCE)]


def by_threads(function: Callable[[Block], Result], parts: Iterable[Block]) -> list[Result]:
    """function(part) of each, in their order, by as many threads as polars has."""
    parts = list(parts)
    n_threads = min(len(parts), pl.thread_pool_size(), MOST_THREADS)
    if n_threads < 2:
        return list(map(function, parts))
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(function, parts))

"""Blocks of work shared by the threads of this process, such that results do not depend on how many there are.

A library that shares one sum among its threads adds up in another order where there are more of them, and training by
gradients carries the last digit on. Here every call of a library has one thread, and what is shared are blocks, whose
bounds nothing but the work decides. It is faster too: most calls are too small to be worth sharing.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar

from shelfwise.engine.contract import Block, Result

MOST_THREADS = 8  # each holds a block, and between calls of libraries Python lets one go on at a time

# Not seen by the threads themselves: what they call is not shared once more.
_pool: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("_pool", default=None)


def limit_libraries() -> None:
    """One thread for each call of a library from this thread; for BLAS, which makes no difference, from any."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@contextmanager
def threads_of_one(n_threads: int, start: Callable[[], None] = lambda: None) -> Iterator[ThreadPoolExecutor]:
    """Threads of this process, each of which calls start() first; while inside, libraries have one in each of them and
    in the caller's."""
    import threadpoolctl
    import torch

    def begin() -> None:
        limit_libraries()
        start()

    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits(1), ThreadPoolExecutor(n_threads, "shelfwise", begin) as pool:
        torch.set_num_threads(1)
        try:
            yield pool
        finally:
            torch.set_num_threads(before)


@contextmanager
def sharing_threads() -> Iterator[None]:
    """While inside, the functions below have as many threads as PyTorch had, and libraries have one."""
    import torch

    n_threads = min(torch.get_num_threads(), MOST_THREADS)
    with threads_of_one(n_threads) as pool:
        token = _pool.set((pool, n_threads))
        try:
            yield
        finally:
            _pool.reset(token)


def in_threads(function: Callable[[Block], Result], blocks: Iterable[Block]) -> Iterator[Result]:
    """function(block) of each, in order, by the threads of sharing_threads(); outside of it one after the other.

    What PyTorch keeps for each thread, such as no_grad, is to be set by the function itself.
    """
    found = _pool.get()
    if found is None:
        yield from map(function, blocks)
        return
    pool, n_threads = found
    yield from in_order(lambda block: pool.submit(function, block), blocks, n_threads)


def shared_by_threads(function: Callable[[Block], Result], blocks: Sequence[Block]) -> list[Result]:
    """As in_threads(), for blocks that take milliseconds: this thread takes its share, so that none waits for another.

    What the function raises is raised once no thread is at work. The same holds for what PyTorch keeps for each thread.
    """
    found = _pool.get()
    if found is None:
        return list(map(function, blocks))
    pool, n_threads = found
    results: dict[int, Result] = {}
    left = iter(range(len(blocks)))  # of which threads take the next

    def take() -> None:
        for place in left:
            results[place] = function(blocks[place])

    others = [pool.submit(take) for _ in range(min(n_threads, len(blocks)) - 1)]
    token = _pool.set(None)
    try:
        take()
    finally:
        _pool.reset(token)
        wait(others)
    for other in others:
        other.result()
    return [results[place] for place in range(len(blocks))]


def in_order(submit: Callable[[Block], Future[Result]], blocks: Iterable[Block], n_ahead: int) -> Iterator[Result]:
    """The results of blocks in their order; n_ahead of them are submitted beyond the one that is waited for."""
    waiting: deque[Future[Result]] = deque()
    try:
        for block in blocks:
            waiting.append(submit(block))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for unfinished in waiting:
            unfinished.cancel()

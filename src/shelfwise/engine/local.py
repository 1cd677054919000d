"""Work on this machine: in this process and its threads, or spread over processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from shelfwise.engine.contract import AHEAD, THREADS, Block, Result, Shared
from shelfwise.engine.threads import in_order, in_threads, limit_libraries, threads_of_one
from shelfwise.errors import EngineError
from shelfwise.memory import keep_memory

_call: Callable[[Any], Any]  # in a process of a pool: what it does with a block


@dataclass(frozen=True)
class Local:
    """One worker is this process itself, whose threads share the blocks inside sharing_threads(), and else each block;
    several are this process and others, of one thread each."""

    n_workers: int = 1

    def map(
        self, function: Callable[[Shared, Block], Result], blocks: Iterable[Block], shared: Shared
    ) -> Iterator[Result]:
        if self.n_workers == 1:
            return in_threads(partial(function, shared), blocks)
        return self._spread(function, blocks, shared)

    def _spread(
        self, function: Callable[[Shared, Block], Result], blocks: Iterable[Block], shared: Shared
    ) -> Iterator[Result]:
        """Each worker has a thread of this process that takes the next block, works it out or has it worked out."""
        context = multiprocessing.get_context("spawn")  # a fork would hang on the threads of torch and polars
        workers: SimpleQueue[Callable[[Block], Result]] = SimpleQueue()
        mine = threading.local()

        def take_worker() -> None:
            mine.work = workers.get()

        def work(block: Block) -> Result:
            result: Result = mine.work(block)
            return result

        with ExitStack() as stack:
            for _ in range(self.n_workers - 1):
                pool = stack.enter_context(ProcessPoolExecutor(1, context, _start, (function, shared)))
                workers.put(partial(_have_done, pool))
            workers.put(partial(function, shared))
            threads = stack.enter_context(threads_of_one(self.n_workers, take_worker))
            try:
                yield from in_order(lambda block: threads.submit(work, block), blocks, AHEAD * self.n_workers - 1)
            except BrokenProcessPool as error:
                raise EngineError(
                    f"one of {self.n_workers} worker processes was killed, perhaps for want of memory",
                    hint="give fewer --workers, or free some memory; where it was writing parts, a new run goes on",
                ) from error


def _have_done(pool: ProcessPoolExecutor, block: Any) -> Any:
    return pool.submit(_run, block).result()


def _start(function: Callable[[Any, Any], Any], shared: Any) -> None:
    """What a process does first: with as many processes as cores, more threads would but wait for each other."""
    global _call  # noqa: PLW0603 - a process lives for one map
    os.environ |= dict.fromkeys(THREADS, "1")  # of what is loaded from now on
    keep_memory()
    limit_libraries()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _call = partial(function, shared)


def _end_with_parent() -> None:
    """A process that waits for blocks does not see that nobody is left to send any: its siblings keep the pipe open."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _run(block: Any) -> Any:
    return _call(block)


HERE = Local()

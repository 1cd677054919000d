"""What every executor promises, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from shelfwise.errors import UsageError

Shared = TypeVar("Shared")
Block = TypeVar("Block")
Result = TypeVar("Result")
EngineName = Literal["local", "ray"]

AHEAD = 3  # blocks handed out at once, for each worker: the others go on while one starts
# A worker has one core: its threads would but wait for each other.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


class Engine(Protocol):
    """Where functions over blocks are worked out, by at most `n_workers` at a time."""

    @property
    def n_workers(self) -> int: ...

    def map(
        self, function: Callable[[Shared, Block], Result], blocks: Iterable[Block], shared: Shared
    ) -> Iterator[Result]:
        """function(shared, block) of each block, in the order of the blocks.

        function  of a module: workers import it by name
        blocks    taken as they are needed: not all need be in memory at once
        shared    what every call needs; it reaches a worker once, and is not to be changed
        Raises what the function raises, as it was raised; EngineError where a worker or its machine is lost for good.
        """
        ...


@contextmanager
def open_engine(
    name: EngineName = "local", workers: int | None = None, address: str | None = None, place: Path | None = None
) -> Iterator[Engine]:
    """An executor, closed at the end.

    workers  at a time; None for one where `name` is local, and for all CPUs of the cluster where it is ray
    address  of a Ray cluster that runs, as `ray start` says it; None to start one on this machine alone
    place    a folder that all machines of the cluster see, for what is kept while the engine is open
    Raises UsageError, EngineError.
    """
    if name == "local":
        if address is not None:
            raise UsageError("--address goes with --engine ray", hint="add --engine ray, or leave out --address")
        from shelfwise.engine.local import Local

        yield Local(workers or 1)
        return
    from shelfwise.engine.cluster import connected

    with connected(address, workers, place) as engine:
        yield engine

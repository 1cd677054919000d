"""Work on a Ray cluster: one that runs, or one started here for as long as the work lasts.

Ray schedules, moves data and tries again what a lost worker or machine left undone. A worker keeps what is shared by
all calls, so that a model is read once by each process. Nothing but this file imports Ray's tasks.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shelfwise.engine.contract import AHEAD, THREADS, Block, Result, Shared
from shelfwise.engine.together import LOOK_SECONDS, Hand, Member, Report, assert_cpus_left, n_cpus, run_together
from shelfwise.errors import EngineError
from shelfwise.version import __version__

INSTALL = "install it: pip install 'shelfwise[ray]'"
ANSWER_SECONDS = 10.0  # within which a cluster's address must answer
TRIES_AGAIN = 10  # of a block whose worker or machine was lost
SETTINGS = {
    "RAY_AUTH_MODE": "token",  # nobody else on the network may use the cluster
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A machine whose cable is cut says nothing: without these a call to it would be waited for seven minutes. Who asks
    # more often than once a minute is cut off by a cluster that was not told so when it was started.
    "RAY_grpc_client_keepalive_time_ms": "70000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_gcs_rpc_server_connect_timeout_s": "30",  # a head that is busy needs more than five seconds to answer
    "RAY_task_oom_retries": "3",  # without a limit a block that is too large would be tried for ever
}


class Cluster:
    """A cluster that this process is connected to."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers

    def map(
        self, function: Callable[[Shared, Block], Result], blocks: Iterable[Block], shared: Shared
    ) -> Iterator[Result]:
        import ray

        run = ray.remote(_run).options(max_retries=TRIES_AGAIN, name=function.__name__)
        there = [ray.put(shared)]  # in a list it is not unpacked for each call, but once in each worker
        waiting: deque[Any] = deque()
        for block in blocks:
            waiting.append(run.remote(__version__, function, there, block))
            if len(waiting) >= AHEAD * self.n_workers:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())

    def together(
        self,
        function: Callable[[Shared, list[Hand], Member], Result],
        shared: Shared,
        hand: Callable[[int, int], Hand],
        place: Path,
        on_report: Callable[[Report], None],
    ) -> Result:
        """The function by all workers at once, as of run_together."""
        return run_together(function, shared, hand, self.n_workers, place, on_report)


_kept: tuple[Any, Any] = (None, None)  # in a worker: the reference to what is shared, and what it is


def _run(version: str, function: Callable[[Any, Any], Any], there: list[Any], block: Any) -> Any:
    """One call, in a worker. Raises EngineError where the worker's machine has another Shelfwise."""
    import ray

    global _kept  # noqa: PLW0603 - a process serves one map at a time
    if version != __version__:
        raise EngineError(
            f"the machine {socket.gethostname()} has shelfwise {__version__}, the command is of shelfwise {version}",
            hint="install the same version on all machines of the cluster",
        )
    if _kept[0] != there[0]:
        _kept = (None, None)
        _kept = (there[0], ray.get(there[0]))
    return function(_kept[1], block)


def _result(promised: Any) -> Any:
    """What a call gave. Raises what it raised; EngineError where Ray gave up."""
    import ray

    while not ray.wait([promised], timeout=LOOK_SECONDS)[0]:
        assert_cpus_left()
    try:
        return ray.get(promised)
    except ray.exceptions.RayTaskError as error:
        if not isinstance(error.cause, ray.exceptions.RayError):
            raise error.cause from error
        lost: BaseException = error.cause
    except ray.exceptions.RayError as error:
        lost = error
    if isinstance(lost, ray.exceptions.OutOfMemoryError):
        raise EngineError(
            f"a worker ran out of memory, again and again: {_told(lost)}",
            hint="give fewer --workers, or machines with more memory",
        ) from lost
    raise EngineError(
        f"work on the cluster was lost: {_told(lost)}",
        hint="see what failed with `ray status`; where it was writing parts, a new run goes on",
    ) from lost


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Cluster]:
    """The cluster at `address`, or one of `workers` CPUs of this machine, bound to loopback and gone at the end.

    Raises EngineError.
    """
    ray = _ray()
    if address is not None:
        _assert_answers(address)
    if ray.is_initialized():  # by whoever called us
        yield Cluster(workers or n_cpus())
        return
    common = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": dict.fromkeys(THREADS, "1") | {"OMP_WAIT_POLICY": "PASSIVE"}},
    }
    try:
        if address is None:
            ray.init("local", num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", **common)
        else:
            ray.init(address, **common)
    except Exception as error:  # Ray has no one type for what may go wrong here
        raise EngineError(
            f"the Ray cluster at {address or 'this machine'} cannot be used: {_told(error, 6)}",
            hint="same versions of Ray and Python everywhere, and the cluster's token in ~/.ray/auth_token "
            "or RAY_AUTH_TOKEN_PATH (docs/scale.md)",
        ) from error
    try:
        yield Cluster(workers or n_cpus())
    finally:
        ray.shutdown()


def _ray() -> Any:
    """Ray itself, with the settings it reads when it is imported. Raises EngineError where it is not installed."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise EngineError("--engine ray needs Ray, which is not installed", hint=INSTALL) from error
    return ray


def _assert_answers(address: str) -> None:
    """Raise EngineError unless somebody listens at host:port; Ray itself would wait for minutes, then abort."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise EngineError(f"{address!r} is no address of a cluster", hint="give HOST:PORT, as `ray start` says it")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"nobody answers at {address}: {error}",
            hint="give HOST:PORT as `ray start --head` says it, and look whether the head node runs",
        ) from error


def _told(error: BaseException, n_lines: int = 1) -> str:
    """What an error of Ray's says first, without the page that follows."""
    return " ".join(" ".join(str(error).strip().split("\n")[:n_lines]).split())

"""Work on a Ray cluster: one that runs, or one started here for as long as the work lasts.

Ray schedules, moves data and tries again what a lost worker or machine left undone. A worker keeps what is shared by
all calls, so that a model is read once by each process. Nothing but this file imports Ray's tasks.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shelfwise.engine.contract import AHEAD, THREADS, Block, Result, Shared
from shelfwise.engine.together import (
    LOOK_SECONDS,
    Hand,
    Member,
    Report,
    assert_cpus_left,
    assert_same_version,
    n_cpus,
    run_together,
)
from shelfwise.errors import EngineError
from shelfwise.version import __version__

INSTALL = "install it: pip install 'shelfwise[ray]'"
ANSWER_SECONDS = 10.0  # within which somebody must answer at a cluster's address
SPEAK_SECONDS = 60.0  # and be a cluster: Ray itself takes seconds to import, on a busy machine many
NOT_IMPORTED = "failed to import"  # what Ray says of a function whose package a worker lacks
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
    """A cluster that this process is connected to; `place`, where there is one, is a folder that all machines see."""

    def __init__(self, n_workers: int, place: Path | None = None) -> None:
        self.n_workers, self.place = n_workers, place

    def map(
        self, function: Callable[[Shared, Block], Result], blocks: Iterable[Block], shared: Shared
    ) -> Iterator[Result]:
        import ray

        run = ray.remote(_run).options(max_retries=TRIES_AGAIN, name=function.__name__)
        packed = ray.cloudpickle.dumps(function)  # a machine with another Shelfwise may not have it: _run says so first
        there = [_handed(ray.put, shared)]  # in a list it is not unpacked for each call, but once in each worker
        waiting: deque[Any] = deque()
        for block in blocks:
            waiting.append(_handed(run.remote, __version__, packed, there, block))
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


def _run(version: str, packed: bytes, there: list[Any], block: Any) -> Any:
    """One call, in a worker. Raises EngineError where the worker's machine has another Shelfwise."""
    import ray

    global _kept  # noqa: PLW0603 - a process serves one map at a time
    assert_same_version(version)
    if _kept[0] != there[0]:
        _kept = (None, None)
        _kept = (there[0], ray.get(there[0]))
    return ray.cloudpickle.loads(packed)(_kept[1], block)


def _handed(hand_over: Callable[..., Any], *what: Any) -> Any:
    """What is handed to Ray. Raises EngineError where it takes no more."""
    import ray

    try:
        return hand_over(*what)
    except ray.exceptions.RayError as error:  # the object store or its disk is full, or the cluster is gone
        raise _lost(error) from error


def _result(promised: Any) -> Any:
    """What a call gave. Raises what it raised; EngineError where Ray gave up."""
    import ray

    while not ray.wait([promised], timeout=LOOK_SECONDS)[0]:
        assert_cpus_left()
    try:
        return ray.get(promised)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ray.exceptions.RayError):
            raise _lost(error.cause) from error
        if isinstance(error.cause, RuntimeError) and NOT_IMPORTED in str(error.cause):
            raise EngineError(
                f"a machine of the cluster has no shelfwise that works: {_told(error.cause)}",
                hint=f"install shelfwise {__version__} on all machines of the cluster",
            ) from error
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise _lost(error) from error


def _lost(error: BaseException) -> EngineError:
    """What Ray gave up on, in our words."""
    import ray

    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return EngineError(
            f"a worker ran out of memory, again and again: {_told(error)}",
            hint="give fewer --workers, or machines with more memory",
        )
    if isinstance(error, (ray.exceptions.OutOfDiskError, ray.exceptions.ObjectStoreFullError)):
        return EngineError(
            f"no room is left for what Ray keeps in memory and on disk: {_told(error)}",
            hint="free some space where Ray has its temporary files (/tmp/ray), or give machines with more memory",
        )
    return EngineError(
        f"work on the cluster was lost: {_told(error)}",
        hint="see what failed with `ray status`; where it was writing parts, a new run goes on",
    )


@contextmanager
def connected(address: str | None, workers: int | None, place: Path | None = None) -> Iterator[Cluster]:
    """The cluster at `address`, or one of `workers` CPUs of this machine, bound to loopback and gone at the end.

    place  as open_engine takes it
    Raises EngineError.
    """
    ray = _ray()
    if address is not None:
        _assert_answers(address)
    if ray.is_initialized():  # by whoever called us
        yield Cluster(workers or n_cpus(), place)
        return
    if address is not None:
        _assert_speaks(address)
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
        assert_cpus_left()
        yield Cluster(workers or n_cpus(), place)
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
    if not host or not (port.isascii() and port.isdigit()):
        raise EngineError(f"{address!r} is no address of a cluster", hint="give HOST:PORT, as `ray start` says it")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:  # the last two: no port, no name
        raise EngineError(
            f"nobody answers at {address}: {error}",
            hint="give HOST:PORT as `ray start --head` says it, and look whether the head node runs",
        ) from error


def _assert_speaks(address: str) -> None:
    """Raise EngineError where another program answers, or a head that hangs: ray.init would ask it without an end."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        subprocess.run(command, capture_output=True, timeout=SPEAK_SECONDS, check=False)  # noqa: S603 - no shell
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"what answers at {address} is no Ray cluster, or one that hangs",
            hint="give HOST:PORT as `ray start --head` says it",
        ) from error


def _told(error: BaseException, n_lines: int = 1) -> str:
    """What an error of Ray's says first, without the page that follows."""
    return " ".join(" ".join(str(error).strip().split("\n")[:n_lines]).split())

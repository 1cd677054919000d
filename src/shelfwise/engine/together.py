"""Processes of a Ray cluster that work at once and talk over torch.distributed: Ray Train.

Ray Train starts them, tells them of each other, keeps what they report, and starts all of them again where one is lost:
as many as the cluster has CPUs for, up to the number that is asked for. What they work on is dealt into hands, more
than there are processes, so that those who are left take up all of them.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from shelfwise.errors import EngineError, ShelfwiseError
from shelfwise.version import __version__

Shared = TypeVar("Shared")
Hand = TypeVar("Hand")
Result = TypeVar("Result")
Report = dict[str, Any]  # of plain numbers and words

LOOK_SECONDS = 30.0  # between two looks at whether the cluster still has CPUs
STARTS_AGAIN = 10  # of all processes, after one was lost; and as often again for want of CPUs
SILENT_SECONDS = 600  # that a process waits for the others: the first may validate meanwhile, or a cable be cut
HANDS = 4  # for each process that is asked for: dealt evenly enough among fewer
KEPT = 2  # of what was reported: the newest, and the one before should that be damaged
ATTEMPT, KEPT_FOLDERS = "attempt-{:04d}", "attempt-*/checkpoint_*"
SETTINGS = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one more process to start
    # Until all CPUs are there; Ray Train may have counted those of a machine that was lost just now.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": str(SILENT_SECONDS),  # by itself a process waits for one that ended, for ever
}


@dataclass(frozen=True)
class Member:
    """Process `rank` of `size`, which holds the hands rank, rank + size, ... of `n_hands`.

    What they report lies below `place`, the newest last by name.
    """

    rank: int
    size: int
    place: Path
    n_hands: int = 1

    def report(self, numbers: Report) -> None:
        """Tell the command the first process's numbers; all processes must call it, and wait here."""
        import ray.train

        ray.train.report(numbers)

    def keep(self, write: Callable[[Path], None], numbers: Report) -> None:
        """report(), and keep the folder that `write` fills, in the first process alone. Raises what `write` raises."""
        import ray.train

        with tempfile.TemporaryDirectory() as folder:
            self.of_first(lambda: write(Path(folder)))
            ray.train.report(numbers, None if self.rank else ray.train.Checkpoint.from_directory(folder))

    def of_first(self, work: Callable[[], Result]) -> Result:
        """What the first process works out, in every process; and so is a ShelfwiseError that it raises."""
        from ray.train.collective import broadcast_from_rank_zero

        told: tuple[Any, ShelfwiseError | None] = (None, None)
        if not self.rank:
            try:
                told = (work(), None)
            except ShelfwiseError as error:
                told = (None, error)
        found, failed = broadcast_from_rank_zero(told)
        if failed is not None:
            raise failed
        result: Result = found
        return result

    def kept(self) -> list[Path]:
        """Folders that were kept, by this attempt and earlier ones, newest first; the first may be damaged."""
        return sorted((file for file in self.place.glob(KEPT_FOLDERS) if file.is_dir()), reverse=True)


def run_together(
    function: Callable[[Shared, list[Hand], Member], Result],
    shared: Shared,
    hand: Callable[[int, int], Hand],
    n: int,
    place: Path,
    on_report: Callable[[Report], None],
) -> Result:
    """function(shared, hands, Member) in at most n processes at once; what the first gave.

    function   of a module; what it raises as ShelfwiseError it must raise in all processes
    hand       hand j of m, each of which goes to one process; the first to the first
    place      a folder that all machines see
    on_report  hears what the first process reports
    Raises what the function raises, EngineError.
    """
    os.environ |= {name: value for name, value in SETTINGS.items() if name not in os.environ}
    import ray
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    place = place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    n_hands = n * HANDS if n > 1 else 1
    try:
        there = {"shared": ray.put(shared), "hands": [ray.put(hand(j, n_hands)) for j in range(n_hands)]}
    except ray.exceptions.RayError as error:  # the object store or its disk is full
        raise _understood(error) from error
    known = {"function": function, "place": place, "silent_seconds": SILENT_SECONDS, "version": __version__}
    reports = _queue()
    trainer = DataParallelTrainer(
        _member,
        train_loop_config={**known, **there},
        scaling_config=ScalingConfig(num_workers=(1, n)),
        run_config=RunConfig(
            name=ATTEMPT.format(1 + len(list(place.glob("attempt-*")))),
            storage_path=str(place),
            callbacks=[_pass_on(reports)],
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT),
            failure_config=FailureConfig(max_failures=STARTS_AGAIN, controller_failure_limit=STARTS_AGAIN),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        found = _fit(trainer, reports, on_report).return_value
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise _understood(error) from error
    finally:
        reports.shutdown()
    if isinstance(found, ShelfwiseError):
        raise found
    result: Result = found
    return result


def assert_cpus_left() -> None:
    """Raises EngineError where all machines with CPUs are gone."""
    if not n_cpus():
        raise EngineError("no machine of the cluster has a CPU left", hint="add machines, and start again")


def assert_same_version(version: str) -> None:
    """Raises EngineError where this machine has another Shelfwise than the command."""
    if version != __version__:
        raise EngineError(
            f"the machine {socket.gethostname()} has shelfwise {__version__}, the command is of shelfwise {version}",
            hint="install the same version on all machines of the cluster",
        )


def n_cpus() -> int:
    """CPUs of all machines of the cluster."""
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


def _member(config: dict[str, Any]) -> Any:
    """One process: what the function gives, or the ShelfwiseError that it raises, which Ray need not try again."""
    import ray.train

    assert_same_version(config["version"])
    context = ray.train.get_context()
    rank, size, hands = context.get_world_rank(), context.get_world_size(), config["hands"]
    member = Member(rank, size, config["place"], len(hands))
    _join(member, timedelta(seconds=config["silent_seconds"]))
    try:
        return config["function"](ray.get(config["shared"]), ray.get(hands[rank::size]), member)
    except ShelfwiseError as error:
        return error


def _join(member: Member, silent: timedelta) -> None:
    """Make torch's process group, over the network that the cluster itself is on; none waits longer than `silent`.

    By itself gloo asks what the machine's own name means, which on many is 127.0.1.1. Ray Train's TorchTrainer leaves
    it at that, and does not start again where a machine is lost while the group is made.
    """
    import psutil  # Ray brings it along
    import ray
    from ray.train.collective import broadcast_from_rank_zero
    from torch.distributed import TCPStore, init_process_group  # type: ignore[attr-defined]

    here = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == here for one in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = name
    options: dict[str, Any] = {"world_size": member.size, "timeout": silent}
    if member.rank == 0:
        store = TCPStore(here, 0, is_master=True, wait_for_workers=False, **options)
    host, port = broadcast_from_rank_zero((here, store.port) if member.rank == 0 else None)
    if member.rank:
        store = TCPStore(host, port, **options)
    init_process_group("gloo", store=store, rank=member.rank, **options)


def _queue() -> Any:
    """From Ray Train's controller to this process; on this machine, so that no other takes it along when it is lost."""
    import ray
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _pass_on(reports: Any) -> Any:
    """A callback of Ray Train's that puts the first process's reports into a queue."""
    from ray.train import UserCallback

    class PassOn(UserCallback):  # type: ignore[misc]
        def after_report(self, run_context: Any, metrics: list[Report], checkpoint: Any) -> None:
            reports.put(metrics[0])

    return PassOn()


def _fit(trainer: Any, reports: Any, on_report: Callable[[Report], None]) -> Any:
    """trainer.fit() in a thread beside this one, which tells of reports and looks after the cluster.

    Raises what fit() raises, and EngineError where no CPU is left, which Ray Train would wait for without an end.
    """
    from ray.util.queue import Empty

    ended: Future[Any] = Future()

    def fit() -> None:
        try:
            ended.set_result(trainer.fit())
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=fit, daemon=True).start()
    looked = time.monotonic()
    while not ended.done() or not reports.empty():
        with suppress(Empty):
            on_report(reports.get(timeout=1.0))
        if time.monotonic() - looked >= LOOK_SECONDS:
            assert_cpus_left()
            looked = time.monotonic()
    return ended.result()


def _understood(error: Any) -> ShelfwiseError:
    """What Ray Train says in the end, in our words."""
    failures = getattr(error, "worker_failures", None) or {}
    told = next((str(failure) for failure in failures.values()), str(error)).strip().splitlines()
    return EngineError(
        f"training on the cluster was lost: {told[-1] if told else type(error).__name__}",
        hint="see what failed with `ray status`, then go on with --resume",
    )

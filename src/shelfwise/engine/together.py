"""Processes of a Ray cluster that work at once and talk over torch.distributed: Ray Train.

Ray Train starts them, tells them of each other, keeps what they report, and starts all of them again where one is lost.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shelfwise.errors import EngineError, ShelfwiseError

Share = TypeVar("Share")
Result = TypeVar("Result")

STARTS_AGAIN = 10  # of all processes, after one was lost
KEPT = 2  # of what was reported: the newest, and the one before should that be damaged
ATTEMPT, KEPT_FOLDERS = "attempt-{:04d}", "attempt-*/checkpoint_*"
SETTINGS = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one more process to start
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # until all CPUs and processes are there
}


@dataclass(frozen=True)
class Member:
    """Process `rank` of `size`; what they report lies below `place`, the newest last by name."""

    rank: int
    size: int
    place: Path

    def keep(self, write: Callable[[Path], None]) -> None:
        """Keep the folder that `write` fills, in the first process alone; all processes must call it, and wait here."""
        import ray.train

        if self.rank:
            ray.train.report({})
            return
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            ray.train.report({}, ray.train.Checkpoint.from_directory(folder))

    def kept(self) -> list[Path]:
        """Folders that were kept, by this attempt and earlier ones, newest first; the first may be damaged."""
        return sorted((file for file in self.place.glob(KEPT_FOLDERS) if file.is_dir()), reverse=True)


def run_together(
    function: Callable[[Share, Member], Result], shares: Callable[[int, int], Share], n: int, place: Path
) -> Result:
    """function(shares(rank, n), Member) in n processes at once; what the first gave.

    function  of a module; what it raises as ShelfwiseError it must raise in all processes
    place     a folder that all machines see
    Raises what the function raises, EngineError.
    """
    os.environ |= {name: value for name, value in SETTINGS.items() if name not in os.environ}
    import ray
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    place = place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    there = [[ray.put(shares(rank, n))] for rank in range(n)]  # in lists, so that each reads its own alone
    trainer = TorchTrainer(
        _member,
        train_loop_config={"function": function, "shares": there, "place": place},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=n),
        run_config=RunConfig(
            name=ATTEMPT.format(1 + len(list(place.glob("attempt-*")))),
            storage_path=str(place),
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT),
            failure_config=FailureConfig(max_failures=STARTS_AGAIN, controller_failure_limit=1),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        found = trainer.fit().return_value
    except ray.train.TrainingFailedError as error:
        raise _understood(error) from error
    if isinstance(found, ShelfwiseError):
        raise found
    result: Result = found
    return result


def _member(config: dict[str, Any]) -> Any:
    """One process: what the function gives, or the ShelfwiseError that it raises, which Ray need not try again."""
    import ray.train

    context = ray.train.get_context()
    member = Member(context.get_world_rank(), context.get_world_size(), config["place"])
    [share] = ray.get(config["shares"][member.rank])
    try:
        return config["function"](share, member)
    except ShelfwiseError as error:
        return error


def _understood(error: Any) -> ShelfwiseError:
    """What Ray Train says in the end, in our words."""
    failures = getattr(error, "worker_failures", None) or {}
    told = next((str(failure) for failure in failures.values()), str(error)).strip().splitlines()
    return EngineError(
        f"training on the cluster was lost: {told[-1] if told else type(error).__name__}",
        hint="see what failed with `ray status`, then go on with --resume",
    )

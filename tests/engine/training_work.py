"""Work for tests of training together; workers import it by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shelfwise.errors import OutputError
from shelfwise.training import together
from shelfwise.training.loop import Task

MF = {  # eight batches an epoch of 800 readers; without dropout, so that the number of workers does not matter
    "model": "mf",
    "settings": {"dropout": 0.0, "embedding_dim": 4, "epochs": 12, "patience": 12, "batch_size": 1024},
}


@dataclass(frozen=True)
class Tapped:
    """The work of others; before each batch `tap` is told how many this process has begun."""

    work: Any
    tap: Callable[[int], None]

    @property
    def network(self) -> nn.Module:
        network: nn.Module = self.work.network
        return network

    @property
    def rows(self) -> Sequence[Tensor]:
        rows: Sequence[Tensor] = self.work.rows
        return rows

    @property
    def inputs(self) -> Any:
        return self.work.inputs

    def holding(self, rows: Sequence[Tensor], inputs: Any) -> Tapped:
        return replace(self, work=self.work.holding(rows, inputs))

    def task(self, device: torch.device) -> Task:
        task: Task = self.work.task(device)
        begun = 0

        def loss(rows: Tensor) -> Tensor:
            nonlocal begun
            begun += 1
            self.tap(begun)
            return task.loss(rows)

        return replace(task, loss=loss)


@dataclass(frozen=True)
class SignalOnce:
    """The second worker sends itself a signal at a batch, but once."""

    what: signal.Signals
    mark: Path
    at: int

    def __call__(self, begun: int) -> None:
        if torch.distributed.get_rank() == 1 and begun == self.at and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), self.what)


@dataclass(frozen=True)
class Slow:
    """A second a batch until the file `free` is there; the first worker enters in `log` how many they are."""

    folder: Path

    def __call__(self, begun: int) -> None:
        if torch.distributed.get_rank() == 0:
            with (self.folder / "log").open("a") as file:
                file.write(f"{torch.distributed.get_world_size()}\n")
        if not (self.folder / "free").exists():
            time.sleep(1.0)


@dataclass(frozen=True)
class FullDisk:
    """The first worker can write no checkpoint."""

    def __call__(self, begun: int) -> None:
        if torch.distributed.get_rank() == 0:
            together.save_checkpoint = not_written


def not_written(*_: object) -> None:
    raise OutputError("the disk is full: the checkpoint was not written", hint="free some space")

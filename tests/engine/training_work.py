"""Work for tests of training together; workers import it by name."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shelfwise.training.loop import Task


@dataclass(frozen=True)
class DiesOnce:
    """The work of others, in which the second worker kills itself at a batch, but once."""

    work: Any
    mark: Path
    at: int
    rank: int = 0

    @property
    def network(self) -> nn.Module:
        network: nn.Module = self.work.network
        return network

    def share(self, rank: int, size: int) -> DiesOnce:
        return replace(self, work=self.work.share(rank, size), rank=rank)

    def task(self, device: torch.device) -> Task:
        task: Task = self.work.task(device)
        calls = 0

        def loss(rows: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if self.rank == 1 and calls == self.at and not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return task.loss(rows)

        return replace(task, loss=loss)

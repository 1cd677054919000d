"""Training a network here, or by all workers of a cluster together: the same loop, batches and checkpoints.

Each worker holds its share of the training rows and the whole network; the first one validates and keeps checkpoints.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from shelfwise.engine.cluster import Cluster
from shelfwise.engine.together import Member
from shelfwise.errors import CorruptRunError
from shelfwise.models.contract import FitInputs
from shelfwise.training.checkpoint import MakeOptimiser, State, load_checkpoint, save_checkpoint
from shelfwise.training.loop import Task, pick_device, train_network
from shelfwise.training.peers import Peers
from shelfwise.training.settings import Checkpoint, History, LoopSettings

FILE = "checkpoint.safetensors"


class Work(Protocol):
    """A network and the rows that it learns from."""

    @property
    def network(self) -> nn.Module: ...

    def share(self, rank: int, size: int) -> Self:
        """What process `rank` of `size` needs: rows rank, rank + size, ..., and what validates for the first alone."""

    def task(self, device: torch.device) -> Task:
        """To be fitted on a device."""


def train_work(work: Work, settings: LoopSettings, inputs: FitInputs, checkpoint: Checkpoint | None = None) -> History:
    """Fit the work's network in place, on the engine of `inputs`. As train_network."""
    if not isinstance(inputs.engine, Cluster):
        task = work.task(pick_device(settings))
        return train_network(task, settings, seed=inputs.seed, checkpoint=checkpoint, on_progress=inputs.on_progress)
    signature = checkpoint.signature if checkpoint else ""
    with tempfile.TemporaryDirectory() as nowhere:
        place = folder_of(checkpoint) if checkpoint else Path(nowhere)
        order = Order(settings.model_copy(update={"device": "cpu"}), inputs.seed, signature, torch.get_rng_state())

        def share(rank: int, size: int) -> tuple[Work, Order]:
            return work.share(rank, size), order

        found = inputs.engine.together(_train, share, place)
    work.network.load_state_dict(found.weights)
    work.network.eval()
    torch.set_rng_state(found.random)
    return found.history


def folder_of(checkpoint: Checkpoint) -> Path:
    """Where a cluster keeps what one machine keeps in the checkpoint's file."""
    return checkpoint.path.with_suffix("")


@dataclass(frozen=True)
class Order:
    """What all processes are told beside their work; `random`: torch's random state, from which the first goes on."""

    settings: LoopSettings
    seed: int
    signature: str
    random: Tensor


@dataclass(frozen=True)
class Trained:
    """What the first process gives back."""

    weights: dict[str, Tensor]
    history: History
    random: Tensor


@dataclass(frozen=True)
class KeptByCluster:
    """A Keeper of the last states, of which a damaged one is passed over for the one before."""

    member: Member
    signature: str

    @property
    def place(self) -> Path:
        return self.member.place

    def load(self, network: nn.Module, make_optimiser: MakeOptimiser) -> State | None:
        """Raises RunExistsError."""
        for folder in self.member.kept():
            try:
                return load_checkpoint(Checkpoint(folder / FILE, self.signature), network, make_optimiser)
            except CorruptRunError:
                continue
        return None

    def save(self, network: nn.Module, state: State) -> None:
        def write(folder: Path) -> None:
            save_checkpoint(Checkpoint(folder / FILE, self.signature), network, state)

        self.member.keep(write)


def _train(share: tuple[Any, Order], member: Member) -> Trained:
    """In each process of the cluster."""
    work, order = share
    torch.set_rng_state(order.random)
    keeper = KeptByCluster(member, order.signature)
    task = work.task(torch.device("cpu"))
    peers = Peers(member.rank, member.size)
    history = train_network(task, order.settings, seed=order.seed, checkpoint=keeper, peers=peers)
    return Trained(task.network.state_dict(), history, torch.get_rng_state())

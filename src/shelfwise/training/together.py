"""Training a network here, or by all workers of a cluster together: the same loop, batches and checkpoints.

Each worker holds some hands of the training rows and the whole network; the first one validates, keeps checkpoints and
tells of progress.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from shelfwise.engine.cluster import Cluster
from shelfwise.engine.together import Member, Report
from shelfwise.errors import CorruptRunError
from shelfwise.models.contract import FitInputs
from shelfwise.training.checkpoint import MakeOptimiser, State, load_checkpoint, save_checkpoint
from shelfwise.training.loop import Task, pick_device, train_network
from shelfwise.training.peers import Peers, deal, gather
from shelfwise.training.settings import Checkpoint, History, LoopSettings
from shelfwise.training.validation import for_validation

FILE = "checkpoint.safetensors"
TELL_SECONDS = 10.0  # between two words of progress within an epoch


class Work(Protocol):
    """A network and the rows that it learns from; validation by `inputs`, None where others do it."""

    @property
    def network(self) -> nn.Module: ...

    @property
    def rows(self) -> Sequence[Tensor]:
        """What is known of each row of training, which is the first axis."""

    @property
    def inputs(self) -> FitInputs | None: ...

    def holding(self, rows: Sequence[Tensor], inputs: FitInputs | None) -> Self:
        """The same network's work on some of the rows."""

    def task(self, device: torch.device) -> Task:
        """To be fitted on a device."""


def train_work(work: Work, settings: LoopSettings, inputs: FitInputs, checkpoint: Checkpoint | None = None) -> History:
    """Fit the work's network in place, on the engine of `inputs`. As train_network."""
    if not isinstance(inputs.engine, Cluster):
        task = work.task(pick_device(settings))
        return train_network(task, settings, seed=inputs.seed, checkpoint=checkpoint, on_progress=inputs.on_progress)
    signature = checkpoint.signature if checkpoint else ""
    order = Order(settings.model_copy(update={"device": "cpu"}), inputs.seed, signature, torch.get_rng_state())

    def hand(place: int, n_hands: int) -> Hand:
        validating = for_validation(work.inputs) if place == 0 and work.inputs else None
        return Hand(deal(work.rows, place, n_hands), validating)

    def tell(report: Report) -> None:
        inputs.on_progress(report["stage"], report["done"], report["total"])

    with nullcontext(folder_of(checkpoint)) if checkpoint else for_a_while(inputs.engine.place) as folder:
        found = inputs.engine.together(_train, (work.holding((), None), order), hand, Path(folder), tell)
    work.network.load_state_dict(found.weights)
    work.network.eval()
    torch.set_rng_state(found.random)
    return found.history


def for_a_while(place: Path | None) -> AbstractContextManager[str]:
    """A folder for what is kept only while a network is trained, in the place that all machines see."""
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=place, prefix=".shelfwise-")


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
class Hand:
    """Some of the rows; the first hand has what validates, too."""

    rows: list[Tensor]
    inputs: FitInputs | None


@dataclass(frozen=True)
class Trained:
    """What the first process gives back."""

    weights: dict[str, Tensor]
    history: History
    random: Tensor


@dataclass
class KeptByCluster:
    """A Keeper of the last states, of which a damaged one is passed over for the one before; and it tells of progress.

    Progress goes with each state that is kept, and by itself where the last is long ago: Ray Train hears but one report
    in two seconds.
    """

    member: Member
    peers: Peers
    signature: str
    progress: Report = field(default_factory=dict)
    told: float = field(default_factory=time.monotonic)

    @property
    def place(self) -> Path:
        return self.member.place

    def load(self, network: nn.Module, make_optimiser: MakeOptimiser) -> State | None:
        """The newest that the first process finds sound, in every process. Raises RunExistsError."""
        found: State | None = None

        def newest() -> Path | None:
            nonlocal found
            for folder in self.member.kept():
                try:
                    found = load_checkpoint(Checkpoint(folder / FILE, self.signature), network, make_optimiser)
                except CorruptRunError:
                    continue
                return folder
            return None

        folder = self.member.of_first(newest)
        if folder is None or not self.member.rank:
            return found
        try:
            return load_checkpoint(Checkpoint(folder / FILE, self.signature), network, make_optimiser)
        except CorruptRunError as error:  # not there yet where this process is: all start again
            raise RuntimeError(error.message) from error

    def save(self, network: nn.Module, state: State) -> None:
        def write(folder: Path) -> None:
            save_checkpoint(Checkpoint(folder / FILE, self.signature), network, state)

        self.member.keep(write, self.progress | state.history[-1])
        self.told = time.monotonic()

    def tell(self, stage: str, done: int, total: int) -> None:
        """A Progress; the first process's clock decides for all."""
        self.progress = {"stage": stage, "done": done, "total": total}
        if self.peers.same(int(time.monotonic() - self.told >= TELL_SECONDS)):
            self.member.report(self.progress)
            self.told = time.monotonic()


def _train(shared: tuple[Work, Order], hands: list[Hand], member: Member) -> Trained:
    """In each process of the cluster."""
    work, order = shared
    torch.set_rng_state(order.random)
    work = work.holding(gather([hand.rows for hand in hands]), hands[0].inputs)
    hands.clear()  # or the rows would be here twice
    task = work.task(torch.device("cpu"))
    peers = Peers(member.rank, member.size, member.n_hands)
    keeper = KeptByCluster(member, peers, order.signature)
    history = train_network(
        task, order.settings, seed=order.seed, checkpoint=keeper, on_progress=keeper.tell, peers=peers
    )
    return Trained(task.network.state_dict(), history, torch.get_rng_state())

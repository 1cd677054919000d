"""The one training loop: minibatches, best weights by validation, resumable bit for bit."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from shelfwise.errors import ConfigError, FitError, StoppedError
from shelfwise.models.contract import Progress, silent
from shelfwise.training.checkpoint import Keeper, OneFile, State
from shelfwise.training.peers import ALONE, Peers
from shelfwise.training.pieces import Backward
from shelfwise.training.row_adam import RowAdam
from shelfwise.training.settings import Checkpoint, History, LoopSettings

CHECK_BATCHES = 100  # between two looks at the loss, each of which waits for the device


@dataclass
class Task:
    """What is fitted to what: the loss of `n_rows` training rows, and the validation error (stars squared).

    `backward` is given places of training rows. Where processes train together, `n_rows` are those of all, and places
    are among the rows that this one holds (peers.py).
    Without validation the weights of the last epoch count. `order_seed` draws the seed of an epoch's order of rows,
    where that is not to follow from the training's own seed.
    """

    network: nn.Module
    backward: Backward
    n_rows: int
    validate: Callable[[], float] | None
    order_seed: Callable[[], int] | None = None


def train_network(
    task: Task,
    settings: LoopSettings,
    *,
    seed: int,
    checkpoint: Checkpoint | Keeper | None = None,
    on_progress: Progress = silent,
    peers: Peers = ALONE,
) -> History:
    """Fit the task's network in place; it ends with the weights of its best epoch.

    seed        of the order of rows; dropout draws on torch's random state as it stands
    checkpoint  a file, or other place, to go on from if it is there; written after each epoch and on SIGTERM
    peers       the processes that train it together
    Returns for each epoch: epoch, train_loss, valid_mse, seconds (without validation), ratings, ratings_per_s.
    Raises FitError when the loss is not finite, StoppedError after SIGTERM once the checkpoint is written.
    """
    network = task.network
    keeper = OneFile(checkpoint) if isinstance(checkpoint, Checkpoint) else checkpoint
    found = keeper and keeper.load(network, lambda epoch: make_optimiser(network, settings, epoch))
    state = found or State.first(network, make_optimiser(network, settings, epoch=0))
    with _sigterm() as stopped:
        last_epoch = min(settings.epochs, settings.stop_after or settings.epochs)
        while state.epoch < last_epoch and state.epochs_since_best < settings.patience:
            peers.seed(seed, state.epoch)
            finished = _run_epoch(task, settings, state, seed, stopped, on_progress, peers)
            if keeper is not None and (finished or stopped.is_set()):
                keeper.save(network, state)
            if stopped.is_set() and (not finished or state.epoch < last_epoch):
                kept = f"where it stands is kept in {keeper.place}" if keeper else "nothing is kept"
                raise StoppedError(f"training was stopped; {kept}", hint="go on with --resume")
    network.load_state_dict(state.best)
    network.eval().cpu()
    return state.history


def pick_device(settings: LoopSettings) -> torch.device:
    """The device to train on. Raises ConfigError where the one asked for is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if settings.device == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there[settings.device]:
        raise ConfigError(f"no device {settings.device!r} here", hint="choose auto or cpu")
    return torch.device(settings.device)


def _run_epoch(
    task: Task,
    settings: LoopSettings,
    state: State,
    seed: int,
    stopped: threading.Event,
    on_progress: Progress,
    peers: Peers,
) -> bool:
    """One pass over the rows from where `state` stands, then validation; False if stopped on the way."""
    started = time.perf_counter()
    if state.epoch == settings.adam_epochs and state.batch == 0 and state.epoch > 0:
        state.optimiser = make_optimiser(task.network, settings, state.epoch)
    n_batches = math.ceil(task.n_rows / settings.batch_size)
    if state.batch == 0:
        state.order_seed = peers.same(task.order_seed() if task.order_seed else seed * 1_000_003 + state.epoch)
    shuffle = torch.Generator().manual_seed(state.order_seed)
    device = next(task.network.parameters()).device
    order = torch.randperm(task.n_rows, generator=shuffle).to(device)
    task.network.train()
    before = state.loss_sum if peers.rank == 0 else 0.0
    loss_sum = torch.tensor(before, dtype=torch.float64, device=device)
    while state.batch < n_batches:
        rows = order[state.batch * settings.batch_size : (state.batch + 1) * settings.batch_size]
        _set_rate(state.optimiser, settings, state.epoch, state.batch / n_batches)
        state.optimiser.zero_grad(set_to_none=True)
        loss = peers.backward(task.backward, rows, task.network)
        state.optimiser.step()
        loss_sum += loss * len(rows)
        state.batch += 1
        if state.batch % CHECK_BATCHES == 0 or state.batch == n_batches or stopped.is_set():
            state.loss_sum = _finite(peers.total(float(loss_sum)), state, settings)
            on_progress(f"epoch {state.epoch + 1}", state.batch, n_batches)
        if stopped.is_set():
            state.seconds += time.perf_counter() - started
            return False
    state.seconds += time.perf_counter() - started
    task.network.eval()
    mse = peers.of_first(task.validate or (lambda: math.nan))
    state.close_epoch(task.network, mse, task.n_rows)
    return True


def make_optimiser(network: nn.Module, settings: LoopSettings, epoch: int) -> torch.optim.Optimizer:
    """The optimiser of an epoch, over all parameters of the network.

    Embeddings give row-sparse gradients, which are exact and far cheaper; all rows move where SGD decays weights.
    """
    kind = "adam" if epoch < settings.adam_epochs else settings.optimiser
    embeddings = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    for module in embeddings:
        module.sparse = kind != "sgd" or settings.weight_decay == 0
    parameters = list(network.parameters())
    if kind == "sgd":
        return torch.optim.SGD(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    decay = settings.weight_decay
    return RowAdam(parameters, lr=settings.learning_rate, weight_decay=decay, decoupled=kind == "adamw")


def _set_rate(optimiser: torch.optim.Optimizer, settings: LoopSettings, epoch: int, done: float) -> None:
    """The learning rate when the share `done` of an epoch is behind."""
    rate = settings.adam_learning_rate if epoch < settings.adam_epochs else settings.learning_rate
    if settings.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * (epoch + done) / settings.epochs))
    for group in optimiser.param_groups:
        group["lr"] = rate


def _finite(loss_sum: float, state: State, settings: LoopSettings) -> float:
    """`loss_sum`, or FitError that says where it ceased to be finite and what to try."""
    if not math.isfinite(loss_sum):
        raise FitError(
            f"the loss is not finite: epoch {state.epoch + 1}, within {CHECK_BATCHES} batches before {state.batch}",
            hint=f"lower the learning rate ({settings.learning_rate:g}), or look for outliers in the ratings",
        )
    return loss_sum


@contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while inside; only the main thread can listen to signals."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)

"""Where training stands, in memory and on disk: everything that is needed to go on bit for bit.

One safetensors file: weights, best weights, optimiser, random state; the rest as JSON in its metadata, and a SHA-256 of
the tensors, since safetensors reads a flipped byte without a word.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from shelfwise.data.files import atomic_write, output_errors
from shelfwise.errors import CorruptRunError, RunExistsError
from shelfwise.training.settings import Checkpoint

MakeOptimiser = Callable[[int], torch.optim.Optimizer]  # the optimiser of an epoch
SCALARS = ("epoch", "batch", "order_seed", "loss_sum", "seconds", "best_mse", "epochs_since_best", "history")


@dataclass
class State:
    """Position in the epochs, the optimiser and the best weights so far."""

    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    epoch: int = 0
    batch: int = 0
    order_seed: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_mse: float = math.inf
    epochs_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def first(cls, network: nn.Module, optimiser: torch.optim.Optimizer) -> State:
        """Before the first batch."""
        return cls(optimiser, _copy(network))

    def close_epoch(self, network: nn.Module, valid_mse: float, n_rows: int) -> None:
        """Enter a finished epoch in the history, and keep the weights if they are the best so far."""
        self.epoch += 1
        self.history.append(
            {
                "epoch": self.epoch,
                "train_loss": self.loss_sum / n_rows,
                "valid_mse": valid_mse,
                "seconds": self.seconds,
                "ratings": n_rows,
                "ratings_per_s": n_rows / self.seconds,
            }
        )
        self.batch, self.loss_sum, self.seconds = 0, 0.0, 0.0
        if valid_mse < self.best_mse or math.isnan(valid_mse):  # without validation the last is the best
            self.best_mse, self.epochs_since_best, self.best = valid_mse, 0, _copy(network)
        else:
            self.epochs_since_best += 1


class Keeper(Protocol):
    """Where the state is kept between epochs."""

    @property
    def place(self) -> Path: ...

    def load(self, network: nn.Module, make_optimiser: MakeOptimiser) -> State | None:
        """As load_checkpoint; None where nothing is kept."""

    def save(self, network: nn.Module, state: State) -> None:
        """As save_checkpoint."""


@dataclass(frozen=True)
class OneFile:
    """A Keeper of the last state alone."""

    checkpoint: Checkpoint

    @property
    def place(self) -> Path:
        return self.checkpoint.path

    def load(self, network: nn.Module, make_optimiser: MakeOptimiser) -> State | None:
        return load_checkpoint(self.checkpoint, network, make_optimiser) if self.place.exists() else None

    def save(self, network: nn.Module, state: State) -> None:
        save_checkpoint(self.checkpoint, network, state)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def save_checkpoint(checkpoint: Checkpoint, network: nn.Module, state: State) -> None:
    """Write a checkpoint, replacing the one before. Raises OutputError."""
    tensors = {f"network.{name}": value for name, value in _copy(network).items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items() if value is not None}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    scalars = {name: getattr(state, name) for name in SCALARS}
    contiguous = {name: value.cpu().contiguous() for name, value in tensors.items()}
    metadata = {"state": json.dumps(scalars), "signature": checkpoint.signature, "sha256": _sha256(contiguous)}
    with output_errors(checkpoint.path):
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(checkpoint.path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=metadata)


def _sha256(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def load_checkpoint(checkpoint: Checkpoint, network: nn.Module, make_optimiser: MakeOptimiser) -> State:
    """Put a checkpoint's weights and random state in place and return where it stood.

    Raises CorruptRunError where the file is damaged, RunExistsError where it is of other settings or data.
    """
    path = checkpoint.path
    device = str(next(network.parameters()).device)
    try:
        tensors = safetensors.torch.load_file(path)
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata()
        scalars: dict[str, Any] = json.loads(metadata["state"])
        if metadata["signature"] != checkpoint.signature:
            raise RunExistsError(
                f"{path} is of a training with other settings or data", hint="begin again with --overwrite"
            )
        if metadata["sha256"] != _sha256(tensors):
            raise ValueError("its SHA-256 differs")
        tensors = {name: value.to(device) for name, value in tensors.items()}
        network.load_state_dict(_below(tensors, "network"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise CorruptRunError(
            f"{path} cannot be gone on from: {error}", hint="train afresh with --overwrite"
        ) from error
    state = State(make_optimiser(scalars["epoch"]), _below(tensors, "best"), **scalars)
    by_parameter: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimiser").items():
        index, _, key = name.partition(".")
        by_parameter.setdefault(int(index), {})[key] = value
    state.optimiser.load_state_dict({**state.optimiser.state_dict(), "state": by_parameter})
    torch.set_rng_state(tensors["random.cpu"].cpu())
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"].cpu())
    return state


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors called `prefix.*`, by what follows the dot."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}

"""Settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from shelfwise.config import Config

# One entry an epoch: epoch, train_loss and valid_mse (stars squared), seconds, ratings, ratings_per_s.
History = list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """A file to go on from, and a signature of settings and data that it must have been written with."""

    path: Path
    signature: str


class LoopSettings(Config):
    """How a network is trained.

    epochs, batch_size  at most so many passes over the rows, so many rows a step
    stop_after          end after this epoch, the schedule being that of all `epochs`
    patience            epochs without a better validation error after which it ends
    optimiser, learning_rate, weight_decay
    schedule            'cosine' lets the learning rate fall to 0 over all epochs
    adam_epochs, adam_learning_rate   that many first epochs are by Adam, whatever the optimiser
    device              'auto' takes a GPU where there is one
    """

    epochs: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 4096
    stop_after: Annotated[int, Field(ge=1)] | None = None
    patience: Annotated[int, Field(ge=1)] = 2
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    adam_epochs: Annotated[int, Field(ge=0)] = 0
    adam_learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

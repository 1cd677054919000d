"""The settings of the loop, and which function fits which model."""

from __future__ import annotations

import math
from typing import Any, Literal

from shelfwise.config import ModelConfig
from shelfwise.engine import sharing_threads
from shelfwise.models.contract import FitInputs, Model
from shelfwise.models.registry import model_class
from shelfwise.training.settings import Checkpoint, History, LoopSettings

Recipe = Literal["default", "notebook"]


def loop_settings(config: ModelConfig, settings: dict[str, Any]) -> LoopSettings:
    """The loop that trains the model, with the user's settings over its own. Raises ConfigError."""
    return LoopSettings.parse(config.loop | settings, where=f"training, model {config.kind}")


def best_epoch(history: History) -> int:
    """The epoch with the least validation error, from 1; the last one where nothing was validated."""
    validated = [entry for entry in history if not math.isnan(entry["valid_mse"])]
    return int(min(validated or history[-1:], key=lambda entry: entry["valid_mse"])["epoch"])


def fit_model(
    config: ModelConfig, loop: LoopSettings, inputs: FitInputs, checkpoint: Checkpoint | None = None
) -> tuple[Model, History]:
    """A fitted model, and its history where it was trained by the loop. Raises FitError, StoppedError."""
    kind = model_class(config)
    if not hasattr(kind, "fit"):  # torch is imported only for models that need it
        from shelfwise.models.neumf import NeuMF, NeuMFConfig
        from shelfwise.models.notebook import NotebookConfig
        from shelfwise.models.shelf import Shelf, ShelfConfig
        from shelfwise.training.neumf import fit_neumf
        from shelfwise.training.notebook import fit_notebook
        from shelfwise.training.shelf import fit_shelf

        with sharing_threads():  # gradients carry the last digit on, so that it must not depend on the threads
            if isinstance(config, ShelfConfig):
                assert issubclass(kind, Shelf)
                return fit_shelf(kind, config, loop, inputs, checkpoint)
            if isinstance(config, NotebookConfig):
                return fit_notebook(config, loop, inputs, checkpoint)
            assert isinstance(config, NeuMFConfig)
            assert issubclass(kind, NeuMF)
            return fit_neumf(kind, config, loop, inputs, checkpoint)
    return kind.fit(config, inputs), []

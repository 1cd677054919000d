"""Networks that workers of a cluster train together are those that one process trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import checkerboard

from shelfwise.engine import Engine
from shelfwise.errors import FitError, RunExistsError
from shelfwise.models.contract import Model
from shelfwise.models.registry import model_config
from shelfwise.training.recipes import fit_model, loop_settings
from shelfwise.training.settings import Checkpoint, History
from shelfwise.training.together import FILE, folder_of

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of Ray itself
]

Fit = Callable[..., tuple[Model, History]]


@pytest.fixture
def fit(ray_engine: Engine) -> Fit:
    def fitted(
        kind: str, recipe: str = "default", *, engine: Engine | None = None, checkpoint: Checkpoint | None = None,
        epochs: int = 2, **loop: object,
    ) -> tuple[Model, History]:  # fmt: skip
        inputs = checkerboard()
        config = model_config(kind, recipe, {"embedding_dim": 4} if recipe == "default" else {"dropout": 0.0})
        settings = loop_settings(config, {"epochs": epochs, "batch_size": 64, **loop})
        return fit_model(config, settings, inputs if engine is None else replace(inputs, engine=engine), checkpoint)

    return fitted


def assert_equal_states(a: Model, b: Model, atol: float) -> None:
    for ours, theirs in ((a.book_state(), b.book_state()), (a.reader_state(), b.reader_state())):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], atol=atol, err_msg=name)


@pytest.mark.parametrize(("kind", "recipe"), [("mf", "default"), ("mf", "notebook")])
def test_two_workers_train_what_one_process_does(fit: Fit, ray_engine: Engine, kind: str, recipe: str) -> None:
    """Nothing is dropped out here, so that batches and steps are the same but for the order of adding up."""
    alone, history = fit(kind, recipe)
    together, their_history = fit(kind, recipe, engine=ray_engine)
    assert_equal_states(alone, together, atol=1e-4)
    for ours, theirs in zip(history, their_history, strict=True):
        assert theirs["train_loss"] == pytest.approx(ours["train_loss"], rel=1e-4)
        assert theirs["valid_mse"] == pytest.approx(ours["valid_mse"], rel=1e-4)
        assert theirs["ratings"] == ours["ratings"]

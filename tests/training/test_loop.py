"""The training loop: resume bit for bit, stop on SIGTERM, stop at a loss that is not finite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from shelfwise.errors import CorruptRunError, FitError, RunExistsError, StoppedError
from shelfwise.training.loop import Task, train_network
from shelfwise.training.pieces import by_pieces
from shelfwise.training.settings import Checkpoint, LoopSettings

SETTINGS = LoopSettings(epochs=4, batch_size=8, patience=4, adam_epochs=1)


def make_task(seed: int = 0, *, kill_at: int | None = None, scale: float = 1.0, drawn: bool = False) -> Task:
    """A small regression with dropout; with kill_at the process gets SIGTERM at that batch.

    drawn  the order of rows is drawn from torch's random state, as everything else is
    """
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(100, 5, generator=generator) * scale
    y = x @ torch.arange(5.0) + 0.1 * torch.randn(100, generator=generator)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    calls = 0

    def loss(rows: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGTERM)
        predicted: Tensor = network(x[rows])[:, 0]
        return (predicted - y[rows]).square().mean()

    def validate() -> float:
        with torch.no_grad():
            return float(loss(torch.arange(100)))

    return Task(
        network, by_pieces(network, loss), 100, validate, (lambda: int(torch.randint(1 << 40, ()))) if drawn else None
    )


def weights(task: Task) -> list[Tensor]:
    return [value.clone() for value in task.network.state_dict().values()]


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("kill_at", [1, 5, 13, 14, 20, 33, 41, 52])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, kill_at: int, *, drawn: bool) -> None:
    unbroken = make_task(drawn=drawn)
    history = train_network(unbroken, SETTINGS, seed=3)
    checkpoint = Checkpoint(tmp_path / "run" / "checkpoint.safetensors", "same")
    with pytest.raises(StoppedError, match="kept in"):
        train_network(make_task(kill_at=kill_at, drawn=drawn), SETTINGS, seed=3, checkpoint=checkpoint)
    resumed = make_task(seed=99, drawn=drawn)
    again = train_network(resumed, SETTINGS, seed=3, checkpoint=checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(weights(unbroken), weights(resumed), strict=True))
    assert [entry["valid_mse"] for entry in history] == [entry["valid_mse"] for entry in again]


def test_the_history_has_every_epoch_and_the_best_weights_stay() -> None:
    task = make_task()
    history = train_network(task, SETTINGS, seed=0)
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert all(entry["ratings"] == 100 and entry["ratings_per_s"] > 0 for entry in history)
    assert task.validate is not None
    assert task.validate() == pytest.approx(min(entry["valid_mse"] for entry in history))


def test_patience_ends_training() -> None:
    task = make_task()
    errors = iter([1.0, 2.0, 3.0, 0.5])
    task.validate = lambda: next(errors)
    assert len(train_network(task, LoopSettings(epochs=4, batch_size=50, patience=2), seed=0)) == 3


def test_a_loss_that_is_not_finite_stops_with_place_and_advice() -> None:
    with pytest.raises(FitError, match="epoch 1") as caught:
        train_network(make_task(scale=1e30), SETTINGS, seed=0)
    assert "learning rate" in caught.value.hint


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    train_network(make_task(), SETTINGS, seed=0, checkpoint=Checkpoint(path, "one"))
    with pytest.raises(RunExistsError):
        train_network(make_task(), SETTINGS, seed=0, checkpoint=Checkpoint(path, "other"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptRunError):
        train_network(make_task(), SETTINGS, seed=0, checkpoint=Checkpoint(path, "one"))

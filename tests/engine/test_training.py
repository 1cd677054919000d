"""Networks that workers of a cluster train together are those that one process trains, whatever is lost on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_world import write_world
from training_work import FullDisk, SignalOnce, Tapped
from worlds import checkerboard

from shelfwise.artifact import broken_off, has_run
from shelfwise.engine import HERE, Engine, together
from shelfwise.engine.together import Member
from shelfwise.errors import FitError, OutputError, RunExistsError
from shelfwise.models.contract import Model, Progress, silent
from shelfwise.models.registry import model_config
from shelfwise.training import neumf
from shelfwise.training.recipes import fit_model, loop_settings
from shelfwise.training.settings import Checkpoint, History
from shelfwise.training.together import FILE, folder_of, for_a_while, train_work

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of Ray itself
    pytest.mark.timeout(3600),  # on a busy machine its processes take minutes to start
]

BATCH = 64  # eight batches an epoch


def fit(
    engine: Engine,
    kind: str,
    recipe: str = "default",
    checkpoint: Checkpoint | None = None,
    told: Progress = silent,
    **loop: Any,
) -> tuple[Model, History]:
    """Without dropout but for ncf; `told` hears of progress."""
    own: dict[str, Any] = {} if kind == "ncf" else {"dropout": 0.0}
    config = model_config(kind, recipe, own | ({"embedding_dim": 4} if recipe == "default" else {}))
    settings = loop_settings(config, {"epochs": 2, "batch_size": BATCH, **loop})
    return fit_model(config, settings, replace(checkerboard(), engine=engine, on_progress=told), checkpoint)


def assert_equal(a: tuple[Model, History], b: tuple[Model, History], *, within: float = 0.0) -> None:
    """Models and histories, but for how long it took."""
    states = [(a[0].book_state(), b[0].book_state()), (a[0].reader_state(), b[0].reader_state())]
    for ours, theirs in states:
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=within, err_msg=name)
    for entry, other in zip(a[1], b[1], strict=True):
        for name in ("epoch", "train_loss", "valid_mse", "ratings"):
            assert entry[name] == pytest.approx(other[name], rel=within), name


def test_two_workers_train_what_one_process_does(ray_engine: Engine) -> None:
    """Tables of readers and books, and the rest; batches and steps are the same but for the order of adding up.

    Each epoch is told of as one process tells of it.
    """
    here: list[tuple[str, int, int]] = []
    there: list[tuple[str, int, int]] = []
    alone = fit(HERE, "mf", "notebook", told=lambda *what: here.append(what))
    spread = fit(ray_engine, "mf", "notebook", told=lambda *what: there.append(what))
    assert_equal(alone, spread, within=1e-4)
    assert here == [("epoch 1", 8, 8), ("epoch 2", 8, 8)]
    assert [*dict.fromkeys(there)] == here  # what took long is told of twice


@pytest.mark.scale
def test_two_workers_train_what_one_process_does_by_content(ray_engine: Engine) -> None:
    assert_equal(fit(HERE, "hybrid"), fit(ray_engine, "hybrid"), within=1e-3)


@pytest.fixture(scope="module")
def unbroken(ray_engine: Engine) -> tuple[Model, History]:
    """Four epochs with dropout."""
    return fit(ray_engine, "ncf", epochs=4, patience=4)


@pytest.mark.scale
def test_a_training_goes_on_where_it_ended_whatever_became_of_the_newest_checkpoint(
    ray_engine: Engine, unbroken: tuple[Model, History], tmp_path: Path
) -> None:
    """The same bits, from the second epoch's checkpoint, and from the first's where that is damaged or torn."""
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "same")
    again = partial(fit, ray_engine, "ncf", checkpoint=checkpoint, epochs=4, patience=4)
    assert len(again(stop_after=2)[1]) == 2
    second, first = Member(0, 2, folder_of(checkpoint)).kept()
    content = (second / FILE).read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[: len(content) // 2], content):
        (second / FILE).write_bytes(damaged)
        assert_equal(again(), unbroken)
        for attempt in folder_of(checkpoint).glob("attempt-000[2-9]/checkpoint_*/*"):
            attempt.unlink()
    assert (first / FILE).exists()
    with pytest.raises(RunExistsError, match="other settings"):
        again(checkpoint=Checkpoint(checkpoint.path, "other"))


@pytest.mark.scale
def test_a_worker_that_is_killed_changes_nothing(
    ray_engine: Engine, unbroken: tuple[Model, History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the second epoch; all go on from the end of the first."""
    mark = tmp_path / "killed"
    die = SignalOnce(signal.SIGKILL, mark, 12)
    monkeypatch.setattr(neumf, "train_work", lambda work, *rest: train_work(Tapped(work, die), *rest))
    assert_equal(fit(ray_engine, "ncf", epochs=4, patience=4), unbroken)
    assert mark.exists()


@pytest.mark.scale
@pytest.mark.timeout(500)  # before Ray Train itself would miss it
def test_a_worker_that_falls_silent_is_not_waited_for_long(
    ray_engine: Engine, unbroken: tuple[Model, History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second epoch, it says nothing, and nobody else misses it."""
    monkeypatch.setattr(together, "SILENT_SECONDS", 20)
    stop = SignalOnce(signal.SIGSTOP, tmp_path / "stopped", 12)
    monkeypatch.setattr(neumf, "train_work", lambda work, *rest: train_work(Tapped(work, stop), *rest))
    assert_equal(fit(ray_engine, "ncf", epochs=4, patience=4), unbroken)
    assert stop.mark.exists()


@pytest.mark.scale
def test_what_is_wrong_in_a_worker_is_told_as_it_is_here(ray_engine: Engine) -> None:
    for engine in (HERE, ray_engine):
        with pytest.raises(FitError, match=r"the loss is not finite: epoch 1") as caught:
            fit(engine, "mf", "notebook", adam_learning_rate=1e30)
        assert "lower the learning rate" in (caught.value.hint or "")


@pytest.mark.scale
@pytest.mark.timeout(400)  # before those who wait for the first would give up
def test_a_checkpoint_that_cannot_be_written_ends_the_training_in_words(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first worker's alone to write, and an error of all."""
    monkeypatch.setattr(neumf, "train_work", lambda work, *rest: train_work(Tapped(work, FullDisk()), *rest))
    with pytest.raises(OutputError, match="the disk is full") as caught:
        fit(ray_engine, "ncf")
    assert caught.value.hint == "free some space"


def test_what_is_kept_for_a_while_lies_where_all_machines_see_it(tmp_path: Path) -> None:
    with for_a_while(tmp_path / "runs") as folder:
        assert Path(folder).parent == tmp_path / "runs"
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.scale
def test_a_command_that_is_killed_goes_on_from_the_last_complete_checkpoint(tmp_path: Path) -> None:
    """The same model, bit for bit, as of a command that nobody killed."""
    world = write_world(tmp_path / "world")
    train = [sys.executable, "-c", "from shelfwise.cli import main; main()", "train", str(world), "--model", "ncf"]
    train += [
        "--engine",
        "ray",
        "--workers",
        "2",
        "--epochs",
        "12",
        "--batch-size",
        "4",
        "--set",
        "patience=12",
        "--out",
    ]
    subprocess.run([*train, str(tmp_path / "unbroken")], check=True)
    killed = subprocess.Popen([*train, str(tmp_path / "run")])
    there = Member(0, 2, tmp_path / "run" / "checkpoint")
    while len(there.kept()) < 2:
        assert killed.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not has_run(tmp_path / "run")
    assert subprocess.run([*train, str(tmp_path / "run")], check=False).returncode == 1  # broken off: --resume
    subprocess.run([*train, str(tmp_path / "run"), "--resume"], check=True)
    ours, theirs = (tmp_path / name / "model.safetensors" for name in ("run", "unbroken"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert not broken_off(tmp_path / "run")


@pytest.mark.scale
def test_the_benchmark_sets_workers_beside_one_process(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks/together.py"
    words = [
        str(write_world(tmp_path / "world")),
        "--out",
        str(tmp_path),
        "--models",
        "mf",
        "--workers",
        "2",
        "--seeds",
        "0",
    ]
    subprocess.run([sys.executable, str(script), *words, "--set", "epochs=2"], check=True)
    alone, together = json.loads((tmp_path / "together.json").read_text())
    assert (alone["engine"], together["engine"]) == ("local", "ray")
    assert together["mse"] == pytest.approx(alone["mse"], abs=1e-4)

"""Which epoch counts, and trainings that are killed outright."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_world import rows_of_a_world, write_world

from shelfwise.training.recipes import best_epoch


def epochs(*errors: float) -> list[dict[str, float]]:
    return [{"epoch": place, "valid_mse": error} for place, error in enumerate(errors, start=1)]


def test_the_best_epoch_is_that_of_the_least_validation_error_or_the_last_one() -> None:
    assert best_epoch(epochs(0.9, 0.7, 0.8)) == 2
    assert best_epoch(epochs(math.nan, math.nan, math.nan)) == 3


def shelfwise(*words: object) -> subprocess.Popen[bytes]:
    code = "from shelfwise.cli.app import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_training_killed_at_any_moment_ends_on_resume_with_the_same_bytes(tmp_path: Path, seed: int) -> None:
    """SIGKILL gives no time to write anything: what counts is the last checkpoint."""
    world = write_world(tmp_path / "world", rows_of_a_world(n_readers=60))
    words = ("train", world, "--model", "hybrid", "--epochs", 20, "--set", "patience=20", "--batch-size", 8)
    assert shelfwise(*words, "--out", tmp_path / "unbroken").wait() == 0
    chance = random.Random(seed)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    kills = 0
    for _ in range(2):
        process = shelfwise(*words, "--out", tmp_path / "run", "--resume")
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        kills += process.wait() != 0
    assert kills
    assert shelfwise(*words, "--out", tmp_path / "run", "--resume").wait() == 0
    resumed, unbroken = (tmp_path / name / "model.safetensors" for name in ("run", "unbroken"))
    assert resumed.read_bytes() == unbroken.read_bytes()

"""A network that two nodes train together, of which one is lost in the middle of an epoch, is the unbroken one.

Minutes; run by make test-scale. Each test prints what it saw.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from nodes import STARTS, Cluster, ends_badly, finish, two_nodes
from tiny_world import rows_of_a_world, train_on, write_world
from training_work import MF

from shelfwise import save_run

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1800)]
LOST_AT = 12  # of eight batches an epoch: in the middle of the second
WITHIN = 1e-4  # of the weights, as sums over one, two and again one part differ in the last bit


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set below data/ and a run of mf, trained by this process alone, below run/."""
    folder = tmp_path_factory.mktemp("training")
    write_world(folder / "data", rows_of_a_world(n_readers=800))
    save_run(train_on(folder / "data", **MF), folder / "run")
    return folder


def sizes(folder: Path) -> list[int]:
    """How many workers there were at each batch."""
    log = folder / "log"
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def wait_until(what: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    start = time.monotonic()
    while not what():
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() - start < 400
        time.sleep(0.1)


def come_back(cluster: Cluster) -> None:
    """Ray's processes of a node that was given up end once its cable is mended, and are started anew."""
    assert cluster.other.process is not None
    cluster.other.mend()
    cluster.other.process.wait(STARTS)
    cluster.start(cluster.other)


@pytest.mark.parametrize("back", [True, False], ids=["back", "gone"])
@pytest.mark.parametrize("how", ["killed", "cut"])
def test_a_training_survives_the_loss_of_a_node(
    cluster: Cluster, world: Path, tmp_path: Path, how: str, back: bool
) -> None:
    """It goes on with the worker that is left, and with both once the node is back."""
    driver = cluster.driver("fit", world / "data", tmp_path / "run", tmp_path)
    wait_until(lambda: len(sizes(tmp_path)) >= LOST_AT, driver)
    cluster.other.lose(how)
    at, n_before = time.monotonic(), len(sizes(tmp_path))
    wait_until(lambda: 1 in sizes(tmp_path), driver)
    print(
        f"\nnode {how} in batch {n_before}, the second epoch's {n_before - 8}: on {time.monotonic() - at:.0f} s later",
        end="",
    )
    if back:
        come_back(cluster)
        started = time.monotonic()
        wait_until(lambda: sizes(tmp_path)[-1] == 2, driver)
        print(f", with both {time.monotonic() - started:.0f} s after it was back", end="")
    (tmp_path / "free").touch()
    told = finish(driver)
    found = ", then ".join(f"{len(list(run))} by {size}" for size, run in groupby(sizes(tmp_path)))
    print(f"; batches: {found}; done {time.monotonic() - at:.0f} s after the loss")
    assert [size for size, _ in groupby(sizes(tmp_path))] == ([2, 1, 2] if back else [2, 1])
    assert "epoch 12: 8 of 8" in told
    assert_equal_runs(world / "run", tmp_path / "run")


def assert_equal_runs(unbroken: Path, run: Path) -> None:
    ours, theirs = (safetensors.numpy.load_file(folder / "model.safetensors") for folder in (unbroken, run))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(theirs[name], array, rtol=WITHIN, atol=WITHIN, err_msg=name)


def test_without_a_machine_a_training_ends_and_goes_on_later(world: Path, tmp_path: Path) -> None:
    """The head has no CPU, so nothing is left when the other node is gone."""
    with two_nodes(head_cpus=0) as cluster:
        words = ("fit", world / "data", tmp_path / "run", tmp_path)
        driver = cluster.driver(*words)
        wait_until(lambda: len(sizes(tmp_path)) >= LOST_AT, driver)
        cluster.other.kill()
        at = time.monotonic()
        told = ends_badly(driver)
        print(f"\n{time.monotonic() - at:.0f} s after the only machine with a CPU was killed: {told}")
        assert "no machine of the cluster has a CPU left" in told
        come_back(cluster)
        (tmp_path / "free").touch()
        begun = len(sizes(tmp_path))
        finish(cluster.driver(*words), 900)  # Ray Train keeps the CPUs of the first for three minutes
    assert len(sizes(tmp_path)) - begun == 11 * 8  # the first epoch was kept
    assert_equal_runs(world / "run", tmp_path / "run")

"""Work on two nodes of which one is lost, or whose workers and driver are killed: it ends as it would have.

Minutes; run by make test-scale. Each test prints what it saw.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.numpy
from nodes import Cluster, ends_badly, finish, two_nodes, wait_for
from polars.testing import assert_frame_equal
from tiny_world import rows_of_a_world, train_on, write_world

from shelfwise import save_run
from shelfwise.engine import HERE
from shelfwise.everybody import lists_of_all, load_recommender, request_of
from shelfwise.training import leave_one_out

pytestmark = pytest.mark.scale
N_READERS = 800
KILLS, N_PARTS = 20, 25


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set below data/ and a run of shelf, trained here, below run/."""
    folder = tmp_path_factory.mktemp("nodes")
    write_world(folder / "data", rows_of_a_world(n_readers=N_READERS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leave_one_out, "BLOCK", 32)  # as driver.py has it
        save_run(train_on(folder / "data", model="shelf", settings={"epochs": 1}), folder / "run")
    return folder


def survive(cluster: Cluster, how: str, driver: subprocess.Popen[str], word: str) -> float:
    """Lose the other node once 8 blocks are done; seconds from then until the driver ended well."""
    wait_for(driver, word, 8)
    assert cluster.other.workers()
    at = time.monotonic()
    cluster.other.lose(how)
    finish(driver)
    return time.monotonic() - at


def assert_lists_are_whole(world: Path, folder: Path) -> None:
    """Equal to those made here in one go, nobody missing, nobody there twice."""
    found = pl.concat([pl.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))])
    request = request_of(world / "run", load_recommender(world / "run"), part_readers=32)
    expected = pl.concat(lists_of_all(request, HERE))
    assert_frame_equal(found, expected, check_exact=False, rel_tol=1e-4, abs_tol=1e-4)
    assert found.select("user_id", "rank").is_unique().all()
    assert found["user_id"].n_unique() > 0.99 * N_READERS  # all but those who have read every book


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_lists_survive_the_loss_of_a_node(cluster: Cluster, world: Path, tmp_path: Path, how: str) -> None:
    seconds = survive(cluster, how, cluster.driver("lists", world / "run", tmp_path / "lists"), "_write_part")
    print(f"\nlists of {N_READERS} readers, node {how} after 8 of 25 parts: done {seconds:.0f} s later")
    assert_lists_are_whole(world, tmp_path / "lists")


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_a_sweep_survives_the_loss_of_a_node(cluster: Cluster, world: Path, tmp_path: Path, how: str) -> None:
    seconds = survive(cluster, how, cluster.driver("train", world / "data", tmp_path / "run"), "unexplained")
    print(f"\nshelf's sweeps, node {how} after 8 of 25 blocks of the first: run {seconds:.0f} s later")
    ours = safetensors.numpy.load_file(world / "run" / "model.safetensors")
    theirs = safetensors.numpy.load_file(tmp_path / "run" / "model.safetensors")
    for name, array in ours.items():
        within = 5e-3 if name.startswith(("stars.", "pick.")) else 1e-5  # networks magnify the last bit of a sum
        np.testing.assert_allclose(theirs[name], array, rtol=within, atol=within, err_msg=name)


def test_a_long_block_is_waited_for(cluster: Cluster) -> None:
    """A command that asked whether its machines live every few seconds was cut off after the fourth time."""
    at = time.monotonic()
    assert "[0]" in finish(cluster.driver("call", "late", 1, "60.0"))
    print(f"\na block of 60 s: done after {time.monotonic() - at:.0f} s")


def test_workers_and_drivers_killed_at_random_lose_and_double_nothing(
    cluster: Cluster, world: Path, tmp_path: Path
) -> None:
    chance, killed, starts = random.Random(0), {"worker": 0, "driver": 0}, 0
    folder = tmp_path / "lists"
    while sum(killed.values()) < KILLS:
        driver, starts = cluster.driver("lists", world / "run", folder), starts + 1
        wait_for(driver, "rows" if len(list(folder.glob("part-*"))) == N_PARTS else "_write_part")
        while driver.poll() is None and sum(killed.values()) < KILLS:
            time.sleep(chance.uniform(0, 0.5))
            workers = cluster.head.workers() + cluster.other.workers()
            if chance.random() < 0.3:
                _kill_tree(driver)
                killed["driver"] += 1
            elif workers:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    killed["worker"] += 1
        driver.communicate()
        if (folder / "lists.json").exists() and '"parts"' in (folder / "lists.json").read_text():
            assert_lists_are_whole(world, folder)
            folder = tmp_path / f"lists{starts}"  # done before all kills: once more
    finish(cluster.driver("lists", world / "run", folder))
    print(f"\n{killed} killed at random, {starts} drivers begun")
    assert_lists_are_whole(world, folder)


def _kill_tree(driver: subprocess.Popen[str]) -> None:
    """ip netns exec becomes the driver, so that one kill is enough."""
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def test_other_versions_are_refused(cluster: Cluster) -> None:
    told = ends_badly(cluster.driver("mismatch"))
    print(f"\n{told}")
    assert "ersion" in told
    assert "2.0.0" in told


def test_without_the_token_nobody_joins(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    cluster.environment["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    told = ends_badly(cluster.driver("call", "add", 2, "x"))
    print(f"\n{told}")
    assert "token" in told


def test_a_block_too_large_for_memory_is_told_in_the_end() -> None:
    """The monitor of memory is set to find every use too much."""
    with two_nodes(RAY_memory_usage_threshold="0.01", RAY_memory_monitor_refresh_ms="100") as cluster:
        told = ends_badly(cluster.driver("call", "late", 4, "8.0"), 240)
    print(f"\n{told}")
    assert "out of memory" in told


def test_a_full_disk_is_told_and_leaves_no_half_part(world: Path, tmp_path: Path) -> None:
    """Mounted before the nodes start, since later mounts are not seen in their namespaces."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(small)], check=True)
    try:
        with two_nodes() as cluster:
            told = ends_badly(cluster.driver("lists", world / "run", small / "lists"))
        print(f"\n{told}")
        assert "disk is full" in told
        for part in (small / "lists").glob("part-*.parquet"):
            assert len(pl.read_parquet(part))
        assert '"parts"' not in (small / "lists" / "lists.json").read_text()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)

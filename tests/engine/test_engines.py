"""What every executor promises; one cluster serves all tests of this file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import engine_work as work
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from shelfwise.engine import HERE, Engine, in_threads, open_engine, shared_by_threads, sharing_threads
from shelfwise.engine.local import Local
from shelfwise.errors import BadValueError, EngineError, UsageError

ON_RAY = pytest.mark.xdist_group("ray")
RAY = pytest.param("ray", marks=ON_RAY)


@pytest.fixture(params=["here", "threads", "processes", RAY])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_engine")
    elif request.param == "threads":
        with three_threads():
            yield HERE
    else:
        yield HERE if request.param == "here" else Local(2)


@contextmanager
def three_threads() -> Iterator[None]:
    """What this process works at once, even on a machine of one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with sharing_threads():
            yield
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_results_are_those_of_a_loop(engine: Engine) -> None:
    blocks = [np.arange(start, start + 5) for start in range(0, 50, 5)]
    found = list(engine.map(work.add, blocks, {"offset": np.arange(5)}))
    for block, one in zip(blocks, found, strict=True):
        np.testing.assert_array_equal(one, block + np.arange(5))


def test_results_come_in_the_order_of_the_blocks(engine: Engine) -> None:
    assert list(engine.map(work.late, range(6), 0.3)) == list(range(6))


def test_no_blocks_no_results(engine: Engine) -> None:
    assert list(engine.map(work.add, [], {"offset": 1})) == []


def test_blocks_are_taken_as_they_are_needed(engine: Engine) -> None:
    taken = []

    def blocks():
        for block in range(1000):
            taken.append(block)
            yield block

    results = engine.map(work.add, blocks(), {"offset": 0})
    assert next(results) == 0
    assert len(taken) < 20
    assert list(results) == list(range(1, 1000))


def test_an_error_keeps_its_type_text_and_hint(engine: Engine) -> None:
    with pytest.raises(BadValueError) as caught:
        list(engine.map(work.fail_at, range(6), 3))
    assert caught.value.message == "block 3 holds 'x' where stars should be"
    assert caught.value.hint == "correct it"
    with pytest.raises(ZeroDivisionError):
        list(engine.map(work.break_at, range(6), 3))


def test_after_an_error_the_engine_works_on(engine: Engine) -> None:
    with pytest.raises(BadValueError):
        list(engine.map(work.fail_at, range(20), 0))
    assert list(engine.map(work.add, range(3), {"offset": 1})) == [1, 2, 3]


def test_big_results_and_big_shared_arrays_come_whole(engine: Engine) -> None:
    found = list(engine.map(work.big, range(3), np.arange(4_000_000)))
    assert [(len(one), one[0], one[-1]) for one in found] == [
        (4_000_000, 3_999_999 + k, 3_999_999 + k) for k in range(3)
    ]


@pytest.mark.parametrize("engine", ["processes", RAY], indirect=True)
def test_workers_have_one_thread_each(engine: Engine) -> None:
    before = torch.get_num_threads(), threadpool_info()
    assert set(engine.map(work.threads, range(4), None)) == {(1, 1)}
    assert (torch.get_num_threads(), threadpool_info()) == before


@ON_RAY
def test_a_cluster_works_elsewhere(ray_engine: Engine) -> None:
    assert os.getpid() not in set(ray_engine.map(work.process, range(12), None))


def test_this_process_is_one_of_the_workers_here() -> None:
    results = Local(3).map(work.process, range(1000), None)
    found = {os.getpid()}
    while len(found) < 3:
        found.add(next(results))
    results.close()  # type: ignore[attr-defined]


def test_a_worker_that_is_slow_keeps_no_other_waiting() -> None:
    found = list(Local(2).map(work.slow_elsewhere, range(40), os.getpid()))
    assert 0 < sum(found) < 12  # of equal shares it would have 20


def test_threads_work_at_once_with_libraries_of_one_thread_each() -> None:
    meet = threading.Barrier(3, timeout=20)

    def meeting(block: int) -> tuple[int, int]:
        meet.wait()  # breaks, unless three are here at the same time
        return work.threads(None, block)

    with three_threads():
        assert list(in_threads(meeting, range(9))) == [(1, 1)] * 9


def test_whoever_shares_blocks_takes_some_and_has_them_in_order() -> None:
    meet = threading.Barrier(3, timeout=20)

    def meeting(block: int) -> tuple[int, str]:
        if block < 3:
            meet.wait()  # breaks, unless three are here at the same time, this thread among them
        return block, threading.current_thread().name

    with three_threads():
        found = shared_by_threads(meeting, range(9))
        assert shared_by_threads(meeting, range(3, 3)) == []
    assert [block for block, _ in found] == list(range(9))
    assert threading.current_thread().name in {name for _, name in found[:3]}
    assert [block for block, _ in shared_by_threads(meeting, range(3, 9))] == list(range(3, 9))  # by itself


@pytest.mark.parametrize("bad", range(3))
def test_what_a_thread_raises_is_raised_when_none_is_at_work(bad: int) -> None:
    meet, at_work = threading.Barrier(3, timeout=20), []

    def failing(block: int) -> None:
        if block < 3:
            meet.wait()
        if block == bad:
            raise ValueError("bad")
        at_work.append(block)
        time.sleep(0.01)
        at_work.remove(block)

    with three_threads():
        with pytest.raises(ValueError, match="bad"):
            shared_by_threads(failing, range(9))
        assert at_work == []
        assert shared_by_threads(len, ["a", "bc"]) == [1, 2]  # threads are there for the next


def test_blocks_of_blocks_are_not_shared_once_more() -> None:
    """Not by the thread that shares them out, either."""

    def name(_: int) -> str:
        time.sleep(0.01)
        return threading.current_thread().name

    with three_threads():
        (names,) = shared_by_threads(lambda _: set(shared_by_threads(name, range(6))), range(1))
    assert names == {threading.current_thread().name}


def test_threads_that_share_their_own_work_do_not_wait_for_each_other() -> None:
    def outer(block: int) -> list[int]:
        return list(in_threads(lambda one: block + one, range(block)))

    with three_threads():
        found = list(in_threads(outer, range(12)))
    assert found == [[block + one for one in range(block)] for block in range(12)]


@ON_RAY
def test_a_worker_that_is_killed_on_a_cluster_is_made_up_for(ray_engine: Engine, tmp_path: Path) -> None:
    found = list(ray_engine.map(work.die_once, range(8), str(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()
    assert found == [k * k for k in range(8)]


def test_a_process_that_is_killed_here_is_told() -> None:
    with pytest.raises(EngineError, match="killed"):
        list(Local(2).map(work.die_elsewhere, range(1000), os.getpid()))
    assert list(Local(2).map(work.add, range(3), {"offset": 1})) == [1, 2, 3]


def test_no_process_outlives_a_command_that_is_killed() -> None:
    program = """
import os
import time
import engine_work as work
from shelfwise.engine.local import Local
results = Local(3).map(work.process, range(1000), None)
while len(found := {next(results) for _ in range(10)} | {os.getpid()}) < 3:
    pass
print(*found, flush=True)
time.sleep(600)
"""
    folder = Path(work.__file__).parent
    with subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        workers = [int(word) for word in command.stdout.readline().split()]
        command.kill()
    assert len(workers) == 3
    until = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until, "a process waits for blocks that nobody will send"
        time.sleep(0.1)


def test_an_address_needs_the_engine_that_has_addresses() -> None:
    with pytest.raises(UsageError, match="--engine ray"), open_engine("local", address="127.0.0.1:1"):
        pass

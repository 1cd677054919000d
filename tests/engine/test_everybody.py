"""Lists for everybody in parts: the same as in one go, and nothing lost or doubled when that is broken off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tiny_world import rows_of_a_world, train_on, write_world

from shelfwise import Recommender, save_run
from shelfwise import everybody as everybody_module
from shelfwise.engine import HERE, Engine
from shelfwise.engine.local import Local
from shelfwise.errors import EngineError, OutputError, RunExistsError
from shelfwise.everybody import Request, lists_of_all, load_recommender, request_of, usual_workers, write_lists
from shelfwise.rules import Rules

N_READERS = 50


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("everybody")
    save_run(train_on(write_world(folder / "data", rows_of_a_world(n_readers=N_READERS))), folder / "run")
    return folder / "run"


def asked(run: Path, **more: Any) -> Request:
    return request_of(run, load_recommender(run), part_readers=8, **more)


def at_once(run: Path, **asked: Any) -> pl.DataFrame:
    return pl.concat(Recommender.load(run).recommend_all(**asked))


def read_parts(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))])


def test_parts_are_the_lists_of_one_go(run: Path, tmp_path: Path) -> None:
    rules = Rules(per_author=1)
    request = asked(run, n=5, rules=rules, why=True)
    n_rows = write_lists(request, tmp_path / "lists", HERE)
    expected = at_once(run, n=5, rules=rules, why=True)
    assert n_rows == len(expected)
    assert_frame_equal(read_parts(tmp_path / "lists"), expected)
    assert_frame_equal(pl.concat(lists_of_all(request, HERE)), expected)
    made = json.loads((tmp_path / "lists" / "lists.json").read_text())
    assert sum(made["parts"].values()) == n_rows
    assert len(made["parts"]) == 7


@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))])
def test_other_engines_write_the_same(engine: str, request: pytest.FixtureRequest, run: Path, tmp_path: Path) -> None:
    at_work: Engine = Local(2) if engine == "processes" else request.getfixturevalue("ray_engine")
    write_lists(asked(run, n=3), tmp_path / "lists", at_work)
    assert_frame_equal(read_parts(tmp_path / "lists"), at_once(run, n=3))


class Breaks:
    """An engine that gives up after some blocks."""

    n_workers = 1

    def __init__(self, after: int) -> None:
        self.after = after

    def map(self, function: Callable[[Any, Any], Any], blocks: Iterable[Any], shared: Any) -> Iterator[Any]:
        for done, block in enumerate(blocks):
            if done == self.after:
                raise EngineError("the machine is gone")
            yield function(shared, block)


def test_what_was_broken_off_goes_on_and_ends_the_same(run: Path, tmp_path: Path) -> None:
    request, folder = asked(run), tmp_path / "lists"
    with pytest.raises(EngineError):
        write_lists(request, folder, Breaks(3))
    assert "parts" not in json.loads((folder / "lists.json").read_text())
    (folder / ".part-00003.parquet.x.tmp").write_text("half of a part")
    before = {part.name: part.stat().st_mtime_ns for part in folder.glob("part-*")}
    assert len(before) == 3
    write_lists(request, folder, HERE)
    assert_frame_equal(read_parts(folder), at_once(run))
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert not list(folder.glob(".part*"))
    assert write_lists(request, folder, Breaks(0)) == len(at_once(run))  # nothing is left to do


def test_a_folder_of_other_lists_is_left_alone(run: Path, tmp_path: Path) -> None:
    request, folder = asked(run), tmp_path / "lists"
    write_lists(request, folder, HERE)
    with pytest.raises(RunExistsError, match="other settings"):
        write_lists(replace(request, n=4), folder, HERE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear reader")
    with pytest.raises(RunExistsError, match="something else"):
        write_lists(request, tmp_path / "mine", HERE)
    (folder / "lists.json").write_text("{")
    with pytest.raises(RunExistsError, match="cannot be read"):
        write_lists(request, folder, HERE)


def test_a_machine_without_the_run_says_so(run: Path, tmp_path: Path) -> None:
    request = asked(run)
    for elsewhere in (replace(request, run=str(tmp_path)), replace(request, digest="0" * 64)):
        with pytest.raises(EngineError, match="has not this run"):
            write_lists(elsewhere, tmp_path / "lists", HERE)
        assert not list(tmp_path.glob("lists/part*"))
        everything = list((tmp_path / "lists").iterdir())
        for file in everything:
            file.unlink()


def test_a_part_that_cannot_be_written_is_an_error(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_lists(asked(run), tmp_path / "lists", HERE)
    assert [file.name for file in (tmp_path / "lists").iterdir()] == ["lists.json"]


def test_no_more_processes_than_parts_threads_or_memory_allow(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everybody_module.torch, "get_num_threads", lambda: 64)
    assert usual_workers(asked(run)) == 4
    assert usual_workers(replace(asked(run), part_readers=N_READERS)) == 1
    monkeypatch.setattr(everybody_module, "LARGE_RUN", 1000)
    assert usual_workers(asked(run)) == 1
    monkeypatch.undo()
    monkeypatch.setattr(everybody_module.torch, "get_num_threads", lambda: 3)
    assert usual_workers(asked(run)) == 3

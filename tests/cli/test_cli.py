"""The calls that are fixed, as a user makes them: what they print where, and how they end."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors import safe_open
from tiny_world import N_BOOKS, rows_of_a_world, write_ratings, write_rows, write_world

from shelfwise.cli import demo as demo_module
from shelfwise.cli import main
from shelfwise.errors import FetchError
from shelfwise.training import checkpoint

LIST_HEADER = "user_id,rank,book_id,title,score,stars"


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> pl.DataFrame:
        return pl.read_csv(io.StringIO(self.out))


class Shell:
    """Runs the command line in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capture = capture
        self.monkeypatch = monkeypatch

    def __call__(self, *words: object) -> Done:
        self.monkeypatch.setattr(sys, "argv", ["shelfwise", *map(str, words)])
        self.capture.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        out, err = self.capture.readouterr()
        return Done(code, out, err)


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHELFWISE_DATA", raising=False)
    return Shell(capfd, monkeypatch)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "tiny")


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, made by the installed command in a process of its own."""
    path = tmp_path_factory.mktemp("runs") / "bias"
    command = [sys.executable, "-c", "from shelfwise.cli import main; main()"]
    done = subprocess.run(
        [*command, "train", str(world), "--model", "bias", "--out", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Report on test" in done.stdout
    assert "saved" in done.stderr
    assert "saved" not in done.stdout
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def assert_refused(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], done.err
    for word in words:
        assert word in done.err


def assert_wrong_call(done: Done, *words: str) -> None:
    """Refused by typer: a usage line, no traceback, exit 2."""
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


# audit


def test_audit_prints_a_table_or_json(shell: Shell, world: Path) -> None:
    done = shell("audit", world)
    assert done.code == 0
    assert f"{len(rows_of_a_world()):,}" in done.out
    assert "read own layout" in done.err
    as_json = shell("audit", world, "--json")
    assert as_json.code == 0
    assert isinstance(json.loads(as_json.out), dict)


def test_an_address_without_an_engine_that_has_addresses_is_refused(shell: Shell, world: Path, run: Path) -> None:
    """And not left aside, so that the work would be done here."""
    address = ("--address", "head:6379")
    for command in (("audit", world), ("recommend", run, "--all"), ("recommend", run, "--reader", 1)):
        done = shell(*command, *address)
        assert done.code != 0
        assert "--address" in done.err


# train


def test_train_prints_the_report_and_saves_the_run(shell: Shell, world: Path, tmp_path: Path) -> None:
    done = shell("train", world, "--model", "bias", "--out", tmp_path / "run", "--seed", 3, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report == json.loads((tmp_path / "run" / "manifest.json").read_text())["report"]
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]["seed"] == 3


@pytest.mark.parametrize("model", ["popularity", "global-mean"])
def test_baselines_are_models_too(shell: Shell, world: Path, tmp_path: Path, model: str) -> None:
    assert shell("train", world, "--model", model, "--out", tmp_path / "run", "--recipe", "default").code == 0
    assert shell("recommend", tmp_path / "run", "--reader", 1).code == 0


def test_train_on_own_files(shell: Shell, world: Path, tmp_path: Path) -> None:
    rows = rows_of_a_world()
    files = [write_ratings(tmp_path / f"{place}.csv", rows[place::3]) for place in range(3)]
    words = ("train", world, "--model", "bias", "--out", tmp_path / "run", "--train-ratings", files[0])
    done = shell(*words, "--valid-ratings", files[1], "--test-ratings", files[2], "--final", "--json")
    assert done.code == 0
    assert json.loads(done.out)["results"][0]["measures"]["stars"]["n"] == len(rows[2::3])
    only_train = shell(*words, "--overwrite", "--json")
    assert only_train.code == 0
    assert json.loads(only_train.out)["results"] == []
    as_table = shell(*words, "--overwrite")
    assert as_table.code == 0
    assert "nothing was measured" in as_table.out


def test_train_on_a_test_file_without_a_liked_book_prints_a_report(shell: Shell, world: Path, tmp_path: Path) -> None:
    train = write_ratings(tmp_path / "train.csv", rows_of_a_world())
    test = write_ratings(tmp_path / "test.csv", [("new", 1, 1)])
    words = ("train", world, "--model", "bias", "--train-ratings", train, "--test-ratings", test)
    assert shell(*words, "--out", tmp_path / "run").code == 0
    as_json = shell(*words, "--out", tmp_path / "other", "--json")
    assert as_json.code == 0
    json.loads(as_json.out)
    evaluated = shell("evaluate", tmp_path / "run")
    assert evaluated.code == 0


def test_a_run_that_is_there_is_refused_replaced_or_resumed(shell: Shell, world: Path, run: Path) -> None:
    words = ("train", world, "--model", "bias", "--out", run)
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    assert_refused(shell(*words), 1, "already holds a run", "--overwrite")
    resumed = shell(*words, "--resume", "--json")
    assert resumed.code == 0
    assert "nothing to resume" in resumed.err
    assert json.loads(resumed.out) == json.loads(before["manifest.json"])["report"]
    assert_refused(shell(*words, "--resume", "--seed", 9), 1, "other settings")
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    assert shell(*words, "--overwrite", "--seed", 9).code == 0
    assert json.loads((run / "manifest.json").read_text())["settings"]["seed"] == 9


def test_what_is_left_of_a_training_is_refused_or_begun_again(shell: Shell, world: Path, tmp_path: Path) -> None:
    words = ("train", world, "--model", "mf", "--epochs", 1, "--embedding-dim", 4, "--out", tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"half a checkpoint")
    assert_refused(shell(*words), 1, "broken off", "--resume")
    assert_refused(shell(*words, "--resume"), 1, "checkpoint.safetensors", "--overwrite")
    assert shell(*words, "--overwrite").code == 0
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_only_the_same_training_is_resumed(shell: Shell, world: Path, tmp_path: Path) -> None:
    rows = rows_of_a_world()
    train, valid, other = (write_ratings(tmp_path / f"{place}.csv", rows[place::3]) for place in range(3))
    words = ("train", world, "--model", "bias", "--out", tmp_path / "run", "--train-ratings", train)
    assert shell(*words, "--valid-ratings", valid, "--test-ratings", other).code == 0
    assert "nothing to resume" in shell(*words, "--valid-ratings", valid, "--test-ratings", other, "--resume").err
    for changed in (
        ("--valid-ratings", other, "--test-ratings", other),
        ("--valid-ratings", valid, "--test-ratings", valid),
        ("--valid-ratings", valid),
        ("--valid-ratings", valid, "--test-ratings", other, "--scale", "1-10"),
    ):
        assert_refused(shell(*words, *changed, "--resume"), 1, "other settings or data", "--overwrite")


def test_a_failed_training_leaves_the_run_that_was_there(shell: Shell, run: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    bad = write_world(tmp_path / "bad", [(1, 1, "five")])
    assert_refused(shell("train", bad, "--model", "bias", "--out", run, "--overwrite"), 1, "row 2")
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def test_wrong_settings_are_told_before_the_data_is_read(shell: Shell, tmp_path: Path) -> None:
    words = ("train", "nowhere", "--out", tmp_path / "run", "--model")
    assert_refused(shell(*words, "no-such-model"), 2, "no-such-model")
    assert_refused(shell(*words, "bias", "--set", "warmth=3"), 2, "warmth")
    assert_refused(shell(*words, "bias", "--set", "book_shrinkage=-1"), 2, "book_shrinkage")
    assert_refused(shell(*words, "bias", "--set", "x"), 2, "NAME=VALUE")
    assert_refused(shell(*words, "bias", "--test-ratings", "f.csv"), 2, "--train-ratings")
    assert_refused(shell(*words, "bias", "--k", 3), 2, "--k does not go with --split random")
    assert_refused(shell(*words, "bias", "--k", 3, "--split", "time"), 2, "--k does not go with --split time")
    own = (*words, "bias", "--train-ratings", "f.csv")
    assert_refused(shell(*own, "--split", "random"), 2, "do not go with --train-ratings")
    assert_refused(shell(*own, "--k", 3), 2, "do not go with --train-ratings")
    assert_refused(shell(*words, "bias"), 1, "no data set 'nowhere'")
    assert not (tmp_path / "run").exists()


def manifest_of(run: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return manifest


def test_final_duplicates_and_settings_reach_the_training(shell: Shell, tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", [*rows_of_a_world(), (1, rows_of_a_world()[0][1], 5)])
    (tmp_path / "settings.toml").write_text("reader_shrinkage = 7.0\nbook_shrinkage = 8.0\n")
    words = ("train", world, "--model", "bias", "--out", tmp_path / "run", "--final", "--duplicates", "drop")
    assert shell(*words, "--config", tmp_path / "settings.toml", "--set", "book_shrinkage=9").code == 0
    manifest = manifest_of(tmp_path / "run")
    assert manifest["model"] | {"reader_shrinkage": 7.0, "book_shrinkage": 9.0} == manifest["model"]
    assert manifest["report"]["audit"]["n_ratings"] == len(rows_of_a_world()) - 1
    assert_refused(shell("evaluate", tmp_path / "run"), 1, "no test ratings")  # all are fitted
    assert_refused(shell(*words, "--overwrite", "--config", tmp_path / "no.toml"), 1, "no.toml")
    (tmp_path / "settings.toml").write_text("reader_shrinkage: 7")
    assert_refused(shell(*words, "--overwrite", "--config", tmp_path / "settings.toml"), 2, "settings.toml")


def test_ratings_of_unknown_books_are_counted_or_fatal_as_asked(shell: Shell, tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", [*rows_of_a_world(), (1, 999, 5)])
    words = ("train", world, "--model", "bias", "--out", tmp_path / "run")
    assert_refused(shell(*words, "--unknown-books", "error"), 1, "999", "--unknown-books keep-out")
    assert not (tmp_path / "run").exists()
    assert json.loads(shell(*words, "--json").out)["audit"]["n_unknown_book_rows"] == 1


def test_a_ratings_file_may_take_its_catalogue_from_elsewhere_and_name_its_columns(
    shell: Shell, world: Path, tmp_path: Path
) -> None:
    own = write_rows(tmp_path / "loans.csv", "who,what,how,when", [(*row, 1) for row in rows_of_a_world()])
    words = (own, "--catalogue", world, "--columns")
    names = "reader=who,book=what,stars=how"
    audited = shell("audit", *words, names, "--json")
    assert json.loads(audited.out)["n_books"] == N_BOOKS
    assert shell("train", *words, names, "--model", "bias", "--out", tmp_path / "run").code == 0
    assert "The " in shell("similar", tmp_path / "run", "--book", 1).out  # titles come from the catalogue
    assert_wrong_call(shell("audit", *words, "reader=who,book="), "reader=NAME")
    assert_wrong_call(shell("audit", *words, "owner=who"), "reader=NAME")
    assert_refused(shell("audit", *words, "reader=nobody"), 1, "no column 'nobody'")
    assert_refused(shell("audit", own, "--catalogue", own, "--columns", names), 1, "books.*")


def test_audit_of_another_file_counts_repeats_as_asked(shell: Shell, world: Path, tmp_path: Path) -> None:
    own = write_ratings(tmp_path / "own.csv", [(1, 1, 5), (1, 1, 3), (2, 1, 4), (2, 2, 2)])
    first, dropped = (
        json.loads(shell("audit", world, "--ratings", own, "--duplicates", rule, "--json").out)
        for rule in ("first", "drop")
    )
    assert (first["n_rows"], first["n_ratings"], dropped["n_ratings"]) == (4, 3, 2)
    assert_refused(shell("audit", world, "--ratings", own, "--duplicates", "error"), 1, "more than once")


def test_the_id_space_may_be_said(shell: Shell, tmp_path: Path) -> None:
    """Book 1 has the Goodreads id 1001. Ids of both spaces in one file are refused until it is said which they are."""
    world = write_world(tmp_path / "world", goodreads=True)
    run = tmp_path / "run"
    assert shell("train", world, "--model", "bias", "--out", run).code == 0
    mixed = write_ratings(tmp_path / "mixed.csv", [("ann", 1, 5), ("ann", 1002, 4)])
    for words in (
        ("predict", run, mixed),
        ("recommend", run, "--shelf", mixed),
        ("evaluate", run, "--test-ratings", mixed),
        ("train", world, "--model", "bias", "--out", tmp_path / "new", "--train-ratings", mixed),
    ):
        assert_refused(shell(*words), 1, "--ids catalogue")
    for ids, known in (("catalogue", 1), ("goodreads", 1002)):
        predicted = shell("predict", run, mixed, "--ids", ids).table
        assert predicted.filter(pl.col("basis") == "book")["book_id"].to_list() == [known]
        listed = shell("recommend", run, "--shelf", mixed, "--ids", ids, "-n", N_BOOKS).table
        assert known % 1000 not in listed["book_id"]
        assert len(listed) == N_BOOKS - 1
        evaluated = shell("evaluate", run, "--test-ratings", mixed, "--ids", ids, "--json")
        assert json.loads(evaluated.out)[0]["measures"]["stars"]["n"] == 1


def test_an_embedding_from_a_file_reaches_the_model(shell: Shell, world: Path, tmp_path: Path) -> None:
    numbers = [(book, book % 2, 1 - book % 2) for book in range(1, N_BOOKS + 1)]
    file = write_rows(tmp_path / "embedding.csv", "book_id,a,b", numbers)
    words = ("train", world, "--model", "hybrid", "--recipe", "notebook", "--epochs", 1, "--embedding-dim", 4)
    assert shell(*words, "--embedding", file, "--out", tmp_path / "own").code == 0
    with safe_open(tmp_path / "own" / "model.safetensors", "numpy") as tensors:
        assert tensors.get_tensor("books.content").tolist() == [list(row[1:]) for row in numbers]
    assert list(manifest_of(tmp_path / "own")["data"]["other_files"]) == ["embedding"]
    write_rows(file, "book_id,a,b", [*numbers[:3], (4, 1, "")])
    assert_refused(shell(*words, "--embedding", file, "--out", tmp_path / "new"), 1, "row 5")
    assert_refused(shell(*words, "--embedding", tmp_path / "no.npz", "--out", tmp_path / "new"), 1, "no.npz")
    assert not (tmp_path / "new").exists()


# evaluate


def test_evaluate_prints_what_the_report_says(shell: Shell, run: Path) -> None:
    done = shell("evaluate", run)
    assert done.code == 0
    assert "Report on test" in done.out
    results = json.loads(shell("evaluate", run, "--json").out)
    reported = json.loads((run / "manifest.json").read_text())["report"]["results"]
    assert [result["measures"]["stars"]["mse"] for result in results] == pytest.approx(
        [result["measures"]["stars"]["mse"] for result in reported], rel=1e-6
    )


def test_evaluate_on_other_ratings_and_shelves(shell: Shell, run: Path, tmp_path: Path) -> None:
    test = write_ratings(tmp_path / "test.csv", [("ann", 5, 2), ("ann", 6, 5)])
    shelf = write_ratings(tmp_path / "shelf.csv", [("ann", 1, 1), ("ann", 2, 2)])
    done = shell("evaluate", run, "--test-ratings", test, "--shelf", shelf, "--json")
    assert done.code == 0
    measures = json.loads(done.out)[0]["measures"]
    assert measures["stars"]["n"] == 2
    assert list(measures["segments"]["basis"]) == ["reader+book"]


# predict


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predict_writes_the_rows_of_pairs_and_two_columns_more(
    shell: Shell, run: Path, tmp_path: Path, suffix: str
) -> None:
    pairs = write_rows(tmp_path / "pairs.csv", "note,user_id,book_id", [("a", 2, 5), ("b", 1, 999), ("c", "ann", 1)])
    shelf = write_ratings(tmp_path / "shelf.csv", [("ann", 1, 1), ("ann", 2, 2), ("ann", 999, 2)])
    target = tmp_path / f"predicted.{suffix}"
    target.write_text("old")
    done = shell("predict", run, pairs, "--shelf", shelf, "--out", target)
    assert (done.code, done.out) == (0, "")
    assert "wrote 3 rows" in done.err
    assert "left out 1 ratings" in done.err
    frame = pl.read_csv(target) if suffix == "csv" else pl.read_parquet(target)
    assert frame.columns == ["note", "user_id", "book_id", "stars", "basis"]
    assert frame["note"].to_list() == ["a", "b", "c"]
    assert frame["user_id"].to_list() == ["2", "1", "ann"]
    assert frame["basis"].to_list() == ["reader+book", "reader", "reader+book"]
    assert not list(tmp_path.glob(".*")), "a temporary file was left"


def test_predict_prints_csv_in_a_pipe_or_json(shell: Shell, run: Path, tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.csv", "user_id,book_id,note", [(1, 1, "NaN"), (1, 2, 0.5)])
    done = shell("predict", run, pairs)
    assert done.code == 0
    assert done.table.columns == ["user_id", "book_id", "note", "stars", "basis"]
    assert len(done.table) == 2
    as_json = shell("predict", run, pairs, "--json")
    assert as_json.code == 0
    assert [row["stars"] for row in json.loads(as_json.out)] == pytest.approx(done.table["stars"].to_list())


def test_ids_that_look_like_decimals_are_told_apart(shell: Shell, tmp_path: Path) -> None:
    rows = [(f"1.{reader}", book, stars) for reader, book, stars in rows_of_a_world()]
    assert {"1.1", "1.10"} <= {reader for reader, _, _ in rows}
    world = write_world(tmp_path / "world", rows)
    assert shell("train", world, "--model", "bias", "--out", tmp_path / "run").code == 0
    pairs = write_rows(tmp_path / "pairs.csv", "user_id,book_id", [("1.1", 1), ("1.10", 1)])
    predicted = shell("predict", tmp_path / "run", pairs)
    ids, stars = zip(*(line.split(",")[::2] for line in predicted.out.splitlines()[1:]), strict=True)
    assert ids == ("1.1", "1.10")
    assert stars[0] != stars[1]
    listed = shell("recommend", tmp_path / "run", "--readers", pairs, "-n", 1)
    assert [line.split(",")[0] for line in listed.out.splitlines()[1:]] == ["1.1", "1.10"]
    assert "not known" not in listed.err


def test_a_failed_call_leaves_the_file_that_was_there(shell: Shell, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "predicted.csv"
    target.write_text("old")
    pairs = write_rows(tmp_path / "pairs.csv", "user_id,book_id", [(1, 1), (1, "")])
    assert_refused(shell("predict", run, pairs, "--out", target), 1, "row 3", "no book id")
    assert target.read_text() == "old"
    good = write_rows(tmp_path / "good.csv", "user_id,book_id", [(1, 1)])
    assert_refused(shell("predict", run, good, "--out", tmp_path / "a.xlsx"), 2, ".csv or .parquet")
    assert_refused(shell("predict", run, good, "--out", tmp_path / "no" / "a.csv"), 1, "cannot write")
    assert not list(tmp_path.glob(".*"))


# recommend


def test_recommend_for_one_reader(shell: Shell, run: Path) -> None:
    done = shell("recommend", run, "--reader", 3, "-n", 4)
    assert done.code == 0
    assert done.out.splitlines()[0] == LIST_HEADER
    assert done.table["user_id"].to_list() == [3] * 4
    assert done.table["rank"].to_list() == [1, 2, 3, 4]
    rated = {book for reader, book, _ in rows_of_a_world() if reader == 3}
    assert not rated & set(done.table["book_id"])
    rows = json.loads(shell("recommend", run, "--reader", 3, "-n", 4, "--json").out)
    assert [row["book_id"] for row in rows] == done.table["book_id"].to_list()
    stranger = shell("recommend", run, "--reader", "nobody")
    assert (stranger.code, len(stranger.table)) == (0, 10)
    assert "'nobody' is not known" in stranger.err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_recommend_for_everybody_into_a_file(shell: Shell, run: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"lists.{suffix}"
    done = shell("recommend", run, "--all", "-n", 3, "--out", target)
    assert (done.code, done.out) == (0, "")
    frame = pl.read_csv(target) if suffix == "csv" else pl.read_parquet(target)
    assert ",".join(frame.columns) == LIST_HEADER
    assert frame["user_id"].to_list() == [reader for reader in range(1, 13) for _ in range(3)]
    assert not list(tmp_path.glob(".*"))


def test_recommend_for_the_readers_in_a_file(shell: Shell, run: Path, tmp_path: Path) -> None:
    readers = write_rows(tmp_path / "readers.csv", "user_id,name", [(5, "x"), (2, "y"), (5, "z")])
    done = shell("recommend", run, "--readers", readers, "-n", 1)
    assert done.code == 0
    assert done.table["user_id"].to_list() == [5, 2]
    assert "not known" not in done.err
    shelf = write_ratings(tmp_path / "shelf.csv", [("ann", 1, 5)])
    write_rows(readers, "user_id", [(5,), ("ann",), ("eve",)])
    mixed = shell("recommend", run, "--readers", readers, "--shelf", shelf, "-n", 1)
    assert mixed.table["user_id"].to_list() == ["5", "ann", "eve"]
    assert "1 of 3 readers are not known" in mixed.err


def test_recommend_by_a_shelf_alone_and_with_a_reader(shell: Shell, run: Path, tmp_path: Path) -> None:
    shelf = write_ratings(tmp_path / "shelf.csv", [("ann", 1, 1), ("bob", 2, 5), ("ann", 2, 2)])
    alone = shell("recommend", run, "--shelf", shelf, "-n", 2)
    assert alone.table["user_id"].to_list() == ["ann", "ann", "bob", "bob"]
    one = shell("recommend", run, "--shelf", shelf, "--reader", "bob", "-n", 2)
    assert one.table.equals(alone.table.tail(2))
    assert "not known" not in one.err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_lists_that_are_empty_keep_one_header(
    shell: Shell, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """A first block of readers who rated everything, and a file of no readers."""
    monkeypatch.setattr("shelfwise.models.blocks.RANK_BLOCK", 1)
    all_books = [("ann", book, 3) for book in range(1, N_BOOKS + 1)]
    shelf = write_ratings(tmp_path / "shelf.csv", [*all_books, ("bob", 1, 5)])
    target = tmp_path / f"lists.{suffix}"
    assert shell("recommend", run, "--shelf", shelf, "-n", 2, "--out", target).code == 0
    frame = pl.read_csv(target) if suffix == "csv" else pl.read_parquet(target)
    assert frame["user_id"].to_list() == ["bob", "bob"]
    nobody = write_rows(tmp_path / "readers.csv", "user_id", [])
    done = shell("recommend", run, "--readers", nobody)
    assert (done.code, done.out.strip()) == (0, LIST_HEADER)
    assert shell("recommend", run, "--readers", nobody, "--out", target).code == 0
    frame = pl.read_csv(target) if suffix == "csv" else pl.read_parquet(target)
    assert (",".join(frame.columns), len(frame)) == (LIST_HEADER, 0)


def test_recommend_wants_to_know_for_whom(shell: Shell, run: Path) -> None:
    assert_refused(shell("recommend", run), 2, "for whom?")
    assert_refused(shell("recommend", run, "--all", "--reader", 1), 2, "for whom?")
    assert_wrong_call(shell("recommend", run, "--reader", 1, "-n", 0), "-n")


# similar, data, demo


def test_similar(shell: Shell, run: Path) -> None:
    done = shell("similar", run, "--book", 1, "-n", 3)
    assert done.code == 0
    assert done.out.splitlines()[0] == "rank,book_id,title,similarity"
    assert len(json.loads(shell("similar", run, "--book", 1, "-n", 3, "--json").out)) == 3
    assert_refused(shell("similar", run, "--book", 999), 1, "999")


def test_data_fetch_of_what_is_not_known(shell: Shell, tmp_path: Path) -> None:
    done = shell("data", "fetch", "no-such-data", "--to", tmp_path / "data")
    assert done.code in {1, 2}
    assert "goodbooks-10k" in done.err
    assert "Traceback" not in done.err


def test_demo_runs_from_data_to_lists(shell: Shell, world: Path, tmp_path: Path) -> None:
    done = shell("demo", "--data", world, "--out", tmp_path / "demo")
    assert done.code == 0
    assert "What this new reader could read next" in done.out
    assert (tmp_path / "demo" / "manifest.json").is_file()
    assert "Made by" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("there", "downloads"),
    [
        ([], True),
        (["books.csv"], True),
        (["books.csv", "ratings.csv", "tags.csv.part"], True),
        (["books.csv", "ratings.csv"], False),
        (["ratings.parquet"], False),
    ],
)
def test_demo_goes_on_with_a_download_that_broke_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, there: list[str], downloads: bool
) -> None:
    """As without a network, where the first try leaves a folder with nothing in it; files of one's own stay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHELFWISE_DATA", raising=False)
    folder = tmp_path / "data" / "goodbooks-10k"
    folder.mkdir(parents=True)
    for name in there:
        (folder / name).touch()
    tried = []

    def fetch(name: str, *_: object, **__: object) -> None:
        tried.append(name)
        raise FetchError("no network")

    monkeypatch.setattr(demo_module, "fetch", fetch)
    assert demo_module._find_data() == ("sample" if downloads else "goodbooks-10k")
    assert bool(tried) == downloads


def test_demo_refuses_its_place_before_the_work(shell: Shell, world: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    done = shell("demo", "--data", world, "--out", tmp_path / "demo")
    assert_refused(done, 1, "is a file")
    assert "data:" not in done.err


# What holds for all.


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_titles_that_the_terminal_cannot_show_stop_nothing(shell: Shell, tmp_path: Path, encoding: str) -> None:
    world = write_world(tmp_path / "world")
    books = (world / "books.csv").read_text().replace("The dragons of", "Дракон é")
    (world / "books.csv").write_text(books)
    run = tmp_path / "run"
    assert shell("train", world, "--model", "bias", "--out", run).code == 0

    def call(*words: object) -> bytes:
        command = [sys.executable, "-c", "from shelfwise.cli import main; main()", *map(str, words)]
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout

    everything = ("recommend", run, "--all", "-n", N_BOOKS)
    assert "Дракон é" in call(*everything).decode()
    assert any("Дракон é" in row["title"] for row in json.loads(call(*everything, "--json")))
    assert b"Audit of" in call("audit", world)
    assert b"Report on" in call("evaluate", run)


def test_no_command_unknown_commands_and_help(shell: Shell) -> None:
    assert_wrong_call(shell("shelve"), "shelve")
    assert_wrong_call(shell("train"), "DATA")
    done = shell("--help")
    assert done.code == 0
    for command in ("audit", "train", "evaluate", "predict", "recommend", "similar", "data", "demo"):
        assert command in done.out
    assert shell("--version").out.startswith("shelfwise ")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN"),
        ("predict", "RUN", "pairs.csv"),
        ("recommend", "RUN", "--reader", "1"),
        ("similar", "RUN", "--book", "1"),
    ],
    ids=lambda words: words[0],
)
def test_no_run_and_a_damaged_run_are_refused(shell: Shell, run: Path, words: tuple[str, ...]) -> None:
    write_rows(run.parent / "pairs.csv", "user_id,book_id", [(1, 1)])

    def call(path: Path) -> Done:
        return shell(*(str(path) if word == "RUN" else word for word in words))

    assert_refused(call(run / "nowhere"), 1, "no run at")
    (run / "books.parquet").write_bytes(b"PAR1")
    assert_refused(call(run), 1, "books.parquet")


BAD_RATINGS = {
    "empty": ("", "empty"),
    "header": ("user_id,book_id,rating\n", "no rows"),
    "semicolons": ("user_id;book_id;rating\n1;1;5\n", "';'"),
    "column": ("user_id,book_id\n1,1\n", "no column for the stars"),
    "text": ("user_id,book_id,rating\n1,1,5\n1,2,good\n", "row 3"),
    "nan": ("user_id,book_id,rating\n1,1,5\n1,2,NaN\n", "row 3"),
    "missing": ("user_id,book_id,rating\n1,1,5\n,2,4\n", "row 3"),
    "scale": ("user_id,book_id,rating\n" + "".join(f"{r},1,5\n" for r in range(200)) + "1,2,9\n", "row 202"),
    "ragged": ("user_id,book_id,rating\n1,1,5\n1,2,4,7\n", "row 3"),
    "unknown": ("user_id,book_id,rating\n1,998,5\n1,999,5\n", "catalogue"),
}


@pytest.mark.parametrize("case", BAD_RATINGS)
def test_bad_ratings_are_refused_by_every_command_with_file_and_remedy(
    shell: Shell, world: Path, run: Path, tmp_path: Path, case: str
) -> None:
    text, told = BAD_RATINGS[case]
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    train = ("train", world, "--model", "bias", "--out", tmp_path / "new", "--train-ratings")
    good = write_ratings(tmp_path / "good.csv", rows_of_a_world())
    for words in (
        (*train, bad),
        (*train, good, "--valid-ratings", bad),
        (*train, good, "--test-ratings", bad),
        ("evaluate", run, "--test-ratings", bad),
        ("evaluate", run, "--shelf", bad),
        ("recommend", run, "--shelf", bad),
    ):
        done = shell(*words)
        assert_refused(done, 1, str(bad), told)
    assert not (tmp_path / "new").exists()


def test_a_missing_file_is_refused(shell: Shell, run: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.csv"
    for words in (
        ("predict", run, nowhere),
        ("recommend", run, "--shelf", nowhere),
        ("evaluate", run, "--shelf", nowhere),
    ):
        assert_refused(shell(*words), 1, str(nowhere))


def test_a_place_that_cannot_be_written_is_refused(shell: Shell, world: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert_refused(shell("train", world, "--model", "bias", "--out", tmp_path / "file"), 1, "is a file")
    done = shell("train", world, "--model", "bias", "--out", tmp_path / "file" / "sub" / "run")
    assert_refused(done, 1, "file is a file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "words", [("recommend", "--all", "-n", "2"), ("recommend", "--all", "-n", "2", "--json"), ("evaluate",)]
)
def test_a_reader_of_stdout_that_leaves_early_is_no_error_message(run: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", "from shelfwise.cli import main; main()", words[0], str(run), *words[1:]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stream:
        told = stream.read()
    assert process.wait() == 1
    progress = re.compile(r"\w+: [\d,]+ of [\d,]+")  # on a slow machine
    assert [line for line in told.splitlines() if not progress.fullmatch(line)] == []


# models trained by the loop


def test_a_training_that_was_stopped_is_refused_resumed_and_ends_as_if_unbroken(
    shell: Shell, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", world, "--model", "hybrid", "--epochs", 4, "--embedding-dim", 4)
    assert shell(*words, "--out", tmp_path / "unbroken").code == 0
    real = checkpoint.save_checkpoint

    def save_and_stop(*args: Any) -> None:
        real(*args)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_checkpoint", save_and_stop)
        assert_refused(shell(*words, "--out", tmp_path / "run"), 1, "stopped", "--resume")
    assert_refused(shell(*words, "--out", tmp_path / "run"), 1, "broken off", "--resume")
    assert_refused(shell(*words, "--epochs", 3, "--out", tmp_path / "run", "--resume"), 1, "other settings")
    assert shell(*words, "--out", tmp_path / "run", "--resume").code == 0
    resumed, unbroken = (tmp_path / name / "model.safetensors" for name in ("run", "unbroken"))
    assert resumed.read_bytes() == unbroken.read_bytes()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == list(range(1, len(history) + 1))

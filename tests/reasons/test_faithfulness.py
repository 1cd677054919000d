"""Through the whole of it: no reason names what is not on the shelf, and what is stated is what happens."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tiny_world import N_BOOKS, N_READERS, train_on, write_ratings, write_world

from shelfwise.artifact import Run, save_run
from shelfwise.errors import UnknownBookError, UsageError
from shelfwise.recommender import Recommender

SMALL = {"about_dim": 4, "coreading_dim": 4, "hidden": [16], "pick_hidden": [8]}
RATINGS = [(1, 5), (6, 4), (9, 1), (13, 3)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_on(write_world(tmp_path_factory.mktemp("world")), model="shelf", settings=SMALL)


@pytest.fixture(scope="module")
def recommender(run: Run) -> Recommender:
    return Recommender(run)


def test_reasons_name_books_on_the_shelf_only(recommender: Recommender) -> None:
    lists = pl.concat(recommender.recommend_all(n=N_BOOKS, why=True))
    shelves = recommender.run.shelves
    ids = recommender.run.catalogue.vocabulary.ids
    read = {r: {ids[int(i)] for i in shelves.take([row]).item_idx} for row, r in enumerate(recommender.run.readers.ids)}
    named = 0
    for reader, reasons in lists.select("user_id", "reasons").iter_rows():
        assert reasons
        for reason in reasons:
            assert reason["text"]
            if reason["book_id"] is not None:
                named += 1
                assert reason["book_id"] in read[reader]
    assert named > N_READERS


def test_the_parts_add_up_and_a_removal_effect_is_the_difference_that_removing_makes(recommender: Recommender) -> None:
    def stars(ratings: list[tuple[int, int]]) -> float:
        shelf = recommender.shelf_of(ratings)
        pair = pl.DataFrame({"user_id": [shelf.readers.ids[0]], "book_id": [5]})
        return float(recommender.predict(pair, shelf)["stars"][0])

    why = recommender.explain(5, ratings=RATINGS)
    assert why.stars == pytest.approx(stars(RATINGS), abs=1e-4)
    moved = float(why.ratings["contribution"].sum())
    assert why.mean + why.book_average + moved + why.remainder == pytest.approx(why.stars, abs=1e-4)
    for book, effect in why.ratings.select("book_id", "removal_effect").iter_rows():
        rest = [rating for rating in RATINGS if rating[0] != book]
        assert effect == pytest.approx(why.stars - stars(rest), abs=2e-4)
    assert why.ratings["contribution"].abs().is_sorted(descending=True)


def test_a_book_or_reader_that_is_not_given_is_said(recommender: Recommender) -> None:
    with pytest.raises(UnknownBookError, match="no book 999"):
        recommender.explain(999, ratings=RATINGS)
    with pytest.raises(UsageError, match="no reader and no ratings"):
        recommender.explain(5)


def _shelfwise(*words: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from shelfwise.cli import main; main()", *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_the_command_line_gives_reasons(run: Run, tmp_path: Path) -> None:
    save_run(run, tmp_path / "run")
    shelf = write_ratings(tmp_path / "shelf.csv", [("ann", book, stars) for book, stars in RATINGS])
    rows = json.loads(_shelfwise("recommend", tmp_path / "run", "--shelf", shelf, "--why", "--json").stdout)
    assert {"code", "text", "contribution", "book_id"} == set(rows[0]["reasons"][0])
    plain = pl.read_csv(_shelfwise("recommend", tmp_path / "run", "--shelf", shelf, "--why").stdout.encode())
    assert plain["reasons"][0] == "; ".join(reason["text"] for reason in rows[0]["reasons"])
    _shelfwise("recommend", tmp_path / "run", "--shelf", shelf, "--why", "--out", tmp_path / "list.csv")
    assert pl.read_csv(tmp_path / "list.csv")["reasons"].to_list() == plain["reasons"].to_list()

    said = _shelfwise("explain", tmp_path / "run", "--shelf", shelf, "--book", "5")
    assert "the book's own average" in said.stderr
    assert pl.read_csv(said.stdout.encode()).columns[3:5] == ["contribution", "removal_effect"]
    why = json.loads(_shelfwise("explain", tmp_path / "run", "--shelf", shelf, "--book", "5", "--json").stdout)[0]
    moved = sum(rating["contribution"] for rating in why["ratings"])
    assert why["mean"] + why["book_average"] + moved + why["remainder"] == pytest.approx(why["stars"], abs=1e-3)
    assert "for whom?" in _shelfwise("explain", tmp_path / "run", "--book", "5").stderr


def test_of_a_shelf_that_is_cut_the_ratings_left_out_contribute_nothing(run: Run) -> None:
    cut = replace(run, model=run.model.changed(longest_shelf=2))  # type: ignore[attr-defined]
    why = Recommender(cut).explain(5, ratings=RATINGS)
    assert (why.ratings["contribution"] == 0).sum() == len(RATINGS) - 2
    moved = float(why.ratings["contribution"].sum())
    assert why.mean + why.book_average + moved + why.remainder == pytest.approx(why.stars, abs=1e-4)


def test_each_member_of_a_group_is_given_reasons_from_the_own_shelf(recommender: Recommender) -> None:
    members = pl.Series([1, 2])
    ids, shelves = recommender.run.catalogue.vocabulary.ids, recommender.run.shelves
    found = recommender.recommend_group(members, n=2, why=True)
    assert len(found)
    named = 0
    for each in found["members"].to_list():
        assert [member["user_id"] for member in each] == ["1", "2"]
        for member, reader_id in zip(each, members, strict=True):
            assert member["reasons"]
            row = int(recommender.run.readers.find(pl.Series([reader_id]))[0])
            mine = {ids[int(i)] for i in shelves.take([row]).item_idx}
            books = {reason["book_id"] for reason in member["reasons"]} - {None}
            named += len(books)
            assert books <= mine
    assert named


def test_a_group_that_has_read_everything_gets_an_empty_list(recommender: Recommender) -> None:
    everybody, told = recommender.run.readers.ids, []
    found = recommender.recommend_group(everybody, n=2, why=True, on_short=lambda who, why: told.append(str(why)))
    assert found.columns == ["rank", "book_id", "title", "score", "members"]
    assert not len(found)
    assert told[0].startswith("0 of 2 books")

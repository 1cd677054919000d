"""Rules, feedback and groups on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from rules_world import BOOKS, ISBN, make_catalogue
from test_cli import Shell, assert_refused, assert_wrong_call, shell  # noqa: F401  (shell is a fixture)
from tiny_world import train_on, write_ratings

from shelfwise import Feedback, Recommender, Rules
from shelfwise.artifact import save_run
from shelfwise.rules.plan import Shortfall

ANN, BOB = 1, 2  # Ann has read the first volume of Saga, Bob the first two of Tale


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which Ann and Bob know little, and ten others a lot; books of a low number are better."""
    place = tmp_path_factory.mktemp("rules")
    others = [(10 + k, book, 5 - book // 3) for k in range(10) for book in range(len(BOOKS)) if (book + k) % 3]
    write_ratings(place / "world" / "ratings.csv", [(ANN, 0, 5), (BOB, 8, 5), (BOB, 9, 4), *others])
    books = make_catalogue().books
    lists = [pl.col(name).list.join("|").alias(name) for name in ("authors", "subjects")]
    books.with_columns(lists).drop("work_key").write_csv(place / "world" / "books.csv")
    save_run(train_on(place / "world"), place / "run")
    return place / "run"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder of the call, with files to name."""
    (tmp_path / "books.csv").write_text(f"book_id\n7\n{ISBN}\n0\n", encoding="utf-8")
    (tmp_path / "rules.toml").write_text(
        'author = ["Cid", "Bob"]\nper_author = 1\npins = "books.csv"\n', encoding="utf-8"
    )
    (tmp_path / "members.csv").write_text(f"user_id\n{ANN}\n{BOB}\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "books"),
    [
        ([], {1, 2, 3, 4, 5, 7, 8, 9, 10, 11}),
        (["--language", "de", "--language", "fra"], {7, 8, 9, 11}),
        (["--year-from", 2002, "--year-to", 2003], {2, 3}),
        (["--tag", "war", "--tag", "orchard"], {2, 8, 9, 11}),
        (["--not-tag", "dragons", "--not-tag", "harbour"], {8, 9, 10, 11}),
        (["--author", "CID"], {7, 8, 11}),
        (["--not-author", "Cid", "--not-author", "Ann Onym"], {5, 9, 10}),
        (["--series", "Tale"], {8, 9, 11}),
        (["--holdings", "books.csv"], {7, 8}),
        (["--exclude", "books.csv"], {1, 2, 3, 4, 5, 9, 10, 11}),
        (["--list", "continue"], {1}),
        (["--list", "new"], {5, 7, 8, 9, 10, 11}),
        (["--per-author", 1, "--author", "Bob", "--author", "Dan"], {5, 9}),
        (["--per-series", 1, "--series", "Saga"], {1}),
        (["--rules", "rules.toml"], {7, 8}),  # 7 is by Bob and Cid: as pins they stand though that is 2 by Cid
        (["--rules", "rules.toml", "--author", "Dan", "--per-author", 3], {7, 8, 9}),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_each_rule_has_an_option(shell: Shell, run: Path, here: Path, words: list[object], books: set[int]) -> None:  # noqa: F811
    done = shell("recommend", run, "--reader", ANN, "-n", 12, *words)
    assert done.code == 0, done.err
    assert set(done.table["book_id"]) == books
    assert f"reader {ANN}: {len(books)} of 12 books. Left after each rule: in the catalogue: 12" in done.err


def test_options_that_order_the_list(shell: Shell, run: Path, here: Path) -> None:  # noqa: F811
    def listed(*words: object) -> list[int]:
        done = shell("recommend", run, "--reader", ANN, "-n", 4, *words)
        assert done.code == 0, done.err
        assert done.err == ""
        return done.table["book_id"].to_list()

    plain = listed()
    assert plain[:2] == [1, 2]
    assert listed("--first-unread").count(1) == 1
    assert not {2, 3, 4} & set(listed("--first-unread"))
    assert listed("--pins", "books.csv")[:2] == [7, 8]  # 0 was read
    assert listed("--diversity", 1)[1] not in (2, 3, 4)
    assert listed("--obscurity", 1) != listed("--obscurity", -1)
    (here / "first.toml").write_text("first_unread = true\n", encoding="utf-8")
    assert listed("--rules", "first.toml") == listed("--first-unread")
    assert listed("--rules", "first.toml", "--any-volume") == plain


def test_short_lists_of_many_readers_are_summed_up_in_a_line(shell: Shell, run: Path) -> None:  # noqa: F811
    done = shell("recommend", run, "--all", "--author", "Dan", "-n", 3)
    lines = done.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"12 lists are shorter than asked for. The first is of reader {ANN}: 1 of 3 books.")


def test_feedback_reaches_the_list(shell: Shell, run: Path, here: Path) -> None:  # noqa: F811
    (here / "f.csv").write_text(
        f"user_id,action,book_id,author\n{ANN},ignore,0,\n{ANN},dismiss,1,\n{ANN},to-read,6,\n{ANN},hide-author,,Cid\n"
        f"{BOB},did-not-finish,2,\n{BOB},hide-author,,Nobody\n",
        encoding="utf-8",
    )
    done = shell("recommend", run, "--readers", "members.csv", "-n", 12, "--feedback", "f.csv")
    assert "left out 1 books and authors that are not in the catalogue (Nobody)" in done.err
    lists = {reader: set(done.table.filter(pl.col("user_id") == reader)["book_id"]) for reader in (ANN, BOB)}
    assert lists[ANN] == {2, 3, 4, 9, 10}
    assert lists[BOB] == {0, 1, 3, 4, 5, 7, 10, 11}
    (here / "f.csv").write_text("user_id,action,book_id\n1,burn,3\n", encoding="utf-8")
    assert_refused(shell("recommend", run, "--reader", ANN, "--feedback", "f.csv"), 1, "f.csv, row 2", "'burn'")


@pytest.mark.parametrize("how", ["average", "least-misery", "fair-turns"])
def test_a_group_gets_one_list_with_the_stars_of_each(shell: Shell, run: Path, here: Path, how: str) -> None:  # noqa: F811
    done = shell("recommend", run, "--readers", "members.csv", "--group", how, "-n", 3)
    assert done.code == 0, done.err
    assert done.table.columns == ["rank", "book_id", "title", "score", "members"]
    assert done.table["book_id"].to_list() == [1, 2, 5]
    as_json = json.loads(shell("recommend", run, "--readers", "members.csv", "--group", how, "-n", 3, "--json").out)
    for row, text in zip(as_json, done.table["members"], strict=True):
        stars = [member["stars"] for member in row["members"]]
        assert text == f"{ANN} {stars[0]:.2f}; {BOB} {stars[1]:.2f}"
        assert row["score"] == pytest.approx(min(stars) if how == "least-misery" else sum(stars) / 2, abs=1e-5)
    out = shell("recommend", run, "--readers", "members.csv", "--group", how, "--out", "list.parquet", "-n", 99)
    assert "the group: 8 of 99 books" in out.err
    assert set(pl.read_parquet(here / "list.parquet")["book_id"]) == {1, 2, 3, 4, 5, 7, 10, 11}


def test_what_cannot_be_asked_for(shell: Shell, run: Path, here: Path) -> None:  # noqa: F811
    assert_refused(shell("recommend", run, "--all", "--group", "average"), 2, "who is in the group?")
    assert_wrong_call(shell("recommend", run, "--reader", ANN, "--diversity", 2), "diversity")
    assert_wrong_call(shell("recommend", run, "--reader", ANN, "--list", "old"), "--list")
    assert_refused(shell("recommend", run, "--reader", ANN, "--pins", "no.csv"), 1, "no such file: no.csv")
    (here / "bad.toml").write_text("per_author = 0\n", encoding="utf-8")
    assert_refused(shell("recommend", run, "--reader", ANN, "--rules", "bad.toml"), 2, "bad.toml", "per_author = 0")
    (here / "bad.toml").write_text("languages = 'en'\n", encoding="utf-8")
    assert_refused(shell("recommend", run, "--reader", ANN, "--rules", "bad.toml"), 2, "languages", "language,")


def test_evaluate_measures_lists_with_and_without_rules(shell: Shell, run: Path) -> None:  # noqa: F811
    plain, ruled = (
        json.loads(shell("evaluate", run, "--json", *words).out) for words in ([], ["--author", "Dan", "--list", "new"])
    )
    assert [result["model"] for result in ruled[:2]] == ["bias", "bias + rules"]
    without, with_rules = (result["measures"] for result in ruled[:2])
    assert without == plain[0]["measures"]
    assert with_rules["stars"] == without["stars"]
    assert with_rules["ranking"]["coverage"] == pytest.approx(1 / len(BOOKS))
    assert ruled[1]["settings"]["rules"] == {"author": ["Dan"], "list": "new"}
    assert [result["model"] for result in ruled[2:]] == [result["model"] for result in plain[1:]]
    assert "bias + rules" in shell("evaluate", run, "--first-unread").out


# From Python.


def test_rules_feedback_and_reasons_of_short_lists_in_python(run: Path) -> None:
    recommender = Recommender.load(run)
    shorts: list[tuple[object, Shortfall]] = []
    feedback = recommender.feedback_of([(ANN, "dismiss", 5)])
    assert isinstance(feedback, Feedback)
    books = recommender.recommend(
        ANN, n=3, rules=Rules(author="Bob"), feedback=feedback, on_short=lambda who, why: shorts.append((who, why))
    )
    assert books["book_id"].to_list() == [7]
    assert [(who, why.found) for who, why in shorts] == [(ANN, 1)]


def test_what_was_not_finished_lowers_what_is_expected(run: Path) -> None:
    recommender = Recommender.load(run)
    marks = recommender.feedback_of([(ANN, "did-not-finish", 1)])
    before, after = recommender.recommend(ANN, n=1), recommender.recommend(ANN, n=2, feedback=marks)
    assert before["book_id"].to_list() == [1]
    assert after["book_id"].to_list() == [2, 5]
    same_book = recommender.recommend(ANN, n=2)["stars"][1]
    assert after["stars"][0] < same_book
    ignored = recommender.recommend(ANN, n=1, feedback=recommender.feedback_of([(ANN, "ignore", 0)]))
    stranger = recommender.recommend(4711, n=1)
    assert stranger.select("book_id", "stars").equals(ignored.select("book_id", "stars"))

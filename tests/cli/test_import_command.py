"""shelfwise import: from another app's file to recommendations."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import Shell, assert_refused, shell  # noqa: F401  (shell is a fixture)
from tiny_world import N_BOOKS, train_on, write_world

from shelfwise.artifact import save_run

EXPORT = """Title,Authors,ISBN/UID,Read Status,Star Rating
The dragons of 1,Author 0,,read,4.25
The harbour of 2,Author 1,,to-read,
The detective of 3,Author 2,,did-not-finish,
The orchard of 4,Author 3,,read,
The dragons of 5,,,read,3
A book that nobody has,Author 1,,read,5
,,,read,2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("imports")
    save_run(train_on(write_world(place / "tiny")), place / "run")
    return place / "run"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "storygraph.csv"
    path.write_text(EXPORT, encoding="utf-8")
    return path


def test_the_table_says_what_became_of_every_row(shell: Shell, run: Path, export: Path) -> None:  # noqa: F811
    done = shell("import", export, run)
    assert done.code == 0
    assert "StoryGraph (since 2022), utf-8-sig" in done.err
    assert "ratings finer than the run's scale 1-5, which were rounded: 1" in done.err
    words = " ".join(done.out.split())
    assert "7 rows" in words
    assert "matched 4 1 with stars, 3 read without stars, unfinished or to be read" in words
    assert "review 1" in words
    assert "not in catalogue 1" in words
    assert "unreadable 1" in words
    assert "6 The dragons of 5 without an author a title is not enough 5 The dragons of 5" in words
    assert "neither a title nor an ISBN" in words


def test_json_and_the_files_are_one_account(shell: Shell, run: Path, export: Path, tmp_path: Path) -> None:  # noqa: F811
    files = ("--out", "r.csv", "--marks", "m.csv", "--failures", "f.csv")
    done = shell("import", export, run, "--json", *files)
    document = json.loads(done.out)
    assert document["source"] == "StoryGraph (since 2022)"
    assert document["counts"]["rows"] == len(document["rows"]) == 7
    assert document["ratings"] == [{"book_id": 1, "stars": 4.0}]
    texts = {name: (tmp_path / name).read_text(encoding="utf-8-sig") for name in files[1::2]}
    rows = {name: list(csv.DictReader(text.splitlines())) for name, text in texts.items()}
    assert rows["r.csv"] == [{"user_id": "me", "book_id": "1", "rating": "4"}]
    assert [(row["action"], row["book_id"]) for row in rows["m.csv"]] == [
        ("to-read", "2"),
        ("did-not-finish", "3"),
        ("read", "4"),
    ]
    assert [row["row"] for row in rows["f.csv"]] == ["6", "7", "8"]


def test_from_an_export_to_a_list(shell: Shell, run: Path, export: Path, tmp_path: Path) -> None:  # noqa: F811
    """import, decide, import, recommend."""
    shell("import", export, run, "--failures", "f.csv")
    failures = (tmp_path / "f.csv").read_text(encoding="utf-8-sig").splitlines()
    header, undecided = failures[0].split(","), next(csv.reader([failures[1]]))
    undecided[header.index("book_id")] = undecided[header.index("candidate_id")]
    (tmp_path / "choices.csv").write_text(f"{failures[0]}\n{','.join(undecided)}\n", encoding="utf-8")
    words = ("--choices", "choices.csv", "--out", "r.csv", "--marks", "m.csv", "--reader", "ann")
    done = shell("import", export, run, *words)
    assert "wrote 2 ratings to r.csv" in done.err
    listed = shell("recommend", run, "--shelf", "r.csv", "--feedback", "m.csv", "-n", N_BOOKS)
    assert listed.code == 0, listed.err
    assert set(listed.table["user_id"]) == {"ann"}
    assert set(listed.table["book_id"]) == set(range(6, N_BOOKS + 1))


def test_what_is_wrong_is_two_lines(shell: Shell, run: Path, export: Path, tmp_path: Path) -> None:  # noqa: F811
    assert_refused(shell("import", tmp_path / "none.csv", run), 1, "no such file")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert_refused(shell("import", tmp_path / "x.csv", run), 1, "neither a column 'Title'")
    assert_refused(shell("import", export, run, "--choices", tmp_path / "x.csv"), 1, "no column 'row'")
    assert_refused(shell("import", export, run, "--out", tmp_path / "no" / "r.csv"), 1, "cannot write")
    large = tmp_path / "large.csv"
    with large.open("wb") as stream:
        stream.truncate(10**10)
    assert_refused(shell("import", large, run), 1, "10,000,000,000 bytes, more than 100,000,000")


PEAK = """
import resource, sys
from shelfwise import Recommender
recommender = Recommender.load(sys.argv[1])
recommender.book_index
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
counts = recommender.import_file(sys.argv[2]).counts
print(counts["rows"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_file(run: Path, tmp_path: Path) -> None:
    """A file of nearly 100 MB costs a process less than a tenth of that."""
    file, review = tmp_path / "large.csv", "long " * 10_000
    with file.open("w") as stream:
        stream.write("Title,Authors,Read Status,Star Rating,Review\n")
        for n in range(1980):
            stream.write(f"The dragons of {n},Author {n % 5},read,4,{review}\n")
    assert 98_000_000 < file.stat().st_size < 100_000_000
    done = subprocess.run([sys.executable, "-c", PEAK, run, file], check=True, capture_output=True, text=True)
    rows, kilobytes = map(int, done.stdout.split())
    assert rows == 1980
    assert kilobytes < 10_000

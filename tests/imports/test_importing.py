"""From a file to ratings and marks: what counts, once, and an account of the rest."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.data.scale import Scale
from shelfwise.errors import BadValueError, MissingColumnError, UnknownBookError
from shelfwise.imports import (
    BookIndex,
    Choice,
    ImportResult,
    import_file,
    read_choices,
    write_failures,
    write_marks,
    write_ratings,
)

STARS = Scale(1, 5)
BOOKS = [
    # id, title, authors, isbn13, goodreads id, work
    (10, "The Hobbit", "J.R.R. Tolkien", "9780618260300", 5907, 1),
    (11, "The Hobbit (Illustrated)", "J.R.R. Tolkien", "9780345538376", 30, 1),
    (12, "Emma", "Jane Austen", "9780141439587", None, 2),
    (13, "Good Omens", "Terry Pratchett|Neil Gaiman", "9780060853983", None, 3),
    (14, "Les Misérables", "Victor Hugo", None, None, 4),
    (15, "=SUM(1) and other tales", "+Ann Other", "9780439023481", None, 5),
]


@pytest.fixture(scope="module")
def index() -> BookIndex:
    names = ["book_id", "title", "authors", "isbn13", "goodreads_id", "work_id"]
    raw = pl.DataFrame([tuple(None if v is None else str(v) for v in book) for book in BOOKS], names, orient="row")
    return BookIndex(Catalogue(build_catalogue(raw, Path("books.csv")), empty_tags()))


def imported(index: BookIndex, *rows: str, scale: Scale = STARS, **options: object) -> ImportResult:
    """Of rows of Title, Authors, ISBN/UID, Read Status, Star Rating, Last Date Read."""
    header = "Title,Authors,ISBN/UID,Read Status,Star Rating,Last Date Read"
    return import_file("\n".join([header, *rows]).encode(), index, scale, **options)  # type: ignore[arg-type]


def test_every_status_becomes_what_feedback_knows(index: BookIndex) -> None:
    result = imported(
        index,
        "The Hobbit,J.R.R. Tolkien,,read,4",
        "Emma,Jane Austen,,to-read,",
        "Good Omens,Terry Pratchett,,did-not-finish,2",
        "Les Misérables,Victor Hugo,,currently-reading,",
    )
    assert result.ratings == ((10, 4.0), (13, 2.0))
    assert result.marks == (("to-read", 12), ("did-not-finish", 13), ("read", 14))
    other = imported(index, "Emma,Jane Austen,,owned,", "Les Misérables,Victor Hugo,,paused,")
    assert other.marks == (("read", 14),)
    assert other.counts["nothing-said"] == 1


def test_two_editions_of_a_work_are_one_the_last_read_counts(index: BookIndex) -> None:
    rows = [
        "The Hobbit,J.R.R. Tolkien,9780618260300,read,3,2020/01/01",
        "The Hobbit,J.R.R. Tolkien,9780345538376,read,5,2023/01/01",
        "The Hobbit,J.R.R. Tolkien,,to-read,,2024/01/01",
    ]
    for order in (rows, rows[::-1]):
        result = imported(index, *order)
        assert result.ratings == ((11, 5.0),)
        assert result.marks == ()
        assert (result.counts["matched"], result.counts["same-work"], result.counts["rated"]) == (3, 2, 1)
        speaker = order.index(rows[1]) + 2
        assert {row.counted_in for row in result.rows} == {None, speaker}
    unrated = imported(index, "Emma,Jane Austen,,to-read,", "Emma,Jane Austen,,read,", "Emma,Jane Austen,,paused,")
    assert unrated.marks == (("read", 12),)  # the furthest along


@pytest.mark.parametrize(
    ("given", "scale", "expected", "rounded"),
    [
        (4.25, Scale(1, 5), 4, True),
        (4.5, Scale(1, 5), 5, True),
        (3.5, Scale(1, 5), 3, True),
        (0.25, Scale(1, 5), 1, True),
        (4, Scale(1, 5), 4, False),
        (4.25, Scale(0.5, 5, 0.5), 4.5, True),
        (3.75, Scale(0.25, 5, 0.25), 3.75, False),
        (4.5, Scale(1, 10), 9, False),
        (4.25, Scale(1, 10), 9, True),
    ],
)
def test_stars_are_put_on_the_runs_scale_and_it_is_said(
    index: BookIndex, given: float, scale: Scale, expected: float, rounded: bool
) -> None:
    result = imported(index, f"Emma,Jane Austen,,read,{given}", scale=scale)
    assert result.ratings == ((12, expected),)
    assert result.rows[0].rounded == rounded == bool(result.counts["rounded"])
    assert any("were rounded" in note for note in result.notes) == rounded


def test_stars_that_cannot_be_read_are_counted(index: BookIndex) -> None:
    result = imported(index, "Emma,Jane Austen,,read,eleven")
    assert (result.ratings, result.marks) == ((), (("read", 12),))
    assert result.counts["stars-unread"] == 1
    assert any("that are no stars, of books that count as read without stars: 1" in note for note in result.notes)


def test_suggestions_are_taken_only_when_asked(index: BookIndex) -> None:
    row = "Emma,Jane Austen,9780439023481,read,4"  # a valid ISBN, of book 15: title and author disagree
    unknown = "Good Omens,Terry Pratchett,9799900000005,read,4"
    result = imported(index, row, unknown)
    assert [one.match.outcome for one in result.rows] == ["review", "review"]
    assert [one.match.suggested for one in result.rows] == [False, True]
    accepted = imported(index, row, unknown, accept_suggestions=True)
    assert [one.match.outcome for one in accepted.rows] == ["review", "matched"]
    assert accepted.ratings == ((13, 4.0),)
    assert accepted.rows[1].match.how == "suggestion"


# Choices.


def test_failures_go_to_a_file_and_come_back_as_choices(index: BookIndex, tmp_path: Path) -> None:
    rows = [
        "=cmd|' /C calc'!A0,@evil,9780306406157,read,4",
        "Good Omens,Terry Pratchett,9799900000005,read,5",
        "Emma,,,read,3",
        ",,,read,1",
    ]
    result = imported(index, *rows)
    path = tmp_path / "failures.csv"
    assert write_failures(result, index, path) == 4
    content = path.read_text(encoding="utf-8-sig")
    lines = list(csv.DictReader(content.splitlines()))
    assert [line["outcome"] for line in lines] == ["not-in-catalogue", "review", "review", "unreadable"]
    assert lines[0]["title"] == "'=cmd|' /C calc'!A0"
    assert lines[0]["authors"] == "'@evil"
    assert lines[0]["isbn"] == '="9780306406157"'  # so that a spreadsheet keeps it
    assert [line["book_id"] for line in lines] == ["", "13", "", ""]  # the suggestion is filled in
    assert lines[2]["candidate_id"] == "12"
    lines[2]["book_id"], lines[0]["book_id"] = "12", "none"
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, lines[0], delimiter=";")  # as some spreadsheets save it
        table.writeheader()
        table.writerows(lines)
    choices = read_choices(path)
    assert {row: choice.book_id for row, choice in choices.items()} == {2: None, 3: 13, 4: 12}
    decided = imported(index, *rows, choices=choices)
    assert decided.ratings == ((13, 5.0), (12, 3.0))
    assert [row.match.how for row in decided.rows] == ["choice", "choice", "choice", ""]


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({9: Choice(12)}, BadValueError, "no row 9"),
        ({2: Choice(99)}, UnknownBookError, "row 2: no book 99"),
        ({2: Choice(12, "Another book")}, BadValueError, "row 2 is 'Emma', and 'Another book' in the choices"),
        ({3: Choice(12)}, BadValueError, "row 3 cannot be read"),
    ],
)
def test_choices_that_do_not_fit_are_refused(
    index: BookIndex, choices: dict[int, Choice], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        imported(index, "Emma,Jane Austen,,read,4", ",,,read,4", choices=choices)


def test_a_table_that_holds_no_choices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnError, match="no column 'book_id'"):
        read_choices(b"row,title\n2,x\n")
    with pytest.raises(BadValueError, match="row 2: 'x' is no row number"):
        read_choices(b"row,book_id\nx,12\n")
    assert read_choices(b"row,book_id\n2.0,12.0\n3,abc\n4,\n5,NONE\n") == {
        2: Choice(12),
        3: Choice("abc"),
        5: Choice(None),
    }


def test_what_is_written_is_what_recommend_takes(index: BookIndex, tmp_path: Path) -> None:
    result = imported(index, "Emma,Jane Austen,,read,4.25", "Good Omens,Terry Pratchett,,to-read,")
    assert write_ratings(result, tmp_path / "r.csv", "me") == 1
    assert write_marks(result, tmp_path / "m.csv", "me") == 1
    assert (tmp_path / "r.csv").read_text().splitlines() == ["user_id,book_id,rating", "me,12,4"]
    assert (tmp_path / "m.csv").read_text().splitlines() == ["user_id,action,book_id", "me,to-read,13"]

"""What readers say beside stars, and lists of books, from Python and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rules_world import FACTS, ISBN

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.errors import BadValueError, FormatError, MissingColumnError, UnknownBookError
from shelfwise.rules import Feedback
from shelfwise.rules.files import read_book_list, read_feedback

# Feedback.


def shelf_of(books: dict[int, float]) -> Shelves:
    return Shelves.build(np.zeros(len(books), int), list(books), list(books.values()), 1)


def test_feedback_changes_the_shelf_and_what_counts_as_read() -> None:
    marks = [("ann", "ignore", 0), ("ann", "did-not-finish", 7), ("ann", "dismiss", 8), ("ann", "to-read", 9)]
    marks.append(("ann", "read", 5))
    feedback = Feedback.of([*marks, ("ann", "hide-author", "DAN"), ("bob", "ignore", 1), ("ann", "dismiss", 99)], FACTS)
    mine = feedback.take(pl.Series(["ann"]))
    shelf = shelf_of({0: 1, 1: 5, 2: 5, 3: 4})
    judged = mine.shelf(shelf, Scale(1, 5))
    assert dict(zip(judged.item_idx.tolist(), judged.stars.tolist(), strict=True)) == {1: 5, 2: 5, 3: 4, 7: 4}
    assert mine.read(shelf).item_idx.tolist() == [0, 1, 2, 3, 5, 7]
    assert mine.aside.item_idx.tolist() == [8, 9]
    assert FACTS.authors.take(mine.marks["hide-author"].item_idx).to_list() == ["dan"]
    assert mine.changes_shelf.tolist() == [True]
    assert feedback.unknown == ("99",)
    assert not feedback.take(pl.Series(["cleo"])).changes_shelf.any()


@pytest.mark.parametrize(
    ("shelf", "stars"), [({0: 1, 1: 1}, 1), ({}, 2), ({0: 5}, 4), ({7: 5}, 5)], ids=["clipped", "none", "one", "rated"]
)
def test_what_was_not_finished_is_a_weak_negative(shelf: dict[int, float], stars: float) -> None:
    feedback = Feedback.of([("ann", "did-not-finish", 7)], FACTS)
    judged = feedback.shelf(shelf_of(shelf), Scale(1, 5))
    assert judged.stars[judged.item_idx == 7].tolist() == [stars]


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(BadValueError, match="'adore'"):
        Feedback.of([("ann", "adore", 1)], FACTS)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_feedback_is_read_from_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "f.csv", "user_id,action,book_id,author\n7,dismiss,3,\n7,hide-author,,Bob\n8,ignore,99,\n")
    feedback = read_feedback(file, FACTS)
    assert feedback.readers.ids.to_list() == [7, 8]
    assert feedback.marks["dismiss"].item_idx.tolist() == [3]
    assert feedback.unknown == ("99",)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("user_id,action,book_id\n1,ignore,2\n1,love,3\n", BadValueError, "row 3: no action 'love'"),
        ("user_id,action,book_id\n1,,2\n", BadValueError, "row 2: no action None"),
        ("user_id,action,book_id,author\n1,hide-author,2,\n", BadValueError, "row 2: hide-author without author"),
        ("user_id,action,author\n1,dismiss,Bob\n", BadValueError, "row 2: dismiss without book_id"),
        ("user_id,book_id\n1,2\n", MissingColumnError, "no column for the actions"),
        ("user_id,action,book_id\n,ignore,2\n", BadValueError, "row 2: no reader id"),
    ],
)
def test_bad_feedback_is_named_by_row_and_value(tmp_path: Path, text: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        read_feedback(write(tmp_path / "f.csv", text), FACTS)


# Lists of books.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", f"3\n{ISBN}\n\n999\n3\n"),
        ("a.csv", f"book_id\n3\n{ISBN}\n999\n"),
        ("a.csv", f"shelf,isbn\nx,{ISBN}\ny,9780316769174\n"),
        ("a.csv", "isbn\n0-439-02348-3\n"),
    ],
)
def test_books_are_listed_by_id_or_isbn(tmp_path: Path, name: str, text: str) -> None:
    books, unknown = read_book_list(write(tmp_path / name, text), FACTS.catalogue)
    assert books == ([8] if "isbn" in text else [3, 8])
    assert unknown == [line.split(",")[-1] for line in text.split() if "999" in line or "76917" in line]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.txt", "nothing known\n", UnknownBookError),
        ("a.csv", "title\nSolo\n", MissingColumnError),
        ("a.csv", "", FormatError),
    ],
)
def test_a_file_that_lists_no_book_is_refused(tmp_path: Path, name: str, text: str, error: type) -> None:
    with pytest.raises(error, match=name):
        read_book_list(write(tmp_path / name, text), FACTS.catalogue)

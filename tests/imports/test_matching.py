"""Which book a row is: what is the same whatever the spelling, and what is not however alike it looks."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.data.sources import load_dataset
from shelfwise.imports import BookIndex, Entry, Match
from shelfwise.imports.titles import name_likeness, name_of, take_apart, title_likeness

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from matching import ASKS, make_cases, measure, suggestions, summary

BOOKS = [
    # id, title, authors, isbn13, goodreads id, original title
    (1, "The Hunger Games (The Hunger Games, #1)", "Suzanne Collins", "9780439023481", 2767052, None),
    (2, "Catching Fire (The Hunger Games, #2)", "Suzanne Collins", "9780439023498", 6148028, None),
    (3, "The Hobbit", "J.R.R. Tolkien", "9780618260300", 5907, None),
    (4, "The Lord of the Rings (The Lord of the Rings, #1-3)", "J.R.R. Tolkien", "9780618640157", 33, None),
    (5, "The Two Towers (The Lord of the Rings, #2)", "J.R.R. Tolkien", None, None, None),
    (6, "Naruto, Vol. 01: The Tests of the Ninja (Naruto, #1)", "Masashi Kishimoto", None, None, "Naruto 1"),
    (7, "Naruto, Vol. 02: The Worst Client (Naruto, #2)", "Masashi Kishimoto", None, None, None),
    (8, "Crime and Punishment", "Fyodor Dostoyevsky|David McDuff", None, None, "Преступление и наказание"),
    (9, "Good Omens: The Nice and Accurate Prophecies of Agnes Nutter, Witch", "Terry Pratchett|Neil Gaiman",
     None, None, None),
    (10, "Gone", "Michael  Grant", None, None, None),
    (11, "Gone", "Jonathan Kellerman", None, None, None),
    (12, "Burned", "Ellen Hopkins", None, None, None),
    (13, "The Little Prince", "Antoine de Saint-Exupéry", "9780156012195", None, "Le Petit Prince"),
    (14, "Henry IV, Part 1", "William Shakespeare", None, None, None),
    (15, "Henry IV, Part 2", "William Shakespeare", None, None, None),
]  # fmt: skip
NAMES = ["book_id", "title", "authors", "isbn13", "goodreads_id", "original_title"]


@pytest.fixture(scope="module")
def index() -> BookIndex:
    rows = [tuple(None if value is None else str(value) for value in book) for book in BOOKS]
    table = build_catalogue(pl.DataFrame(rows, NAMES, orient="row"), Path("books.csv"))
    return BookIndex(Catalogue(table, empty_tags()))


def found(index: BookIndex, title: str, *authors: str, **more: object) -> Match:
    return index.match(Entry(2, title, authors, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("title", "author", "book"),
    [
        ("The Hunger Games", "Suzanne Collins", 1),
        ("HUNGER GAMES (The Hunger Games #1)", "Collins Suzanne", 1),
        ("The Hunger Games: Catching Fire", "S. Collins", 2),
        ("Catching Fire (Hunger Games Trilogy, Book 2)", "Suzanne Collins", 2),
        ("Catchng Fire", "Suzanne Collins", 2),
        ("Hobbit, The", "JRR Tolkien", 3),
        ("The Hobbit [Paperback]", "J. R. R. Tolkien", 3),
        ("The Hobbit: 75th Anniversary Edition", "Tolkien", 3),
        ("The Lord of the Rings", "John Ronald Reuel Tolkien", 4),
        ("Naruto, Vol. 1: The Tests of the Ninja", "Masashi Kishimoto", 6),
        ("Crime & Punishment: A Novel", "Fyodor Dostoevsky", 8),
        ("Crime and Punishment", "F.M. Dostoyevsky", 8),
        ("Prestuplenie i nakazanie", "Fyodor Dostoyevsky", 8),
        ("Преступление и наказание", "Fyodor Dostoyevsky", 8),
        ("Good Omens", "Terry Pratchett", 9),
        ("Gone", "Michael Grant", 10),
        ("The Little Prince", "Antoine de Saint-Exupery", 13),
        ("Le petit prince", "Antoine de Saint Exupéry", 13),
        ("Henry IV, Part Two", "William Shakespeare", 15),
    ],
)
def test_the_same_book_in_other_words(index: BookIndex, title: str, author: str, book: int) -> None:
    match = found(index, title, author)
    assert (match.outcome, match.how) == ("matched", "title")
    assert index.ids[match.item_idx] == book


@pytest.mark.parametrize(
    ("title", "author"),
    [
        ("Mockingjay (The Hunger Games, #3)", "Suzanne Collins"),
        ("The Hunger Games Box Set", "Suzanne Collins"),
        ("The Hunger Games Trilogy Boxset (The Hunger Games, #1-3)", "Suzanne Collins"),
        ("The Hunger Games: Official Illustrated Movie Companion", "Suzanne Collins"),
        ("The Hunger Games (The Hunger Games, #4)", "Suzanne Collins"),
        ("The Hobbit: Graphic Novel", "J.R.R. Tolkien"),
        ("The Hobbit and Philosophy", "J.R.R. Tolkien"),
        ("The Lord of the Rings: The Fellowship of the Ring", "J.R.R. Tolkien"),
        ("Naruto, Vol. 03: Dreams", "Masashi Kishimoto"),
        ("Naruto, Vol. 3", "Masashi Kishimoto"),
        ("Naruto", "Masashi Kishimoto"),
        ("Henry IV, Part 3", "William Shakespeare"),
        ("Burned", "P.C. Cast"),
        ("Gone", "Lisa McMann"),
        ("The Hobbit", ""),
        ("A book of nobody", "Suzanne Collins"),
    ],
)
def test_another_book_however_alike(index: BookIndex, title: str, author: str) -> None:
    match = found(index, title, *([author] if author else []))
    assert match.outcome in ("review", "not-in-catalogue")
    assert match.reason
    assert not match.suggested


def test_several_authors_in_any_order(index: BookIndex) -> None:
    for names in (("Neil Gaiman", "Terry Pratchett"), ("Terry Pratchett", "Neil Gaiman")):
        assert found(index, "Good Omens", *names).outcome == "matched"
    assert found(index, "Good Omens", "Neil Gaiman").outcome == "review"  # who stands first there is lacking
    assert found(index, "The Hobbit", "Chuck Dixon", "J.R.R. Tolkien").outcome == "review"  # an adaptation


def test_isbn_and_edition_id_come_first(index: BookIndex) -> None:
    match = found(index, "Der kleine Prinz", "Antoine de Saint-Exupéry", isbns=("9780156012195",))
    assert (match.outcome, match.how, index.ids[match.item_idx]) == ("matched", "isbn", 13)
    match = found(index, "The Hobbit, or There and Back Again", "Tolkien", goodreads_id=5907)
    assert (match.how, index.ids[match.item_idx]) == ("goodreads-id", 3)
    # An id of another app's edition, or of a book altogether different: what it says of itself decides.
    match = found(index, "Catching Fire", "Suzanne Collins", goodreads_id=5907)
    assert (match.how, index.ids[match.item_idx]) == ("title", 2)
    match = found(index, "Emma", "Jane Austen", isbns=("9780618260300",))
    assert (match.outcome, match.reason) == ("review", "its ISBN is of a book with another title and author")
    match = found(index, "The Hobbit Boxed Set", "J.R.R. Tolkien", isbns=("9780439023481",))
    assert match.outcome == "review"
    match = found(index, "The Hobbit", "Tolkien", isbns=("9780618260300", "9780439023481"))
    assert index.ids[match.item_idx] == 3
    match = found(index, "", isbns=("9780618260300",))
    assert (match.how, index.ids[match.item_idx]) == ("isbn", 3)


def test_with_an_unknown_isbn_nothing_is_guessed(index: BookIndex) -> None:
    match = found(index, "The Hobbit", "J.R.R. Tolkien", isbns=("9799900000005",))
    assert (match.outcome, match.suggested) == ("review", True)
    assert [index.ids[one.item_idx] for one in match.candidates] == [3]
    assert "its ISBN is not in the catalogue" in match.reason
    assert found(index, "A book of nobody", "Nobody", isbns=("9799900000005",)).outcome == "not-in-catalogue"
    # Of this one the catalogue has no ISBN at all, so that another one says nothing.
    assert found(index, "Burned", "Ellen Hopkins", isbns=("9799900000005",)).how == "title"


def test_titles_taken_apart() -> None:
    title = take_apart("The Fellowship of the Ring (The Lord of the Rings, #1)")
    assert (title.full, title.series, title.first, title.last) == ("fellowship of the ring", "lord of the rings", 1, 1)
    box = take_apart("Vampire Academy Collection (Vampire Academy, #1-3)")
    assert (box.first, box.last, box.kinds) == (1, 3, {"box"})
    part = take_apart("A Storm of Swords (A Song of Ice and Fire, #3: Part 1 of 2)")
    assert (part.first, part.numbers) == (3, {"1"})
    assert take_apart("Tears (No. 1 Ladies' Detective Agency, #2)").first == 2
    assert take_apart("(500) Days").full == "500 days"
    for empty in ("", "()", "---", "鋼"):
        assert title_likeness(take_apart(empty), take_apart("Emma")) < 0.5


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        ("J.R.R. Tolkien", "JRR Tolkien", 1, 1),
        ("Tolkien J. R. R.", "J.R.R. Tolkien", 1, 1),
        ("Ursula K. Le Guin", "Ursula Le Guin", 0.95, 1),
        ("Gabriel García Márquez", "Gabriel Garcia Marquez", 1, 1),
        ("Martin Luther King Jr.", "Martin Luther King", 1, 1),
        ("Dostoyevsky", "Fyodor Dostoyevsky", 0.85, 0.95),
        ("John Smith", "Jane Smith", 0, 0.6),
        ("Kristin Cast", "P.C. Cast", 0, 0.6),
        ("Michael Grant", "Mira Grant", 0, 0.7),
        ("Stephen King", "Stephen Hawking", 0, 0.8),
    ],
)
def test_names(one: str, other: str, least: float, most: float) -> None:
    for pair in ((one, other), (other, one)):
        assert least <= name_likeness(*map(name_of, pair)) <= most


def test_the_sample_by_the_benchmarks_cases() -> None:
    """Well-known books that may be shipped: the same cases and measures as of goodbooks-10k, on a small catalogue."""
    searched, cases = make_cases(load_dataset("sample").catalogue, seed=0, half=1)
    index = BookIndex(searched)
    measured = summary(measure(index, cases))
    assert measured["cases"] > 300
    assert measured["precision"] >= 0.995
    assert measured["recall"] >= 0.9


@pytest.mark.real_data
def test_goodbooks_by_the_benchmarks_cases(goodbooks: Path) -> None:
    searched, cases = make_cases(load_dataset(goodbooks).catalogue, seed=10, half=1)
    index = BookIndex(searched)
    counts = measure(index, cases)
    measured = summary(counts)
    assert measured["cases"] > 2500
    assert measured["precision"] >= 0.995
    assert measured["recall"] >= 0.9
    assert measured["asked first"] >= 0.95
    assert counts[ASKS]["right"] == counts[ASKS]["wrong"] == 0  # nothing is guessed
    n, wrong = suggestions(index, cases)
    assert wrong <= 0.03 * n

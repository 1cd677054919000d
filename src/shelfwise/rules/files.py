"""Rules and feedback from files: lists of books by id or ISBN, and marks of readers."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ids import IdSpace, to_catalogue_ids
from shelfwise.data.isbn import repair_isbn
from shelfwise.data.ratings import BOOK_ID_NAMES, READER_NAMES, as_ids, id_column
from shelfwise.data.tables import need_column, pick_column, read_bytes, read_table
from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, FormatError, UnknownBookError
from shelfwise.rules.facts import CatalogueFacts
from shelfwise.rules.feedback import ACTIONS, Feedback, Mark

ISBN_NAMES = ("isbn", "isbn13", "isbn_13", "isbn10", "isbn_10", "ean")
AUTHOR_NAMES = ("author", "authors", "author_name")


def read_book_list(path: Path, catalogue: Catalogue, ids: IdSpace | None = None) -> tuple[list[Id], list[str]]:
    """The books in a file, as ids of the catalogue in order and once each, and what of it the catalogue lacks.

    A .txt holds one id or ISBN a line; a table a column of ids (book_id) or ISBNs (isbn). What is no known id is looked
    up as an ISBN. Raises DataError; UnknownBookError where no book of the file is known.
    """
    if path.suffix == ".txt":
        raw, isbns_only = pl.Series(_lines(path), dtype=pl.String), False
    else:
        table = read_table(path, all_text=not path.name.endswith(".parquet"))
        isbn = pick_column(table, ISBN_NAMES, path)
        isbns_only = isbn is not None and pick_column(table, BOOK_ID_NAMES[:-1], path) is None
        column = isbn if isbn is not None and isbns_only else need_column(table, BOOK_ID_NAMES[:-1], path, "books")
        raw = table[column].cast(pl.String).drop_nulls()
    by_isbn = _by_isbn(raw, catalogue)
    if isbns_only:
        found = by_isbn
    else:
        known, _ = to_catalogue_ids(as_ids(_whole(raw)), catalogue, ids, str(path))
        found = [isbn if idx is None else idx for idx, isbn in zip(known, by_isbn, strict=True)]
    books = [book for book in dict.fromkeys(found) if book is not None]
    if not books:
        raise UnknownBookError(
            f"{path}: none of its {len(raw):,} books is in the catalogue",
            hint="give book ids, or ISBNs in a column isbn",
        )
    return books, [text for text, book in zip(raw, found, strict=True) if book is None]


def _lines(path: Path) -> list[str]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error}", hint="save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _whole(raw: pl.Series) -> pl.Series:
    """Ids as numbers where every one of them is one, else as text, in which integer ids are found too."""
    numbers = raw.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == 0 and numbers.cast(pl.String).equals(raw) else raw


def _by_isbn(raw: pl.Series, catalogue: Catalogue) -> list[Id | None]:
    books = catalogue.books.select("isbn13", "book_id").drop_nulls().unique("isbn13", keep="first")
    by_isbn = dict(books.iter_rows())
    return [by_isbn.get(repair_isbn(text)) for text in raw]


def read_feedback(path: Path, facts: CatalogueFacts, ids: IdSpace | None = None) -> Feedback:
    """Marks from a table of user_id, action (rules.feedback.ACTIONS), book_id, and author for hide-author.

    Raises DataError: MissingColumnError, BadValueError that names the row.
    """
    table = read_table(path)
    users = id_column(table, need_column(table, READER_NAMES, path, "readers"), path, "reader id").to_list()
    actions = table[need_column(table, ("action", "mark"), path, "actions")].cast(pl.String).to_list()
    no_one = pl.Series([None] * len(table), dtype=pl.String)
    author_column = pick_column(table, AUTHOR_NAMES, path)
    authors = (no_one if author_column is None else table[author_column].cast(pl.String)).to_list()
    book_column = pick_column(table, BOOK_ID_NAMES, path)
    books, raw_books = no_one, no_one
    if book_column is not None and table[book_column].null_count() < len(table):
        raw_books = as_ids(table[book_column])
        books, _ = to_catalogue_ids(raw_books, facts.catalogue, ids, str(path))
    marks: list[Mark] = []
    for row, (user, action, author, book) in enumerate(zip(users, actions, authors, raw_books, strict=True)):
        where = f"{path}, row {row + 2}"
        if action not in ACTIONS:
            raise BadValueError(f"{where}: no action {action!r}", hint=f"choose one of {', '.join(ACTIONS)}")
        needed = author if action == "hide-author" else book
        if needed is None:
            column = "author" if action == "hide-author" else "book_id"
            raise BadValueError(f"{where}: {action} without {column}", hint=f"give one in the column {column}")
        known = needed if action == "hide-author" or books[row] is None else books[row]
        marks.append((user, action, known))
    return Feedback.of(marks, facts, str(path))

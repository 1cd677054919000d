"""A dozen books whose answers to each rule are known, and a reader to whom they are offered in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from shelfwise.data.catalogue import Catalogue, build_catalogue, plain
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Lists, Readers, Rows
from shelfwise.rules import CatalogueFacts, Histories, Rules, make_plan
from shelfwise.rules.incidence import Mask
from shelfwise.rules.lists import choose
from shelfwise.rules.plan import allowed, kept

# title, authors, language, year, work_id, subjects; the place is the book's id and index
BOOKS = [
    ("One (Saga, #1)", "Ann Onym", "eng", 2000, 1, "dragons"),
    ("Two (Saga, #2)", "Ann Onym", "eng", 2001, 2, "dragons"),
    ("Three (Saga, #3)", "Ann Onym", "en-US", 2002, 3, "dragons;War"),
    ("Between (Saga, #1.5)", "Ann Onym", "eng", 2003, 4, "dragons"),
    ("Box (Saga, #1-3)", "Ann Onym", "eng", 2004, 5, "dragons"),
    ("Solo", "Bob", "en", 1990, 50, "harbour"),
    ("Solo, again", "Bob", "spa", 1995, 50, "harbour"),
    ("Duet", "Bob;Cid", "fre", 2010, 7, "harbour"),
    ("Start (Tale, #1)", "Cid", "ger", 1980, 8, "war"),
    ("Next (Tale, #2)", "Dan", "ger", 1981, 9, "war"),
    ("Whose?", "", "", None, 10, ""),
    ("Before (Tale, #0)", "Cid", "ger", 1985, 11, "orchard"),
]
N = len(BOOKS)
EVERYTHING = list(range(N))
SAGA = {0, 1, 2, 3, 4}
ISBN = "9780439023481"


def make_catalogue(books: list[tuple[object, ...]] = BOOKS) -> Catalogue:
    names = ("title", "authors", "language", "year", "work_id", "subjects")
    columns = {name: [str(row[k] or "") for row in books] for k, name in enumerate(names)}
    isbns = [ISBN if book == 8 else "" for book in range(len(books))]
    raw = pl.DataFrame({"book_id": [str(i) for i in range(len(books))], "isbn13": isbns, **columns})
    tags = pl.DataFrame(
        {"item_idx": [5, 5, 5], "tag": ["harbour-tales", "dragons", "to-read"], "count": [1000, 2, 99_999]},
        schema={"item_idx": pl.Int32, "tag": pl.String, "count": pl.Int64},
    )
    return Catalogue(build_catalogue(raw, Path("books.csv")), tags)


def make_facts(catalogue: Catalogue, counts: Indices | None = None, rows: list[list[int]] | None = None):
    """Facts with readers who read each of `rows`; content: a column for each subject."""
    n_books, rows = len(catalogue), rows or []
    item_idx = [book for row in rows for book in row]
    shelves = Shelves.build(
        np.repeat(np.arange(len(rows)), [len(row) for row in rows]), item_idx, np.ones(len(item_idx)), len(rows)
    )
    subjects = catalogue.books["subjects"].list.first().fill_null("").to_list()
    names = sorted(set(subjects))
    content = sp.csr_matrix(np.array([[float(s == name and s != "") for name in names] for s in subjects], "f4"))
    return CatalogueFacts(catalogue, content, shelves, np.ones(n_books, np.int32) if counts is None else counts)


FACTS = make_facts(make_catalogue())


def histories(
    read: list[int], stars: float = 5, aside: list[int] | None = None, hidden: list[str] | None = None, facts=FACTS
) -> Histories:
    def of(books) -> Shelves:
        return Shelves.build(np.zeros(len(books), int), books, np.full(len(books), stars), 1)

    authors = facts.authors.find([plain(name) for name in hidden or []])
    return Histories(of(read), of(read), of(aside or []), of(authors))


def side_by_side(readers: list[Histories]) -> Histories:
    """Readers given one by one as one block."""

    def joined(kind: str) -> Shelves:
        shelves = [getattr(reader, kind) for reader in readers]
        rows = np.repeat(np.arange(len(readers)), [len(one.item_idx) for one in shelves])
        books, stars = (np.concatenate([getattr(one, name) for one in shelves]) for name in ("item_idx", "stars"))
        return Shelves.build(rows, books, stars, len(readers))

    return Histories(*map(joined, ("rated", "read", "aside", "hidden")))


class Written:
    """The parts of a model that lists use: scores as they are written down, and the first so many of them, if any."""

    def __init__(self, scores: Floats, n_first: int | None = None) -> None:
        self.table, self.n_first = scores, n_first

    def scores_among(self, readers: Readers, allowed: Mask) -> Floats:
        return self.table[readers.shelves.item_idx]

    def first_among(self, readers: Readers, allowed: Mask, n: int) -> Lists | None:
        if self.n_first is None:
            return None
        scores = np.where(allowed, self.scores_among(readers, allowed), -np.inf)
        first = np.argsort(-scores, axis=1, kind="stable")[:, : self.n_first].astype(np.int32)
        found = np.take_along_axis(scores, first, axis=1)
        return Lists(np.where(np.isfinite(found), first, -1), found, np.stack([first, found], axis=-1))

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        return self.table[readers.shelves.item_idx[rows], item_idx]


def numbered(n_readers: int) -> Readers:
    """Readers whose shelf tells Written which row of the table is theirs."""
    every = np.arange(n_readers)
    return Readers(Shelves.build(every, every, np.ones(n_readers), n_readers))


def listed(
    rules: dict | None = None, read: list[int] | None = None, *, n: int = N, scores=None, facts=FACTS, **about
) -> list[int]:
    """The list of one reader, to whom books are offered in the order of their index, unless there are scores."""
    plan = make_plan(Rules.parse(rules or {}), facts, 4.0)
    reader = histories(read or [], facts=facts, **about)
    scores = -np.arange(len(facts), dtype=np.float32) if scores is None else np.array(scores, np.float32)
    return choose(plan, scores, allowed(plan, reader)[0], kept(plan, reader)[0], n)


def without(*books: int) -> list[int]:
    return [book for book in EVERYTHING if book not in books]

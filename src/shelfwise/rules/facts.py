"""What the rules need of a catalogue of I books: works, authors, series and their volumes, tags, counts, likeness.

Each is worked out when it is first asked for, and once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from shelfwise.data.catalogue import SERIES, Catalogue, plain
from shelfwise.data.language import language_of
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.features.shelf_words import is_shelf_word

Mask = npt.NDArray[np.bool_]

# A tag says what a book is about where it was given at least so often as this share of the book's commonest one.
TAG_SHARE = 0.05
# What follows the first number of a book that holds several volumes: '#1-3', '#1, #2', '#1/2'.
_SEVERAL = re.compile(r"\d+(?:\.\d+)?((?:\s*[-–/,&+]\s*#?\d+(?:\.\d+)?)+)")


@dataclass(frozen=True)
class CatalogueFacts:
    """content  float32 [I, F], rows of length 1; shelves  who read what, for likeness; counts  ratings, int32 [I]"""

    catalogue: Catalogue
    content: sp.csr_matrix
    shelves: Shelves
    counts: Indices

    def __len__(self) -> int:
        return len(self.catalogue)

    # Works and authors.

    @cached_property
    def work(self) -> Indices:
        """The work of each book, int32 [I]: equal for its editions."""
        books = self.catalogue.books.select("work_key", "book_id").iter_rows()
        return _codes([key if key is not None else f"book:{book}" for key, book in books])

    @cached_property
    def _books_of_work(self) -> sp.csr_matrix:
        return _incidence(self.work, np.arange(len(self)), int(self.work.max(initial=-1)) + 1, len(self))

    @property
    def has_editions(self) -> bool:
        """Whether any work is there as more than one book."""
        return self._books_of_work.shape[0] < len(self)

    def editions(self, shelves: Shelves) -> Shelves:
        """All editions of the books on each shelf; stars are 0."""
        if not self.has_editions:
            return shelves
        of_work = self._books_of_work
        work = self.work[shelves.item_idx]
        rows = np.repeat(shelves.rows, np.diff(of_work.indptr)[work])
        return Shelves.build(rows, of_work[work].indices, np.zeros(len(rows)), len(shelves))

    def same_works(self, books: Indices) -> Mask:
        """Which books are editions of one of `books`, bool [I]."""
        found = np.zeros(len(self), dtype=bool)
        if len(books):
            found[entries(self._books_of_work, self.work[books])] = True
        return found

    @cached_property
    def authors(self) -> Vocabulary:
        """Every author, as plain() text."""
        return Vocabulary(self._author_rows[1])

    @cached_property
    def _author_rows(self) -> tuple[npt.NDArray[np.int64], list[str]]:
        return _exploded(self.catalogue.books["authors"].to_list())

    @cached_property
    def by_author(self) -> sp.csr_matrix:
        """Who wrote what: 1 or 0, [I, A]."""
        rows, names = self._author_rows
        return _incidence(rows, self.authors.find(names), len(self), len(self.authors))

    def written_by(self, authors: Indices) -> Mask:
        """Which books have one of `authors`, bool [I]."""
        return _having(self.by_author, authors)

    # Series and their volumes.

    @cached_property
    def series_names(self) -> Vocabulary:
        """Every series, as plain() text."""
        return Vocabulary([plain(name) for name in self.catalogue.books["series"].drop_nulls()])

    @cached_property
    def series(self) -> Indices:
        """The series of each book, int32 [I]; -1 for none."""
        names = [None if name is None else plain(name) for name in self.catalogue.books["series"]]
        found = self.series_names.find([name or "" for name in names])
        return np.where([name is None for name in names], -1, found).astype(np.int32)

    @cached_property
    def number(self) -> npt.NDArray[np.float64]:
        """The number of each book in its series, of a collection the first, float64 [I]; NaN where there is none."""
        return self.catalogue.books["series_number"].to_numpy().astype(np.float64)

    @cached_property
    def last_number(self) -> npt.NDArray[np.float64]:
        """The last number of a collection (several volumes in one book, '#1-3'), float64 [I]; NaN of other books."""
        return np.array([_last_of_several(title) for title in self.catalogue.books["title"]], dtype=np.float64)

    @cached_property
    def is_collection(self) -> Mask:
        return ~np.isnan(self.last_number) & (self.series >= 0)

    @cached_property
    def volumes(self) -> Volumes:
        """The numbered volumes of all series."""
        single = (self.series >= 0) & ~self.is_collection & (self.number >= 1) & (self.number % 1 == 0)
        pairs = np.stack([self.series[single], self.number[single]], axis=1)
        unique, place = np.unique(pairs, axis=0, return_inverse=True)
        of_book = np.full(len(self), -1, dtype=np.int32)
        of_book[single] = place.ravel()
        series, number = unique[:, 0].astype(np.int32), unique[:, 1]
        rows, held = [np.flatnonzero(single)], [of_book[single].astype(np.int64)]
        for book in np.flatnonzero(self.is_collection):
            there = (series == self.series[book]) & (number >= self.number[book]) & (number <= self.last_number[book])
            held.append(np.flatnonzero(there))
            rows.append(np.full(len(held[-1]), book))
        holds = _incidence(np.concatenate(rows), np.concatenate(held), len(self), len(series))
        return Volumes(of_book, series, number, holds, len(self.series_names))

    @cached_property
    def books_of_series(self) -> sp.csr_matrix:
        """1 or 0, [S, I]."""
        there = np.flatnonzero(self.series >= 0)
        return _incidence(self.series[there], there, len(self.series_names), len(self))

    @cached_property
    def first_volumes(self) -> Mask:
        """Which books skip no volume of their series for a reader who has read nothing, bool [I]."""
        return in_turn(self, np.zeros(0, dtype=np.int32), np.arange(len(self), dtype=np.int32))

    # What filters ask for.

    @cached_property
    def years(self) -> npt.NDArray[np.float64]:
        """float64 [I], NaN where unknown."""
        return self.catalogue.books["year"].cast(pl.Float64).to_numpy().astype(np.float64)

    @cached_property
    def languages(self) -> list[str | None]:
        """The language of each book, see data.language."""
        return [None if code is None else language_of(code) for code in self.catalogue.books["language"]]

    @cached_property
    def tags(self) -> Vocabulary:
        """Every tag and subject, as plain() text."""
        return Vocabulary(self._tag_rows[1])

    @cached_property
    def by_tag(self) -> sp.csr_matrix:
        """What books are about: 1 or 0, [I, T]."""
        rows, names = self._tag_rows
        return _incidence(rows, self.tags.find(names), len(self), len(self.tags))

    @cached_property
    def _tag_rows(self) -> tuple[npt.NDArray[np.int64], list[str]]:
        tags = self.catalogue.tags
        names = tags["tag"].unique()
        subjects = names.filter(~is_shelf_word(names))
        share = pl.col("count") / pl.col("count").max().over("item_idx")
        kept = tags.filter(pl.col("tag").is_in(subjects.implode())).filter(share >= TAG_SHARE)
        as_plain = {name: plain(name) for name in kept["tag"].unique()}
        rows, words = _exploded(self.catalogue.books["subjects"].to_list())
        all_rows = np.concatenate([kept["item_idx"].to_numpy().astype(np.int64), rows])
        return all_rows, [*(as_plain[name] for name in kept["tag"]), *words]

    def about(self, tags: Indices) -> Mask:
        """Which books have one of `tags`, bool [I]."""
        return _having(self.by_tag, tags)

    # Dials.

    @cached_property
    def popularity(self) -> Floats | None:
        """The share of books that are read less, float32 [I] from 0 to 1; None where no counts exist.

        By outside counts, which training data that is cut off at so many ratings a book cannot spoil; else by ratings.
        """
        outside = self.catalogue.books["outside_count"]
        counts = self.counts if outside.null_count() == len(outside) else outside.fill_null(0).to_numpy()
        if len(counts) < 2 or counts.min() == counts.max():
            return None
        below = np.searchsorted(np.sort(counts), counts)
        share: Floats = (below / below.max()).astype(np.float32)
        return share

    @cached_property
    def _traits(self) -> sp.csr_matrix:
        """Rows whose products are the mean of the cosines of content and of readers, [I, F + U]."""
        shelves, n_books = self.shelves, len(self)
        ones = np.ones(len(shelves.item_idx), dtype=np.float32)
        read = sp.csr_matrix((ones, np.asarray(shelves.item_idx), shelves.indptr), shape=(len(shelves), n_books)).T
        lengths = np.sqrt(np.maximum(np.bincount(shelves.item_idx, minlength=n_books), 1)).astype(np.float32)
        parts = [part for part in (self.content, sp.diags_array(1 / lengths) @ read) if part.nnz]
        if not parts:
            return _incidence([], [], n_books, 1)
        return sp.csr_matrix(sp.hstack(parts) / np.sqrt(np.float32(len(parts))), dtype=np.float32)

    def likeness(self, some: Indices, others: Indices) -> Floats:
        """Mean cosine of content and co-reading, of what there is, from 0 to 1; float32 [M, N]."""
        return np.asarray((self._traits[some] @ self._traits[others].T).toarray(), dtype=np.float32)

    # Caps.

    @cached_property
    def groups(self) -> sp.csr_matrix:
        """What a list may hold only so many of: works, authors, series side by side; 1 or 0, [I, W + A + S]."""
        n_books, every = len(self), np.arange(len(self))
        works = _incidence(every, self.work, n_books, self._books_of_work.shape[0])
        there = self.series >= 0
        series = _incidence(every[there], self.series[there], n_books, len(self.series_names))
        return sp.csr_matrix(sp.hstack([works, self.by_author, series]))

    def caps(self, *, per_author: int | None, per_series: int | None) -> npt.NDArray[np.int64]:
        """How many of each group a list may hold, int64 [W + A + S]: of a work always one."""
        sizes = (self._books_of_work.shape[0], len(self.authors), len(self.series_names))
        most = np.iinfo(np.int64).max
        return np.repeat([1, per_author or most, per_series or most], sizes)


@dataclass(frozen=True)
class Volumes:
    """V volumes of series with a whole number from 1 up, by series and then number; editions and halves share one.

    of_book  int32 [I], the volume that a book is, -1 for other books
    series   int32 [V]; number  float64 [V]
    holds    1 or 0, [I, V]: a collection holds the volumes from its first number to its last
    """

    of_book: Indices
    series: Indices
    number: npt.NDArray[np.float64]
    holds: sp.csr_matrix
    n_series: int

    def read(self, books: Indices) -> Mask:
        """Which volumes one of `books` holds, bool [V]."""
        held = np.zeros(len(self.series), dtype=bool)
        held[entries(self.holds, books)] = True
        return held

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    def lowest(self, there: Mask) -> npt.NDArray[np.float64]:
        """The lowest number of the volumes `there` of each series, float64; infinite where there is none."""
        found = np.full(self.n_series, np.inf)
        if len(self._starts):
            numbers = np.where(there, self.number, np.inf)
            found[self.series[self._starts]] = np.minimum.reduceat(numbers, self._starts)
        return found

    def highest(self, there: Mask) -> npt.NDArray[np.float64]:
        """The highest number of the volumes `there` of each series, float64; minus infinity where there is none."""
        found = np.full(self.n_series, -np.inf)
        np.maximum.at(found, self.series[there], self.number[there])
        return found


def in_turn(facts: CatalogueFacts, read: Indices, books: Indices) -> Mask:
    """Of each of `books`, whether it skips no volume of its series after what was `read`; see reader.first_unread."""
    volumes, series = facts.volumes, facts.series[books]
    held = volumes.read(read)
    lowest, started = volumes.lowest(~held), np.zeros(volumes.n_series, dtype=bool)
    started[volumes.series[held]] = True
    passes = series < 0
    those = ~passes
    books, series = books[those], series[those]
    volume = volumes.of_book[books]
    again = facts.is_collection[books] & started[series]
    again[volume >= 0] |= held[volume[volume >= 0]]
    passes[those] = ~(facts.number[books] > lowest[series]) & ~again  # NaN is never greater
    return passes


def entries(matrix: sp.csr_matrix, rows: Indices) -> Indices:
    """The columns of the entries in some rows, row by row: matrix[rows].indices in a fraction of the time."""
    starts = matrix.indptr[rows]
    lengths = matrix.indptr[rows + 1] - starts
    ends = np.cumsum(lengths)
    columns: Indices = matrix.indices[np.repeat(starts - ends + lengths, lengths) + np.arange(lengths.sum())]
    return columns


def _last_of_several(title: str) -> float:
    parsed = SERIES.match(title)
    several = _SEVERAL.match(title, parsed.start("number")) if parsed else None
    return max(map(float, re.findall(r"\d+(?:\.\d+)?", several[1]))) if several else np.nan


def _codes(names: list[str]) -> Indices:
    """A number for each name, equal for equal ones, int32 [N]."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int32)


def _exploded(lists: Iterable[list[str] | None]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """(row, plain text) of each text in a list of each row."""
    pairs = [(row, plain(text)) for row, texts in enumerate(lists) for text in texts or ()]
    return np.array([row for row, _ in pairs], dtype=np.int64), [text for _, text in pairs]


def _incidence(rows: npt.ArrayLike, columns: npt.ArrayLike, n_rows: int, n_columns: int) -> sp.csr_matrix:
    """float32 [n_rows, n_columns], 1 at each (row, column), which may stand there twice."""
    rows, columns = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
    found = sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n_rows, n_columns))
    found.sum_duplicates()
    found.data[:] = 1
    return found


def _having(matrix: sp.csr_matrix, columns: Indices) -> Mask:
    """Which rows have an entry in one of the columns."""
    wanted = np.zeros(matrix.shape[1], dtype=np.float32)
    wanted[columns] = 1
    return np.asarray(matrix @ wanted > 0)

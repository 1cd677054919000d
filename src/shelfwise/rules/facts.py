"""What the rules need of a catalogue of I books: works, authors, series and their volumes, tags, counts, likeness.

Each is worked out when it is first asked for, and once.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from shelfwise.data.catalogue import SERIES, Catalogue, plain
from shelfwise.data.language import language_of
from shelfwise.data.shelves import Floats, Indices, Offsets, Shelves
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.features.shelf_words import is_shelf_word
from shelfwise.rules.incidence import Mask, entries, having, holding, incidence
from shelfwise.rules.volumes import Volumes

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
        return incidence(self.work, np.arange(len(self)), int(self.work.max(initial=-1)) + 1, len(self))

    @property
    def has_editions(self) -> bool:
        """Whether any work is there as more than one book."""
        return self._books_of_work.shape[0] < len(self)

    def editions(self, shelves: Shelves) -> Shelves:
        """All editions of the books on each shelf; stars are 0."""
        if not self.has_editions:
            return shelves
        place, books = entries(self._books_of_work, self.work[shelves.item_idx])
        return Shelves.build(shelves.rows[place], books, np.zeros(len(books)), len(shelves))

    def same_works(self, shelves: Shelves) -> Mask:
        """Which books are editions of one on each of U shelves, bool [U, I]."""
        return holding(self._books_of_work, self.work[shelves.item_idx], shelves.rows, len(shelves))

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
        return incidence(rows, self.authors.find(names), len(self), len(self.authors))

    def written_by(self, authors: Indices) -> Mask:
        """Which books have one of `authors`, bool [I]."""
        return having(self.by_author, authors)

    @cached_property
    def _books_of_author(self) -> sp.csr_matrix:
        return sp.csr_matrix(self.by_author.T)

    def written_by_each(self, authors: Indices, rows: Offsets, n_rows: int) -> Mask:
        """Which books have one of the authors of each row, bool [n_rows, I]; authors and their rows, [N] each."""
        return holding(self._books_of_author, authors, rows, n_rows)

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
    def volumes(self) -> Volumes:
        """The numbered volumes of all series."""
        return Volumes.of(self.series, self.number, self.last_number, len(self.series_names))

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
        return incidence(rows, self.tags.find(names), len(self), len(self.tags))

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
        return having(self.by_tag, tags)

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
            return incidence([], [], n_books, 1)
        return sp.csr_matrix(sp.hstack(parts) / np.sqrt(np.float32(len(parts))), dtype=np.float32)

    def likeness(self, some: Indices, others: Indices) -> Floats:
        """Mean cosine of content and co-reading, of what there is, from 0 to 1; float32 [M, N]."""
        return np.asarray((self._traits[some] @ self._traits[others].T).toarray(), dtype=np.float32)

    # What a list or a page may hold only so many of.

    @cached_property
    def groups(self) -> sp.csr_matrix:
        """Works, authors and series of books side by side; 1 or 0, [I, W + A + S]."""
        return sp.csr_matrix(sp.hstack([self._books_of_work.T, self.by_author, self.volumes.of_series.T]))

    def groups_of(self, book: int) -> list[tuple[int, int]]:
        """The columns of `groups` that a book is in, each behind its kind: 0 a work, 1 an author, 2 a series."""
        found = self._groups_of.get(book)
        if found is None:
            n_works, indptr = self._books_of_work.shape[0], self.groups.indptr
            bounds = (n_works, n_works + len(self.authors))
            columns = self.groups.indices[indptr[book] : indptr[book + 1]].tolist()
            found = self._groups_of[book] = [(bisect(bounds, column), column) for column in columns]
        return found

    @cached_property
    def _groups_of(self) -> dict[int, list[tuple[int, int]]]:
        """What groups_of() gave before: the same books come for many readers."""
        return {}


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

"""What the rules need of readers, and the masks that depend on one: what is left out, volumes, authors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.rules.facts import CatalogueFacts, Mask, entries, in_turn


@dataclass(frozen=True)
class Histories:
    """U readers. rated: with stars; read: all that is no news to them, rated or taken up (books, in one edition or
    all); aside: dismissed, or kept for later; hidden: authors (by index) whose books they do not want."""

    rated: Shelves
    read: Shelves
    aside: Shelves
    hidden: Shelves

    @classmethod
    def of(cls, rated: Shelves, read: Shelves) -> Histories:
        """Of readers who put nothing aside and hid no one."""
        nothing = Shelves.empty(len(rated))
        return cls(rated, read, nothing, nothing)

    def __len__(self) -> int:
        return len(self.rated)

    def take(self, rows: npt.ArrayLike) -> Histories:
        return Histories(*(s.take(rows) for s in (self.rated, self.read, self.aside, self.hidden)))

    def __getitem__(self, row: int) -> History:
        rated = _row(self.rated, row)
        return History(
            self.rated.item_idx[rated],
            self.rated.stars[rated],
            self.read.item_idx[_row(self.read, row)],
            self.aside.item_idx[_row(self.aside, row)],
            self.hidden.item_idx[_row(self.hidden, row)],
        )


@dataclass(frozen=True)
class History:
    """One reader of Histories, as arrays of indices."""

    rated: Indices
    stars: Floats
    read: Indices
    aside: Indices
    hidden: Indices


def _row(shelves: Shelves, row: int) -> slice:
    return slice(int(shelves.indptr[row]), int(shelves.indptr[row + 1]))


def first_unread(facts: CatalogueFacts, reader: History) -> Mask:
    """Which books skip no volume of their series, bool [I].

    A volume must be unread with none below it unread; what a collection holds counts as read with it. A collection
    passes while nothing of its series was read. Fractions and number 0 hold up nothing, but wait for what is below.
    Only series of books that were read differ from those of a reader who has read nothing.
    """
    touched = facts.series[reader.read]
    if not len(touched := np.unique(touched[touched >= 0])):
        return facts.first_volumes
    books = entries(facts.books_of_series, touched)
    passes = facts.first_volumes.copy()
    passes[books] = in_turn(facts, reader.read, books)
    return passes


def next_volumes(facts: CatalogueFacts, reader: History, liked_from: float) -> Mask:
    """Which books are the next volume after the highest read, of series whose books got liked_from stars on average."""
    volumes, n_series = facts.volumes, len(facts.series_names)
    series = facts.series[reader.rated]
    rated, stars = series[series >= 0], reader.stars[series >= 0]
    sums, counts = np.bincount(rated, stars, n_series), np.bincount(rated, minlength=n_series)
    liked = sums >= counts * (liked_from - 1e-6)
    liked &= counts > 0
    above = volumes.number > volumes.highest(volumes.read(reader.read))[volumes.series]
    following = volumes.lowest(above)
    passes = np.zeros(len(facts), dtype=bool)
    there = np.flatnonzero(volumes.of_book >= 0)
    passes[there] = liked[facts.series[there]] & (facts.number[there] == following[facts.series[there]])
    return passes


def by_new_authors(facts: CatalogueFacts, reader: History) -> Mask:
    """Which books have no author of a book that was read, bool [I]."""
    return ~facts.written_by(np.unique(facts.by_author[reader.read].indices))

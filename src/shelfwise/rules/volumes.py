"""Volumes of series, and which of them readers may be listed: the first unread, or the next of a series they liked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from shelfwise.data.shelves import Indices, Offsets, Shelves
from shelfwise.rules.incidence import Mask, entries, incidence

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Volumes:
    """V volumes of S series with a whole number from 1 up, by series and then number; editions and halves share one.

    of_series   the books of each series, 1 or 0, [S, I]
    series      int32 [I], of each book; -1 for none
    number      float64 [I], of each book in its series; NaN for none
    collection  bool [I], which books hold several volumes
    of_book     int32 [I], the volume that a book is; -1 for other books
    holds       1 or 0, [I, V]: a collection holds the volumes from its first number to its last
    numbers     float64 [V], of each volume
    starts      int64 [S + 1]: the volumes of series s are starts[s] up to starts[s + 1]
    """

    of_series: sp.csr_matrix
    series: Indices
    number: Numbers
    collection: Mask
    of_book: Indices
    holds: sp.csr_matrix
    numbers: Numbers
    starts: Offsets

    @classmethod
    def of(cls, series: Indices, number: Numbers, last_number: Numbers, n_series: int) -> Volumes:
        """From each book's series, number and, of a collection, last number, else NaN."""
        n_books, in_series = len(series), np.flatnonzero(series >= 0)
        of_series = incidence(series[in_series], in_series, n_series, n_books)
        collection = ~np.isnan(last_number) & (series >= 0)
        single = (series >= 0) & ~collection & (number >= 1) & (number % 1 == 0)
        pairs = np.stack([series[single], number[single]], axis=1)
        unique, place = np.unique(pairs, axis=0, return_inverse=True)
        of_book = np.full(n_books, -1, dtype=np.int32)
        of_book[single] = place.ravel()
        of_volume, numbers = unique[:, 0].astype(np.int32), unique[:, 1]
        rows, held = [np.flatnonzero(single)], [of_book[single].astype(np.int64)]
        for book in np.flatnonzero(collection):
            there = (of_volume == series[book]) & (numbers >= number[book]) & (numbers <= last_number[book])
            held.append(np.flatnonzero(there))
            rows.append(np.full(len(held[-1]), book))
        holds = incidence(np.concatenate(rows), np.concatenate(held), n_books, len(numbers))
        starts = np.searchsorted(of_volume, np.arange(n_series + 1))
        return cls(of_series, series, number, collection, of_book, holds, numbers, starts)

    def first_unread(self, read: Shelves) -> Mask:
        """Which books skip no volume of their series, for each of U readers, bool [U, I].

        A volume must be unread with none below it unread; what a collection holds counts as read with it. A collection
        passes while nothing of its series was read. Fractions and number 0 hold up nothing, but wait for what is below.
        Only series of books that were read differ from those of a reader who has read nothing.
        """
        passes: Mask = np.repeat(self._first, len(read), axis=0)
        self._in_turn(self.begun(read, np.unique(self.keys(read)[0])), passes)
        return passes

    @cached_property
    def _first(self) -> Mask:
        """Which books skip no volume for a reader who has read nothing, bool [1, I]."""
        passes: Mask = np.ones((1, len(self.series)), dtype=bool)
        self._in_turn(self.begun(Shelves.empty(1), np.arange(len(self.starts) - 1)), passes)
        return passes

    def _in_turn(self, begun: Begun, passes: Mask) -> None:
        """Whether each book of these series skips no volume, to where it belongs in `passes` [U, I]."""
        lowest = begun.reduced(np.minimum, ~begun.held, np.inf)
        started = begun.reduced(np.maximum, begun.held, 0.0) > 0
        pair, books = entries(self.of_series, begun.series)
        volume, again = self.of_book[books], self.collection[books] & started[pair]
        single = volume >= 0
        at = pair[single]
        again[single] |= begun.held[begun.starts[at] + volume[single] - self.starts[begun.series[at]]]
        passes[begun.reader[pair], books] = ~(self.number[books] > lowest[pair]) & ~again  # NaN is never greater

    def next_volumes(self, rated: Shelves, read: Shelves, liked_from: float) -> Mask:
        """Which books are the next volume after the highest read, for each of U readers, bool [U, I].

        Of series alone whose books got liked_from stars on average.
        """
        keys, there = self.keys(rated)
        pairs, place = np.unique(keys, return_inverse=True)
        liked = np.bincount(place, rated.stars[there], len(pairs)) >= np.bincount(place) * (liked_from - 1e-6)
        begun = self.begun(read, pairs[liked])
        highest = begun.reduced(np.maximum, begun.held, -np.inf)
        following = begun.reduced(np.minimum, begun.numbers > highest[begun.pair], np.inf)
        pair, books = entries(self.of_series, begun.series)
        passes = np.zeros((len(read), len(self.series)), dtype=bool)
        passes[begun.reader[pair], books] = (self.of_book[books] >= 0) & (self.number[books] == following[pair])
        return passes

    def keys(self, shelves: Shelves) -> tuple[Offsets, Mask]:
        """reader * S + series for each book of a series on the shelves, and which of the books on them that are."""
        series = self.series[shelves.item_idx]
        there = series >= 0
        return (shelves.rows * (len(self.starts) - 1) + series)[there], there

    def begun(self, read: Shelves, keys: Offsets) -> Begun:
        """Some series, given by ascending keys(), as these readers have read them."""
        reader, series = np.divmod(keys, max(len(self.starts) - 1, 1))
        starts = np.append(0, np.cumsum(np.diff(self.starts)[series]))
        pair = np.repeat(np.arange(len(keys)), np.diff(starts))
        volume = np.arange(starts[-1]) - starts[pair] + self.starts[series[pair]]
        known = reader[pair] * len(self.numbers) + volume  # ascending, too
        place, mine = entries(self.holds, read.item_idx)
        wanted = read.rows[place] * len(self.numbers) + mine
        at = np.searchsorted(known, wanted)
        held = np.zeros(len(known), dtype=bool)
        held[at[np.append(known, -1)[at] == wanted]] = True
        return Begun(reader, series, starts, pair, self.numbers[volume], held)


@dataclass(frozen=True)
class Begun:
    """P pairs of a reader and a series, and the M volumes of these series, pair by pair.

    reader, series  int64 [P]
    starts   int64 [P + 1]: the volumes of pair p are starts[p] up to starts[p + 1]
    pair     int64 [M]; numbers  float64 [M]; held  bool [M], whether the reader has read the volume
    """

    reader: Offsets
    series: Offsets
    starts: Offsets
    pair: Offsets
    numbers: Numbers
    held: Mask

    def reduced(self, ufunc: Any, there: Mask, otherwise: float) -> Numbers:
        """What ufunc makes of the numbers of each pair's volumes that are `there`, [P]."""
        found = np.full(len(self.series), otherwise)
        filled = np.diff(self.starts) > 0
        if filled.any():
            found[filled] = ufunc.reduceat(np.where(there, self.numbers, otherwise), self.starts[:-1][filled])
        return found

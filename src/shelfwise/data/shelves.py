"""Shelves: what each of a block of readers has rated, as rows of a sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

AT_ONCE = 1 << 16  # readers


@dataclass(frozen=True)
class Shelves:
    """Ratings of U readers in compressed rows, each row sorted by book.

    indptr  int64 [U + 1]  row u is indptr[u]:indptr[u + 1]
    item_idx int32 [N]     books
    stars   float32 [N]    stars on the data's scale
    """

    indptr: Offsets
    item_idx: Indices
    stars: Floats

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def lengths(self) -> Offsets:
        """Ratings of each reader, int64 [U]."""
        return np.diff(self.indptr)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The reader (row) of each rating, int64 [N]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def count(self, keep: npt.NDArray[np.bool_]) -> Offsets:
        """Of each reader how many ratings are among those to `keep`, bool [N]; int64 [U]."""
        counts = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), AT_ONCE):  # so that nothing is as long as all ratings
            bounds = self.indptr[start : start + AT_ONCE + 1]
            sums = np.concatenate([[0], np.cumsum(keep[bounds[0] : bounds[-1]])])
            counts[start : start + AT_ONCE] = np.diff(sums[bounds - bounds[0]])
        return counts

    @classmethod
    def build(cls, rows: npt.ArrayLike, item_idx: npt.ArrayLike, stars: npt.ArrayLike, n_rows: int) -> Shelves:
        """Shelves from one entry per rating, in any order; of a repeated (row, book) the last counts."""
        rows, item_idx = np.asarray(rows, dtype=np.int32), np.asarray(item_idx, dtype=np.int32)
        stars = np.asarray(stars, dtype=np.float32)
        order = np.argsort(rows, kind="stable")  # repeated pairs keep their order
        ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
        indptr = np.zeros(n_rows + 1, dtype=np.int64)
        books, values = np.empty_like(item_idx), np.empty_like(stars)
        n_kept = 0
        for start in range(0, n_rows, AT_ONCE):  # so that little beside the order is as long as all ratings
            stop = min(start + AT_ONCE, n_rows)
            at = order[ends[start] : ends[stop]]
            at = at[np.lexsort((item_idx[at], rows[at]))]
            last = np.ones(len(at), dtype=bool)
            last[:-1] = (np.diff(rows[at]) != 0) | (np.diff(item_idx[at]) != 0)
            at = at[last]
            indptr[start + 1 : stop + 1] = n_kept + np.cumsum(np.bincount(rows[at] - start, minlength=stop - start))
            books[n_kept : n_kept + len(at)], values[n_kept : n_kept + len(at)] = item_idx[at], stars[at]
            n_kept += len(at)
        return cls(indptr, books[:n_kept], values[:n_kept])

    @classmethod
    def empty(cls, n_rows: int) -> Shelves:
        """`n_rows` readers without a rating."""
        return cls(np.zeros(n_rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))

    def take(self, rows: npt.ArrayLike) -> Shelves:
        """The given rows in the given order; row -1 is an empty shelf. All rows in their order are no copy."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        if rows.max(initial=-1) < 0:
            return Shelves.empty(len(rows))
        known = np.maximum(rows, 0)
        lengths = np.where(rows >= 0, self.indptr[known + 1] - self.indptr[known], 0)
        indptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=indptr[1:])
        place = np.arange(indptr[-1]) + np.repeat(self.indptr[known] - indptr[:-1], lengths)
        return Shelves(indptr, self.item_idx[place], self.stars[place])

    def span(self, start: int, stop: int) -> Shelves:
        """The rows from `start` up to `stop`, without a copy of their ratings."""
        bounds = self.indptr[start : stop + 1]
        rows = slice(int(bounds[0]), int(bounds[-1]))
        return Shelves(bounds - bounds[0], self.item_idx[rows], self.stars[rows])

    def holds(self, item_idx: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Which of each reader's C books, [U, C], are on the shelf; -1 never is."""
        width = int(max(item_idx.max(initial=0), self.item_idx.max(initial=0))) + 1
        wanted = np.arange(len(self))[:, None] * width + item_idx
        pairs = np.append(self.rows * width + self.item_idx, -1)  # ascending but for the last, which is no pair
        found: npt.NDArray[np.bool_] = pairs[np.searchsorted(pairs[:-1], wanted)] == wanted
        return found & (item_idx >= 0)

    def where(self, keep: npt.NDArray[np.bool_]) -> Shelves:
        """The same readers with only the ratings where `keep` (bool [N]) holds."""
        indptr = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.rows[keep], minlength=len(self)), out=indptr[1:])
        return Shelves(indptr, self.item_idx[keep], self.stars[keep])

    def among(self, others: Shelves) -> npt.NDArray[np.bool_]:
        """Which ratings are of a book that the same row of `others` holds too, bool [N]."""
        if others is self:
            return np.ones(len(self.item_idx), dtype=bool)
        width = int(max(self.item_idx.max(initial=0), others.item_idx.max(initial=0))) + 1
        return np.isin(self.rows * width + self.item_idx, others.rows * width + others.item_idx)

    def merge(self, newer: Shelves) -> Shelves:
        """The union of two shelves of the same readers, by book; where both rate a book, `newer` counts."""
        if not len(self.item_idx) or not len(newer.item_idx):
            return self if len(self.item_idx) else newer
        return Shelves.build(
            np.concatenate([self.rows, newer.rows]),
            np.concatenate([self.item_idx, newer.item_idx]),
            np.concatenate([self.stars, newer.stars]),
            len(self),
        )

"""EASE for more books than a dense matrix of books by books has room for: a small EASE for each group of like books.

A column of EASE is the ridge regression of who read one book on who read each other book. Here the other books are
not all, but those that have most to do with the group the book is in (`company`), so that one factorisation serves
the whole group. With all books as company it is EASE itself. The sparse approximation of Steck, Markov random fields
for collaborative filtering, NeurIPS 2019, section 3.2, with groups by bisection in place of thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from shelfwise.data.shelves import Floats
from shelfwise.engine import HERE, Engine
from shelfwise.errors import FitError

Books = npt.NDArray[np.int64]
BOOKS_AT_ONCE = 64
NEAR_GROUPS = 32  # whose books are looked at: all of a catalogue of 10,000
TURNS = 20  # of the power iteration that finds where a group is widest


@dataclass(frozen=True)
class Gram:
    """G = X'X + V V' of I books, of which parts alone are ever made.

    read     X, sparse float32 [U, I]: 1 where a reader has read a book
    vectors  V, float32 [I, D]
    """

    read: sp.csr_matrix
    vectors: Floats

    @cached_property
    def by_book(self) -> sp.csr_matrix:
        """X', sparse float32 [I, U]."""
        return sp.csr_matrix(self.read.T.tocsr())

    @cached_property
    def diagonal(self) -> Floats:
        """float32 [I]."""
        read = np.asarray(self.read.multiply(self.read).sum(axis=0)).ravel()
        found: Floats = (read + np.einsum("ij,ij->i", self.vectors, self.vectors)).astype(np.float32)
        return found

    @cached_property
    def lengths(self) -> Floats:
        """Square roots of the diagonal, float32 [I]: G_ij over those of both is a cosine."""
        found: Floats = np.maximum(self.diagonal, 1e-9) ** np.float32(0.5)
        return found

    def between(self, books: Books, others: Books) -> Floats:
        """float32 [B, O] of B books and O others."""
        found: Floats = self.vectors[books] @ self.vectors[others].T
        theirs = self.read if len(others) == len(self.vectors) else self.by_book[others].T
        shared = (self.by_book[books] @ theirs).tocoo()
        found[shared.row, shared.col] += shared.data
        return found

    def square(self, books: Books) -> Floats:
        """float32 [B, B] of B books with each other."""
        few = self.by_book[books]
        found: Floats = (few @ few.T).toarray()
        found += self.vectors[books] @ self.vectors[books].T
        return found


@dataclass(frozen=True)
class GroupWork:
    """How the columns of groups are worked out: of each the `neighbours` strongest entries, from `company` books."""

    gram: Gram
    l2: float
    company: int
    neighbours: int


def sparse_ease(work: GroupWork, like: Groups, engine: Engine = HERE) -> sp.csr_matrix:
    """B of EASE, sparse float32 [I, I]. Raises FitError where a part of the Gram matrix cannot be inverted."""
    n_books = work.gram.read.shape[1]
    rows = np.zeros((n_books, min(work.neighbours, n_books)), dtype=np.int32)
    values = np.zeros(rows.shape, dtype=np.float32)
    blocks = zip(like.groups, like.near(), strict=True)
    for group, entries in zip(like.groups, engine.map(column_entries, blocks, work), strict=True):
        rows[group, : entries[0].shape[1]], values[group, : entries[1].shape[1]] = entries
    columns = sp.csc_matrix((values.ravel(), rows.ravel(), np.arange(n_books + 1) * rows.shape[1]), (n_books, n_books))
    del rows, values
    matrix = sp.csr_matrix(columns)
    del columns
    matrix.eliminate_zeros()
    return matrix


def column_entries(work: GroupWork, block: tuple[Books, Books]) -> tuple[Books, Floats]:
    """Rows and values of the strongest entries in the columns of B that are a group's, [G, N], no row twice in one.

    block  the group, and the books near it (company_of)
    """
    gram, (group, near) = work.gram, block
    books = company_of(gram, group, near, work.company)
    system = gram.square(books)
    np.einsum("ii->i", system)[:] += np.float32(work.l2)
    own = np.searchsorted(books, group)
    wanted = np.zeros((len(books), len(group)), dtype=np.float32, order="F")
    wanted[own, np.arange(len(group))] = 1
    try:
        inverse = scipy.linalg.cho_solve(
            scipy.linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False),
            wanted, overwrite_b=True, check_finite=False,
        )  # fmt: skip
    except np.linalg.LinAlgError as error:
        raise FitError("the Gram matrix cannot be inverted", hint="raise l2") from error
    columns = np.ascontiguousarray((inverse / -inverse[own, np.arange(len(group))]).T)
    columns[np.arange(len(group)), own] = 0
    n = min(work.neighbours, len(books))
    strongest = np.argpartition(-np.abs(columns), n - 1, axis=1)[:, :n]
    return books[strongest], np.take_along_axis(columns, strongest, axis=1)


def company_of(gram: Gram, group: Books, near: Books, size: int) -> Books:
    """The group and the books that have most to do with it, `size` in all (the group at least), ascending.

    How much is the greatest cosine, G_ij / sqrt(G_ii G_jj), with any book i of the group. What is looked at are the
    books `near` (the group among them, ascending), and those that most share readers with it.
    """
    others = near if len(near) == len(gram.vectors) else np.union1d(near, sharing(gram, group, size))
    shared = (gram.between(group, others) / gram.lengths[group, None]).max(axis=0) / gram.lengths[others]
    shared[np.searchsorted(others, group)] = np.inf
    size = min(max(size, len(group)), len(shared))
    return np.sort(others[np.argpartition(-shared, size - 1)[:size]])


def sharing(gram: Gram, group: Books, size: int) -> Books:
    """At most `size` books that most share readers with a book of the group, the greatest cosine counting."""
    most = np.zeros(len(gram.vectors), dtype=np.float32)
    for start in range(0, len(group), BOOKS_AT_ONCE):
        books = group[start : start + BOOKS_AT_ONCE]
        shared = sp.csr_matrix(gram.by_book[books] @ gram.read)
        np.maximum.at(most, shared.indices, shared.data / np.repeat(gram.lengths[books], np.diff(shared.indptr)))
    most /= gram.lengths
    found = np.flatnonzero(most)
    return found[np.argsort(-most[found], kind="stable")[:size]]


@dataclass(frozen=True)
class Groups:
    """All I books in groups of like ones, and of each group how like the others are by their mean vectors, best first.

    groups  each ascending; order  int64 [G, G], the group itself first
    """

    groups: list[Books]
    order: npt.NDArray[np.int64]

    @classmethod
    def of(cls, vectors: Floats, size: int) -> Groups:
        """Groups of at most `size` books by their vectors [I, D]."""
        groups = like_groups(vectors, size)
        centres = np.stack([vectors[group].mean(axis=0) for group in groups])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
        cosines = centres @ centres.T
        np.fill_diagonal(cosines, np.inf)
        return cls(groups, np.argsort(-cosines, axis=1, kind="stable"))

    def near(self) -> Iterator[Books]:
        """Of each group the books of the NEAR_GROUPS groups that are most like it, itself among them, ascending."""
        for order in self.order[:, :NEAR_GROUPS]:
            yield np.sort(np.concatenate([self.groups[other] for other in order]))


def like_groups(vectors: Floats, size: int) -> list[Books]:
    """All I books in groups of at most `size`: halved again and again where their vectors [I, D] lie widest apart."""

    def halves(books: Books) -> Iterator[Books]:
        if len(books) <= size:
            yield np.sort(books)
            return
        order = books[np.argsort(along_widest(vectors[books]), kind="stable")]
        yield from halves(order[: len(order) // 2])
        yield from halves(order[len(order) // 2 :])

    return list(halves(np.arange(len(vectors))))


def along_widest(vectors: Floats) -> Floats:
    """N vectors [N, D] along their first principal direction, float32 [N]: power iteration from the outermost."""
    centre = vectors.mean(axis=0)
    from_centre = np.einsum("ij,ij->i", vectors, vectors) - 2 * (vectors @ centre)
    direction: Floats = vectors[from_centre.argmax()] - centre
    for _ in range(TURNS):
        along = vectors @ direction - centre @ direction
        direction = along @ vectors - along.sum() * centre
        direction /= max(float(np.linalg.norm(direction)), 1e-20)
    found: Floats = vectors @ direction
    return found

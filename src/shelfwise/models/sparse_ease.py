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
from shelfwise.errors import FitError

Books = npt.NDArray[np.int64]
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
    def scaled(self) -> Gram:
        """The same with a diagonal of 1 (0 where it is 0): its entries are cosines."""
        scale = (np.maximum(self.diagonal, 1e-9) ** -0.5).astype(np.float32)
        return Gram(sp.csr_matrix(self.read.multiply(scale)), self.vectors * scale[:, None])

    def rows(self, books: Books) -> Floats:
        """float32 [B, I] of B books."""
        found: Floats = self.vectors[books] @ self.vectors.T
        shared = (self.by_book[books] @ self.read).tocoo()
        found[shared.row, shared.col] += shared.data
        return found

    def square(self, books: Books) -> Floats:
        """float32 [B, B] of B books with each other."""
        few = self.by_book[books]
        found: Floats = (few @ few.T).toarray()
        found += self.vectors[books] @ self.vectors[books].T
        return found


def sparse_ease(gram: Gram, groups: list[Books], l2: float, company: int, neighbours: int) -> sp.csr_matrix:
    """B of EASE, sparse float32 [I, I]: of each column the `neighbours` strongest entries, from `company` books.

    Every book is in one of the `groups`. Raises FitError where a part of the Gram matrix cannot be inverted.
    """
    parts = [column_entries(gram, group, l2, company, neighbours) for group in groups]
    rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    n_books = gram.read.shape[1]
    return sp.csr_matrix((values, (rows, columns)), shape=(n_books, n_books), dtype=np.float32)


def column_entries(gram: Gram, group: Books, l2: float, company: int, neighbours: int) -> tuple[Books, Books, Floats]:
    """Rows, columns and values of the columns of B that are the group's."""
    books = company_of(gram, group, company)
    system = gram.square(books)
    np.einsum("ii->i", system)[:] += np.float32(l2)
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
    block = np.ascontiguousarray((inverse / -inverse[own, np.arange(len(group))]).T)
    block[np.arange(len(group)), own] = 0
    n = min(neighbours, len(books))
    strongest = np.argpartition(-np.abs(block), n - 1, axis=1)[:, :n]
    values = np.take_along_axis(block, strongest, axis=1)
    kept = values != 0
    return books[strongest][kept], np.broadcast_to(group[:, None], kept.shape)[kept], values[kept]


def company_of(gram: Gram, group: Books, size: int) -> Books:
    """The group and the books outside that have most to do with it, `size` in all (the group at least), ascending.

    How much is the greatest cosine, G_ij / sqrt(G_ii G_jj), with any book i of the group.
    """
    shared = gram.scaled.rows(group).max(axis=0)
    shared[group] = np.inf
    size = min(max(size, len(group)), len(shared))
    return np.sort(np.argpartition(-shared, size - 1)[:size])


def like_groups(vectors: Floats, size: int) -> list[Books]:
    """All I books in groups of at most `size`: halved again and again where their vectors [I, D] lie widest apart."""

    def halves(books: Books) -> Iterator[Books]:
        if len(books) <= size:
            yield np.sort(books)
            return
        along = vectors[books] @ widest(vectors[books])
        order = books[np.argsort(along, kind="stable")]
        yield from halves(order[: len(order) // 2])
        yield from halves(order[len(order) // 2 :])

    return list(halves(np.arange(len(vectors))))


def widest(vectors: Floats) -> Floats:
    """The first principal direction of N vectors [N, D], float32 [D], by power iteration from the outermost."""
    centre = vectors.mean(axis=0)
    direction: Floats = vectors[np.square(vectors - centre).sum(axis=1).argmax()] - centre
    for _ in range(TURNS):
        along = vectors @ direction - centre @ direction
        direction = along @ vectors - along.sum() * centre
        direction /= max(float(np.linalg.norm(direction)), 1e-20)
    return direction

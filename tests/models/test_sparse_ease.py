"""The sparse EASE: each column is the ridge regression it says, and with everybody as company it is EASE."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.errors import FitError
from shelfwise.models import sparse_ease as sparse_ease_module
from shelfwise.models.coreading import ease_weights
from shelfwise.models.sparse_ease import (
    Gram,
    Groups,
    GroupWork,
    company_of,
    like_groups,
    sharing,
    sparse_ease,
)

N_BOOKS = 14
EVERY = np.arange(N_BOOKS)


def random_gram(seed: int, n_readers: int = 40, n_books: int = N_BOOKS) -> Gram:
    rng = np.random.default_rng(seed)
    read = sp.csr_matrix((rng.random((n_readers, n_books)) < 0.3).astype(np.float32))
    return Gram(read, rng.standard_normal((n_books, 3)).astype(np.float32))


def whole(gram: Gram) -> np.ndarray:
    read = gram.read.toarray()
    return read.T @ read + gram.vectors @ gram.vectors.T


def test_parts_of_the_gram_matrix_are_those_of_the_whole() -> None:
    gram = random_gram(0)
    books = np.array([1, 5, 13])
    others = np.array([0, 2, 5])
    assert gram.between(books, others) == pytest.approx(whole(gram)[np.ix_(books, others)], abs=1e-4)
    assert gram.between(books, EVERY) == pytest.approx(whole(gram)[books], abs=1e-4)
    assert gram.square(books) == pytest.approx(whole(gram)[np.ix_(books, books)], abs=1e-4)
    assert gram.diagonal == pytest.approx(np.diag(whole(gram)), abs=1e-4)
    assert gram.lengths == pytest.approx(np.sqrt(np.diag(whole(gram))), abs=1e-4)


@given(st.integers(0, 10_000), st.integers(1, N_BOOKS))
def test_with_all_books_as_company_it_is_ease_however_books_are_grouped(seed: int, size: int) -> None:
    gram = random_gram(seed)
    found = sparse_ease(GroupWork(gram, 5.0, N_BOOKS, N_BOOKS), Groups.of(gram.vectors, size)).toarray()
    assert found == pytest.approx(ease_weights(np.asfortranarray(whole(gram), dtype=np.float32), 5.0), abs=2e-5)


@given(st.integers(0, 10_000))
def test_a_column_is_the_ridge_regression_on_the_company(seed: int) -> None:
    gram, l2 = random_gram(seed), 3.0
    groups = Groups.of(gram.vectors, 4)
    found = sparse_ease(GroupWork(gram, l2, 7, N_BOOKS), groups).toarray()
    for group in groups.groups:
        company = company_of(gram, group, EVERY, 7)
        for book in group:
            others = company[company != book]
            system = whole(gram)[np.ix_(others, others)] + l2 * np.eye(len(others))
            expected = np.zeros(N_BOOKS)
            expected[others] = np.linalg.solve(system, whole(gram)[others, book])
            assert found[:, book] == pytest.approx(expected, abs=2e-5)


def test_each_column_keeps_its_strongest_entries() -> None:
    gram = random_gram(1)
    everything = np.abs(sparse_ease(GroupWork(gram, 5.0, N_BOOKS, N_BOOKS), Groups.of(gram.vectors, N_BOOKS)).toarray())
    few = np.abs(sparse_ease(GroupWork(gram, 5.0, N_BOOKS, 4), Groups.of(gram.vectors, N_BOOKS)).toarray())
    for book in range(N_BOOKS):
        kept = np.flatnonzero(few[:, book])
        assert sorted(kept) == sorted(np.argsort(-everything[:, book])[:4])
        assert few[kept, book] == pytest.approx(everything[kept, book])


def test_company_is_who_shares_readers_or_content() -> None:
    """Books 0 and 1 share readers, 0 and 2 content; 3 and 4 are strangers."""
    read = np.zeros((40, 5), dtype=np.float32)
    read[:10, [0, 1]] = 1
    read[10:20, 2], read[20:30, 3], read[30:, 4] = 1, 1, 1
    vectors = np.zeros((5, 2), dtype=np.float32)
    vectors[[0, 2], 0] = 2
    gram, every = Gram(sp.csr_matrix(read), vectors), np.arange(5)
    assert company_of(gram, np.array([0]), every, 3).tolist() == [0, 1, 2]
    assert company_of(gram, np.array([0]), every, 2).tolist() == [0, 1]
    assert company_of(gram, np.array([3, 4]), every, 1).tolist() == [3, 4]
    assert company_of(gram, np.array([0]), np.array([0, 3]), 2).tolist() == [0, 1]  # found by readers, though not near
    assert company_of(gram, np.array([2]), np.array([0, 2]), 2).tolist() == [0, 2]
    assert sharing(gram, np.array([1, 2]), 5).tolist() == [1, 0, 2]


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 12))
def test_groups_hold_every_book_once_and_none_is_larger_than_asked(seed: int, n_books: int, size: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((n_books, 3)).astype(np.float32)
    groups = like_groups(vectors, size)
    assert sorted(np.concatenate(groups)) == list(range(n_books))
    assert max(map(len, groups)) <= size


def test_like_books_are_in_one_group() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(64) % 4
    vectors = (np.eye(4)[kind] + 0.1 * rng.standard_normal((64, 4))).astype(np.float32)
    for group in like_groups(vectors, 16):
        assert len(set(kind[group])) == 1


def test_books_that_are_all_alike_are_grouped_too() -> None:
    assert [len(group) for group in like_groups(np.ones((8, 2), dtype=np.float32), 2)] == [2, 2, 2, 2]


def test_a_gram_matrix_that_cannot_be_inverted_is_said_to_be_one() -> None:
    gram = Gram(sp.csr_matrix((3, 2), dtype=np.float32), np.zeros((2, 1), dtype=np.float32))
    with pytest.raises(FitError, match="inverted"):
        sparse_ease(GroupWork(gram, 0.0, 2, 2), Groups.of(gram.vectors, 2))


def test_near_groups_are_those_of_like_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_ease_module, "NEAR_GROUPS", 2)
    angle = np.arange(16) / 16 * np.pi / 2
    groups = Groups.of(np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32), 4)
    for group, near in zip(groups.groups, groups.near(), strict=True):
        assert set(group) < set(near)
        assert near.max() - near.min() == len(near) - 1 == 7  # its neighbour on the arc

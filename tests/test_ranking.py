"""The first n books, against a reference that sorts them one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.data.shelves import Shelves
from shelfwise.ranking import top_n


def slow_top_n(scores: np.ndarray, n: int, leave_out: list[set[int]]) -> tuple[list[list[int]], list[list[float]]]:
    """Sort every book by (score descending, index), drop what is left out or -inf, fill up with -1 and -inf."""
    books, found = [], []
    for row, left_out in zip(scores, leave_out, strict=True):
        order = sorted((-score, book) for book, score in enumerate(row) if book not in left_out and score > -np.inf)
        chosen = [book for _, book in order[:n]]
        fill = n - len(chosen)
        books.append(chosen + [-1] * fill)
        found.append([float(row[book]) for book in chosen] + [-np.inf] * fill)
    return books, found


def shelves_of(sets: list[set[int]]) -> Shelves:
    pairs = [(row, book) for row, books in enumerate(sets) for book in books]
    rows, books = [row for row, _ in pairs], [book for _, book in pairs]
    return Shelves.build(rows, books, np.ones(len(pairs)), len(sets))


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, int, list[set[int]]]:
    """Scores with many ties and some -inf, n from 1 to beyond the books, and what to leave out."""
    n_readers, n_books = draw(st.integers(0, 4)), draw(st.integers(1, 12))
    score = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5000001, 1.0, 3.0, np.inf])
    row = st.lists(score, min_size=n_books, max_size=n_books)
    scores = draw(st.lists(row, min_size=n_readers, max_size=n_readers))
    left_out = st.sets(st.integers(0, n_books - 1))
    return (
        np.array(scores, dtype=np.float32).reshape(n_readers, n_books),
        draw(st.integers(1, n_books + 3)),
        draw(st.lists(left_out, min_size=n_readers, max_size=n_readers)),
    )


@given(cases())
def test_the_first_n_are_those_of_a_full_sort(case: tuple[np.ndarray, int, list[set[int]]]) -> None:
    scores, n, left_out = case
    books, found = slow_top_n(scores, n, left_out)
    fast_books, fast_found = top_n(scores.copy(), n, shelves_of(left_out))
    assert fast_books.shape == fast_found.shape == (len(scores), n)
    assert (fast_books.dtype, fast_found.dtype) == (np.int32, np.float32)
    assert fast_books.tolist() == books
    assert fast_found.tolist() == found


@given(cases())
def test_a_shorter_list_is_the_beginning_of_a_longer_one(case: tuple[np.ndarray, int, list[set[int]]]) -> None:
    scores, n, left_out = case
    long, _ = top_n(scores.copy(), n + 2, shelves_of(left_out))
    short, _ = top_n(scores.copy(), n, shelves_of(left_out))
    assert long[:, :n].tolist() == short.tolist()


def test_equal_scores_are_in_order_of_index_at_any_size() -> None:
    scores = np.zeros((3, 5000), dtype=np.float32)
    scores[1, 4321] = 1
    scores[2, ::2] = -1
    books, _ = top_n(scores, 4)
    assert books.tolist() == [[0, 1, 2, 3], [4321, 0, 1, 2], [1, 3, 5, 7]]


def test_what_is_left_out_never_appears_even_where_nothing_else_is_left() -> None:
    scores = np.ones((2, 3), dtype=np.float32)
    books, found = top_n(scores, 2, shelves_of([{0, 1, 2}, {0, 1}]))
    assert books.tolist() == [[-1, -1], [2, -1]]
    assert found.tolist() == [[-np.inf, -np.inf], [1, -np.inf]]


@pytest.mark.parametrize("n_readers", [0, 2])
def test_a_catalogue_without_books_gives_empty_lists(n_readers: int) -> None:
    books, found = top_n(np.zeros((n_readers, 0), dtype=np.float32), 3)
    assert books.tolist() == [[-1, -1, -1]] * n_readers
    assert np.isneginf(found).all()

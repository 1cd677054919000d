"""Shelves against the plainest reference there is: a dict of dicts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfwise.data import shelves as shelves_module
from shelfwise.data.shelves import Shelves

N_ROWS, N_BOOKS = 5, 6
Entries = list[tuple[int, int, int]]
Reference = dict[int, dict[int, float]]

entries = st.lists(st.tuples(st.integers(0, N_ROWS - 1), st.integers(0, N_BOOKS - 1), st.integers(1, 5)), max_size=40)


def built(rows: Entries) -> Shelves:
    row, book, stars = zip(*rows, strict=True) if rows else ((), (), ())
    return Shelves.build(row, book, stars, N_ROWS)


def reference(rows: Entries) -> Reference:
    shelves: Reference = {row: {} for row in range(N_ROWS)}
    for row, book, stars in rows:
        shelves[row][book] = float(stars)
    return shelves


def as_reference(shelves: Shelves) -> Reference:
    """`shelves` as a dict of dicts, after checking that its arrays keep what the class promises."""
    assert (shelves.indptr.dtype, shelves.item_idx.dtype, shelves.stars.dtype) == (np.int64, np.int32, np.float32)
    assert shelves.indptr[0] == 0
    assert shelves.indptr[-1] == len(shelves.item_idx) == len(shelves.stars)
    result = {}
    for row in range(len(shelves)):
        part = slice(shelves.indptr[row], shelves.indptr[row + 1])
        books = shelves.item_idx[part].tolist()
        assert books == sorted(set(books))
        result[row] = dict(zip(books, shelves.stars[part].tolist(), strict=True))
    assert shelves.lengths.tolist() == [len(shelf) for shelf in result.values()]
    assert shelves.rows.tolist() == [row for row, shelf in result.items() for _ in shelf]
    return result


@given(entries)
def test_of_a_repeated_book_the_last_entry_counts(rows: Entries) -> None:
    assert as_reference(built(rows)) == reference(rows)


@given(entries, st.integers(1, N_ROWS + 1))
def test_they_are_the_same_however_many_readers_are_looked_at_once(rows: Entries, readers: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelves_module, "AT_ONCE", readers)
        assert as_reference(built(rows)) == reference(rows)


@given(entries, st.lists(st.integers(-1, N_ROWS - 1), max_size=12))
@example([(1, 2, 3), (4, 0, 5)], list(range(N_ROWS)))
@example([(1, 2, 3), (4, 0, 5)], [-1, -1])
def test_take_gives_rows_in_the_order_asked_and_empty_shelves_for_unknown_readers(
    rows: Entries, wanted: list[int]
) -> None:
    expected = reference(rows)
    taken = as_reference(built(rows).take(wanted))
    assert list(taken.values()) == [expected[row] if row >= 0 else {} for row in wanted]


@given(entries, st.integers(1, 5))
def test_where_keeps_readers_and_drops_ratings(rows: Entries, low: int) -> None:
    shelves = built(rows)
    kept = as_reference(shelves.where(shelves.stars >= low))
    assert kept == {r: {b: s for b, s in shelf.items() if s >= low} for r, shelf in reference(rows).items()}


@given(entries, entries)
def test_merge_is_the_union_where_the_newer_wins(rows: Entries, newer: Entries) -> None:
    old, new = reference(rows), reference(newer)
    assert as_reference(built(rows).merge(built(newer))) == {row: old[row] | new[row] for row in old}


def test_empty_shelves_are_shelves() -> None:
    assert as_reference(Shelves.empty(3)) == {0: {}, 1: {}, 2: {}}
    assert as_reference(Shelves.empty(N_ROWS).merge(built([(1, 2, 3)])))[1] == {2: 3.0}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=20),
    st.lists(st.lists(st.integers(-1, 9), min_size=2, max_size=2), min_size=3, max_size=3),
)
def test_holds_says_which_books_are_on_the_shelf(pairs: list[tuple[int, int]], asked: list[list[int]]) -> None:
    shelves = Shelves.build([u for u, _ in pairs], [i for _, i in pairs], [3] * len(pairs), 3)
    expected = [[(u, i) in pairs for i in books] for u, books in enumerate(asked)]
    assert shelves.holds(np.array(asked, dtype=np.int32)).tolist() == expected

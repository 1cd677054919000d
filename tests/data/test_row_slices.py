"""Slices of rows that threads share: every row once, results in order, errors as they are raised."""

from __future__ import annotations

import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.data import row_slices
from shelfwise.data.row_slices import by_slices, by_threads


@given(st.integers(0, 40), st.integers(1, 7))
def test_every_row_is_in_one_slice_and_results_are_in_order(n_rows: int, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_slices, "AT_ONCE", at_once)
        rows = by_slices(lambda part: np.arange(n_rows)[part], n_rows)
    assert np.concatenate([[], *rows]).tolist() == list(range(n_rows))
    assert all(0 < len(part) <= at_once for part in rows)


@pytest.mark.skipif(pl.thread_pool_size() < 2, reason="this machine has one core")
def test_two_parts_are_under_way_at_once() -> None:
    meeting = threading.Barrier(2, timeout=30)
    assert sorted(by_threads(lambda _: meeting.wait(), "ab")) == [0, 1]


def test_one_part_is_done_where_it_is_asked_for() -> None:
    assert by_threads(lambda _: threading.current_thread(), "a") == [threading.current_thread()]
    assert by_threads(lambda _: threading.current_thread(), "") == []


def test_what_a_part_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        by_threads(lambda number: 1 // number, [1, 0, 1])

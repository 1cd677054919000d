"""Two id spaces that overlap: a wrong join looks right, so only a clear vote decides."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shelfwise.data.catalogue import Catalogue, build_catalogue, catalogue_of_ids, empty_tags
from shelfwise.data.ids import detect_id_space, to_catalogue_ids
from shelfwise.errors import AmbiguousIdsError, UsageError

# Catalogue ids 1..100; book b has the Goodreads id b + 90, so that 91..100 exist in both, for other books.
OVERLAP = pl.Series(range(91, 101))


def catalogue(goodreads: list[str | None] | None = None) -> Catalogue:
    numbers = [str(n) for n in range(1, 101)]
    goodreads = goodreads or [str(n + 90) for n in range(1, 101)]
    raw = pl.DataFrame({"book_id": numbers, "title": numbers, "goodreads_id": goodreads})
    return Catalogue(build_catalogue(raw, Path("books.csv")), empty_tags())


@pytest.mark.parametrize(
    ("ids", "space"),
    [
        (range(1, 101), "catalogue"),
        (range(91, 191), "goodreads"),
        ([*range(1, 20), 150], "catalogue"),  # 19 of 20 votes are just enough
        ([1, *range(150, 169)], "goodreads"),
        ([5, 5_000, 6_000], "catalogue"),  # ids known to neither have no vote
        ([150, 5_000], "goodreads"),
        ([5_000, 6_000], "catalogue"),  # nothing is known: all are reported as unknown books
        (["5", "x"], "catalogue"),
    ],
)
def test_a_clear_vote_decides(ids: list[int], space: str) -> None:
    assert detect_id_space(pl.Series(ids), catalogue(), "ratings.csv") == space


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (OVERLAP.to_list(), "0 exist only in the catalogue, 0 only at Goodreads, 10 in both"),
        ([*range(1, 19), 150], "18 exist only in the catalogue, 1 only at Goodreads"),
        ([1, 2, 150, 151], "2 exist only in the catalogue, 2 only at Goodreads"),
    ],
)
def test_without_a_clear_vote_it_is_refused_with_the_option_to_say(ids: list[int], said: str) -> None:
    with pytest.raises(AmbiguousIdsError) as caught:
        detect_id_space(pl.Series(ids), catalogue(), "ratings.csv")
    assert said in caught.value.message
    assert "ratings.csv" in caught.value.message
    assert "--ids catalogue or --ids goodreads" in caught.value.hint


def test_repeated_rows_do_not_vote_again() -> None:
    with pytest.raises(AmbiguousIdsError):
        detect_id_space(pl.Series([1] * 1000 + [150]), catalogue(), "ratings.csv")


def test_stated_spaces_are_taken_at_their_word() -> None:
    for text in (False, True):
        asked = pl.Series([95, 150, 7, 1_000]).cast(pl.String if text else pl.Int64)
        as_own, space = to_catalogue_ids(asked, catalogue(), "catalogue", "f")
        assert (as_own.to_list(), space) == ([95, None, 7, None], "catalogue")
        as_goodreads, space = to_catalogue_ids(asked, catalogue(), "goodreads", "f")
        assert (as_goodreads.to_list(), space) == ([5, 60, None, None], "goodreads")


def test_detected_goodreads_ids_become_the_catalogues() -> None:
    assert to_catalogue_ids(pl.Series([150, 95]), catalogue(), None, "f")[0].to_list() == [60, 5]


def test_goodreads_ids_need_a_catalogue_that_has_them() -> None:
    plain = catalogue_of_ids(pl.Series([1, 2]))
    assert to_catalogue_ids(pl.Series([2, 3]), plain, None, "f")[0].to_list() == [2, None]
    with pytest.raises(UsageError, match="no Goodreads ids"):
        to_catalogue_ids(pl.Series([1]), plain, "goodreads", "f")


def test_where_both_spaces_are_one_there_is_nothing_to_ask() -> None:
    same = catalogue([str(n) if n > 3 else None for n in range(1, 101)])
    assert not same.has_goodreads_ids
    assert to_catalogue_ids(OVERLAP, same, None, "f")[0].to_list() == OVERLAP.to_list()
    assert to_catalogue_ids(OVERLAP, same, "goodreads", "f")[0].to_list() == OVERLAP.to_list()


def test_of_two_books_with_one_goodreads_id_the_first_is_meant() -> None:
    doubled = catalogue(["500"] * 2 + [str(n + 90) for n in range(3, 101)])
    assert to_catalogue_ids(pl.Series([500]), doubled, "goodreads", "f")[0].to_list() == [1]

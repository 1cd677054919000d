"""Splits: every rating in just one part, whatever the order of rows, the type of ids or the machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shelfwise.data.ratings import Ratings, index_ratings
from shelfwise.data.scale import Scale
from shelfwise.data.split import (
    GIVEN_TEST,
    GIVEN_VALID,
    TEST,
    TRAIN,
    VALID,
    ByTime,
    LeaveKOut,
    NewBooks,
    NewReaders,
    OwnFiles,
    RandomSplit,
    SplitConfig,
    split,
)
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import ConfigError

N_READERS, N_BOOKS = 60, 40
WORLD = [(u, b) for u in range(1, N_READERS + 1) for b in range(1, N_BOOKS + 1) if (u * 7 + b * b) % 3 == 0]

# Parts of the first 40 pairs by RandomSplit(seed=0): runs on disk were split so.
GOLDEN = "0110200000020001010010000100100012010012"

seeds = st.integers(0, 2**63 - 1)
configs = st.one_of(
    st.builds(RandomSplit, seed=seeds, valid=st.floats(0.1, 0.4), test=st.floats(0.1, 0.4)),
    st.builds(LeaveKOut, seed=seeds, k=st.integers(1, 4)),
    st.builds(NewReaders, seed=seeds, valid=st.just(0.3), test=st.just(0.3), given=st.integers(0, 5)),
    st.builds(NewBooks, seed=seeds, valid=st.just(0.3), test=st.just(0.3)),
    st.builds(ByTime, seed=seeds, kind=st.just("time"), valid=st.floats(0.1, 0.4), test=st.floats(0.1, 0.4)),
)


def ratings_of(pairs: Sequence[tuple[int, int]], *, text: bool = False, times: bool = True) -> Ratings:
    """Ratings of these (reader, book) pairs; the time of a pair depends on the pair alone, with many ties."""
    frame = pl.DataFrame(pairs, schema={"user_id": pl.Int64, "book_id": pl.Int64}, orient="row")
    frame = frame.with_columns(
        stars=pl.lit(3.0), time=((pl.col("user_id") * 31 + pl.col("book_id") * 17) % 50).cast(pl.Float64)
    )
    if text:
        frame = frame.with_columns(pl.col("user_id", "book_id").cast(pl.String))
    if not times:
        frame = frame.drop("time")
    books = pl.Series(range(1, N_BOOKS + 1)).cast(pl.String if text else pl.Int64)
    return index_ratings(frame, Vocabulary(frame["user_id"]), Vocabulary(books), Scale(1, 5))


def by_pair(pairs: Sequence[tuple[int, int]], config: SplitConfig, *, text: bool = False) -> dict[tuple[int, int], int]:
    return dict(zip(pairs, split(ratings_of(pairs, text=text), config).tolist(), strict=True))


def books_by_part(config: SplitConfig) -> dict[int, dict[int, set[int]]]:
    """Reader -> part -> books."""
    result: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for (reader, book), part in by_pair(WORLD, config).items():
        result[reader][part].add(book)
    return result


@given(configs)
def test_every_rating_is_in_just_one_part(config: SplitConfig) -> None:
    ratings = ratings_of(WORLD)
    parts = split(ratings, config)
    assert parts.dtype == np.int8
    assert len(parts) == len(ratings)
    assert set(parts.tolist()) <= {TRAIN, VALID, TEST, GIVEN_VALID, GIVEN_TEST}
    assert sum(len(ratings.where(parts == part)) for part in range(5)) == len(ratings)
    if not isinstance(config, NewReaders):
        assert parts.max() <= TEST


@given(configs, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_type_of_ids_matters(config: SplitConfig, random: object) -> None:
    shuffled = list(WORLD)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = by_pair(WORLD, config)
    assert by_pair(shuffled, config) == expected
    assert by_pair(shuffled, config, text=True) == expected


@pytest.mark.parametrize("kind", [RandomSplit, LeaveKOut, NewReaders, NewBooks, ByTime])
def test_another_seed_gives_other_parts(kind: type[SplitConfig]) -> None:
    assert by_pair(WORLD, kind(seed=1)) == by_pair(WORLD, kind(seed=1))
    assert by_pair(WORLD, kind(seed=1)) != by_pair(WORLD, kind(seed=2))


def test_what_a_random_split_says_of_a_pair_does_not_depend_on_other_pairs() -> None:
    whole, half = by_pair(WORLD, RandomSplit(seed=3)), by_pair(WORLD[::2], RandomSplit(seed=3))
    assert half.items() <= whole.items()


def test_the_hash_is_the_one_that_earlier_runs_were_split_by() -> None:
    parts = split(ratings_of(WORLD[:40]), RandomSplit(seed=0))
    assert "".join(map(str, parts)) == GOLDEN
    swapped = split(ratings_of([(b, u) for u, b in WORLD[:40]]), RandomSplit(seed=0))
    assert "".join(map(str, swapped)) != GOLDEN  # reader 1 of book 2 is not reader 2 of book 1


def test_a_random_split_keeps_its_shares() -> None:
    many = ratings_of([(u, b) for u in range(1000) for b in range(1, N_BOOKS + 1)])
    shares = np.bincount(split(many, RandomSplit(seed=5)), minlength=3) / len(many)
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.01)


@pytest.mark.parametrize("k", [1, 3])
def test_leave_k_out_takes_k_of_each_reader_with_more_than_2k(k: int) -> None:
    pairs = [(reader, book) for reader in range(1, 13) for book in range(1, reader + 1)]  # reader n rates n books
    counts: dict[int, list[int]] = {reader: [0, 0, 0] for reader in range(1, 13)}
    for (reader, _), part in by_pair(pairs, LeaveKOut(k=k)).items():
        counts[reader][part] += 1
    for reader, (train, valid, test) in counts.items():
        expected = (reader - 2 * k, k, k) if reader > 2 * k else (reader, 0, 0)
        assert (train, valid, test) == expected


@pytest.mark.parametrize("given_ratings", [0, 4])
def test_new_readers_are_not_trained_on_and_give_a_shelf(given_ratings: int) -> None:
    parts = books_by_part(NewReaders(valid=0.3, test=0.3, given=given_ratings))
    seen = set()
    for shelves in parts.values():
        kinds = frozenset(shelves)
        assert kinds in ({TRAIN}, {VALID, GIVEN_VALID}, {TEST, GIVEN_TEST}, {VALID}, {TEST})
        seen |= kinds
        if kinds != {TRAIN}:
            assert len(shelves[GIVEN_VALID] | shelves[GIVEN_TEST]) == given_ratings
    assert seen >= {TRAIN, VALID, TEST}


def test_new_books_are_not_trained_on() -> None:
    part_of_book: dict[int, set[int]] = defaultdict(set)
    for (_, book), part in by_pair(WORLD, NewBooks(valid=0.3, test=0.3)).items():
        part_of_book[book].add(part)
    assert all(len(parts) == 1 for parts in part_of_book.values())
    assert set.union(*part_of_book.values()) == {TRAIN, VALID, TEST}


def test_by_time_the_latest_are_the_test() -> None:
    ratings = ratings_of(WORLD)
    parts = split(ratings, ByTime(valid=0.2, test=0.1))
    assert ratings.time is not None
    assert ratings.time[parts == TRAIN].max() <= ratings.time[parts == VALID].min()
    assert ratings.time[parts == VALID].max() <= ratings.time[parts == TEST].min()
    n = len(ratings)
    assert np.bincount(parts).tolist() == [n - round(0.2 * n) - round(0.1 * n), round(0.2 * n), round(0.1 * n)]


def test_by_row_order_the_last_rows_are_the_test() -> None:
    parts = split(ratings_of(WORLD[:100], times=False), ByTime(kind="row-order"))
    assert parts.tolist() == [TRAIN] * 70 + [VALID] * 20 + [TEST] * 10


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ByTime(), "no times"),
        (RandomSplit(valid=0.6, test=0.4), "leave nothing to train"),
        (ByTime(kind="row-order", valid=0.6, test=0.4), "leave nothing to train"),
        (LeaveKOut(k=50), "leaves no ratings to valid"),
        (OwnFiles(), "own split"),
    ],
)
def test_what_cannot_be_split_is_refused_with_a_way_out(config: SplitConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        split(ratings_of(WORLD, times=False), config)
    assert caught.value.hint


@pytest.mark.parametrize("settings", [{"valid": 0}, {"valid": 1}, {"test": -0.1}, {"seed": -1}, {"share": 0.2}])
def test_shares_outside_0_to_1_and_unknown_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RandomSplit(**settings)  # type: ignore[arg-type]

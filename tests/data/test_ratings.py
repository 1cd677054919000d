"""From rows to ratings: duplicates, unknown books, stars off the scale, times, ids; every row accounted for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_world import write_ratings, write_rows

from shelfwise.data import row_slices
from shelfwise.data.catalogue import Catalogue, catalogue_of_ids
from shelfwise.data.ratings import (
    Columns,
    Duplicates,
    RatingsTable,
    as_ids,
    clean,
    join_ratings,
    parse_time,
    read_ratings,
)
from shelfwise.data.scale import Scale
from shelfwise.errors import BadValueError, DuplicateError, FormatError, UnknownBookError

Rows = list[tuple[int, int, float]]
HALVES = Scale(0.5, 5, 0.5)
BOOKS = catalogue_of_ids(pl.Series(range(1, 6)))

# Few readers and books, so that pairs repeat; book 9 is unknown.
rows_with_repeats = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 3, 9]), st.sampled_from(HALVES.values.tolist())),
    min_size=1,
    max_size=25,
)


def table(rows: Rows, scale: Scale = HALVES, catalogue: Catalogue = BOOKS) -> RatingsTable:
    frame = pl.DataFrame(rows, schema={"user_id": pl.Int64, "book_id": pl.Int64, "stars": pl.Float32}, orient="row")
    known = pl.col("book_id").is_in(catalogue.books["book_id"].to_list())
    frame = frame.with_columns(raw_book_id="book_id", book_id=pl.when(known).then("book_id"))
    return RatingsTable(frame, Path("ratings.csv"), scale, "catalogue")


def by_pair(rows: Rows) -> dict[tuple[int, int], list[float]]:
    pairs: dict[tuple[int, int], list[float]] = {}
    for reader, book, stars in rows:
        pairs.setdefault((reader, book), []).append(stars)
    return pairs


def rounded_mean(stars: list[float]) -> float:
    return 0.5 + 0.5 * round((sum(stars) / len(stars) - 0.5) / 0.5)


RULES: dict[Duplicates, Callable[[list[float]], float]] = {
    "first": lambda stars: stars[0],
    "last": lambda stars: stars[-1],
    "mean": rounded_mean,
}


@pytest.fixture(params=[row_slices.AT_ONCE, 4])
def by_so_many_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_slices, "AT_ONCE", request.param)


@pytest.mark.usefixtures("by_so_many_rows")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_with_repeats, st.sampled_from(["first", "last", "mean", "drop"]))
def test_repeated_pairs_follow_the_rule_and_are_counted(rows: Rows, rule: Duplicates) -> None:
    known = [row for row in rows if row[1] != 9]
    pairs = by_pair(known)
    if rule == "drop":
        expected = {pair: stars[0] for pair, stars in pairs.items() if len(stars) == 1}
    else:
        expected = {pair: RULES[rule](stars) for pair, stars in pairs.items()}
    if not expected:
        with pytest.raises(FormatError, match="no rating is left"):
            clean(table(rows), BOOKS, duplicates=rule)
        return
    ratings, counts = clean(table(rows), BOOKS, duplicates=rule)
    kept = ratings.frame().rows()
    assert {(reader, book): stars for reader, book, stars in kept} == expected
    order = [row[:2] for row in (reversed(known) if rule == "last" else known) if row[:2] in expected]
    order = list(dict.fromkeys(order))
    assert [row[:2] for row in kept] == (order[::-1] if rule == "last" else order)
    assert ratings.scale.contains(ratings.stars).all()
    assert ratings.books.ids.to_list() == [1, 2, 3, 4, 5]
    assert counts.n_rows == len(rows)
    assert counts.n_kept == len(expected)
    assert counts.n_exact_duplicates == len(known) - len(set(known))
    assert counts.n_repeated == len(known) - len(pairs)
    assert counts.n_conflicting_pairs == sum(len(set(stars)) > 1 for stars in pairs.values())
    assert counts.n_unknown_book_rows == len(rows) - len(known)
    assert counts.unknown_books == (["9"] if len(known) < len(rows) else [])


def test_error_refuses_the_first_repeated_pair_and_lets_the_rest_pass() -> None:
    rows: Rows = [(1, 1, 3), (2, 2, 4), (1, 2, 3), (2, 2, 4)]
    with pytest.raises(DuplicateError, match=r"ratings.csv, row 3: reader 2 rates book 2 .*\(2 such rows\)"):
        clean(table(rows), BOOKS, duplicates="error")
    assert len(clean(table(rows[:3]), BOOKS, duplicates="error")[0]) == 3


def test_unknown_books_are_fatal_where_that_is_asked() -> None:
    rows: Rows = [(1, 1, 3), (1, 77, 3), (2, 78, 3)]
    with pytest.raises(UnknownBookError, match=r"row 3: book 77 is not in the catalogue \(2 such rows\)"):
        clean(table(rows), BOOKS, unknown_books="error")
    _, counts = clean(table(rows), BOOKS)
    assert (counts.n_unknown_book_rows, counts.unknown_books, counts.n_kept) == (2, ["77", "78"], 1)


@pytest.mark.parametrize(("stars", "hint"), [(5.5, "--scale LOW-HIGH"), (2.25, "remove"), (0, "--scale 0-5")])
def test_stars_off_the_scale_are_refused_or_left_out(stars: float, hint: str) -> None:
    rows: Rows = [(1, 1, 3), (1, 2, stars), (2, 2, stars)]
    with pytest.raises(BadValueError, match=rf"row 3: {stars:g} stars .* 0.5-5/0.5 \(2 such rows\)") as caught:
        clean(table(rows), BOOKS)
    assert hint in caught.value.hint
    ratings, counts = clean(table(rows), BOOKS, out_of_scale="keep-out")
    assert (len(ratings), counts.n_rows, counts.n_kept) == (1, 3, 1)


@given(st.lists(st.integers(0, 100), min_size=1))
def test_a_scale_with_fine_steps_holds_what_a_file_says(tenths: list[int]) -> None:
    stars = np.array([f"{n / 10:g}" for n in tenths]).astype(np.float32)
    assert Scale(0, 10, 0.1).contains(stars).all()
    assert Scale(0.7, 10, 0.1).contains(np.float32(0.7))


def test_ratings_of_other_files_join_over_the_union_of_readers() -> None:
    first, _ = clean(table([(7, 1, 3), (3, 2, 4)]), BOOKS)
    second, _ = clean(table([(5, 5, 1), (7, 2, 2)]), BOOKS)
    joined = join_ratings([first, second])
    assert joined.readers.ids.to_list() == [3, 5, 7]
    assert joined.frame().rows() == [(7, 1, 3.0), (3, 2, 4.0), (5, 5, 1.0), (7, 2, 2.0)]
    assert joined.shelves().lengths.tolist() == [1, 1, 2]


# --- Columns and ids


@pytest.mark.parametrize(
    "header",
    [
        "user_id,book_id,rating",
        "Reader,Item ID,Stars",
        "patron_id,isbn,my_rating",
        "customer-id,itemid,score",
        "USER,book,Book Rating",
    ],
)
def test_columns_are_guessed_from_the_stated_names(tmp_path: Path, header: str) -> None:
    frame = read_ratings(write_rows(tmp_path / "r.csv", header, [(3, 5, 4)]), None).frame
    assert frame.select("user_id", "book_id", "stars").rows() == [(3, 5, 4.0)]


def test_columns_may_be_named_and_then_win(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", "user_id,who,what,rating,points,when", [(1, 2, 3, 4, 5, 6)])
    columns = Columns(reader="who", book="what", stars="points", time="when")
    table = read_ratings(path, None, columns=columns)
    assert table.frame.rows() == [(2, 3, 3, 5.0, 6.0)]
    assert table.has_time


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1", "2"], [1, 2]),
        (["1.0", "2.0"], [1, 2]),  # a table kept them as floats
        (["1.10", "1.1"], ["1.10", "1.1"]),
        (["007", "7"], ["007", "7"]),
        (["a", "1"], ["a", "1"]),
        (["-3", "4"], [-3, 4]),
        (["12345678901234567890", "12345678901234567891"], ["12345678901234567890", "12345678901234567891"]),
        (["true", "false"], ["true", "false"]),
    ],
)
def test_ids_are_whole_numbers_or_the_text_as_written(
    tmp_path: Path, written: list[str], read: list[int] | list[str]
) -> None:
    path = write_ratings(tmp_path / "r.csv", [(one, one, 3) for one in written])
    frame = read_ratings(path, None).frame
    assert frame["user_id"].to_list() == read
    assert frame["book_id"].to_list() == read


@pytest.mark.parametrize("column", [pl.Series([1.0, 2.0]), pl.Series([1, 2], dtype=pl.UInt64), pl.Series([1, 2])])
def test_whole_numbers_of_any_type_are_one_kind_of_id(column: pl.Series) -> None:
    assert as_ids(column).dtype == pl.Int64
    assert as_ids(column).to_list() == [1, 2]


def test_numbers_too_large_for_an_id_stay_apart_as_text() -> None:
    assert as_ids(pl.Series([2**64 - 1, 2**64 - 2], dtype=pl.UInt64)).to_list() == [str(2**64 - 1), str(2**64 - 2)]


def test_zero_padded_ids_are_not_the_catalogues_numbers(tmp_path: Path) -> None:
    table = read_ratings(write_ratings(tmp_path / "r.csv", [(1, "001", 3), (1, "2", 3)]), BOOKS)
    assert table.frame["book_id"].to_list() == [None, 2]


@pytest.mark.parametrize("missing", ["", "NaN"])
def test_a_missing_id_is_refused_also_in_a_column_of_floats(tmp_path: Path, missing: str) -> None:
    path = write_ratings(tmp_path / "r.csv", [("1.0", 1, 3), (missing, 1, 3)])
    with pytest.raises(BadValueError, match="row 3: no reader id"):
        read_ratings(path, None)


@pytest.mark.parametrize("stars", ["true", "four", " 5"])
def test_words_are_no_stars(tmp_path: Path, stars: str) -> None:
    with pytest.raises(BadValueError, match=r"row 2: .* where stars should be"):
        read_ratings(write_ratings(tmp_path / "r.csv", [(1, 1, stars)]), None)


def test_the_scale_is_guessed_or_given_and_kept(tmp_path: Path) -> None:
    path = write_ratings(tmp_path / "r.csv", [(1, 1, 0.5), (1, 2, 4)])
    assert read_ratings(path, None).scale == HALVES
    assert read_ratings(path, None, scale=Scale(0, 10, 0.5)).scale == Scale(0, 10, 0.5)


# --- Times

EVENING = datetime(2024, 5, 31, 18, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2024, 5, 31, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-05-31", MIDNIGHT),
        ("2024/05/31", MIDNIGHT),
        ("2024-05-31 18:00", EVENING),
        ("2024-05-31 18:00:00", EVENING),
        ("2024/05/31 18:00:00", EVENING),
        ("2024-05-31T18:00", EVENING),
        ("2024-05-31T18:00:00.25", EVENING + 0.25),
        ("2024-05-31T18:00:00Z", EVENING),
        ("2024-05-31T20:00:00+02:00", EVENING),
        ("2024-05-31 20:00:00+02:00", EVENING),
        ("1969-12-31", -86400.0),
        (str(EVENING), EVENING),
    ],
)
def test_times_are_seconds_since_1970(written: str, seconds: float) -> None:
    assert parse_time(pl.Series([written]), Path("f")).to_list() == [seconds]
    assert parse_time(pl.Series([written, written]), Path("f")).to_list() == [seconds, seconds]


def test_times_in_several_formats_may_share_a_column() -> None:
    column = pl.Series(["2024-05-31", "2024-05-31T20:00:00+02:00", "2024-05-31 18:00"])
    assert parse_time(column, Path("f")).to_list() == [MIDNIGHT, EVENING, EVENING]


def test_typed_times_are_read_and_zones_minded() -> None:
    evening = pl.Series([datetime(2024, 5, 31, 18, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo")
    assert parse_time(evening, Path("f")).to_list() == [EVENING]
    assert parse_time(pl.Series([date(2024, 5, 31)]), Path("f")).to_list() == [MIDNIGHT]
    assert parse_time(pl.Series([17, 3]), Path("f")).to_list() == [17.0, 3.0]


@pytest.mark.parametrize("bad", ["31/05/2024", "yesterday", "2024-13-01", None])
def test_what_is_no_time_is_refused_with_its_row(bad: str | None) -> None:
    with pytest.raises(BadValueError, match=r"f, row 3: .* where a time should be") as caught:
        parse_time(pl.Series(["2024-05-31", bad]), Path("f"))
    assert caught.value.hint


def test_a_missing_number_of_seconds_is_refused_with_its_row() -> None:
    for column in (pl.Series([1, None]), pl.Series(["1", None]), pl.Series([1.0, float("nan")])):
        with pytest.raises(BadValueError, match="f, row 3"):
            parse_time(column, Path("f"))

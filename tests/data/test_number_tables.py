"""The fast way to read a table of numbers gives what the slow way gives, or leaves the table to it."""

import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shelfwise.data import tables
from shelfwise.data.number_tables import read_numbers, read_parquet_numbers
from shelfwise.data.ratings import read_ratings
from shelfwise.errors import BadValueError

WIDE = st.one_of(st.integers(0, 5), st.integers(-(2**40), 2**40), st.integers(-200, 40_000))
ROWS = st.lists(st.tuples(WIDE, WIDE, st.sampled_from([1.0, 2.5, 0.5, 5, 3])), min_size=1, max_size=60)
ODD = st.sampled_from(["007,1,2", "1,,2", "1,2", '"1",2,3', "1, 2,3", "x,1,2", "1,2,3,4", "", "+1,2,3", "é,1,2"])


def write(folder: Path, text: str, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, size=st.integers(1, 200), end=st.sampled_from(["\n", "\r\n"]))
def test_plain_numbers_are_as_read_at_once(tmp_path: Path, rows: list[tuple], size: int, end: str) -> None:
    path = write(tmp_path, end.join(["user_id,book_id,rating", *(f"{a},{b},{c}" for a, b, c in rows), ""]))
    found, expected = read_numbers(path, ",", size), tables.read_table(path)
    if found is None:  # left alone: in the first block all stars are whole, further down they are not
        assert len({type(stars) for *_, stars in rows}) == 2
    else:
        assert found.cast(dict.fromkeys(found.columns, pl.Float64)).equals(expected.cast(pl.Float64))
        assert found["user_id"].dtype.is_integer()


def test_whole_numbers_take_no_more_room_than_they_need(tmp_path: Path) -> None:
    path = write(tmp_path, "user_id,book_id,rating\n" + "70000,3,5\n" * 40 + f"{2**33},3,5\n" + "1,300,5\n")
    found = read_numbers(path, ",", 64)
    assert found is not None
    assert found.dtypes == [pl.Int64, pl.Int32, pl.Int8]
    assert found["user_id"].to_list()[-2:] == [2**33, 1]
    assert found["book_id"][-1] == 300


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=ODD, before=st.integers(0, 30), after=st.integers(0, 30), size=st.integers(8, 100))
def test_what_is_out_of_the_ordinary_is_left_alone(
    tmp_path: Path, odd: str, before: int, after: int, size: int
) -> None:
    lines = ["user_id,book_id,rating", *["11,12,3"] * before, odd, *["21,22,4"] * after, ""]
    assert read_numbers(write(tmp_path, "\n".join(lines)), ",", size) is None


@pytest.mark.parametrize("text", ["", "\n", "user_id,book_id,rating\n", "a,a\n1,2\n", "a\0b\n1\n"])
def test_what_is_no_table_is_left_alone(tmp_path: Path, text: str) -> None:
    assert read_numbers(write(tmp_path, text), ",") is None


def test_archives_are_read_alike_and_damaged_ones_left_alone(tmp_path: Path) -> None:
    text = "user_id\tbook_id\trating\n" + "".join(f"{n}\t{n + 1}\t4\n" for n in range(1000))
    plain = write(tmp_path, text, "a.tsv")
    packed = tmp_path / "a.tsv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    zipped = tmp_path / "a.tsv.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.tsv", text)
    expected = read_numbers(plain, "\t", 500)
    assert expected is not None
    for path in (packed, zipped):
        found = read_numbers(path, "\t", 500)
        assert found is not None
        assert found.equals(expected)
        path.write_bytes(path.read_bytes()[:-20])
        assert read_numbers(path, "\t", 500) is None


def test_a_large_file_is_read_in_blocks_and_errors_still_name_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", 100)
    lines = ["user_id,book_id,rating", *(f"{n + 1000},{n % 7},4" for n in range(100))]
    read = read_ratings(write(tmp_path, "\n".join(lines)), None)
    assert read.frame["user_id"].dtype == pl.Int32
    assert read.frame["user_id"].to_list() == list(range(1000, 1100))
    with pytest.raises(BadValueError, match="row 101"):
        read_ratings(write(tmp_path, "\n".join([*lines[:100], "5,6,none"])), None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, size=st.integers(1, 20), groups=st.integers(1, 70), kind=st.sampled_from([pl.Int64, pl.UInt64]))
def test_parquet_in_blocks_is_as_read_at_once(tmp_path: Path, rows: list[tuple], size: int, groups: int, kind) -> None:
    schema = {"user_id": kind, "book_id": pl.Int64, "rating": pl.Float32}
    frame = pl.DataFrame([(abs(a), b, c) for a, b, c in rows], schema=schema, orient="row")
    path = tmp_path / "ratings.parquet"
    frame.write_parquet(path, row_group_size=groups)
    found = read_parquet_numbers(path, size)
    assert (found is None) == (len(rows) <= size)
    assert found is None or (found.equals(frame) and found.schema == frame.schema)


@pytest.mark.parametrize("odd", [[1, None, 3], ["1", "2", "3"], [True, False, True]])
def test_parquet_of_more_than_numbers_is_left_alone(tmp_path: Path, odd: list) -> None:
    frame = pl.DataFrame({"user_id": [1, 2, 3], "book_id": odd})
    frame.write_parquet(tmp_path / "ratings.parquet")
    assert read_parquet_numbers(tmp_path / "ratings.parquet", 1) is None
    assert tables.read_table(tmp_path / "ratings.parquet").equals(frame)

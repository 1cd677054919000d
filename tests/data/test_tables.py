"""Tables: whatever is wrong with a file is named with file, row and a way out; what is merely odd is read."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.data import number_tables
from shelfwise.data.ratings import Columns, read_ratings
from shelfwise.data.tables import content_digest, find_table, normalise, read_table
from shelfwise.errors import BadValueError, DataError, FormatError, MissingColumnError, MissingDataError

HEADER = b"user_id,book_id,rating\n"
GOOD = HEADER + b"1,10,5\n2,11,4\n"
MANY = b"".join(b"%d,%d,%d\n" % (n, n % 50, 1 + n % 5) for n in range(10_050))


def write(folder: Path, content: bytes, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_ratings(path, None)
    error = caught.value
    assert str(path) in error.message
    assert error.hint
    return error


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", FormatError, "is empty"),
        (b" \n\n", FormatError, "is empty"),
        (HEADER, FormatError, "has a header but no rows"),
        (b"user_id;book_id;rating\n1;10;5\n", FormatError, "';' where ','"),
        (b"user_id\tbook_id\trating\n1\t10\t5\n", FormatError, r"'\t' where ','"),
        (GOOD.decode().encode("utf-16"), FormatError, "UTF-16"),
        (HEADER + "1,10,5\nZoë,11,4\n".encode("latin-1"), FormatError, "row 3: byte 0xeb is not UTF-8"),
        (HEADER + b"1,10,5\n2,1\x001,4\n", FormatError, "row 3: a NUL byte"),
        (HEADER + b"1,10,5\n2,11,4,9\n", FormatError, "row 3: 4 fields where the header has 3"),
        (HEADER + b"1,10,5\n2,11\n", BadValueError, "row 3: nothing where stars should be"),
        (HEADER + b"1,10,5\n2,11,great\n", BadValueError, "row 3: 'great' where stars should be"),
        (HEADER + MANY + b"1,10,great\n", BadValueError, "row 10052: 'great' where stars should be"),
        (HEADER + MANY + b"1,10,5,6\n", FormatError, "row 10052: 4 fields"),
        (HEADER + b"1,10,5\n2,11,NaN\n", BadValueError, "row 3"),
        (HEADER + b"1,10,5\n2,11,inf\n", BadValueError, "row 3"),
        (HEADER + b"1,10,5\n2,11,-inf\n", BadValueError, "row 3"),
        (HEADER + b"1,10,5\n2,11,\n", BadValueError, "row 3: nothing where stars should be"),
        (HEADER + b"1,10,5\n,11,4\n", BadValueError, "row 3: no reader id"),
        (HEADER + b"1,10,5\n2,,4\n", BadValueError, "row 3: no book id"),
        (HEADER + b'1,10,5\n"2,11,4\n3,12,4\n', FormatError, "row 3"),
        (HEADER + b'1,10,5\n2,"11,4\n3,12,4\n', FormatError, "row 3"),
        (HEADER + MANY + b'1,"10,5\n3,12,4\n', FormatError, "row 10052"),
        (b"\n" + GOOD, FormatError, "row 1: an empty line"),
        (GOOD.replace(b"\n", b"\r"), FormatError, "row 1"),
        (HEADER + b"1,10,5\n\n2,11,4\n", BadValueError, "row 3"),
        (HEADER + b"1,10,true\n2,11,false\n", BadValueError, "row 2: True where stars"),
        (b"user_id,book_id,rating,rating\n1,10,5,5\n", FormatError, "'rating' stands twice"),
        (b"user_id,rating\n1,5\n", MissingColumnError, "no column for the books; it has user_id, rating"),
        (b"book_id,rating\n1,5\n", MissingColumnError, "no column for the readers"),
        (b"user_id,book_id\n1,5\n", MissingColumnError, "no column for the stars"),
    ],
)
def test_a_bad_file_is_refused_with_file_row_and_hint(
    tmp_path: Path, content: bytes, kind: type[DataError], said: str
) -> None:
    error = refusal(write(tmp_path, content))
    assert type(error) is kind
    assert said in error.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("ratings.csv", "ratings.parquet", "ratings.csv.zip"):
        assert isinstance(refusal(tmp_path / name), MissingDataError)


def test_a_column_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(MissingColumnError, match=r"no column 'points'; it has user_id, book_id, rating"):
        read_ratings(path, None, columns=Columns(stars="points"))


@pytest.mark.parametrize("cut", [10, 40, -1])
@pytest.mark.parametrize("suffix", ["zip", "gz"])
def test_a_broken_archive_is_refused(tmp_path: Path, suffix: str, cut: int) -> None:
    whole = tmp_path / "whole"
    if suffix == "zip":
        zipped(whole, {"ratings.csv": HEADER + MANY})
        content = whole.read_bytes()
    else:
        content = gzip.compress(HEADER + MANY)
    error = refusal(write(tmp_path, content[:cut], f"ratings.csv.{suffix}"))
    assert isinstance(error, FormatError)
    assert "is not a complete archive" in error.message


@pytest.mark.parametrize("suffix", ["zip", "gz"])
def test_an_altered_archive_is_refused(tmp_path: Path, suffix: str) -> None:
    zipped(tmp_path / "whole", {"ratings.csv": HEADER + MANY})
    content = bytearray((tmp_path / "whole").read_bytes() if suffix == "zip" else gzip.compress(HEADER + MANY))
    content[len(content) // 2] ^= 0xFF
    assert isinstance(refusal(write(tmp_path, bytes(content), f"ratings.csv.{suffix}")), FormatError)


def test_a_zip_must_hold_one_table_and_may_hold_the_litter_of_a_mac(tmp_path: Path) -> None:
    two = zipped(tmp_path / "two.csv.zip", {"a.csv": GOOD, "b.csv": GOOD})
    assert "holds 2 files" in refusal(two).message
    none = zipped(tmp_path / "none.csv.zip", {})
    assert "holds 0 files" in refusal(none).message
    mac = zipped(tmp_path / "mac.csv.zip", {"ratings.csv": GOOD, "__MACOSX/._ratings.csv": b"x"})
    assert len(read_table(mac)) == 2


def test_an_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "open.csv.zip", {"ratings.csv": GOOD}).read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1  # the bit that says 'encrypted'
    assert "encrypted" in refusal(write(tmp_path, bytes(content), "ratings.csv.zip")).message


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert isinstance(refusal(write(tmp_path, GOOD, "ratings.parquet")), FormatError)


@pytest.mark.parametrize(
    "oddity",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
        lambda content: content.rstrip(b"\n"),
        lambda content: content.replace(b"user_id", b'"user_id"'),
        lambda content: b"\xef\xbb\xbf" + content.replace(b"user_id", b'"user_id"'),
        lambda content: content.replace(b"4", b'"4"'),
        lambda content: content + b"\n",
        lambda content: content.replace(b"user_id", b"User ID"),
    ],
    ids=["BOM", "CRLF", "BOM+CRLF", "no last newline", "quoted", "BOM+quoted", "quoted value", "blank end", "spaces"],
)
def test_oddities_of_spelling_change_nothing(tmp_path: Path, oddity: Callable[[bytes], bytes]) -> None:
    plain = read_ratings(write(tmp_path, GOOD), None).frame
    assert read_ratings(write(tmp_path, oddity(GOOD), "odd.csv"), None).frame.equals(plain)


def test_quoted_values_may_hold_newlines_separators_and_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, b'book_id,title\n1,"two\nlines"\n2,"a, b"\n3,"say ""hi"""\n')
    frame = read_table(path)
    assert frame["book_id"].to_list() == [1, 2, 3]
    assert frame["title"].to_list() == ["two\nlines", "a, b", 'say "hi"']
    assert read_table(path, all_text=True)["title"].to_list() == frame["title"].to_list()


def test_ids_with_leading_zeros_stay_text_and_apart(tmp_path: Path) -> None:
    frame = read_ratings(write(tmp_path, HEADER + b"007,10,5\n07,11,4\n7,12,3\n"), None).frame
    assert frame["user_id"].to_list() == ["007", "07", "7"]
    assert frame["book_id"].dtype == pl.Int64


def test_ids_with_leading_zeros_late_in_the_file_stay_apart(tmp_path: Path) -> None:
    frame = read_ratings(write(tmp_path, HEADER + MANY + b"007,10,5\n"), None).frame
    assert frame["user_id"].dtype == pl.String
    assert frame["user_id"][-1] == "007"


def test_text_ids_late_in_the_file_make_the_whole_column_text(tmp_path: Path) -> None:
    frame = read_ratings(write(tmp_path, HEADER + MANY + b"anna,10,5\n"), None).frame
    assert frame["user_id"].to_list()[-2:] == ["10049", "anna"]
    assert frame["book_id"].dtype == pl.Int64


def test_half_stars_late_in_the_file_are_read(tmp_path: Path) -> None:
    frame = read_ratings(write(tmp_path, HEADER + MANY + b"1,10,4.5\n"), None).frame
    assert frame["stars"][-1] == 4.5
    assert frame["user_id"].dtype == frame["book_id"].dtype == pl.Int64


def test_named_columns_stay_text(tmp_path: Path) -> None:
    path = write(tmp_path, b"id,isbn\n1,439023483\n2,\n")
    assert read_table(path)["isbn"].to_list() == [439023483, None]
    assert read_table(path, text=("isbn", "absent"))["isbn"].to_list() == ["439023483", None]
    assert read_table(path, all_text=True)["id"].to_list() == ["1", "2"]


@pytest.mark.parametrize("name", ["r.csv.zip", "r.csv.gz", "r.tsv", "r.tsv.zip", "r.tsv.gz", "r.parquet"])
def test_every_container_gives_the_same_ratings(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path, GOOD)
    content = GOOD.replace(b",", b"\t") if ".tsv" in name else GOOD
    path = tmp_path / name
    if name.endswith("zip"):
        zipped(path, {"inside.csv": content})
    elif name.endswith("parquet"):
        read_table(plain).write_parquet(path)
    else:
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert read_ratings(path, None).frame.equals(read_ratings(plain, None).frame)
    if ".csv" in name:
        assert content_digest(path) == content_digest(plain)


def test_find_table_takes_the_first_suffix_that_exists(tmp_path: Path) -> None:
    assert find_table(tmp_path, "ratings") is None
    write(tmp_path, GOOD, "ratings.tsv")
    assert find_table(tmp_path, "ratings") == tmp_path / "ratings.tsv"
    write(tmp_path, GOOD)
    assert find_table(tmp_path, "ratings") == tmp_path / "ratings.csv"


@pytest.mark.parametrize("name", ["User ID", " user-id ", "USER_ID", "user.id"])
def test_column_names_are_compared_loosely(name: str) -> None:
    assert normalise(name) == "user_id"


@given(st.text(alphabet='01a,."\n\t', max_size=40), st.integers(1, 9))
def test_leading_zeros_are_seen_wherever_the_scan_is_cut(text: str, scanned: int) -> None:
    content = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_tables, "SCANNED_BYTES", scanned)
        assert number_tables.has_leading_zeros(content) == (re.search(rb'[\n",\t]0\d', content) is not None)

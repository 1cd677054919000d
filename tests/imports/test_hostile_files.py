"""Files as nobody should write them: never a traceback, always an account of every row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.data.scale import Scale
from shelfwise.errors import ShelfwiseError
from shelfwise.imports import BookIndex, ImportResult, Limits, describe, failures, import_file, read_choices
from shelfwise.imports.formats import APPS, PLAIN

BOOKS = pl.DataFrame(
    {
        "book_id": ["1", "2", "3"],
        "title": ["The Hobbit", "Emma", "Les Misérables"],
        "authors": ["J.R.R. Tolkien", "Jane Austen", "Victor Hugo"],
        "isbn13": ["9780618260300", "9780141439587", None],
    }
)
INDEX = BookIndex(Catalogue(build_catalogue(BOOKS, Path("books.csv")), empty_tags()))
LIMITS = Limits(max_bytes=200_000, max_rows=60, max_record=20_000, max_columns=200)
NASTY = (
    "", "0", "5", "4.25", "-3", "NaN", "1e309", '=""', '="0618260307"', "9.78E+12", "[2070291340]", "0618260307",
    '"', '""', '"""', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\0", "\ufeff", "\ud7ff", "\x85", "\u2028", "\x1a",
    "=1+1", "@SUM(A1)", "The Hobbit", "Emma (Emma, #1)", "((((", "[[]](#1)(#2", "#1-3", " / ", ": ", "Vol. IX",
    "Tolkien, J.R.R.", "J.R.R. Tolkien", "read", "to-read", "2020/13/45", "0000", "9" * 5000, "x" * 25_000,
    "鋼の錬金術師", "Преступление", "é", "🧙", "a" * 200, "the the the the", "i ii iii", "ISBN/UID",
)  # fmt: skip
CELLS = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))
HEADERS = st.one_of(
    *(
        st.permutations(
            [*dict.fromkeys(name for names in one.columns.values() for name in names), *sorted(one.own)[:4]]
        )
        for one in (*APPS, PLAIN)
    ),
    st.lists(CELLS, min_size=1, max_size=8),
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes that begin as an export may, and go on as they please."""
    header = draw(HEADERS)
    rows = [header, *draw(st.lists(st.lists(CELLS, max_size=len(header) + 2), max_size=6))]
    if draw(st.booleans()):
        stream = io.StringIO()
        table = csv.writer(stream, delimiter=draw(st.sampled_from(",;\t")), lineterminator=draw(st.sampled_from(ENDS)))
        table.writerows(rows)
        text = stream.getvalue()
    else:
        text = "".join(draw(st.sampled_from(",;\t")).join(row) + draw(st.sampled_from(ENDS)) for row in rows)
    content = text.encode(draw(st.sampled_from(ENCODINGS)), "replace")
    if draw(st.booleans()):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=8)) + content[place:]
    return content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content


ENDS = ["\n", "\r\n", "\r"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1", "cp1252"]


def result_or_reason(call: Callable[[], object]) -> object:
    """What a call gives, or the error raised on purpose, which must say what to do."""
    try:
        return call()
    except ShelfwiseError as raised:
        error = raised
    assert error.message
    assert error.hint
    return error


def account_of(content: bytes, **options: object) -> ImportResult | None:
    """The result, checked; None where the file as a whole is refused, with a reason."""
    result = result_or_reason(lambda: import_file(content, INDEX, Scale(1, 5), limits=LIMITS, **options))  # type: ignore[arg-type]
    if not isinstance(result, ImportResult):
        return None
    counts = result.counts
    outcomes = ("matched", "review", "not-in-catalogue", "unreadable")
    assert counts["rows"] == len(result.rows) == sum(counts[name] for name in outcomes)
    assert counts["matched"] == sum(counts[name] for name in ("rated", "marked", "nothing-said", "same-work"))
    numbers = [row.entry.row for row in result.rows]
    assert numbers == sorted(set(numbers))
    assert min(numbers, default=2) >= 2
    assert len(dict(result.ratings)) == len(result.ratings) == counts["rated"]
    assert all(Scale(1, 5).contains([stars])[0] for _, stars in result.ratings)
    for row in result.rows:
        assert (row.book_id is not None) == (row.match.outcome == "matched")
        assert row.match.outcome == "matched" or row.match.reason
        assert str(describe(row, INDEX)).isprintable() or "\\" in str(describe(row, INDEX))
    lines = list(failures(result, INDEX))
    assert [int(line["row"]) for line in lines] == [row.entry.row for row in result.open]
    for line in lines:
        for name, cell in line.items():
            assert name == "isbn" or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert name != "isbn" or re.fullmatch(r'|="\d{13}"', cell)
    return result


@given(files())
def test_any_file_gets_an_account_or_a_reason(content: bytes) -> None:
    account_of(content)
    account_of(content, accept_suggestions=True)


@given(st.binary(max_size=3000))
def test_any_bytes_get_an_account_or_a_reason(content: bytes) -> None:
    account_of(content)
    account_of(b"Title,Author,ISBN,My Rating,Exclusive Shelf\n" + content)


@given(files())
def test_any_file_as_choices_gets_them_or_a_reason(content: bytes) -> None:
    for head in (b"", b"row,book_id,title\n"):
        found = result_or_reason(lambda head=head: read_choices(head + content))  # type: ignore[misc]
        assert isinstance(found, (dict, ShelfwiseError))


@pytest.mark.parametrize("columns", [1001, 400_000])
def test_thousands_of_columns_are_refused(columns: int) -> None:
    with pytest.raises(ShelfwiseError, match=r"columns|no header"):
        import_file(b"title" + b",a" * columns + b"\nx\n", INDEX, Scale(1, 5))
    rows = b"title,author\n" + b"a" + b",b" * columns + b"\nEmma,Jane Austen\n"
    result = import_file(rows, INDEX, Scale(1, 5))
    assert [row.match.outcome for row in result.rows] == ["unreadable", "matched"]
    assert "row" in result.rows[0].match.reason or "fields" in result.rows[0].match.reason

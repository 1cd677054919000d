"""The catalogue: fixed columns from whatever a books table calls them, series parsed, numbers repaired."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shelfwise.data.catalogue import BOOK_COLUMNS, build_catalogue, catalogue_of_ids
from shelfwise.errors import BadValueError, FormatError, MissingColumnError

PATH = Path("books.csv")


def build(**columns: list[str | None]) -> pl.DataFrame:
    """A catalogue's books from columns of text, as read_table gives them."""
    return build_catalogue(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)), PATH)


def titled(*titles: str | None) -> pl.DataFrame:
    return build(book_id=[str(n) for n in range(1, len(titles) + 1)], title=list(titles))


def test_every_column_is_there_in_its_type_and_books_ascend_by_id() -> None:
    books = build(id=["10", "9", "2"], name=["c", "b", "a"])
    assert books.schema == {"book_id": pl.Int64, **BOOK_COLUMNS}
    assert books["book_id"].to_list() == [2, 9, 10]
    assert books["title"].to_list() == ["a", "b", "c"]
    assert build(id=["10", "9", "x"])["book_id"].to_list() == ["10", "9", "x"]


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        (["2", "1"], [1, 2]),
        (["2.0", "1.0"], [1, 2]),
        (["02", "1"], ["02", "1"]),
        (["2.0", "1.5"], ["1.5", "2.0"]),
        (["99999999999999999999", "1"], ["1", "99999999999999999999"]),
    ],
)
def test_ids_are_numbers_where_nothing_is_lost_by_it(written: list[str], ids: list[int] | list[str]) -> None:
    assert build(book_id=list(written))["book_id"].to_list() == ids


@pytest.mark.parametrize(
    ("title", "series", "number"),
    [
        ("The Hunger Games (The Hunger Games, #1)", "The Hunger Games", 1),
        ("Novella (Series, #2.5)", "Series", 2.5),
        ("No comma (Series #3)", "Series", 3),
        ("Boxed set (Series, #1-3)", "Series", 1),
        ("Mort (Death, #1; Discworld, #4)", "Death", 1),
        ("Inner (Series (UK), #7)", "Series (UK)", 7),
        ("Zero (Series, #0)", "Series", 0),
        ("Two (remarks) (Series, #4)", "Series", 4),
        ("A plain title", None, None),
        ("No number (A Remark)", None, None),
        ("(Series, #1)", None, None),
        ("Not at the end (Series, #1) of it", None, None),
        ("#1 in line", None, None),
    ],
)
def test_series_and_number_come_from_the_title_which_stays(
    title: str, series: str | None, number: float | None
) -> None:
    row = titled(title).row(0, named=True)
    assert (row["title"], row["series"], row["series_number"]) == (title, series, number)


def test_a_series_column_wins_over_the_title() -> None:
    books = build(id=["1", "2"], title=["A (X, #1)", "B (Y, #2)"], series=["Z", None], series_number=["9", None])
    assert books.select("series", "series_number").rows() == [("Z", 9.0), ("Y", 2.0)]


@pytest.mark.parametrize(
    ("cells", "lists"),
    [
        (["A, B", "C"], [["A", "B"], ["C"]]),
        (["Le Guin, U. K.|B", "C, D"], [["Le Guin, U. K.", "B"], ["C, D"]]),
        (["A; B", "C, D"], [["A", "B"], ["C, D"]]),
        (["A,,A , B", None], [["A", "B"], None]),
    ],
)
def test_lists_are_split_by_the_rarest_separator_of_the_column(
    cells: list[str | None], lists: list[list[str] | None]
) -> None:
    books = build(id=["1", "2"], authors=cells, subjects=cells)
    assert books["authors"].to_list() == books["subjects"].to_list() == lists


def test_a_missing_title_is_the_original_one_or_the_id() -> None:
    books = build(id=["1", "2", "3"], title=[None, " ", "T"], original_title=["O", None, "O"])
    assert books["title"].to_list() == ["O", "2", "T"]


def test_numbers_are_read_as_tables_write_them_and_nonsense_is_left_unknown() -> None:
    books = build(id=["1", "2", "3"], original_publication_year=["2008.0", "-750", "unknown"], work_id=["7.0", "", "x"])
    assert books["year"].to_list() == [2008, -750, None]
    assert books["work_id"].to_list() == [7, None, None]


def test_isbns_are_rebuilt_from_the_safer_of_two_columns() -> None:
    books = build(
        id=["1", "2", "3", "4", "5"],
        isbn=["439023483", None, "bad", None, "439023483"],
        isbn13=["9.78e+12", "9.78043902348e+12", "9791091146135", "", "9780306406157"],
    )
    assert books["isbn13"].to_list() == ["9780439023481", "9780439023481", "9791091146135", None, "9780439023481"]
    assert books["isbn10"].to_list() == ["0439023483", "0439023483", None, None, "0439023483"]


def test_the_picture_that_stands_for_no_cover_is_no_cover() -> None:
    books = build(id=["1", "2"], image_url=["https://x/books/1.jpg", "https://x/assets/nophoto/book/111x148.png"])
    assert books["cover"].to_list() == ["https://x/books/1.jpg", None]


def test_editions_of_one_work_share_a_key() -> None:
    books = build(
        id=["1", "2", "3", "4", "5", "6"],
        title=["Émile, ou De l'éducation (X, #1)", "Emile ou de l education", "Emile", "Dune", "Dune", "戦争"],
        original_title=[None, None, "Émile: ou de l'éducation", None, None, None],
        authors=["Rousseau", "ROUSSEAU, B", "Rousseau", "Herbert", "Other", None],
        work_id=[None, None, None, None, None, None],
    )
    keys = books["work_key"].to_list()
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 4
    by_work = build(id=["1", "2"], title=["A", "B"], work_id=["5", "5.0"])["work_key"].to_list()
    assert by_work == ["work:5", "work:5"]


def test_a_data_set_without_books_table_has_ids_for_titles() -> None:
    catalogue = catalogue_of_ids(pl.Series(["b", "a", "b"]))
    assert catalogue.books.select("book_id", "title").rows() == [("a", "a"), ("b", "b")]
    assert not catalogue.has_goodreads_ids
    assert len(catalogue.tags) == 0


@pytest.mark.parametrize(
    ("ids", "error", "said"),
    [
        (["1", "2", "1"], BadValueError, "row 2: book id '1' stands twice"),
        (["1", None, "3"], BadValueError, "row 3: no book id"),
        ([], FormatError, "no rows"),
    ],
)
def test_a_catalogue_with_missing_or_repeated_ids_is_refused(
    ids: list[str | None], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        build(book_id=ids)


def test_a_catalogue_without_ids_is_refused() -> None:
    with pytest.raises(MissingColumnError, match=r"books.csv has no column for the book ids; it has title, year"):
        build(title=["a"], year=["1"])

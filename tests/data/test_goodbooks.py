"""The traps of goodbooks-10k, Kaggle edition, each with the number that was measured."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shelfwise.data.audit import Audit
from shelfwise.data.ids import detect_id_space, to_catalogue_ids
from shelfwise.data.isbn import check_digit_10, check_digit_13
from shelfwise.data.prepare import DataSettings, Prepared, prepare
from shelfwise.data.ratings import clean
from shelfwise.data.sources import KAGGLE, DataSet, load_dataset
from shelfwise.data.split import TEST, ByTime
from shelfwise.data.tables import read_table
from shelfwise.errors import AmbiguousIdsError, ConfigError

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def data(goodbooks: Path) -> DataSet:
    return load_dataset(goodbooks)


@pytest.fixture(scope="module")
def books(data: DataSet) -> pl.DataFrame:
    return data.catalogue.books


@pytest.fixture(scope="module")
def prepared(data: DataSet) -> tuple[Prepared, Audit]:
    return prepare(data, DataSettings())


@pytest.fixture(scope="module")
def audit(prepared: tuple[Prepared, Audit]) -> Audit:
    return prepared[1]


def test_the_edition_and_its_content_are_stated(data: DataSet) -> None:
    assert (data.name, data.edition) == ("goodbooks-10k", KAGGLE)
    assert data.fingerprint == "2ec255c26f4517216b61e3b22dcbdafcd3d7b8fd45bd2fea10561f34b1bee955"


def test_rows_repeats_and_conflicts(audit: Audit) -> None:
    assert audit.n_rows == 981_756
    assert audit.n_exact_duplicates == 1_644
    assert audit.n_repeated == 2_278
    assert audit.n_conflicting_pairs == 633
    assert audit.n_ratings == 979_478
    assert (audit.n_readers, audit.n_books, audit.n_books_rated) == (53_424, 10_000, 10_000)
    assert (audit.n_out_of_scale, audit.n_unknown_book_rows, audit.scale) == (0, 0, "1-5")
    assert list(audit.stars) == ["1", "2", "3", "4", "5"]


def test_dropping_repeated_pairs_keeps_none_of_them(data: DataSet) -> None:
    kept, counts = clean(data.ratings, data.catalogue, duplicates="drop")
    n_pairs = 979_478
    repeated_rows = data.ratings.frame.filter(pl.struct("user_id", "book_id").is_duplicated())
    assert len(kept) == counts.n_kept == 981_756 - len(repeated_rows)
    assert n_pairs - len(kept) == len(repeated_rows) - 2_278


def test_every_book_is_cut_off_at_100_and_readers_rate_few(audit: Audit) -> None:
    assert audit.cap == 100
    assert audit.n_capped_books == 6_248
    assert audit.ratings_per_book["min"] == 8
    assert audit.ratings_per_book["max"] == 100
    assert audit.ratings_per_reader["50%"] == 8
    assert audit.ratings_per_reader["max"] == 200


def test_39_percent_of_readers_have_five_ratings_or_fewer(prepared: tuple[Prepared, Audit]) -> None:
    lengths = prepared[0].ratings.shelves().lengths
    assert (lengths <= 5).mean() == pytest.approx(0.39, abs=0.005)


def test_rows_lie_sorted_by_book_so_that_the_split_must_not_go_by_rows(prepared: tuple[Prepared, Audit]) -> None:
    ratings, parts = prepared[0].ratings, prepared[0].parts
    assert (ratings.item_idx[1:] >= ratings.item_idx[:-1]).all()
    middle_of_test = ratings.item_idx[parts == TEST].mean() / ratings.n_books
    assert middle_of_test == pytest.approx(0.5, abs=0.01)


def test_there_are_no_times_to_split_by(data: DataSet) -> None:
    with pytest.raises(ConfigError, match="no times"):
        prepare(data, DataSettings(split=ByTime()))


def test_812_ids_exist_in_both_spaces_and_none_is_the_same_book(data: DataSet, books: pl.DataFrame) -> None:
    both = books.filter(pl.col("goodreads_id").is_in(books["book_id"].to_list()))
    assert len(both) == 812
    assert (both["goodreads_id"] != both["book_id"]).all()
    shared = both["goodreads_id"]
    with pytest.raises(AmbiguousIdsError, match="812 in both"):
        detect_id_space(shared, data.catalogue, "mine.csv")
    assert detect_id_space(books["book_id"], data.catalogue, "mine.csv") == "catalogue"
    assert detect_id_space(books["goodreads_id"], data.catalogue, "mine.csv") == "goodreads"
    as_goodreads, _ = to_catalogue_ids(shared, data.catalogue, "goodreads", "mine.csv")
    assert as_goodreads.to_list() == both["book_id"].to_list()


def test_a_known_book_is_described_right(books: pl.DataFrame) -> None:
    book = books.row(0, named=True)
    assert book["title"] == "The Hunger Games (The Hunger Games, #1)"
    assert (book["series"], book["series_number"]) == ("The Hunger Games", 1.0)
    assert (book["book_id"], book["goodreads_id"], book["work_id"]) == (1, 2_767_052, 2_792_775)
    assert (book["authors"], book["year"], book["language"]) == (["Suzanne Collins"], 2008, "eng")
    assert (book["isbn10"], book["isbn13"]) == ("0439023483", "9780439023481")
    assert (book["outside_mean"], book["outside_count"]) == (4.34, 4_942_365)


def test_what_books_lack(books: pl.DataFrame) -> None:
    assert len(books) == 10_000
    assert books["series"].is_not_null().sum() == 4_439
    nulls = {name: books[name].null_count() for name in ("title", "authors", "language", "original_title", "year")}
    assert nulls == {"title": 0, "authors": 0, "language": 1_084, "original_title": 590, "year": 21}
    assert books["cover"].null_count() == 3_332
    assert (books["year"] < 0).sum() > 0
    assert len(books) - books["title"].n_unique() == 36


def test_isbns_are_rebuilt_and_all_valid(goodbooks: Path, books: pl.DataFrame) -> None:
    raw = read_table(goodbooks / "books.csv.zip", all_text=True)
    assert raw["isbn13"].str.contains("e+1", literal=True).sum() == 9_410
    assert raw["isbn"].str.len_chars().lt(10).sum() == 6_601  # lost their leading zeros
    made = books.select("isbn10", "isbn13")
    assert made["isbn13"].is_not_null().sum() == 9_315
    assert all(isbn[-1] == check_digit_10(isbn[:9]) for isbn in made["isbn10"].drop_nulls())
    assert all(isbn[-1] == check_digit_13(isbn[:12]) for isbn in made["isbn13"].drop_nulls())
    # What stands in the file is the rebuilt number rounded, but for 20 books where its two columns disagree.
    both = made.with_columns(file=raw["isbn13"].cast(pl.Float64), made=pl.col("isbn13").cast(pl.Float64)).drop_nulls(
        "file"
    )
    assert ((both["file"] - both["made"]).abs() > 5).sum() == 20


def test_tags_lose_negative_counts_and_repeated_pairs_only(goodbooks: Path, data: DataSet) -> None:
    raw = read_table(goodbooks / "book_tags.csv.zip")
    assert len(raw) == 999_912
    assert (raw["count"] == -1).sum() == 6
    assert len(raw) - raw.select("goodreads_book_id", "tag_id").n_unique() == 8
    tags = data.catalogue.tags
    assert len(tags) == 999_912 - 6 - 8
    assert tags["count"].min() == 1
    assert tags["item_idx"].n_unique() == 10_000
    first = tags.filter(pl.col("item_idx") == 0).sort("count", descending=True)["tag"].to_list()
    assert "dystopian" in first[:15]

"""Simulated ratings and catalogues, and the sample that ships with the package."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from shelfwise.data.invent import simulate_catalogue
from shelfwise.data.simulate import (
    CHUNK,
    SAMPLE,
    SAMPLE_RATINGS,
    SAMPLE_READERS,
    Strengths,
    iter_ratings_blocks,
    simulate_ratings,
    write_sample,
)
from shelfwise.errors import ConfigError

BOOKS = pl.read_csv(SAMPLE / "books.csv")
SUBJECTS = set(
    """adventure animals asia autobiography children coming-of-age crime detective drama epic essays fairy-tales
    family fantasy france gothic historical horror humour mythology nature philosophy poetry politics psychological
    religion romance russia satire science-fiction sea short-stories slavery social-novel society spy tragedy travel
    utopia victorian war women""".split()
)
LANGUAGES = set("en fr de ru grc la zh ja it es da no pt sv pl bn cs".split())


@st.composite
def possible(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Books, readers, ratings and a seed that can be met, up to every reader having read everything."""
    n_books, n_readers = draw(st.integers(3, 40)), draw(st.integers(1, 60))
    n_ratings = draw(st.integers(3 * n_readers, n_books * n_readers))
    return n_books, n_readers, n_ratings, draw(st.integers(0, 2**32))


@given(possible())
@settings(max_examples=40, deadline=None)
def test_numbers_are_met_exactly(numbers: tuple[int, int, int, int]) -> None:
    n_books, n_readers, n_ratings, seed = numbers
    books = simulate_catalogue(n_books, seed=seed)
    ratings = simulate_ratings(books, n_readers, n_ratings, seed=seed)
    assert ratings.schema == {"user_id": pl.Int64, "book_id": pl.Int64, "rating": pl.Int8}
    assert len(ratings) == n_ratings
    assert not ratings.select("user_id", "book_id").is_duplicated().any()
    assert ratings["rating"].is_between(1, 5).all()
    assert ratings["book_id"].is_in(books["book_id"].to_list()).all()
    per_reader = ratings.group_by("user_id").len().sort("user_id")
    assert per_reader["user_id"].to_list() == list(range(1, n_readers + 1))
    assert per_reader["len"].min() >= 3
    assert ratings["user_id"].is_sorted()


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_a_seed_decides_everything(seed: int) -> None:
    first = simulate_ratings(BOOKS, 50, 500, seed=seed)
    assert_frame_equal(first, simulate_ratings(BOOKS, 50, 500, seed=seed))
    assert not first.equals(simulate_ratings(BOOKS, 50, 500, seed=seed + 1))
    books = simulate_catalogue(30, seed=seed)
    assert_frame_equal(books, simulate_catalogue(30, seed=seed))
    assert not books.equals(simulate_catalogue(30, seed=seed + 1))


@pytest.mark.parametrize("block_readers", [1, CHUNK, CHUNK + 1, 10**6])
def test_block_size_moves_only_the_cuts(block_readers: int) -> None:
    n_readers = 2 * CHUNK + 100
    blocks = list(iter_ratings_blocks(BOOKS, n_readers, 20_000, seed=3, block_readers=block_readers))
    assert len(blocks) == {1: 3, CHUNK: 3, CHUNK + 1: 2, 10**6: 1}[block_readers]
    assert_frame_equal(pl.concat(blocks), simulate_ratings(BOOKS, n_readers, 20_000, seed=3))


@pytest.mark.parametrize(
    ("n_readers", "n_ratings", "seed"),
    [(10, 29, 0), (10, 10 * len(BOOKS) + 1, 0), (0, 0, 0), (-1, 10, 0), (10, 100, -1)],
)
def test_impossible_numbers_are_refused(n_readers: int, n_ratings: int, seed: int) -> None:
    with pytest.raises(ConfigError) as caught:
        simulate_ratings(BOOKS, n_readers, n_ratings, seed=seed)
    assert caught.value.hint


@pytest.mark.parametrize(
    "books",
    [BOOKS.head(2), BOOKS.drop("subjects"), BOOKS.with_columns(book_id=1), BOOKS.with_columns(book_id=pl.lit(None))],
)
def test_unusable_books_are_refused_before_the_first_block(books: pl.DataFrame) -> None:
    with pytest.raises(ConfigError):
        iter_ratings_blocks(books, 10, 30, seed=0)


def test_other_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="block_readers"):
        iter_ratings_blocks(BOOKS, 10, 30, seed=0, block_readers=0)
    with pytest.raises(ConfigError):
        simulate_catalogue(0, seed=0)
    with pytest.raises(ConfigError):
        simulate_catalogue(5, seed=-1)


def test_book_ids_keep_their_type_and_gaps_in_the_facts_do_no_harm() -> None:
    books = BOOKS.with_columns(
        pl.format("b{}", "book_id").alias("book_id"),
        *(pl.lit(None, pl.String).alias(column) for column in ("authors", "subjects", "series", "series_number")),
    )
    ratings = simulate_ratings(books, 20, 200, seed=0)
    assert ratings["book_id"].dtype == pl.String
    assert set(ratings["book_id"]) <= set(books["book_id"])


def test_activity_and_popularity_are_long_tailed() -> None:
    ratings = simulate_ratings(simulate_catalogue(2_000, seed=1), 3_000, 60_000, seed=1)
    for column in ("user_id", "book_id"):
        counts = np.sort(ratings.group_by(column).len()["len"].to_numpy())[::-1]
        top_tenth = counts[: len(counts) // 10].sum() / counts.sum()
        assert 0.25 < top_tenth < 0.75, column


# --- what the stars are made of


def residuals(ratings: pl.DataFrame) -> pl.DataFrame:
    """Stars less the book's mean, then less the reader's mean of what is left."""
    left = ratings.with_columns(left=pl.col("rating") - pl.col("rating").mean().over("book_id"))
    return left.with_columns(pl.col("left") - pl.col("left").mean().over("user_id"))


def kinship(ratings: pl.DataFrame) -> tuple[float, float]:
    """Mean product of two residuals of one reader: books with at least 2 common subjects, books with none."""
    sets = [set(subjects.split("|")) for subjects in BOOKS["subjects"]]
    common = np.array([[len(a & b) for b in sets] for a in sets])
    left = residuals(ratings)
    table = np.zeros((left["user_id"].max(), len(BOOKS)))
    table[left["user_id"].to_numpy() - 1, left["book_id"].to_numpy() - 1] = left["left"].to_numpy()
    read = np.zeros_like(table)
    read[left["user_id"].to_numpy() - 1, left["book_id"].to_numpy() - 1] = 1
    products, pairs = table.T @ table, read.T @ read
    other_author = BOOKS["authors"].to_numpy()[:, None] != BOOKS["authors"].to_numpy()
    near, far = (common >= 2) & other_author, (common == 0) & other_author
    return products[near].sum() / pairs[near].sum(), products[far].sum() / pairs[far].sum()


def test_taste_shows_in_books_that_share_subjects() -> None:
    """Taking means off leaves any two residuals slightly negative, so near books are compared with far ones."""
    near, far = kinship(pl.read_csv(SAMPLE / "ratings.csv.gz"))
    assert near - far > 0.05
    near, far = kinship(simulate_ratings(BOOKS, 3_000, 60_000, seed=0, strengths=Strengths(taste=0.0)))
    assert abs(near - far) < 0.015


def test_readers_and_books_explain_a_part_of_the_stars() -> None:
    ratings = pl.read_csv(SAMPLE / "ratings.csv.gz")
    explained = 1 - residuals(ratings)["left"].var() / ratings["rating"].var()
    assert 0.15 < explained < 0.45


def test_readers_go_on_with_a_series() -> None:
    ratings = pl.read_csv(SAMPLE / "ratings.csv.gz")
    first, second = (
        set(ratings.filter(pl.col("book_id") == book)["user_id"])
        for book in BOOKS.filter(pl.col("series") == "Oz").sort("series_number")["book_id"].head(2)
    )
    assert len(first & second) / len(first) > 2 * len(second) / SAMPLE_READERS


# --- the shipped sample


def test_shipped_sample_is_the_regenerated_one(tmp_path: Path) -> None:
    write_sample(tmp_path / "new")
    assert (tmp_path / "new" / "books.csv").read_bytes() == (SAMPLE / "books.csv").read_bytes()
    shipped, new = (gzip.decompress((f / "ratings.csv.gz").read_bytes()) for f in (SAMPLE, tmp_path / "new"))
    assert shipped == new


def test_shipped_ratings_are_small_and_look_like_stars() -> None:
    path = SAMPLE / "ratings.csv.gz"
    assert path.stat().st_size < 300_000
    ratings = pl.read_csv(path)
    assert ratings.columns == ["user_id", "book_id", "rating"]
    assert (len(ratings), ratings["user_id"].n_unique()) == (SAMPLE_RATINGS, SAMPLE_READERS)
    share = ratings["rating"].value_counts(normalize=True).sort("rating")["proportion"].to_numpy()
    np.testing.assert_allclose(share, [0.025, 0.07, 0.23, 0.35, 0.32], atol=0.03)


def sound(books: pl.DataFrame) -> None:
    """Assert what holds for every catalogue, real or invented."""
    assert books["book_id"].to_list() == list(range(1, len(books) + 1))
    assert not books.select("title", "authors").is_duplicated().any()
    required = books.select("title", "authors", "language", "subjects")
    assert not required.select(pl.any_horizontal(pl.all().fill_null("").str.strip_chars() == "")).to_series().any()
    assert books["series"].is_null().equals(books["series_number"].is_null())
    volumes = books.select("series", "series_number").drop_nulls()
    assert not volumes.is_duplicated().any()
    assert (volumes["series_number"] >= 1).all()
    for subjects in books["subjects"].str.split("|"):
        assert 2 <= len(set(subjects)) == len(subjects) <= 5


def test_shipped_catalogue_is_sound() -> None:
    sound(BOOKS)
    assert BOOKS["title"].is_unique().all()
    assert BOOKS["year"].is_between(-800, 1928).all()
    assert set(BOOKS["subjects"].str.split("|").explode()) == SUBJECTS
    assert set(BOOKS["language"]) == LANGUAGES
    assert (BOOKS["language"] != "en").mean() > 0.25
    for column in ("title", "authors", "series"):
        assert (BOOKS[column].drop_nulls() == BOOKS[column].drop_nulls().str.strip_chars()).all()
    in_order = BOOKS.drop_nulls("series").sort("series", "series_number")
    assert (in_order.select(pl.col("year").diff().over("series"))["year"].drop_nulls() >= 0).all()


@given(n_books=st.integers(1, 3_000), seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_invented_catalogues_are_sound(n_books: int, seed: int) -> None:
    books = simulate_catalogue(n_books, seed=seed)
    assert books.schema == BOOKS.schema
    sound(books)
    assert books["year"].is_between(1450, 2024).all()


def test_invented_catalogue_has_realistic_proportions() -> None:
    books = simulate_catalogue(20_000, seed=0)
    assert 0.25 < books["series"].is_not_null().mean() < 0.45
    assert 2 < len(books) / books["authors"].str.split("|").list.first().n_unique() < 4
    assert 0.6 < (books["language"] == "en").mean() < 0.8
    assert books["subjects"].str.split("|").list.first().n_unique() > 30

"""What is in a data set, told before anything is learned from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.config import Config
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ratings import Cleaning, Duplicates, Ratings, RatingsTable
from shelfwise.data.sources import DataSet
from shelfwise.data.split import PARTS, TEST, TRAIN, Parts

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# At least this share of the books must have exactly the largest count before a cap is suspected.
CAPPED_SHARE = 0.05
READERS_AT_ONCE = 1 << 16


class Audit(Config):
    """Counts of a data set. Rows are rows of the ratings file; the rest counts ratings kept.

    Readers are those with a rating, books those of the catalogue.
    """

    name: str
    edition: str
    fingerprint: str
    scale: str
    ids: str
    duplicates: Duplicates
    n_rows: int
    n_out_of_scale: int
    n_exact_duplicates: int
    n_repeated: int
    n_conflicting_pairs: int
    n_unknown_book_rows: int
    unknown_books: list[str]
    n_ratings: int
    n_readers: int
    n_books: int
    n_books_rated: int
    density: float
    stars: dict[str, int]
    mean_stars: float
    ratings_per_reader: dict[str, float]
    ratings_per_book: dict[str, float]
    n_single_rating_readers: int
    n_capped_books: int
    cap: int | None
    series_overlap: float
    author_overlap: float
    holes: dict[str, int]
    n_events: int
    n_event_readers: int
    n_unknown_event_rows: int
    parts: dict[str, int]
    test_reader_unseen: float | None
    test_book_unseen: float | None


@dataclass(frozen=True)
class Counts:
    """What is counted of some readers' ratings; those of other readers add up with them.

    rows           of Cleaning, and n_out_of_scale
    unknown_books  ids that are not in the catalogue, the first ten by their text
    stars          how often each value occurs among the ratings kept
    readers        ids in ascending order; per_reader int64 [U], ratings of each
    per_book       int32 [P, I], of all files int64: ratings of each book in each part (data.split), in train where
                   there is no split
    shared         ratings whose reader has another book of the same series, author
    new_readers    test ratings of readers who are not in train
    """

    rows: dict[str, int]
    unknown_books: list[str]
    stars: dict[float, int]
    readers: pl.Series
    per_reader: npt.NDArray[np.int64]
    per_book: npt.NDArray[np.integer]
    shared: tuple[int, int]
    new_readers: int


def count(table: RatingsTable, ratings: Ratings, cleaning: Cleaning, parts: Parts | None, books: Catalogue) -> Counts:
    """The counts of a table and of the ratings that clean() kept of it."""
    names = ("n_rows", "n_exact_duplicates", "n_repeated", "n_conflicting_pairs", "n_unknown_book_rows")
    stars, n = table.frame["stars"].value_counts(name="n").get_columns()
    out_of_scale = int(n.filter(pl.Series(~table.scale.contains(stars.to_numpy()))).sum())
    values, counts = np.unique(ratings.stars, return_counts=True)
    per_reader = np.bincount(ratings.user_idx, minlength=ratings.n_readers)
    part = np.zeros(len(ratings), dtype=np.int8) if parts is None else parts
    per_book = [np.bincount(ratings.item_idx[part == p], minlength=ratings.n_books) for p in range(len(PARTS))]
    train, test = ratings.user_idx[part == TRAIN], ratings.user_idx[part == TEST]
    return Counts(
        rows={name: getattr(cleaning, name) for name in names} | {"n_out_of_scale": out_of_scale},
        unknown_books=_unknown_books(table) if cleaning.n_unknown_book_rows else [],
        stars=dict(zip(values.tolist(), counts.tolist(), strict=True)),
        readers=ratings.readers.ids.filter(pl.Series(per_reader > 0)),
        per_reader=per_reader[per_reader > 0],
        per_book=np.stack(per_book).astype(np.int32),
        shared=_shared(ratings, (_groups(books, "series"), _groups(books, "authors"))),
        new_readers=int((~np.isin(test, train)).sum()),
    )


def audit(data: DataSet, ratings: Ratings, cleaning: Cleaning, parts: Parts | None = None) -> Audit:
    """Audit of a data set and the ratings that clean() kept of it.

    `parts` (of split) adds the size of each part and the shares of test rows whose reader or book
    does not occur in train.
    """
    counts = count(data.ratings, ratings, cleaning, parts, data.catalogue)
    return audit_of_counts(data, counts, cleaning.duplicates, split=parts is not None)


def audit_of_counts(data: DataSet, counts: Counts, duplicates: Duplicates, *, split: bool) -> Audit:
    """The audit of a data set from its counts; `data` without its ratings will do."""
    per_book, n_ratings = counts.per_book.sum(axis=0), int(counts.per_reader.sum())
    rated = per_book[per_book > 0]
    at_cap = int((rated == rated.max()).sum())
    capped = rated.max() >= 20 and at_cap >= CAPPED_SHARE * len(rated)
    events, n_books = data.events, len(data.catalogue)
    return Audit(
        name=data.name,
        edition=data.edition,
        fingerprint=data.fingerprint,
        scale=str(data.ratings.scale),
        ids=data.ratings.ids,
        duplicates=duplicates,
        **counts.rows,
        unknown_books=counts.unknown_books,
        n_ratings=n_ratings,
        n_readers=len(counts.per_reader),
        n_books=n_books,
        n_books_rated=len(rated),
        density=n_ratings / (len(counts.per_reader) * n_books),
        stars={f"{value:g}": n for value, n in sorted(counts.stars.items())},
        mean_stars=sum(value * n for value, n in sorted(counts.stars.items())) / n_ratings,
        ratings_per_reader=_quantiles(counts.per_reader),
        ratings_per_book=_quantiles(rated),
        n_single_rating_readers=int((counts.per_reader == 1).sum()),
        n_capped_books=at_cap if capped else 0,
        cap=int(rated.max()) if capped else None,
        series_overlap=counts.shared[0] / n_ratings,
        author_overlap=counts.shared[1] / n_ratings,
        holes=_holes(data.catalogue),
        n_events=0 if events is None else len(events),
        n_event_readers=0 if events is None else events["user_id"].n_unique(),
        n_unknown_event_rows=0 if events is None else events["book_id"].null_count(),
        **_part_counts(counts, split=split),
    )


def _unknown_books(table: RatingsTable) -> list[str]:
    """By their text and not by row: rows have another order where the same ratings lie in several files."""
    rows = table.frame.select("raw_book_id", "stars").filter(table.frame["book_id"].is_null())
    ids = rows["raw_book_id"].filter(pl.Series(table.scale.contains(rows["stars"].to_numpy())))
    return ids.unique().cast(pl.String).sort().head(10).to_list()


def _part_counts(counts: Counts, *, split: bool) -> dict[str, object]:
    if not split:
        return {"parts": {}, "test_reader_unseen": None, "test_book_unseen": None}
    train, test = counts.per_book[TRAIN], counts.per_book[TEST]
    unseen: dict[str, float | None] = {"test_reader_unseen": None, "test_book_unseen": None}
    if n_test := int(test.sum()):
        unseen = {
            "test_reader_unseen": counts.new_readers / n_test,
            "test_book_unseen": float(test[train == 0].sum() / n_test),
        }
    sizes = zip(PARTS, counts.per_book.sum(axis=1).tolist(), strict=True)
    return {"parts": {name: n for name, n in sizes if n}, **unseen}


def _quantiles(counts: np.ndarray) -> dict[str, float]:
    names = ["min", *(f"{100 * q:g}%" for q in QUANTILES[1:-1]), "max"]
    return {name: float(v) for name, v in zip(names, np.quantile(counts, QUANTILES), strict=True)} | {
        "mean": float(counts.mean())
    }


def _groups(catalogue: Catalogue, column: str) -> pl.DataFrame:
    """item, and group: the place among the column's values in order; a row for each value of each book; Int32."""
    pairs = catalogue.books.select(pl.int_range(pl.len(), dtype=pl.Int32).alias("item"), column)
    if pairs[column].dtype == pl.List(pl.String):
        pairs = pairs.explode(column)
    pairs = pairs.drop_nulls()
    return pairs.select("item", (pl.col(column).rank("dense").cast(pl.Int32) - 1).alias("group"))


def _shared(ratings: Ratings, groupings: tuple[pl.DataFrame, pl.DataFrame]) -> tuple[int, int]:
    """Of each grouping, the ratings whose reader has another rated book of the same group."""
    order = np.argsort(ratings.user_idx, kind="stable")
    ends = np.cumsum(np.bincount(ratings.user_idx, minlength=ratings.n_readers))[READERS_AT_ONCE - 1 :: READERS_AT_ONCE]
    counts = [0, 0]
    for rows in np.split(order, ends):  # so that what is joined is never as long as all ratings
        block = pl.DataFrame({"user": ratings.user_idx[rows], "item": ratings.item_idx[rows]})
        for place, groups in enumerate(groupings):
            joined = block.join(groups, on="item", how="inner")
            shared = joined.filter(pl.len().over("user", "group") > 1)
            counts[place] += shared.select("user", "item").n_unique()
    return counts[0], counts[1]


def _holes(catalogue: Catalogue) -> dict[str, int]:
    """How many books lack each thing that helps to describe them."""
    books = catalogue.books
    fields = ("authors", "series", "year", "language", "subjects", "description", "isbn13")
    holes = {name: books[name].null_count() for name in fields}
    return {**holes, "tags": len(catalogue) - catalogue.tags["item_idx"].n_unique()}

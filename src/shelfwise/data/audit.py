"""What is in a data set, told before anything is learned from it."""

from __future__ import annotations

import numpy as np
import polars as pl

from shelfwise.config import Config
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ratings import Cleaning, Duplicates, Ratings
from shelfwise.data.shelves import Indices
from shelfwise.data.sources import DataSet
from shelfwise.data.split import PARTS, TEST, TRAIN, Parts

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# At least this share of the books must have exactly the largest count before a cap is suspected.
CAPPED_SHARE = 0.05


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


def audit(data: DataSet, ratings: Ratings, cleaning: Cleaning, parts: Parts | None = None) -> Audit:
    """Audit of a data set and the ratings that clean() kept of it.

    `parts` (of split) adds the size of each part and the shares of test rows whose reader or book
    does not occur in train.
    """
    per_reader, rated = np.bincount(ratings.user_idx), np.bincount(ratings.item_idx)
    per_reader, rated = per_reader[per_reader > 0], rated[rated > 0]
    at_cap = int((rated == rated.max()).sum())
    capped = rated.max() >= 20 and at_cap >= CAPPED_SHARE * len(rated)
    values, counts = np.unique(ratings.stars, return_counts=True)
    stars, n = data.ratings.frame["stars"].value_counts(name="n").get_columns()
    out_of_scale = int(n.filter(pl.Series(~data.ratings.scale.contains(stars.to_numpy()))).sum())
    events = data.events
    return Audit(
        name=data.name,
        edition=data.edition,
        fingerprint=data.fingerprint,
        scale=str(ratings.scale),
        ids=data.ratings.ids,
        duplicates=cleaning.duplicates,
        n_rows=cleaning.n_rows,
        n_out_of_scale=out_of_scale,
        n_exact_duplicates=cleaning.n_exact_duplicates,
        n_repeated=cleaning.n_repeated,
        n_conflicting_pairs=cleaning.n_conflicting_pairs,
        n_unknown_book_rows=cleaning.n_unknown_book_rows,
        unknown_books=cleaning.unknown_books,
        n_ratings=len(ratings),
        n_readers=len(per_reader),
        n_books=ratings.n_books,
        n_books_rated=len(rated),
        density=len(ratings) / (len(per_reader) * ratings.n_books),
        stars={f"{value:g}": int(count) for value, count in zip(values, counts, strict=True)},
        mean_stars=float(ratings.stars.mean(dtype=np.float64)),
        ratings_per_reader=_quantiles(per_reader),
        ratings_per_book=_quantiles(rated),
        n_single_rating_readers=int((per_reader == 1).sum()),
        n_capped_books=at_cap if capped else 0,
        cap=int(rated.max()) if capped else None,
        series_overlap=_overlap(ratings, *_groups(data.catalogue, "series")),
        author_overlap=_overlap(ratings, *_groups(data.catalogue, "authors")),
        holes=_holes(data.catalogue),
        n_events=0 if events is None else len(events),
        n_event_readers=0 if events is None else events["user_id"].n_unique(),
        n_unknown_event_rows=0 if events is None else events["book_id"].null_count(),
        **_part_counts(ratings, parts),
    )


def _part_counts(ratings: Ratings, parts: Parts | None) -> dict[str, object]:
    if parts is None:
        return {"parts": {}, "test_reader_unseen": None, "test_book_unseen": None}
    counts = np.bincount(parts, minlength=len(PARTS))
    train, test = ratings.where(parts == TRAIN), ratings.where(parts == TEST)
    unseen: dict[str, float | None] = {"test_reader_unseen": None, "test_book_unseen": None}
    if len(test):
        unseen = {
            "test_reader_unseen": float(np.mean(~np.isin(test.user_idx, train.user_idx))),
            "test_book_unseen": float(np.mean(~np.isin(test.item_idx, train.item_idx))),
        }
    return {"parts": {name: int(n) for name, n in zip(PARTS, counts, strict=True) if n}, **unseen}


def _quantiles(counts: np.ndarray) -> dict[str, float]:
    names = ["min", *(f"{100 * q:g}%" for q in QUANTILES[1:-1]), "max"]
    return {name: float(v) for name, v in zip(names, np.quantile(counts, QUANTILES), strict=True)} | {
        "mean": float(counts.mean())
    }


def _groups(catalogue: Catalogue, column: str) -> tuple[Indices, Indices]:
    """(item_idx, place among the column's values in order), one row for each value of each book; int32 [N] each."""
    pairs = catalogue.books.select(pl.int_range(pl.len(), dtype=pl.Int32).alias("item_idx"), column)
    if pairs[column].dtype == pl.List(pl.String):
        pairs = pairs.explode(column)
    pairs = pairs.drop_nulls()
    codes = pairs[column].rank("dense").cast(pl.Int32) - 1
    return pairs["item_idx"].to_numpy(), codes.to_numpy()


def _overlap(ratings: Ratings, item_idx: Indices, group_idx: Indices) -> float:
    """Share of ratings whose reader has another rated book of the same group (series or author)."""
    if not len(item_idx):
        return 0.0
    rows = pl.DataFrame({"user": ratings.user_idx, "item": ratings.item_idx})
    groups = pl.DataFrame({"item": item_idx, "group": group_idx})
    joined = rows.join(groups, on="item", how="inner")
    shared = joined.filter(pl.len().over("user", "group") > 1)
    return shared.select("user", "item").n_unique() / len(ratings)


def _holes(catalogue: Catalogue) -> dict[str, int]:
    """How many books lack each thing that helps to describe them."""
    books = catalogue.books
    fields = ("authors", "series", "year", "language", "subjects", "description", "isbn13")
    holes = {name: books[name].null_count() for name in fields}
    return {**holes, "tags": len(catalogue) - catalogue.tags["item_idx"].n_unique()}

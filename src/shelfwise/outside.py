"""Ratings from outside a run, of readers it may not know, as its books and scale have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from shelfwise.artifact import Run
from shelfwise.data.ids import IdSpace
from shelfwise.data.ratings import RatingsTable, clean, read_ratings
from shelfwise.data.shelves import Shelves
from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.errors import BadValueError, UnknownBookError


@dataclass(frozen=True)
class OutsideRatings:
    """Ratings of readers from outside the run: their vocabulary and shelves, and what was left out."""

    readers: Vocabulary
    shelves: Shelves
    n_unknown: int = 0
    unknown_books: tuple[str, ...] = ()


def read_outside(run: Run, path: Path, ids: IdSpace | None = None) -> OutsideRatings:
    """Ratings (user_id, book_id, rating) from a file; unknown books are counted and left out.

    Of a repeated reader-book pair the same row counts as in training. Raises DataError.
    """
    table = read_ratings(path, run.catalogue, scale=run.model.scale, ids=ids)
    if table.frame["book_id"].null_count() == len(table.frame):
        raise UnknownBookError(
            f"{path}: none of its books is in the catalogue of this run",
            hint="check its ids, or give --ids",
        )
    return _outside(run, table, Vocabulary(table.frame["user_id"]))


def outside_ratings(run: Run, ratings: Mapping[str, Sequence[tuple[Id, float]]]) -> OutsideRatings:
    """The ratings of readers, by name: pairs of a book id and stars. Unknown books are counted and left out.

    A book rated twice counts as in training. Raises BadValueError for stars outside the scale, DuplicateError.
    """
    scale, books = run.model.scale, run.catalogue.vocabulary
    given = [(reader, book_id, value) for reader, mine in ratings.items() for book_id, value in mine]
    inside = scale.contains([np.nan if isinstance(value, str) else value for _, _, value in given])
    if not inside.all():
        _, book_id, value = given[int(np.argmin(inside))]
        raise BadValueError(
            f"book {book_id!r}: {value!r} stars are not on the scale {scale}", hint="correct this rating"
        )
    item_idx = books.find([book_id for _, book_id, _ in given])
    readers = Vocabulary(pl.Series(list(ratings), dtype=pl.String))
    rows = np.repeat(readers.find(list(ratings)), [len(mine) for mine in ratings.values()])
    known, stars = item_idx >= 0, np.array([value for _, _, value in given], dtype=np.float32)
    shelves = Shelves.build(rows[known], item_idx[known], stars[known], len(readers))
    if len(shelves.item_idx) == np.count_nonzero(known):  # as nearly always: none stands twice, so no rule decides
        unknown = [str(given[place][1]) for place in np.flatnonzero(~known).tolist()]
        return OutsideRatings(readers, shelves, len(unknown), tuple(dict.fromkeys(unknown))[:10])
    frame = pl.DataFrame(
        {
            "user_id": [reader for reader, _, _ in given],
            "book_id": pl.Series([None if i < 0 else books.ids[int(i)] for i in item_idx], dtype=books.ids.dtype),
            "raw_book_id": [str(book_id) for _, book_id, _ in given],
            "stars": pl.Series([value for _, _, value in given], dtype=pl.Float32, strict=False),
        }
    )
    return _outside(run, RatingsTable(frame, Path("ratings"), scale, "catalogue"), readers)


def _outside(run: Run, table: RatingsTable, readers: Vocabulary) -> OutsideRatings:
    ratings, cleaning = clean(table, run.catalogue, duplicates=run.settings["duplicates"])
    shelves = ratings.for_readers(readers).shelves()
    return OutsideRatings(readers, shelves, cleaning.n_unknown_book_rows, tuple(cleaning.unknown_books))

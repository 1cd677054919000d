"""The books on lists with all that is said of them: as a table, or one by one in plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.shelves import Floats, Indices
from shelfwise.reasons import Reason, as_column


@dataclass(frozen=True)
class Listed:
    """N books on the lists of readers: reader by reader, of each list by list, best first.

    row      the reader, as a row of those who were asked for, int64 [N]
    place    which of the reader's lists, int64 [N]
    rank     on it, from 1, int32 [N]
    books    int32 [N]
    scores, stars  float32 [N]
    low, high      float32 [N], stars; None where they were not asked for, or the model has none
    reasons  for each book; None where they were not asked for
    """

    row: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    rank: Indices
    books: Indices
    scores: Floats
    stars: Floats
    low: Floats | None
    high: Floats | None
    reasons: list[list[Reason]] | None

    def frame(self, users: pl.Series, catalogue: Catalogue, *, ranges: bool) -> pl.DataFrame:
        """The columns of Recommender.recommend_all; `users` are the ids of those who were asked for."""
        columns: dict[str, Any] = {
            "user_id": users[pl.Series(self.row)],
            "rank": self.rank,
            "book_id": catalogue.vocabulary.take(self.books),
            "title": catalogue.titles(pl.Series(self.books)),
            "score": self.scores,
            "stars": self.stars,
        }
        for name, values in (("low", self.low), ("high", self.high)) if ranges else ():
            columns[name] = pl.Series([None] * len(self.books) if values is None else values, dtype=pl.Float32)
        if self.reasons is not None:
            columns["reasons"] = as_column(self.reasons, catalogue.vocabulary.ids)
        return pl.DataFrame(columns)

    def plain(self, catalogue: Catalogue) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Row, place, and the book as text and numbers, with its authors; for few, to whom a table costs more."""
        nothing = [None] * len(self.books)
        low, high = (nothing if values is None else values.tolist() for values in (self.low, self.high))
        numbers = zip(self.scores.tolist(), self.stars.tolist(), low, high, strict=True)
        reasons = [[]] * len(self.books) if self.reasons is None else self.reasons
        where = zip(self.row.tolist(), self.place.tolist(), self.books.tolist(), strict=True)
        for (row, place, book), (score, stars, least, most), why in zip(where, numbers, reasons, strict=True):
            book_id, title, authors = catalogue.heading(book)
            said = [
                {
                    "code": reason.code,
                    "text": reason.text,
                    "contribution": reason.contribution,
                    "book_id": None if reason.item_idx is None else catalogue.heading(reason.item_idx).book_id,
                }
                for reason in why
            ]
            yield (
                row,
                place,
                {
                    "book_id": book_id,
                    "title": title,
                    "authors": authors,
                    "score": score,
                    "stars": stars,
                    "low": least,
                    "high": most,
                    "reasons": said,
                },
            )

"""The books on lists with all that is said of them: as a table, or one by one in plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.shelves import Floats, Indices
from shelfwise.models.blocks import describe
from shelfwise.models.contract import Lists, Model, Readers, Rows
from shelfwise.reasons import Reason, Speaker, as_column, reasons_of


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


def listed(
    model: Model, readers: Readers, rows: Rows, lists: Sequence[Lists], speaker: Speaker | None, *, ranges: bool
) -> Listed:
    """What there is to say of the lists of readers, who are these rows of those who were asked for; of each list a row
    for each reader. Reasons where a speaker is given."""
    books, scores = (np.concatenate([getattr(one, name) for one in lists], axis=1) for name in ("books", "scores"))
    lengths = [one.books.shape[1] for one in lists]
    which, rank = np.repeat(np.arange(len(lists)), lengths), np.concatenate([np.arange(n) + 1 for n in lengths])
    filled = books >= 0
    row, column = np.nonzero(filled)
    found = [one.chances for one in lists if one.chances is not None]
    chances = np.concatenate(found, axis=1)[filled] if len(found) == len(lists) else None
    stars, low, high = _stars(model, readers, row, books[filled], chances, ranges=ranges)
    return Listed(
        row=rows[row],
        place=which[column],
        rank=rank[column].astype(np.int32),
        books=books[filled],
        scores=scores[filled],
        stars=stars,
        low=low,
        high=high,
        reasons=reasons_of(speaker, model, readers, books) if speaker else None,
    )


def _stars(
    model: Model, readers: Readers, rows: Rows, books: Indices, chances: Floats | None, *, ranges: bool
) -> tuple[Floats, Floats | None, Floats | None]:
    """Expected stars of pairs, from the chances of each value where they are known; with `ranges` low and high."""
    if chances is None and ranges:
        chances = model.probabilities(readers, rows, books)
    elif chances is not None and (open_pairs := np.isnan(chances).any(axis=1)).any():
        chances[open_pairs] = model.probabilities(readers, rows[open_pairs], books[open_pairs])
    if chances is None:
        return model.stars(readers, rows, books), None, None
    found = describe(chances, model.scale) if ranges else {}
    return model.scale.expected(chances), found.get("low"), found.get("high")


def group_frame(
    catalogue: Catalogue,
    members: pl.Series,
    books: Sequence[int],
    scores: Floats,
    stars: Floats,
    reasons: list[list[Reason]] | None,
) -> pl.DataFrame:
    """The columns of Recommender.recommend_group: N books for the ids of M members, whose stars are [M, N]; reasons
    member by member."""
    items = np.array(books, dtype=np.int32)
    names = members.cast(pl.String).gather(np.repeat(np.arange(len(members)), len(items)))
    columns = [names.alias("user_id"), pl.Series("stars", stars.ravel())]
    if reasons is not None:
        columns.append(as_column(reasons, catalogue.vocabulary.ids))
    each = pl.DataFrame(columns).to_struct("members")
    by_book = np.arange(stars.size).reshape(stars.shape).T
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(items) + 1, dtype=np.int32),
            "book_id": catalogue.vocabulary.take(items),
            "title": catalogue.titles(pl.Series(items)),
            "score": scores,
            "members": pl.Series([each.gather(rows) for rows in by_book], dtype=pl.List(each.dtype)),
        }
    )

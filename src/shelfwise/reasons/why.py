"""Reasons as tables, with the ids and titles of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from shelfwise.data.shelves import Indices
from shelfwise.data.vocabulary import Id
from shelfwise.models.contract import Model, Readers
from shelfwise.reasons.explanation import explain, explain_lists, without_each
from shelfwise.reasons.words import Reason, Speaker


@dataclass(frozen=True)
class Why:
    """Why a reader's book is expected to get its stars; explanation.py says what the quantities are.

    stars = mean + book_average + the sum of the contributions + remainder
    reasons  in words
    ratings  a row for each of the reader's ratings, those that move the prediction most first: book_id, title, stars,
             contribution and removal_effect (stars; null if not asked for), through (words or null), pickup (or null)
    """

    book_id: Id
    title: str
    stars: float
    mean: float
    book_average: float
    remainder: float
    reasons: list[Reason]
    ratings: pl.DataFrame


def explain_book(
    speaker: Speaker, model: Model, readers: Readers, row: int, item_idx: int, *, effects: bool = True
) -> Why:
    """Everything about one prediction, for reader `row` of the block. Removal effects cost most: a fold-in each."""
    books = np.array([item_idx], dtype=np.int32)
    found = explain(model, readers, row, books)
    effect = (found.stars[:, None] - without_each(model, readers, row, books))[0] if effects else None
    catalogue, mine = speaker.catalogue, found.shelf
    n = len(mine.item_idx)
    ratings = pl.DataFrame(
        {
            "book_id": catalogue.vocabulary.take(mine.item_idx),
            "title": catalogue.titles(pl.Series(mine.item_idx)),
            "stars": mine.stars,
            "contribution": found.contributions[0],
            "removal_effect": pl.Series(effect, dtype=pl.Float32)
            if effects
            else pl.Series([None] * n, dtype=pl.Float32),
            "through": pl.Series([speaker.link(found, 0, j) for j in range(n)], dtype=pl.String),
            "pickup": pl.Series([None] * n if found.pickup is None else found.pickup[0], dtype=pl.Float32),
        }
    )
    return Why(
        book_id=catalogue.vocabulary.ids[item_idx],
        title=catalogue.books["title"][item_idx],
        stars=float(found.stars[0]),
        mean=float(found.mean[0]),
        book_average=float(found.book[0]),
        remainder=float(found.remainder[0]),
        reasons=speaker.reasons(found, 0),
        ratings=ratings.sort(pl.col("contribution").abs(), descending=True, maintain_order=True),
    )


def reasons_of(speaker: Speaker, model: Model, readers: Readers, lists: Indices) -> list[list[Reason]]:
    """Of each book of each list in turn, int32 [U, n]; -1 fills up, and of it there is nothing."""
    explained = zip(explain_lists(model, readers, lists), lists, strict=True)
    return [speaker.reasons(why, place) for why, books in explained for place in np.flatnonzero(books >= 0).tolist()]


def as_column(reasons: list[list[Reason]], book_ids: pl.Series) -> pl.Series:
    """A list of code, text, contribution and book_id for each book; `book_ids` are those of the catalogue."""
    every = [reason for of_book in reasons for reason in of_book]
    named = [None if reason.item_idx is None else book_ids[reason.item_idx] for reason in every]
    columns = [
        pl.Series("code", [reason.code for reason in every], dtype=pl.String),
        pl.Series("text", [reason.text for reason in every], dtype=pl.String),
        pl.Series("contribution", [reason.contribution for reason in every], dtype=pl.Float64),
        pl.Series("book_id", named, dtype=book_ids.dtype),
    ]
    books = pl.Series("book", np.repeat(np.arange(len(reasons)), [len(of_book) for of_book in reasons]))
    said = pl.DataFrame(columns).to_struct("reasons")
    found = pl.DataFrame([books, said]).group_by("book", maintain_order=True).agg("reasons")
    if len(found) < len(reasons):  # of some there is nothing to be said
        every_book = pl.DataFrame({"book": pl.Series(range(len(reasons)), dtype=books.dtype)})
        found = every_book.join(found, on="book", how="left", maintain_order="left").with_columns(
            pl.col("reasons").fill_null([])
        )
    return found["reasons"]

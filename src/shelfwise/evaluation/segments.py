"""Kinds of test ratings, to see where a model's error lies. On book data most of every gain is in continuations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ratings import Ratings
from shelfwise.data.shelves import Indices, Shelves

Codes = npt.NDArray[np.int8]
HISTORY = (0, 1, 5, 20)  # ratings on the reader's shelf: lower ends
BOOK_RATINGS = (0, 1, 20, 50, 100, 500)  # of the book in training: lower ends
READERS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Segments:
    """One way to divide N ratings: a label for each code, and the code of each rating, int8 [N]."""

    labels: tuple[str, ...]
    codes: Codes


def segments(target: Ratings, shelves: Shelves, catalogue: Catalogue, book_counts: Indices) -> dict[str, Segments]:
    """The ratings to predict, by what the shelf holds, by its length, and by the book's ratings in training."""
    return {
        "shelf": _by_shelf(target, shelves, catalogue),
        "history": _by_count(shelves.lengths[target.user_idx], HISTORY),
        "book ratings": _by_count(book_counts[target.item_idx], BOOK_RATINGS),
    }


def _by_count(counts: npt.NDArray[np.integer], lower_ends: tuple[int, ...]) -> Segments:
    uppers = [end - 1 for end in lower_ends[1:]]
    labels = [f"{low}" if low == high else f"{low}-{high}" for low, high in zip(lower_ends, uppers, strict=False)]
    codes = np.searchsorted(lower_ends, counts, side="right") - 1
    return Segments((*labels, f"{lower_ends[-1]}+"), codes.astype(np.int8))


def _by_shelf(target: Ratings, shelves: Shelves, catalogue: Catalogue) -> Segments:
    """Whether a book of the same series is on the shelf, else one of the same author, else neither."""
    authors = _shares(target, shelves, catalogue.books["authors"])
    series = _shares(target, shelves, catalogue.books["series"].reshape((-1, 1)).arr.to_list())
    codes = np.where(series, 0, np.where(authors, 1, 2))
    return Segments(("same series", "same author", "neither"), codes.astype(np.int8))


def _shares(target: Ratings, shelves: Shelves, groups: pl.Series) -> npt.NDArray[np.bool_]:
    """Whether a book on the shelf is in one of the groups of the book to predict, bool [N]; groups: lists by book."""
    names = groups.explode().cast(pl.Categorical).to_physical()
    of_book = pl.DataFrame(
        {
            "book": np.repeat(
                np.arange(len(groups), dtype=np.int32), groups.list.len().fill_null(1).clip(1).to_numpy()
            ),
            "group": names,
        }
    ).drop_nulls()
    order = np.argsort(target.user_idx, kind="stable")
    starts = np.arange(0, len(shelves), READERS_AT_ONCE)
    blocks = np.split(order, np.searchsorted(target.user_idx[order], starts[1:]))
    found = np.zeros(len(target), dtype=bool)
    for start, rows in zip(starts.tolist(), blocks, strict=True):  # so that what is joined is never as long as all
        block = shelves.span(start, start + READERS_AT_ONCE)
        rated = pl.DataFrame({"reader": (start + block.rows).astype(np.int32), "book": block.item_idx})
        on_shelf = rated.join(of_book, on="book").select("reader", "group")
        wanted = pl.DataFrame({"row": rows, "reader": target.user_idx[rows], "book": target.item_idx[rows]})
        shared = wanted.join(of_book, on="book").join(on_shelf, on=["reader", "group"], how="semi")["row"].unique()
        found[shared.to_numpy()] = True
    return found

"""Small worlds whose answers are known, as inputs of a fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.data.ratings import Ratings
from shelfwise.data.scale import Scale
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.features.vectors import BookFeatures
from shelfwise.models.contract import FitInputs

STARS = Scale(1, 5)


def make_ratings(rows: list[tuple[int, int, float]], n_readers: int, n_books: int, scale: Scale = STARS) -> Ratings:
    users, items, stars = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    readers, books = Vocabulary(range(n_readers)), Vocabulary(range(n_books))
    return Ratings(
        np.array(users, np.int32), np.array(items, np.int32), np.array(stars, np.float32), readers, books, scale
    )


def make_features(n_books: int) -> BookFeatures:
    """Even books are by Eve about the sea, odd ones by Otto about space."""
    raw = pl.DataFrame(
        {
            "book_id": [str(i) for i in range(n_books)],
            "title": [f"Book {i}" for i in range(n_books)],
            "authors": [("Eve", "Otto")[i % 2] for i in range(n_books)],
            "subjects": [("sea", "space")[i % 2] for i in range(n_books)],
        }
    )
    return BookFeatures.of(Catalogue(build_catalogue(raw, Path("books.csv")), empty_tags()))


def checkerboard(n_readers: int = 40, n_books: int = 20, *, seed: int = 0) -> FitInputs:
    """Even readers give 5 stars to even books and 1 to odd ones, odd readers the other way; a fifth is validation."""
    rng = np.random.default_rng(seed)
    rows = [(u, i, 5.0 if u % 2 == i % 2 else 1.0) for u in range(n_readers) for i in range(n_books)]
    seen = rng.random(len(rows)) < 0.6
    held = ~seen & (rng.random(len(rows)) < 0.5)
    pick = lambda keep: make_ratings([r for r, k in zip(rows, keep, strict=True) if k], n_readers, n_books)  # noqa: E731
    return FitInputs(pick(seen), valid=pick(held), features=make_features(n_books), seed=seed)

"""A data set of a few readers and books, written by hand-made rules; and runs trained on it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from shelfwise.artifact import Run
from shelfwise.data.sources import load_dataset
from shelfwise.experiment import OtherFiles, TrainSettings, train

N_READERS, N_BOOKS = 12, 20
TAGS = ("dragons", "harbour", "detective", "orchard")

Row = tuple[object, ...]


def rows_of_a_world(*, seed: int = 0, n_readers: int = N_READERS, n_books: int = N_BOOKS) -> list[Row]:
    """(user_id, book_id, rating): each reader 1..n rates two thirds of the books 1..n; good books fare better."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for reader in range(1, n_readers + 1):
        for book in range(1, n_books + 1):
            if rng.random() < 2 / 3:
                rows.append((reader, book, int(np.clip(round(2 + 2.5 * book / n_books + rng.normal(0, 1)), 1, 5))))
    return rows


def write_rows(path: Path, header: str, rows: Iterable[Row]) -> Path:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def write_ratings(path: Path, rows: Iterable[Row]) -> Path:
    """A ratings file."""
    return write_rows(path, "user_id,book_id,rating", rows)


def write_world(
    folder: Path,
    rows: list[Row] | None = None,
    *,
    events: list[tuple[object, object]] | None = None,
    books: Iterable[object] = range(1, N_BOOKS + 1),
    goodreads: bool = False,
) -> Path:
    """The folder of a data set; with `goodreads`, book b has the Goodreads id 1000 + b."""
    write_ratings(folder / "ratings.csv", rows_of_a_world() if rows is None else rows)
    books = list(books)
    header = "book_id,title,authors,year" + (",goodreads_id" if goodreads else "")
    write_rows(
        folder / "books.csv",
        header,
        [
            (book, f"The {TAGS[place % 4]} of {book}", f"Author {place % 5}", 1900 + place)
            + ((1000 + place + 1,) if goodreads else ())
            for place, book in enumerate(books)
        ],
    )
    write_rows(
        folder / "tags.csv",
        "book_id,tag,count",
        [(book, TAGS[(place + step) % 4], 5 - step) for place, book in enumerate(books) for step in range(2)],
    )
    if events is not None:
        write_rows(folder / "events.csv", "user_id,book_id", events)
    return folder


def train_on(folder: Path, *, files: OtherFiles | None = None, ratings: Path | None = None, **settings: object) -> Run:
    """A run of the model 'bias' unless the settings say otherwise."""
    data = load_dataset(folder, ratings=ratings)
    return train(data, TrainSettings.parse({"model": "bias", **settings}), files=files)

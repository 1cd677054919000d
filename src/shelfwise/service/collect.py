"""What stored readers said, as a data set that `train` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from shelfwise.data.files import atomic_write, output_errors
from shelfwise.errors import NotFoundError
from shelfwise.service.store import Store, lists, ratings, responses

ROWS_AT_ONCE = 100_000
NAMES = ("user_id", "book_id", "rating", "timestamp")


def collected(store: Store) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ratings (user_id, book_id, rating, timestamp) and events (user_id, book_id, timestamp), of one moment.

    Events are books that readers saved from a list, each once, at the first time. Times in seconds since 1970.
    Raises NotFoundError where no stored reader has rated anything, StoreError.
    """
    said = sa.select(ratings.c.reader_id, ratings.c.book_id, ratings.c.stars, ratings.c.changed)
    saved = sa.select(lists.c.reader_id, responses.c.book_id, sa.func.min(responses.c.created)).join_from(
        responses, lists
    )
    saved = saved.where(lists.c.reader_id.is_not(None), responses.c.action == "saved")
    saved = saved.group_by(lists.c.reader_id, responses.c.book_id).order_by(lists.c.reader_id, responses.c.book_id)
    with store.reading(repeatable=True) as connection:
        stars = pl.concat(_frames(connection, said.order_by(*ratings.c[:2]), NAMES))
        events = pl.concat(_frames(connection, saved, ("user_id", "book_id", "timestamp")))
    if not len(stars):
        raise NotFoundError("no stored reader has rated anything yet", hint="PUT /v1/readers/{id}/ratings")
    return stars, events


def _frames(
    connection: sa.Connection, asked: sa.Select[tuple[str, ...]], names: tuple[str, ...]
) -> Iterator[pl.DataFrame]:
    schema = {name: pl.String if name.endswith("_id") else pl.Float64 for name in names}
    yield pl.DataFrame(schema=schema).with_columns(pl.col("timestamp").cast(pl.Int64))
    for part in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(asked).partitions():
        frame = pl.DataFrame([tuple(row) for row in part], schema, orient="row")
        yield frame.with_columns(pl.col("timestamp").cast(pl.Int64))


def write_collected(store: Store, folder: Path) -> tuple[int, int]:
    """Write ratings.csv and events.csv; the rows of each. Raises NotFoundError, StoreError, OutputError."""
    frames = collected(store)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(("ratings.csv", "events.csv"), frames, strict=True):
        with atomic_write(folder / name) as building:
            frame.write_csv(building)
    return len(frames[0]), len(frames[1])

"""shelfwise predict"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_frame, say, write_frames
from shelfwise.data.ratings import BOOK_ID_NAMES, READER_NAMES, id_column
from shelfwise.data.tables import need_column, read_table
from shelfwise.recommender import Recommender


def predict(
    run: options.RunFolder,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="Rows of user_id and book_id.")],
    shelf: options.Shelf = None,
    out: options.Out = None,
    ids: options.Ids = None,
    as_json: options.AsJson = False,
) -> None:
    """Predict stars: the rows of PAIRS plus stars and basis (on what the prediction rests)."""
    recommender = Recommender.load(run)
    outside = options.read_shelf(recommender, shelf, ids)
    frame = recommender.predict(_read_pairs(pairs), outside, ids=ids, where=str(pairs))
    if out is None:
        print_frame(frame, as_json=as_json)
    else:
        say(f"wrote {write_frames([frame], out):,} rows to {out}")


def _read_pairs(path: Path) -> pl.DataFrame:
    """The table in a file, its ids as they are read in ratings: 1.1 and 1.10 are two. Raises DataError."""
    table = read_table(path)
    for names, what in ((READER_NAMES, "reader"), (BOOK_ID_NAMES, "book")):
        column = need_column(table, names, path, f"{what}s")
        table = table.with_columns(id_column(table, column, path, f"{what} id").alias(column))
    return table

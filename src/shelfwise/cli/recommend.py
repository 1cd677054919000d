"""shelfwise recommend"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_frame, progress, say, write_frames
from shelfwise.cli.explain import texts
from shelfwise.data.ratings import READER_NAMES, id_column
from shelfwise.data.tables import need_column, read_table
from shelfwise.errors import UsageError
from shelfwise.recommender import OutsideRatings, Recommender


def recommend(
    run: options.RunFolder,
    reader: Annotated[str | None, typer.Option("--reader", metavar="ID", help="One reader.")] = None,
    readers: Annotated[
        Path | None, typer.Option("--readers", metavar="F", help="The readers in a file (column user_id).")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every reader the run knows.")] = False,
    shelf: options.Shelf = None,
    n: options.Number = 10,
    out: options.Out = None,
    ids: options.Ids = None,
    order: options.ListOrder = None,
    why: Annotated[bool, typer.Option("--why", help="Add reasons.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Recommend books: user_id, rank, book_id, title, score, stars; with --why, reasons.

    With --shelf alone: for the readers in that file. Books already rated are left out.
    """
    if sum((reader is not None, readers is not None, everybody)) > 1 or not (reader or readers or everybody or shelf):
        raise UsageError("for whom?", hint="give one of --reader ID, --readers F, --all, or --shelf RATINGS.csv")
    recommender = Recommender.load(run)
    if order is not None:
        recommender = recommender.ordered(order)
    outside = options.read_shelf(recommender, shelf, ids)
    reader_ids: pl.Series | None = None
    if reader is not None:
        reader_ids = pl.Series([reader])
        known = recommender.run.readers.find(reader_ids)
        if known[0] >= 0:
            reader_ids = recommender.run.readers.take(known)
        elif _n_unknown(reader_ids, recommender, outside):
            say(f"reader {reader!r} is not known: the list is what suits everybody")
    elif readers is not None:
        table = read_table(readers)
        column = need_column(table, READER_NAMES, readers, "readers")
        reader_ids = id_column(table, column, readers, "reader id").unique(maintain_order=True)
        if n_unknown := _n_unknown(reader_ids, recommender, outside):
            say(f"{n_unknown:,} of {len(reader_ids):,} readers are not known: their lists are what suits everybody")
    elif outside is not None and not everybody:
        reader_ids = outside.readers.ids
    with progress() as on_progress:
        frames = recommender.recommend_all(reader_ids, outside, n=n, why=why, on_progress=on_progress)
        if out is not None:
            n_rows = write_frames(map(texts, frames) if out.suffix == ".csv" else frames, out)
        else:
            frame = pl.concat(list(frames))
    if out is not None:
        say(f"wrote {n_rows:,} rows to {out}")
    else:
        print_frame(frame if as_json else texts(frame), as_json=as_json)


def _n_unknown(reader_ids: pl.Series, recommender: Recommender, outside: OutsideRatings | None) -> int:
    """How many readers neither the run nor the ratings from outside know."""
    unknown = recommender.run.readers.find(reader_ids) < 0
    if outside is not None:
        unknown &= outside.readers.find(reader_ids) < 0
    return int(unknown.sum())

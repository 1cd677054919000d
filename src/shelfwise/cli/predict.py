"""shelfwise predict"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_frame, say, write_frames
from shelfwise.data.tables import read_table
from shelfwise.recommender import Recommender


def predict(
    run: options.RunFolder,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="Rows of user_id and book_id.")],
    shelf: options.Shelf = None,
    out: options.Out = None,
    ids: options.Ids = None,
) -> None:
    """Predict stars: the rows of PAIRS plus stars and basis (on what the prediction rests)."""
    recommender = Recommender.load(run)
    outside = options.read_shelf(recommender, shelf, ids)
    frame = recommender.predict(read_table(pairs), outside, ids=ids, where=str(pairs))
    if out is None:
        print_frame(frame)
    else:
        say(f"wrote {write_frames([frame], out):,} rows to {out}")

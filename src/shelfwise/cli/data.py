"""shelfwise data"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfwise.cli.console import progress, say, write_frames
from shelfwise.data.fetch import DATA_SETS
from shelfwise.data.fetch import fetch as fetch_data
from shelfwise.data.files import output_errors
from shelfwise.data.invent import simulate_catalogue
from shelfwise.data.simulate import iter_ratings_blocks

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
To = Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write to; made if need be.")]


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(DATA_SETS)}.")],
    to: To,
) -> None:
    """Download a public data set; a broken download goes on where it stopped. Every file is verified."""
    with progress() as on_progress:
        fetch_data(name, to, on_progress=lambda file, done, total: on_progress(file, done, total or 0))
    say(f"{name} is in {to} (licence: {DATA_SETS[name].licence})")


@app.command()
def simulate(
    to: To,
    readers: Annotated[int, typer.Option("--readers", min=1, help="How many readers.")] = 3_000,
    books: Annotated[int, typer.Option("--books", min=1, help="How many books.")] = 1_000,
    ratings: Annotated[int, typer.Option("--ratings", min=1, help="How many ratings.")] = 60_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything.")] = 0,
) -> None:
    """Write a data set of invented books and simulated readers, of any size, for trials and benchmarks."""
    catalogue = simulate_catalogue(books, seed=seed)
    blocks = iter_ratings_blocks(catalogue, readers, ratings, seed=seed)
    with output_errors(to):
        to.mkdir(parents=True, exist_ok=True)
    write_frames([catalogue], to / "books.csv")
    n_rows = write_frames(blocks, to / "ratings.csv")
    say(f"wrote {books:,} invented books and {n_rows:,} simulated ratings to {to}")

"""shelfwise data"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfwise.cli.console import progress, say
from shelfwise.data.fetch import DATA_SETS
from shelfwise.data.fetch import fetch as fetch_data

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(DATA_SETS)}.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to download to.")],
) -> None:
    """Download a public data set; a broken download goes on where it stopped. Every file is verified."""
    with progress() as on_progress:
        fetch_data(name, to, on_progress=lambda file, done, total: on_progress(file, done, total or 0))
    say(f"{name} is in {to} (licence: {DATA_SETS[name].licence})")

"""shelfwise similar"""

from __future__ import annotations

from typing import Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_frame
from shelfwise.recommender import Recommender


def similar(
    run: options.RunFolder,
    book: Annotated[str, typer.Option("--book", metavar="ID", help="A book id of the catalogue.")],
    n: options.Number = 10,
    as_json: options.AsJson = False,
) -> None:
    """The books nearest in content to a book: rank, book_id, title, similarity."""
    print_frame(Recommender.load(run).similar(book, n), as_json=as_json)

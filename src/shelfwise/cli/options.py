"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shelfwise.cli.console import say
from shelfwise.data.ids import IdSpace
from shelfwise.data.ratings import Columns, Duplicates, UnknownBooks
from shelfwise.engine import EngineName
from shelfwise.outside import OutsideRatings
from shelfwise.recommender import Recommender

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder, a ratings file, a URL (s3://bucket/folder), a name below SHELFWISE_DATA or data/, or 'sample'.",
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write to this .csv or .parquet file instead of stdout.")]
Ids = Annotated[
    IdSpace | None,
    typer.Option("--ids", help="The id space of the files' book ids. [default: found out, or refused]"),
]
Shelf = Annotated[
    Path | None,
    typer.Option(
        "--shelf",
        metavar="RATINGS.csv",
        help="Ratings (user_id, book_id, rating) of readers not in the run, or newer ones.",
    ),
]
Number = Annotated[int, typer.Option("-n", min=1, help="How many books.")]
Catalogue = Annotated[
    str | None, typer.Option("--catalogue", metavar="DATA", help="Take the catalogue from this data set.")
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale", metavar="LOW-HIGH[/STEP]", help="Scale of the stars, such as 1-5 or 0.5-5/0.5. [default: guessed]"
    ),
]
DuplicateRule = Annotated[
    Duplicates, typer.Option("--duplicates", help="Which row counts where a reader rates a book twice.")
]
UnknownBookRule = Annotated[
    UnknownBooks, typer.Option("--unknown-books", help="What to do with ratings of books not in the catalogue.")
]
ColumnNames = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="reader=A,book=B,stars=C,time=D",
        help="Names of columns in the ratings file. [default: found by name]",
    ),
]


ListOrder = Annotated[
    Literal["blend", "stars", "pickup"] | None,
    typer.Option(
        "--order",
        help="By what lists are ordered, for models that know several: likely to be read and liked, expected stars, "
        "likely to be read. [default: the run's]",
    ),
]

OnEngine = Annotated[
    EngineName, typer.Option("--engine", help="Where the work is done: on this machine, or on a Ray cluster.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Blocks of readers at work at a time. [default: 1, with --all as many as CPUs, at most 4; with "
        "ray all CPUs of the cluster]",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="HOST:PORT", help="The Ray cluster. [default: one is started on this machine, and ended]"
    ),
]


def parse_columns(text: str | None) -> Columns:
    """Columns from 'reader=A,book=B'. Raises typer.BadParameter."""
    if not text:
        return Columns()
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    unknown = set(pairs) - set(Columns.__dataclass_fields__)
    if unknown or not all(pairs.values()):
        raise typer.BadParameter("write reader=NAME,book=NAME,stars=NAME,time=NAME (any of them)")
    return Columns(**pairs)


def read_shelf(recommender: Recommender, shelf: Path | None, ids: IdSpace | None) -> OutsideRatings | None:
    """The ratings of --shelf; says on stderr what was left out. Raises DataError."""
    if shelf is None:
        return None
    outside = recommender.read_shelf(shelf, ids)
    if outside.n_unknown:
        books = ", ".join(outside.unknown_books)
        say(f"{shelf}: left out {outside.n_unknown} ratings of books not in the catalogue ({books})")
    return outside

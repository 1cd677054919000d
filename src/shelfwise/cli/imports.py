"""shelfwise import"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_json, print_table, say
from shelfwise.imports import (
    BookIndex,
    ImportResult,
    describe,
    read_choices,
    write_failures,
    write_marks,
    write_ratings,
)
from shelfwise.imports.importing import OUTCOMES
from shelfwise.recommender import Recommender

OF_WHICH = {
    "matched": {
        "rated": "with stars",
        "marked": "read without stars, unfinished or to be read",
        "nothing-said": "of which nothing is said",
        "same-work": "of a work that another row is of",
    },
    "review": {"suggested": "with a suggestion (--accept-suggestions)"},
}
SHOWN = 20  # rows of the table of what is to be decided


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export of Goodreads, StoryGraph, LibraryThing, "
                                         "Hardcover, or a table of title, author, rating.")],
    run: options.RunFolder,
    out: Annotated[Path | None, typer.Option("--out", metavar="F.csv", help="Write the ratings: for --shelf.")] = None,
    marks: Annotated[
        Path | None,
        typer.Option("--marks", metavar="F.csv", help="Write what is read without stars, unfinished or to be read: for "
                     "--feedback."),
    ] = None,
    failures: Annotated[
        Path | None, typer.Option("--failures", metavar="F.csv", help="Write what was not matched, to be completed.")
    ] = None,
    choices: Annotated[
        Path | None,
        typer.Option("--choices", metavar="F.csv", help="That file with its column book_id filled in: an id, or none."),
    ] = None,
    accept_suggestions: Annotated[
        bool, typer.Option("--accept-suggestions", help="Take books of another ISBN where title and author are sure.")
    ] = False,
    reader: Annotated[str, typer.Option("--reader", metavar="ID", help="The reader's id in what is written.")] = "me",
    as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Import ratings from another app: which books of the run's catalogue they are of, and what is to be decided.

    Prints how many rows were matched, are to be reviewed, are not in the catalogue and could not be read, and the first
    rows of those. Nothing is stored beyond the files asked for.
    """
    recommender = Recommender.load(run)
    decided = None if choices is None else read_choices(choices)
    result = recommender.import_file(file, choices=decided, accept_suggestions=accept_suggestions)
    index = recommender.book_index
    say(f"{file}: {result.source}, {result.encoding}")
    for note in result.notes:
        say(f"note: {note}")
    if failures is not None:
        say(f"wrote {write_failures(result, index, failures):,} rows that are not matched to {failures}")
    if out is not None:
        say(f"wrote {write_ratings(result, out, reader):,} ratings to {out}")
    if marks is not None:
        say(f"wrote {write_marks(result, marks, reader):,} marks to {marks}")
    if as_json:
        print_json(as_document(result, index))
        return
    _print_counts(result)
    _print_open(result, index)


def as_document(result: ImportResult, index: BookIndex) -> dict[str, object]:
    """The result as JSON."""
    return {
        "file": result.name,
        "source": result.source,
        "encoding": result.encoding,
        "scale": result.scale,
        "counts": result.counts,
        "notes": list(result.notes),
        "rows": [describe(row, index) for row in result.rows],
        "ratings": [{"book_id": book_id, "stars": stars} for book_id, stars in result.ratings],
        "marks": [{"action": action, "book_id": book_id} for action, book_id in result.marks],
    }


def _print_counts(result: ImportResult) -> None:
    counts = result.counts
    rows = [(outcome.replace("-", " "), counts[outcome], _of_which(counts, outcome)) for outcome in OUTCOMES]
    print_table(f"{counts['rows']:,} rows", ("rows that are", "n", ""), rows)


def _of_which(counts: dict[str, int], outcome: str) -> str:
    parts = [f"{counts[name]:,} {words}" for name, words in OF_WHICH.get(outcome, {}).items() if counts[name]]
    return ", ".join(parts)


def _print_open(result: ImportResult, index: BookIndex) -> None:
    waiting = list(result.open)
    if not waiting:
        return
    rows = []
    for row in waiting[:SHOWN]:
        best = row.match.candidates[0] if row.match.candidates else None
        like = "" if best is None else f"{index.ids[best.item_idx]} {index.shown_titles[best.item_idx]}"
        rows.append((str(row.entry.row), row.entry.title, row.match.reason, like))
    more = f", the first {SHOWN} of {len(waiting):,} (all: --failures F.csv)" if len(waiting) > SHOWN else ""
    print_table(f"Not matched{more}", ("row", "title", "why", "like it"), rows)

"""The commands, in the order of the flow, and how an error reaches the terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from shelfwise.cli import (
    audit,
    compare,
    data,
    demo,
    evaluate,
    explain,
    feedback,
    imports,
    predict,
    recommend,
    serve,
    similar,
    train,
)
from shelfwise.cli.console import say
from shelfwise.errors import ShelfwiseError
from shelfwise.memory import keep_memory
from shelfwise.version import __version__

app = typer.Typer(
    name="shelfwise",
    help="What to read next, learned from readers' stars and from what books are about.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("audit")(audit.audit)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("predict")(predict.predict)
app.command("recommend")(recommend.recommend)
app.command("explain")(explain.explain)
app.command("similar")(similar.similar)
app.command("import")(imports.import_)
data.app.command("collect")(feedback.collect)
app.add_typer(data.app, name="data", help="Get or make data sets.")
app.command("serve")(serve.serve)
app.add_typer(serve.keys, name="keys", help="API keys of the service.")
app.command("report")(feedback.report)
app.command("backup")(serve.backup)
app.command("restore")(serve.restore)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shelfwise {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What to read next, learned from readers' stars and from what books are about.

    Data goes to stdout, all else to stderr. Exit status: 0 done, 1 expected failure, 2 wrong call.
    """


def main() -> None:
    """Run the command line; errors raised on purpose become two lines on stderr and an exit status."""
    keep_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a title is no reason to stop
    try:
        app(prog_name="shelfwise")
    except ShelfwiseError as error:
        say(f"error: {error.message}")
        if error.hint:
            say(f"hint: {error.hint}")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)

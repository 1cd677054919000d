"""What the commands share: where text goes, progress, tables, output files."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import rich.box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from shelfwise.data.files import atomic_write
from shelfwise.errors import UsageError
from shelfwise.models.contract import Progress as OnProgress

PLAIN_WIDTH = 110
PLAIN_SECONDS = 5.0  # between two lines about the same stage, where the terminal shows no bars


def say(text: str) -> None:
    """One line to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document to stdout, in UTF-8."""
    _print_data(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _print_data(text: str) -> None:
    """Text for other programs to stdout: in UTF-8, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table for people, to stdout; numbers are set flush right."""
    cells = [list(row) for row in rows]
    table = Table(box=rich.box.SIMPLE, pad_edge=False)
    for place, column in enumerate(columns):
        is_text = any(isinstance(row[place], str) and not _numeric(row[place]) for row in cells)
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for row in cells:
        table.add_row(*(_cell(value) for value in row))
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    if not sys.stdout.isatty():
        console = Console(file=sys.stdout, width=PLAIN_WIDTH, highlight=False, emoji=False, markup=False)
    if title:
        console.print(f"\n{title}")
    console.print(table)


def _numeric(text: str) -> bool:
    return text.replace(",", "").replace("%", "").replace(".", "").replace("-", "").strip().isdigit() or text in "-–"


def command_line() -> str:
    """The command as it was given, fit to be pasted into a shell."""
    return shlex.join(["shelfwise", *sys.argv[1:]])


def print_note(text: str) -> None:
    """A line below a table."""
    print(text)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def print_frame(frame: pl.DataFrame, *, as_json: bool) -> None:
    """A frame to stdout: JSON if asked for, else a table on a terminal, CSV in a pipe. Ids are printed as they are."""
    if as_json:
        print_json(json.loads(frame.write_json()))
        return
    if not sys.stdout.isatty():
        _print_data(frame.write_csv())  # polars itself would turn a closed pipe into an error of its own
        return
    ids = [name for name in frame.columns if name.endswith("_id")]
    shown = frame.with_columns(pl.col(ids).cast(pl.String))
    print_table("", shown.columns, shown.iter_rows())


def reasons_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Reasons as one text, for tables that cannot hold lists."""
    if "reasons" not in frame.columns:
        return frame
    words = pl.col("reasons").list.eval(pl.element().struct.field("text")).list.join("; ")
    return frame.with_columns(words)


def write_frames(frames: Iterable[pl.DataFrame], path: Path) -> int:
    """Frames of the same columns to one CSV or Parquet file, replaced at once; returns the rows written.

    Raises UsageError for another suffix, OutputError.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"cannot write {path.name}", hint="end the name in .csv or .parquet")
    write = _write_parquet if path.suffix == ".parquet" else _write_csv
    with atomic_write(path) as temporary:
        return write(frames, temporary)


def _write_csv(frames: Iterable[pl.DataFrame], path: Path) -> int:
    n_rows = 0
    with path.open("wb") as stream:
        for number, frame in enumerate(frames):
            frame.write_csv(stream, include_header=number == 0)
            n_rows += len(frame)
    return n_rows


def _write_parquet(frames: Iterable[pl.DataFrame], path: Path) -> int:
    """Each frame goes to a file of its own first, so that never more than a few are in memory."""
    n_rows = 0
    parts: list[Path] = []
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        for frame in frames:
            parts.append(Path(folder) / f"{len(parts)}.parquet")
            frame.write_parquet(parts[-1])
            n_rows += len(frame)
        pl.scan_parquet(parts, glob=False).sink_parquet(path)
    return n_rows


@contextmanager
def progress() -> Iterator[OnProgress]:
    """A progress callback: bars on a terminal, a plain line now and then elsewhere; all on stderr."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _plain_progress() -> OnProgress:
    last: dict[str, float] = {}

    def show(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last.setdefault(stage, now) >= PLAIN_SECONDS:
            last[stage] = now
            say(f"{stage}: {done:,} of {total:,}")

    return show

"""shelfwise report and shelfwise data collect: what readers did with lists, and what they said, to train on"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_json, print_note, print_table, say
from shelfwise.cli.serve import Config, Database, DataFolder, store_of

TITLES = {"by_model": "By model", "by_kind": "By kind and order of list", "by_position": "By position"}


def report(
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what became of the lists that were answered: shares of books opened, saved and dismissed, and their stars.

    Each with its 95 % interval, by model, by kind and order of list, and by position.
    """
    from shelfwise.service.report import GROUPS, feedback_report

    with store_of(config, data_folder, database) as store:
        found = feedback_report(store)
    if as_json:
        print_json(found)
        return
    for name, column in GROUPS.items():
        header = (column, "lists", "shown", "opened %", "saved %", "dismissed %", "rated", "stars")
        print_table(TITLES[name], header, [_row(entry, column) for entry in found[name]])
    print_note(
        f"{found['lists']:,} lists; shares are of books shown; in brackets 95 % intervals over readers and lists"
    )


def collect(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write to; made if need be.")],
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """Write what stored readers of the service rated and saved as a data set: ratings.csv and events.csv.

    It has no catalogue: shelfwise train DIR --catalogue DATA.
    """
    from shelfwise.service.collect import write_collected

    with store_of(config, data_folder, database) as store:
        n_ratings, n_events = write_collected(store, to)
    say(f"wrote {n_ratings:,} ratings and {n_events:,} events: shelfwise train {to} --catalogue DATA")


def _row(entry: dict[str, Any], column: str) -> list[Any]:
    cells = [entry[column], entry["lists"], entry["shown"]]
    for action in ("opened", "saved", "dismissed"):
        one = entry[action]
        cells.append(f"{100 * one['share']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]")
    stars = entry["stars"]
    mean = None if stars["mean"] is None else f"{stars['mean']:.2f}"
    if stars["low"] is not None:
        mean = f"{mean} [{stars['low']:.2f}, {stars['high']:.2f}]"
    return [*cells, stars["n"], mean]

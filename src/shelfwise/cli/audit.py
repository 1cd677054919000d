"""shelfwise audit"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_json, say
from shelfwise.cli.tables import show_audit
from shelfwise.data.audit import Audit
from shelfwise.data.audit import audit as audit_data
from shelfwise.data.audit_parts import audit_parts
from shelfwise.data.ratings import clean
from shelfwise.data.scale import parse_scale
from shelfwise.data.sources import load_dataset
from shelfwise.data.split import RandomSplit, split
from shelfwise.engine import open_engine
from shelfwise.errors import UsageError


def audit(
    data: options.Data,
    ratings: Annotated[Path | None, typer.Option("--ratings", help="Audit this file in place of DATA's own.")] = None,
    catalogue: options.Catalogue = None,
    scale: options.Scale = None,
    ids: options.Ids = None,
    columns: options.ColumnNames = None,
    duplicates: options.DuplicateRule = "first",
    as_json: options.AsJson = False,
    engine: options.OnEngine = "local",
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Count what is in a data set: duplicates, conflicts, unknown books, stars, shelves, holes.

    With --engine or --workers file by file, of ratings in a folder ratings/.
    """
    if (engine, workers, address) != ("local", None, None):
        if ratings is not None:
            raise UsageError(
                "--ratings does not go with --engine, --workers and --address", hint="put the files into ratings/"
            )
        with open_engine(engine, workers, address) as at_work:
            result = audit_parts(
                data,
                at_work,
                catalogue=catalogue,
                columns=options.parse_columns(columns),
                scale=parse_scale(scale) if scale else None,
                ids=ids,
                duplicates=duplicates,
            )
        _show(result, as_json=as_json)
        return
    loaded = load_dataset(
        data,
        catalogue=catalogue,
        ratings=ratings,
        columns=options.parse_columns(columns),
        scale=parse_scale(scale) if scale else None,
        ids=ids,
    )
    say(f"read {loaded.edition} from {loaded.folder}")
    kept, cleaning = clean(loaded.ratings, loaded.catalogue, duplicates=duplicates, out_of_scale="keep-out")
    result = audit_data(loaded, kept, cleaning, split(kept, RandomSplit()) if len(kept) > 100 else None)
    _show(result, as_json=as_json)


def _show(result: Audit, *, as_json: bool) -> None:
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_audit(result)

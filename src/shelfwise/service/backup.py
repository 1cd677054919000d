"""A database as one file, of SQLite and PostgreSQL alike: a consistent copy while others write, and back again.

Gzipped JSON lines: one for the schema, one for each row ({"table": ..., "row": {...}}), a last one that counts them.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from shelfwise.data.files import atomic_write
from shelfwise.errors import FormatError, MissingDataError, StoreError
from shelfwise.service import schema
from shelfwise.service.store import TABLES, Store

ROWS_AT_ONCE = 1000


def back_up(store: Store, path: Path) -> dict[str, int]:
    """Write all tables as they are at one moment; rows of each. Raises StoreError, OutputError."""
    counts = dict.fromkeys((table.name for table in TABLES), 0)
    with atomic_write(path) as building, gzip.open(building, "wt", encoding="utf-8") as lines:
        with store.reading(repeatable=True) as connection:
            head = {"shelfwise": "backup", "schema": schema.revision_of(connection)}
            lines.write(json.dumps(head) + "\n")
            for table in TABLES:
                for row in connection.execute(sa.select(table)).yield_per(ROWS_AT_ONCE):
                    counts[table.name] += 1
                    lines.write(json.dumps({"table": table.name, "row": dict(row._mapping)}) + "\n")
        lines.write(json.dumps({"end": counts}) + "\n")
    return counts


def restore(store: Store, path: Path) -> dict[str, int]:
    """Fill an empty database from a backup, all or nothing; rows of each table. Raises FormatError, StoreError."""
    schema.upgrade(store)
    tables = {table.name: table for table in TABLES}
    counts = dict.fromkeys(tables, 0)
    end: dict[str, int] | None = None
    with store.writing() as connection:
        if any(connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() for table in TABLES):
            raise StoreError("the database is not empty", hint="restore into a new one")
        for number, line in enumerate(_lines(path), start=1):
            if number == 1:
                if line.get("shelfwise") != "backup" or line.get("schema") != schema.revision_of(connection):
                    raise FormatError(
                        f"{path} is no backup of this version's schema", hint="restore it with the version that made it"
                    )
            elif "end" in line:
                end = line["end"]
            else:
                connection.execute(sa.insert(tables[line["table"]]).values(**line["row"]))
                counts[line["table"]] += 1
        if end != counts:
            raise FormatError(f"{path} is not complete", hint="take another copy of it")
    return counts


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise MissingDataError(f"no such file: {path}", hint="check the path")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FormatError(f"{path} is damaged: {error}", hint="take another copy of it") from error

"""shelfwise serve, and what belongs to its database: keys, backup, restore"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_json, print_table, say
from shelfwise.service.settings import read_settings

if TYPE_CHECKING:
    from shelfwise.service.store import Store

Config = Annotated[Path | None, typer.Option("--config", metavar="TOML", help="Settings of the service.")]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data-folder", metavar="DIR", help="Where SQLite is kept. [default: shelfwise-data]"),
]
Database = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="Another database: postgresql://USER:PASSWORD@HOST/NAME")
]
keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; the first one answers.")],
    host: Annotated[str | None, typer.Option("--host", help="Where to listen. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option("--port", help="[default: 8000]")] = None,
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
    allow_open: Annotated[
        bool | None, typer.Option("--allow-open", help="Let other machines read without a key.")
    ] = None,
) -> None:
    """Serve lists, predictions and readers over HTTP, until it is told to stop.

    On this machine alone reading needs no key until one is made. Settings also come from SHELFWISE_SERVE_NAME in the
    environment and from --config.
    """
    import uvicorn

    from shelfwise.service.app import UVICORN, create_app
    from shelfwise.service.guards import log_to_stderr

    settings = read_settings(
        config, host=host, port=port, data_folder=data_folder, database=database, allow_open=allow_open
    )
    app = create_app(settings, runs)
    log_to_stderr()
    say(f"serving {runs[0]} at http://{settings.host}:{settings.port}/v1 (what there is: /openapi.json)")
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=settings.drain_seconds,
        **UVICORN,
    )


@keys.command("make")
def make(
    name: Annotated[str, typer.Argument(help="Whom or what it is for.")],
    role: Annotated[str, typer.Option("--role", metavar="read|write|admin", help="What it may do.")] = "read",
    days: Annotated[float | None, typer.Option("--days", help="How long it is valid. [default: until revoked]")] = None,
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """Make an API key and print it, this once."""
    from shelfwise.service.keys import make_key

    with store_of(config, data_folder, database) as store:
        print(make_key(store, name, role, days))
    say("keep it well: it is not shown again")


@keys.command("list")
def list_all(
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
    as_json: options.AsJson = False,
) -> None:
    """List all keys ever made, without their secrets."""
    from shelfwise.service.keys import list_keys

    with store_of(config, data_folder, database) as store:
        found = list_keys(store)
    if as_json:
        print_json([key.__dict__ for key in found])
        return
    rows = [(key.key_id, key.name, key.role, _day(key.created), _day(key.expires), _day(key.revoked)) for key in found]
    print_table("Keys", ("id", "name", "role", "made", "expires", "revoked"), rows)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """End a key; a service that runs knows within seconds."""
    from shelfwise.service.keys import revoke_key

    with store_of(config, data_folder, database) as store:
        revoke_key(store, key_id)
    say(f"revoked {key_id}")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write, such as backup.jsonl.gz.")],
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """Copy the database as it is at one moment, while the service goes on."""
    from shelfwise.service.backup import back_up

    with store_of(config, data_folder, database) as store:
        counts = back_up(store, file)
    say(f"wrote {file}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="That backup wrote.")],
    data_folder: DataFolder = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """Fill an empty database from a backup, all or nothing."""
    from shelfwise.service.backup import restore as fill

    with store_of(config, data_folder, database) as store:
        counts = fill(store, file)
    say("restored " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))


def store_of(config: Path | None, data_folder: Path | None, database: str | None) -> closing[Store]:
    """The database in this version's schema, closed at the end."""
    from shelfwise.service.schema import upgrade
    from shelfwise.service.store import Store

    settings = read_settings(config, data_folder=data_folder, database=database)
    store = Store(settings.database_url)
    upgrade(store)
    return closing(store)


def _day(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))

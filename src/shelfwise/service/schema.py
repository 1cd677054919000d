"""Bringing a database to the schema of this version (Alembic; migrations/)."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from shelfwise.errors import StoreError
from shelfwise.service.store import Store

LOCK = 0x5E1F_0001  # of PostgreSQL, so that one process migrates at a time


def upgrade(store: Store) -> None:
    """Every step up to the newest schema in one transaction: up, or unchanged. Raises StoreError."""
    config = _config()
    newest = ScriptDirectory.from_config(config).get_current_head()
    with store.writing() as connection:
        if store.is_postgresql:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        here = revision_of(connection)
        known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
        if here is not None and here not in known:
            raise StoreError(
                f"the database has schema {here!r}, which this version does not know", hint="use a newer shelfwise"
            )
        if here != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def revision_of(connection: sa.Connection) -> str | None:
    """The schema that the database has; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config

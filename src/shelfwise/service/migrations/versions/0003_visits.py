"""When visitors of the page were last here, so that shelves that nobody comes back for can go."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("readers", sa.Column("seen", sa.Float, nullable=True))
    readers = sa.table("readers", sa.column("reader_id", sa.String), sa.column("seen", sa.Float))
    op.execute(sa.update(readers).where(readers.c.reader_id.like("page-%")).values(seen=time.time()))

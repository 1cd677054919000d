"""Readers, their ratings and marks, and keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "readers",
        sa.Column("reader_id", sa.String(200), primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "ratings",
        sa.Column(
            "reader_id", sa.String(200), sa.ForeignKey("readers.reader_id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("book_id", sa.String(200), primary_key=True),
        sa.Column("stars", sa.Float, nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
    )
    op.create_table(
        "marks",
        sa.Column(
            "reader_id", sa.String(200), sa.ForeignKey("readers.reader_id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("action", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(400), primary_key=True),
        sa.Column("changed", sa.Float, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=True),
        sa.Column("revoked", sa.Float, nullable=True),
    )

"""Lists that were answered, and what readers did with their books."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "lists",
        sa.Column("list_id", sa.String(40), primary_key=True),
        sa.Column("created", sa.Float, nullable=False, index=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column(
            "reader_id",
            sa.String(200),
            sa.ForeignKey("readers.reader_id", ondelete="CASCADE"),
            nullable=True,
            index=True,
        ),
        sa.Column("n_books", sa.Integer, nullable=False),
        sa.Column("books", sa.Text, nullable=False),
    )
    op.create_table(
        "responses",
        sa.Column("list_id", sa.String(40), sa.ForeignKey("lists.list_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("book_id", sa.String(200), primary_key=True),
        sa.Column("action", sa.String(20), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("stars", sa.Float, nullable=True),
        sa.Column("created", sa.Float, nullable=False),
    )

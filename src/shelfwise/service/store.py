"""What readers have said, and the keys of those who may ask: in SQLite or PostgreSQL, by the same statements.

Writes of SQLite begin with BEGIN IMMEDIATE: read-modify-write that begins deferred loses updates. Book ids are kept as
text; the catalogue in use says which of them it knows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shelfwise.errors import NotFoundError, StoreError, StoreFullError

metadata = sa.MetaData()
readers = sa.Table(
    "readers",
    metadata,
    sa.Column("reader_id", sa.String(200), primary_key=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("seen", sa.Float, nullable=True),  # when a visitor of the page was last here; NULL for other readers
)
ratings = sa.Table(
    "ratings",
    metadata,
    sa.Column("reader_id", sa.String(200), sa.ForeignKey("readers.reader_id"), primary_key=True),
    sa.Column("book_id", sa.String(200), primary_key=True),
    sa.Column("stars", sa.Float, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
)
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("reader_id", sa.String(200), sa.ForeignKey("readers.reader_id"), primary_key=True),
    sa.Column("action", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(400), primary_key=True),
    sa.Column("changed", sa.Float, nullable=False),
)
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=True),
    sa.Column("revoked", sa.Float, nullable=True),
)
STATUSES = ("read", "did-not-finish", "to-read")  # marks that say how far a reader is with a book
lists = sa.Table(  # that were answered
    "lists",
    metadata,
    sa.Column("list_id", sa.String(40), primary_key=True),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column(
        "reader_id", sa.String(200), sa.ForeignKey("readers.reader_id", ondelete="CASCADE"), nullable=True, index=True
    ),
    sa.Column("n_books", sa.Integer, nullable=False),
    sa.Column("books", sa.Text, nullable=False),  # a JSON list of ids
)
responses = sa.Table(  # to them
    "responses",
    metadata,
    sa.Column("list_id", sa.String(40), sa.ForeignKey("lists.list_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("book_id", sa.String(200), primary_key=True),
    sa.Column("action", sa.String(20), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),  # of the book on the list, from 1
    sa.Column("stars", sa.Float, nullable=True),
    sa.Column("created", sa.Float, nullable=False),
)
TABLES = (readers, ratings, marks, keys, lists, responses)
BUSY_MS = 30_000
CONNECT_SECONDS = 10
FULL = ("disk is full", "database or disk is full", "no space left", "53100", "diskfull")


@dataclass(frozen=True)
class Said:
    """All that a reader has said: ratings by book id, and marks (action, subject); `seen` as in the table."""

    ratings: dict[str, float]
    marks: tuple[tuple[str, str], ...]
    seen: float | None = None


class Store:
    """A database at a URL; the folder of an SQLite file is made. Raises StoreError where it cannot be opened."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        if self.url.get_backend_name() == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        elif self.url.database and self.url.database != ":memory:":
            with self._errors(OSError):
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"pool_size": 20}
        if self.is_postgresql:
            options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_SECONDS}}
        self.engine = sa.create_engine(self.url, **options)
        if not self.is_postgresql:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    @property
    def is_postgresql(self) -> bool:
        return self.url.get_backend_name() == "postgresql"

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()

    @contextmanager
    def reading(self, *, repeatable: bool = False) -> Iterator[sa.Connection]:
        """A look at the database; with `repeatable` all statements see the same moment. Raises StoreError."""
        level = {"isolation_level": "REPEATABLE READ"} if repeatable and self.is_postgresql else {}
        with self._errors(), self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """All that is written within, or nothing. Raises StoreError, StoreFullError."""
        with self._errors(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _errors(self, *others: type[Exception]) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, others):
                raise  # of a file that is read or written meanwhile, say
            words = str(getattr(error, "orig", error))
            if any(sign in f"{words} {getattr(getattr(error, 'orig', None), 'sqlstate', '')}".lower() for sign in FULL):
                raise StoreFullError("the disk of the database is full", hint="make room; nothing was lost") from error
            raise StoreError(f"the database does not answer: {words.splitlines()[0]}", hint="try again") from error

    # Readers.

    def add_reader(self, reader_id: str, *, visits: bool = False) -> bool:
        """Make a reader; False where there is one of that id already. visits  whether visited() will be told."""
        now = time.time()
        row = {"reader_id": reader_id, "created": now, "seen": now if visits else None}
        statement = self.insert(readers).values(row).on_conflict_do_nothing()
        with self.writing() as connection:
            return connection.execute(statement.returning(readers.c.reader_id)).first() is not None

    def visited(self, reader_id: str) -> None:
        """Keep that a visitor is here now."""
        with self.writing() as connection:
            connection.execute(sa.update(readers).where(readers.c.reader_id == reader_id).values(seen=time.time()))

    def unseen_since(self, moment: float) -> list[str]:
        """The visitors who were last here before that, seconds since 1970."""
        with self.reading() as connection:
            return list(connection.execute(sa.select(readers.c.reader_id).where(readers.c.seen < moment)).scalars())

    def rate(self, reader_id: str, given: Sequence[tuple[str, float]]) -> None:
        """Set stars of books, all or none; the last of a repeated book counts. Raises NotFoundError."""
        rows = [{"book_id": book, "stars": stars} for book, stars in dict(given).items()]
        self._put(ratings, reader_id, rows, "book_id")

    def unrate(self, reader_id: str, book_id: str) -> bool:
        """Take back a rating; whether there was one. Raises NotFoundError."""
        return self._drop(ratings, reader_id, ratings.c.book_id == book_id)

    def mark(self, reader_id: str, said: Sequence[tuple[str, str]]) -> None:
        """Add marks (action, subject), all or none. Raises NotFoundError."""
        rows = [{"action": action, "subject": subject} for action, subject in dict.fromkeys(said)]
        self._put(marks, reader_id, rows, "action", "subject")

    def take_in(self, reader_id: str, stars: Mapping[str, float], said: Sequence[tuple[str, str]]) -> None:
        """Set stars of books, and what an import says beside them (action, book), all or none; again changes nothing.

        Of a book that the import has, marks of STATUSES that it does not give go. Raises NotFoundError.
        """
        mine = {"reader_id": reader_id, "changed": time.time()}
        rate, mark = self.insert(ratings), self.insert(marks).on_conflict_do_nothing()
        rate = rate.on_conflict_do_update(
            index_elements=["reader_id", "book_id"],
            set_={"stars": rate.excluded.stars, "changed": rate.excluded.changed},
            where=ratings.c.stars != rate.excluded.stars,
        )
        rows = [{**mine, "book_id": book, "stars": value} for book, value in stars.items()]
        given = dict.fromkeys(said)
        books = {*stars, *(book for _, book in given)}
        is_status = (marks.c.reader_id == reader_id) & marks.c.action.in_(STATUSES)
        drop = sa.delete(marks).where(
            is_status, marks.c.action == sa.bindparam("was"), marks.c.subject == sa.bindparam("book")
        )
        with self.writing() as connection:
            self._known(connection, reader_id)
            there = connection.execute(sa.select(marks.c.action, marks.c.subject).where(is_status)).all()
            stale = [{"was": a, "book": book} for a, book in there if book in books and (a, book) not in given]
            fresh = [{**mine, "action": action, "subject": book} for action, book in given]
            for statement, values in ((rate, rows), (drop, stale), (mark, fresh)):
                if values:
                    connection.execute(statement, values)

    def unmark(self, reader_id: str, action: str, subject: str) -> bool:
        """Take back a mark; whether there was one. Raises NotFoundError."""
        return self._drop(marks, reader_id, (marks.c.action == action) & (marks.c.subject == subject))

    def change(
        self,
        reader_id: str,
        stars: Sequence[tuple[str, float]],
        unrated: Sequence[str],
        said: Sequence[tuple[str, str]],
        taken_back: Sequence[tuple[str, str]],
    ) -> None:
        """Set and take back ratings and marks, all or none. Raises NotFoundError."""
        mine = {"reader_id": reader_id, "changed": time.time()}
        rate = self.insert(ratings)
        rate = rate.on_conflict_do_update(
            index_elements=["reader_id", "book_id"],
            set_={"stars": rate.excluded.stars, "changed": rate.excluded.changed},
        )
        mark = self.insert(marks).on_conflict_do_nothing()
        of_reader = ratings.c.reader_id == reader_id
        unrate = sa.delete(ratings).where(of_reader, ratings.c.book_id == sa.bindparam("book"))
        of_mark = (marks.c.action == sa.bindparam("said"), marks.c.subject == sa.bindparam("about"))
        unmark = sa.delete(marks).where(marks.c.reader_id == reader_id, *of_mark)
        work: list[tuple[Any, list[dict[str, Any]]]] = [
            (unrate, [{"book": book} for book in unrated]),
            (unmark, [{"said": action, "about": subject} for action, subject in taken_back]),
            (rate, [{**mine, "book_id": book, "stars": value} for book, value in stars]),
            (mark, [{**mine, "action": action, "subject": subject} for action, subject in said]),
        ]
        with self.writing() as connection:
            self._known(connection, reader_id)
            for statement, rows in work:
                if rows:
                    connection.execute(statement, rows)

    def said(self, reader_id: str) -> Said:
        """All that a reader has said. Raises NotFoundError."""
        with self.reading() as connection:
            seen = self._known(connection, reader_id)
            mine = sa.select(ratings.c.book_id, ratings.c.stars).where(ratings.c.reader_id == reader_id)
            actions = sa.select(marks.c.action, marks.c.subject).where(marks.c.reader_id == reader_id)
            stars = {row.book_id: row.stars for row in connection.execute(mine.order_by(ratings.c.book_id))}
            return Said(stars, tuple((a, s) for a, s in connection.execute(actions.order_by(*marks.c[1:3]))), seen)

    def export(self, reader_id: str) -> dict[str, Any]:
        """Everything that is kept of a reader. Raises NotFoundError."""
        with self.reading() as connection:
            self._known(connection, reader_id)
            found: dict[str, Any] = {}
            for table in (readers, ratings, marks, lists):
                rows = connection.execute(sa.select(table).where(table.c.reader_id == reader_id).order_by(*table.c[:3]))
                found[table.name] = [dict(row._mapping) for row in rows]
            mine = sa.select(responses).join(lists).where(lists.c.reader_id == reader_id)
            rows = connection.execute(mine.order_by(*responses.c[:3]))
            return found | {"responses": [dict(row._mapping) for row in rows]}

    def erase(self, reader_id: str) -> bool:
        """Delete all that is kept of a reader, from the write-ahead log of SQLite too; whether there was anything.

        Raises StoreError where the log could not be emptied since somebody still reads it; again does it then.
        """
        with self.writing() as connection:
            for table in (marks, ratings, lists):  # responses go with their lists
                connection.execute(sa.delete(table).where(table.c.reader_id == reader_id))
            there = connection.execute(sa.delete(readers).where(readers.c.reader_id == reader_id)).rowcount > 0
        if not self.is_postgresql:
            until = time.monotonic() + BUSY_MS / 1000
            while (busy := self._empty_log()) and time.monotonic() < until:
                time.sleep(0.01)  # SQLite waits for those who read, but not for another's checkpoint
            if busy:
                raise StoreError("what was deleted is still read by another: its log is kept", hint="delete again")
        return there

    def _empty_log(self) -> bool:
        """Write all of SQLite's log to the database and empty it; whether somebody was in the way."""
        with self._errors(), self.engine.connect() as connection:
            return bool(connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        with self.reading() as connection:
            return {t.name: connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in TABLES}

    def check(self) -> None:
        """Write something that changes nothing. Raises StoreError, StoreFullError."""
        with self.writing() as connection:
            connection.execute(sa.update(readers).where(readers.c.reader_id == "").values(created=0))
            if not self.is_postgresql:
                connection.exec_driver_sql("PRAGMA user_version = 0")  # a page that is really written

    def _put(self, table: sa.Table, reader_id: str, rows: list[dict[str, Any]], *keys: str) -> None:
        now = time.time()
        with self.writing() as connection:
            self._known(connection, reader_id)
            if rows:
                statement = self.insert(table)
                others = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
                statement = statement.on_conflict_do_update(index_elements=["reader_id", *keys], set_=others)
                connection.execute(statement, [{"reader_id": reader_id, "changed": now, **row} for row in rows])

    def _drop(self, table: sa.Table, reader_id: str, which: sa.ColumnElement[bool]) -> bool:
        with self.writing() as connection:
            self._known(connection, reader_id)
            return connection.execute(sa.delete(table).where(table.c.reader_id == reader_id, which)).rowcount > 0

    def _known(self, connection: sa.Connection, reader_id: str) -> float | None:
        """When the reader was last seen. Raises NotFoundError."""
        found = connection.execute(sa.select(readers.c.seen).where(readers.c.reader_id == reader_id)).first()
        if found is None:
            raise NotFoundError(f"no reader {reader_id!r} is kept here", hint="make it first, or give ratings")
        seen: float | None = found.seen
        return seen

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that may say what to do about rows that are there."""
        return (postgresql if self.is_postgresql else sqlite).insert(table)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # so that we begin transactions ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

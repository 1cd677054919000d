"""Finding books by words: an index for each catalogue that is served, in FTS5 of SQLite or in PostgreSQL.

Both databases are asked the same: which books hold one of these words, and one of those, and so on, where a word may be
the beginning of one; the most-read first. The order of the answer follows from that alone, so it is the same.

An index belongs to a run, by its version; it is made before the run answers, in one transaction, and is never changed.
Indexes can be made again at any time: they stand in no backup, and those not used for a week go when another is made.
With SQLite they are in a file of their own, so that making one holds up nobody.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from shelfwise.data.shelves import Floats
from shelfwise.service.models import Served
from shelfwise.service.store import Store
from shelfwise.service.words import Choices, Nearness, Vocabulary, book_words, in_one_piece, query_isbns, query_words

FORMAT = 1  # of the words; another one makes every index anew
KEPT = 7 * 86_400.0  # seconds that an index outlives its last use
CANDIDATES = 300  # of the books that a mistyped query may mean, the most-read
LOCK = 0x5E1F_0002  # of PostgreSQL, so that one process makes an index at a time
indexes = sa.Table(
    "search_indexes",
    sa.MetaData(),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("used", sa.Float, nullable=False),
    sa.Column("vocabulary", sa.Text, nullable=False),
)


class Search:
    """The indexes of a service."""

    def __init__(self, store: Store) -> None:
        self._own = (
            None
            if store.is_postgresql
            else Store(f"sqlite:///{Path(store.url.database or '').with_suffix('.search.db')}")
        )
        self._store = self._own or store
        self._vocabulary = lru_cache(maxsize=2)(self._read_vocabulary)
        self._mine: deque[str] = deque(
            maxlen=3
        )  # asked for last here: those of the run that answers and of the previous

    def close(self) -> None:
        """Give back all connections."""
        if self._own:
            self._own.close()

    def prepare(self, served: Served) -> None:
        """See to it that the catalogue of a run can be searched. Raises StoreError."""
        recommender = served.recommender
        self.index(index_name(served), recommender.run.catalogue.books, recommender.facts.popularity)

    def find(self, served: Served, query: str, n: int) -> list[int]:
        """Rows of the books of a run's catalogue that a query means, as ask(). Raises StoreError."""
        found = self.ask(index_name(served), query, n)
        if found is None:  # another process has swept the index
            self.prepare(served)
            found = self.ask(index_name(served), query, n)
        return found or []

    def index(self, name: str, books: pl.DataFrame, reads: Floats | None) -> None:
        """Make an index unless it is there. reads  how often each book is read, in any unit. Raises StoreError."""
        self._mine.append(name)
        with self._store.writing() as connection:
            if self._store.is_postgresql:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            indexes.create(connection, checkfirst=True)
            used = sa.update(indexes).where(indexes.c.name == name).values(used=time.time())
            if not connection.execute(used).rowcount:
                self._sweep(connection)
                self._make(connection, name, books, reads)
        self._vocabulary(name)

    def ask(self, name: str, query: str, n: int) -> list[int] | None:
        """Rows of books that a query means, the best first, at most n; None without an index. Raises StoreError.

        First those with just that title, then those whose title begins so, then those with all its words, then those
        with words like them, the nearest first; among equals the most-read first.
        """
        with self._store.reading(repeatable=True) as connection:
            there = sa.select(sa.literal(1)).where(indexes.c.name == name)
            if connection.execute(there).first() is None:
                return None
            if self._store.is_postgresql:  # a plan made for no words in particular looks at every book
                connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")
            isbns, words = query_isbns(query), query_words(query)
            found = [book for _, book, _ in self._most_read(connection, name, [isbns], n)] if isbns else []
            return found or (self._find(connection, name, words, n) if words else [])

    def _find(self, connection: sa.Connection, name: str, words: list[str], n: int) -> list[int]:
        title = in_one_piece(words)
        *whole, last = words
        plain: list[Choices] = [*({(word, False): 0} for word in whole), {(last, True): 0}]
        found: dict[int, None] = {}
        for asked in ([{(title, False): 0}], [{(title, True): 0}], plain):
            if len(found) < n:
                found |= dict.fromkeys(book for _, book, _ in self._most_read(connection, name, asked, n))
        if len(found) < n:
            vocabulary = self._vocabulary(name)
            near = [*(vocabulary.alike(word, last=False) for word in whole), vocabulary.alike(last, last=True)]
            rows = self._most_read(connection, name, near, CANDIDATES)
            nearness = Nearness(near)
            ranked = sorted((nearness.distance(text), place, book) for place, book, text in rows)
            found |= dict.fromkeys(book for _, _, book in ranked)
        return list(found)[:n]

    def _most_read(self, connection: sa.Connection, name: str, asked: list[Choices], n: int) -> list[Any]:
        """The n most-read books that hold a choice for each word: (place, book, words)."""
        table = _table(name)
        place = table.c.place if self._store.is_postgresql else sa.literal_column("rowid")
        if self._store.is_postgresql:
            parts = (" | ".join(f"{word}:*" if on else word for word, on in choices) for choices in asked)
            query = " & ".join(f"({part})" for part in parts)
            fits = table.c.terms.op("@@")(sa.cast(query, _TSQuery))
        else:
            parts = (" OR ".join(f'"{word}"*' if on else f'"{word}"' for word, on in choices) for choices in asked)
            query = " AND ".join(f"({part})" for part in parts)
            fits = sa.literal_column(table.name).op("MATCH")(query)
        asking = sa.select(place, table.c.book, table.c.words).where(fits).order_by(place).limit(n)
        return list(connection.execute(asking))

    def _make(self, connection: sa.Connection, name: str, books: pl.DataFrame, reads: Floats | None) -> None:
        texts = list(book_words(books))
        order = np.arange(len(texts)) if reads is None else np.argsort(-reads, kind="stable")
        rows = ((place, book, texts[book]) for place, book in enumerate(order.tolist()))
        _fill(connection, name, rows, self._store)
        vocabulary = "\n".join(Vocabulary.of(texts))
        connection.execute(sa.insert(indexes).values(name=name, used=time.time(), vocabulary=vocabulary))

    def _sweep(self, connection: sa.Connection) -> None:
        old = sa.select(indexes.c.name).where(indexes.c.used < time.time() - KEPT, indexes.c.name.not_in(self._mine))
        for name in connection.execute(old).scalars().all():
            connection.exec_driver_sql(f"DROP TABLE search_{name}")
            connection.execute(sa.delete(indexes).where(indexes.c.name == name))

    def _read_vocabulary(self, name: str) -> Vocabulary:
        with self._store.reading() as connection:
            text = connection.execute(sa.select(indexes.c.vocabulary).where(indexes.c.name == name)).scalar_one()
        return Vocabulary(text.split("\n"))


def index_name(served: Served) -> str:
    """The index of a run: its version vouches for the books and for how often each is read."""
    return f"{FORMAT}_{served.version}"


class _TSQuery(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TSQUERY"


def _table(name: str) -> sa.TableClause:
    """place  0 for the most-read book; book  its row in the catalogue; words  separated by blanks"""
    return sa.table(f"search_{name}", *(sa.column(column) for column in ("place", "book", "words", "terms")))


def _fill(connection: sa.Connection, name: str, rows: Iterable[tuple[int, int, str]], store: Store) -> None:
    """Make the table of an index. Names are digests, so that they can stand in statements."""
    table = f"search_{name}"
    driver: Any = connection.connection.driver_connection
    if store.is_postgresql:
        terms = "tsvector GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED"
        driver.execute(f"CREATE TABLE {table} (place int PRIMARY KEY, book int, words text, terms {terms})")
        with driver.cursor().copy(f"COPY {table} (place, book, words) FROM STDIN") as lines:
            for row in rows:
                lines.write_row(row)
        driver.execute(f"CREATE INDEX ON {table} USING gin (terms)")
        driver.execute(f"ANALYZE {table}")
        return
    how = "detail = none, columnsize = 0, prefix = '1 2 3 4', tokenize = \"unicode61 tokenchars '_'\""
    driver.execute(f"CREATE VIRTUAL TABLE {table} USING fts5 (words, book UNINDEXED, {how})")
    driver.executemany(f"INSERT INTO {table} (rowid, book, words) VALUES (?, ?, ?)", rows)  # noqa: S608

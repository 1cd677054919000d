"""Lists that were answered, and what readers did with their books: opened, saved, rated, dismissed.

Of a list are kept: its id, when it was made, by which run and version, its kind and order, its books, and whose it is
where the request named a stored reader. Nothing else of the request, and no ratings. What was done with a book is
counted and changes nothing else: whoever wants a rating to be kept sets it. Lists of the page are kept alike; of who is
not remembered no stars.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import sqlalchemy as sa

from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, NotFoundError, StoreError, StoreFullError
from shelfwise.service.desk import Answer, Question
from shelfwise.service.store import Store, lists, readers, responses

log = logging.getLogger("shelfwise.service")
Action = Literal["opened", "saved", "rated", "dismissed"]
WRITE_SECONDS = 0.2  # after which a list is written
SWEEP_SECONDS = 3600.0
WAITING = 10_000  # lists that wait for the database at most; the oldest give way
DAY = 86_400.0


@dataclass(frozen=True)
class ShownList:
    """created  seconds since 1970; kind  the list and its order: all/blend; reader_id  None for anybody"""

    list_id: str
    created: float
    model: str
    version: str
    kind: str
    reader_id: str | None
    books: tuple[str, ...]


@dataclass(frozen=True)
class Response:
    """What was done with a book of a list; stars where it was rated."""

    book_id: str
    action: Action
    stars: float | None = None


def shown_list(
    question: Question, answer: Answer, place: int, books: Sequence[Id], reader: str | None = None
) -> ShownList:
    """What is kept of one of the lists of an answer; `books` are those that were shown of it.

    reader  the stored reader that it is for, if the question does not name one
    """
    order = question.order or getattr(answer.served.recommender.run.model.config, "order", "only")
    return ShownList(
        list_id=uuid.uuid4().hex,
        created=time.time(),
        model=answer.served.name,
        version=answer.served.version,
        kind=f"{question.lists[place][1].list}/{order}",
        reader_id=question.reader or reader,
        books=tuple(map(str, books)),
    )


class ListKeeper:
    """Writes lists in batches from a thread of its own, so that answers wait for no disk; deletes them after `days`.

    sweep  what else is to be deleted from time to time, called with the time now (seconds since 1970)
    """

    def __init__(self, store: Store, days: float, sweep: Callable[[float], object] = lambda _: None) -> None:
        self._store, self.days, self._sweep_more = store, days, sweep
        self._waiting: deque[ShownList] = deque(maxlen=WAITING)
        self._told: deque[tuple[str, Response]] = deque(maxlen=WAITING)
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lists", daemon=True)
        self._thread.start()

    def keep(self, shown: ShownList) -> None:
        """Have a list written soon."""
        if self.days:
            self._waiting.append(shown)

    def tell(self, list_id: str, given: Response) -> None:
        """Have what was done with a book of a list written soon; nothing of a list that is not kept."""
        if self.days:
            self._told.append((list_id, given))

    def close(self) -> None:
        """Write what waits, then stop."""
        self._stop.set()
        self._thread.join()

    def flush(self) -> None:
        """Write what waits; it goes on waiting where that fails. Raises StoreError."""
        with self._writing:
            batch = list(self._waiting)
            if not batch:
                return
            keep_lists(self._store, batch)
            written = {shown.list_id for shown in batch}
            while self._waiting and self._waiting[0].list_id in written:
                self._waiting.popleft()

    def _flush_told(self) -> None:
        """Write what was told. Raises StoreError, and then what is left waits."""
        while self._told:
            list_id, given = self._told[0]
            with contextlib.suppress(NotFoundError, BadValueError):
                respond(self._store, list_id, [given])
            self._told.popleft()

    def respond(self, list_id: str, given: Sequence[Response]) -> list[Response]:
        """As respond(); of a list that still waits, too."""
        if not self.days:
            raise NotFoundError("lists are not kept here", hint="set feedback_days")
        self.flush()
        return respond(self._store, list_id, given)

    def _sweep(self, now: float) -> None:
        drop_lists(self._store, now - self.days * DAY)
        self._sweep_more(now)

    def _work(self) -> None:
        swept, last = 0.0, False
        while not last:
            last = self._stop.wait(WRITE_SECONDS)
            try:
                self.flush()
                self._flush_told()
                if time.time() - swept > SWEEP_SECONDS:
                    swept = time.time()
                    self._sweep(swept)
            except (StoreError, StoreFullError) as error:
                log.warning("lists not kept", extra={"fields": {"waiting": len(self._waiting), "why": error.message}})
                last = last or self._stop.wait(1)


def keep_lists(store: Store, shown: Sequence[ShownList]) -> None:
    """Write lists, all or none; those of readers who are gone meanwhile are left out. Raises StoreError."""
    named = {one.reader_id for one in shown if one.reader_id is not None}
    with store.writing() as connection:
        there = sa.select(readers.c.reader_id).where(readers.c.reader_id.in_(named))
        known = set(connection.execute(there.with_for_update(read=True, key_share=True)).scalars()) if named else set()
        rows = [
            {**asdict(one), "books": json.dumps(one.books), "n_books": len(one.books)}
            for one in shown
            if one.reader_id is None or one.reader_id in known
        ]
        if rows:
            connection.execute(store.insert(lists).on_conflict_do_nothing(), rows)


def respond(store: Store, list_id: str, given: Sequence[Response]) -> list[Response]:
    """Keep what was done with books of a list, all or none, and give all that is kept of it; again changes nothing.

    Of two ratings of a book the last counts. Raises NotFoundError for the list, BadValueError for a book that is not
    on it, StoreError.
    """
    with store.writing() as connection:
        asked = sa.select(lists.c.books).where(lists.c.list_id == list_id).with_for_update(read=True, key_share=True)
        found = connection.execute(asked).first()
        if found is None:
            raise NotFoundError(f"no list {list_id!r} is kept here", hint="it may be too old; see feedback_days")
        places = {book_id: place for place, book_id in enumerate(json.loads(found.books), start=1)}
        if missing := next((one.book_id for one in given if one.book_id not in places), None):
            raise BadValueError(f"book {missing!r} is not on this list", hint="report books of the list only")
        now = time.time()
        rows = [
            {"list_id": list_id, "position": places[one.book_id], "created": now, **asdict(one)}
            for one in {(one.book_id, one.action): one for one in given}.values()
        ]
        if rows:
            statement = store.insert(responses)
            keys = ["list_id", "book_id", "action"]
            kept = {"stars": statement.excluded.stars}
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=kept), rows)
        columns = (responses.c.book_id, responses.c.action, responses.c.stars)
        mine = sa.select(*columns).where(responses.c.list_id == list_id)
        return [Response(*row) for row in connection.execute(mine.order_by(responses.c.position, responses.c.action))]


def drop_lists(store: Store, before: float) -> int:
    """Delete lists from before a time (seconds since 1970) and what was done with them; how many. Raises StoreError."""
    with store.writing() as connection:
        return connection.execute(sa.delete(lists).where(lists.c.created < before)).rowcount

"""'Remember me on this server': a shelf kept under a token that only the visitor's cookie holds."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time

from starlette.requests import Request
from starlette.responses import Response

from shelfwise.errors import NotFoundError, StoreError, StoreFullError
from shelfwise.service.pages.visit import Visit
from shelfwise.service.store import Store

COOKIE = "shelfwise-reader"
DAY = 86_400
LONGEST = 400  # days that browsers hold a cookie at most


def token_of(request: Request) -> str:
    """What the cookie holds; it is given again with each page, so that it lasts as long as the shelf does."""
    return request.cookies.get(COOKIE, "")


def reader_of(request: Request) -> str | None:
    """The id under which a visitor's shelf is kept, if they have asked for that: it does not tell the token."""
    token = token_of(request)
    return _reader(token) if 20 <= len(token) <= 100 else None


def recall(store: Store, reader: str, days: float) -> Visit | None:
    """What is kept of a visitor, who has been here now; None for one who was not for so many days (0: ever).

    Raises StoreError.
    """
    try:
        said = store.said(reader)
    except NotFoundError:
        return None
    absent = time.time() - (said.seen or 0)
    if days and absent > days * DAY:
        return None
    if absent > DAY:  # not at every visit: it is a write
        with contextlib.suppress(StoreError, StoreFullError):  # of a full disk, say: reading goes on
            store.visited(reader)
    return Visit(dict(said.ratings), said.marks)


def forget_absent(store: Store, days: float, now: float) -> None:
    """Delete the shelves of visitors who were not here for so many days; 0: none. Raises StoreError."""
    for reader in store.unseen_since(now - days * DAY) if days else ():
        store.erase(reader)


def remember(store: Store, visit: Visit) -> str:
    """Keep a shelf; the token for the cookie. Raises StoreError."""
    token = secrets.token_urlsafe(24)
    store.add_reader(_reader(token), visits=True)
    follow(store, _reader(token), Visit(), visit)
    return token


def follow(store: Store, reader: str, before: Visit, now: Visit) -> None:
    """Keep what has changed, all or none. Nothing of a reader who is gone meanwhile. Raises StoreError."""
    given = [(book, stars) for book, stars in now.ratings.items() if before.ratings.get(book) != stars]
    gone = [book for book in before.ratings if book not in now.ratings]
    said, taken_back = set(now.marks) - set(before.marks), set(before.marks) - set(now.marks)
    if given or gone or said or taken_back:
        with contextlib.suppress(NotFoundError):
            store.change(reader, given, gone, sorted(said), sorted(taken_back))


def give(response: Response, token: str, days: float, *, secure: bool) -> None:
    """Let the browser hold the token for so many days (0: as long as it may), or with '' let go of it."""
    age = int(min(days or LONGEST, LONGEST) * DAY) if token else 0
    response.set_cookie(COOKIE, token, max_age=age, httponly=True, samesite="strict", secure=secure)


def _reader(token: str) -> str:
    return "page-" + hashlib.sha256(token.encode()).hexdigest()[:32]

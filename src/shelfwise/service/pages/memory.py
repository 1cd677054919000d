"""'Remember me on this server': a shelf kept under a token that only the visitor's cookie holds."""

from __future__ import annotations

import contextlib
import hashlib
import secrets

from starlette.requests import Request
from starlette.responses import Response

from shelfwise.errors import NotFoundError
from shelfwise.service.pages.visit import Visit
from shelfwise.service.store import Store

COOKIE = "shelfwise-reader"
YEAR = 365 * 86_400


def reader_of(request: Request) -> str | None:
    """The id under which a visitor's shelf is kept, if they have asked for that: it does not tell the token."""
    token = request.cookies.get(COOKIE, "")
    return _reader(token) if 20 <= len(token) <= 100 else None


def recall(store: Store, reader: str) -> Visit | None:
    """What is kept of a visitor. Raises StoreError."""
    try:
        said = store.said(reader)
    except NotFoundError:
        return None
    return Visit(dict(said.ratings), said.marks)


def remember(store: Store, visit: Visit) -> str:
    """Keep a shelf; the token for the cookie. Raises StoreError."""
    token = secrets.token_urlsafe(24)
    store.add_reader(_reader(token))
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


def give(response: Response, token: str, *, secure: bool) -> None:
    """Let the browser hold the token, or with '' let go of it."""
    age = YEAR if token else 0
    response.set_cookie(COOKIE, token, max_age=age, httponly=True, samesite="strict", secure=secure)


def _reader(token: str) -> str:
    return "page-" + hashlib.sha256(token.encode()).hexdigest()[:32]

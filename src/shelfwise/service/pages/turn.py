"""One request of a page, read: what the visitor had said, what the button pressed says, and how the list is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from shelfwise.errors import StoreError, TooLargeError, UsageError
from shelfwise.service.models import Served
from shelfwise.service.pages.cards import Card, card
from shelfwise.service.pages.importing import take
from shelfwise.service.pages.look import Look
from shelfwise.service.pages.memory import follow, reader_of, recall, remember, token_of
from shelfwise.service.pages.texts import say, stars_text
from shelfwise.service.pages.view import Library, library_of
from shelfwise.service.pages.visit import Visit, after, moved
from shelfwise.service.state import Service, service_of

MOST_FIELDS = 150_000
ALONE = ("undo", "clear", "remember", "forget", "take")  # buttons that are about no book
SAYING = ("shelf", "undo", "do", "imported", "lists")  # fields that only a form may send: a link says nothing


@dataclass(frozen=True)
class Turn:
    """before, visit  what was said before and now; said  what to say of the button pressed, undo  what it goes back to
    reader  whose shelf is kept here; token  what the cookie is to hold from now on, '' for nothing
    """

    service: Service
    served: Served
    library: Library
    form: Mapping[str, str]
    before: Visit
    visit: Visit
    look: Look
    said: str | None = None
    reader: str | None = None
    token: str | None = None

    @cached_property
    def known(self) -> dict[str, float]:
        """The ratings that this model can use."""
        return self.library.usable(self.visit.ratings)

    @cached_property
    def ignored(self) -> set[str]:
        """Books whose ratings are not to be used."""
        return {subject for action, subject in self.visit.marks if action == "ignore"}

    @cached_property
    def unfinished(self) -> set[str]:
        """Books that were not finished, and got no stars."""
        return {subject for action, subject in self.visit.marks if action == "did-not-finish"} - set(self.known)

    @cached_property
    def judged(self) -> dict[str, float]:
        """The ratings to judge by."""
        return self.library.judged(self.known, self.visit.marks)

    def values(self, **more: Any) -> dict[str, Any]:
        """What every page is given."""
        settings = self.service.settings
        undo = self.before.text() if self.said and self.form.get("do") not in ("remember", "forget") else ""
        return {
            "visit": self.visit, "shelf": self.visit.text(), "undo": undo, "said": self.said, "look": self.look,
            "scale": self.library.stars, "pictures": settings.covers, "library": self.library,
            "ignored": self.ignored, "kept": self.reader is not None, "counted": settings.feedback_days > 0,
            "can_remember": settings.remember, "days": settings.forget_days, **more,
        }  # fmt: skip

    def place(self, pressed: str, stood: str) -> int:
        """Where to begin, by the button that was pressed, else by where the page stood."""
        text = self.form.get(pressed) or self.form.get(stood, "")
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 9 else 0

    def card(self, item_idx: int, **more: Any) -> Card:
        """A book, with the visitor's own stars."""
        catalogue = self.library.catalogue
        given = self.visit.ratings.get(str(catalogue.vocabulary.ids[item_idx]))
        return card(catalogue, item_idx, pictures=self.service.settings.covers, given=given, **more)


async def read_turn(request: Request) -> Turn:
    """What came with a request; where the visitor's shelf is kept here, it is brought up to date.

    Raises BadValueError, UsageError, TooLargeError, StoreError.
    """
    body = await request.body() if request.method == "POST" else b""
    return await run_in_threadpool(_read, request, body)


def _read(request: Request, body: bytes) -> Turn:
    service = service_of(request)
    asked = {
        name: value for name, value in _fields(request.url.query).items() if name not in SAYING and "." not in name
    }
    form = {**asked, **_fields(body.decode("utf-8", "replace"))}
    served = service.models.active
    library = library_of(served)
    reader = reader_of(request)
    kept = None if reader is None else recall(service.store, reader, service.settings.forget_days)
    shown = check(Visit.read(form.get("shelf", "")), service)
    request.state.shelf = shown.text()  # so that a page that says sorry does not lose it
    before = shown if kept is None else kept  # another tab may have said more since this one was made
    visit, said = _said(before, shown, form, library)
    turn = Turn(
        service, served, library, form, before, check(visit, service), Look.read(form), said,
        None if kept is None else reader, token_of(request) if kept is not None else None,
    )  # fmt: skip
    return turn if request.method != "POST" else _kept(turn, kept, reader, on_shelf=request.url.path == "/shelf")


def _fields(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise TooLargeError("a form of too many fields", hint="send less at once") from error


def check(visit: Visit, service: Service) -> Visit:
    """The visit. Raises TooLargeError for one that is too long."""
    if len(visit.ratings) + len(visit.marks) > service.settings.max_ratings:
        raise TooLargeError(
            f"a shelf of {len(visit.ratings) + len(visit.marks):,} books",
            hint=f"at most {service.settings.max_ratings:,} can be used here",
        )
    return visit


def _kept(turn: Turn, kept: Visit | None, reader: str | None, *, on_shelf: bool) -> Turn:
    """Keep what was said where that is asked for, and let go of it where it is not any more."""
    store, do = turn.service.store, turn.form.get("do", "")
    if do in ("forget", "clear"):
        if reader is None:
            return turn
        store.erase(reader)  # tried again where it half failed: the cookie stays until it is done
        return replace(turn, reader=None, token="")
    if kept is not None and reader is not None:
        follow(store, reader, kept, turn.visit)
    elif do == "remember" and on_shelf and turn.service.settings.remember:
        return replace(turn, reader="new", token=remember(store, turn.visit))
    return turn


def _said(before: Visit, shown: Visit, form: Mapping[str, str], library: Library) -> tuple[Visit, str | None]:
    """The visit after the button pressed, and what to say of it. `shown` is the visit that the page was made with."""
    do = form.get("do", "")
    if not do:
        return before, None
    verb, _, rest = do.partition(":")
    if verb in ALONE and rest:
        raise UsageError(f"nothing is called {do!r} here", hint="go back and press a button of the page")
    if verb == "take":
        return take(before, form, library)
    if verb == "undo":
        return moved(before, shown, Visit.read(form.get("undo", ""))), say("undone")
    visit = after(before, do)
    if verb in ALONE:
        return visit, say(f"did {verb}")
    if verb == "rate":
        stars, _, book = rest.partition(":")
        library.check(stars)
        return visit, say("did rate", title=library.title(book), stars=stars_text(float(stars)))
    title = rest if verb.endswith("hide-author") else library.title(rest)
    return visit, say("did un" if verb.startswith("un-") else f"did {verb}", title=title)


def kept_here(request: Request, service: Service) -> str | None:
    """The reader whose shelf is kept here, if this is one."""
    reader = reader_of(request)
    try:
        kept = None if reader is None else recall(service.store, reader, service.settings.forget_days)
        return None if kept is None else reader
    except StoreError:
        return None

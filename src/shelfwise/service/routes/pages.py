"""The readers' page. Each page is there by GET for who comes without a shelf, and by POST with the shelf in the form;
a button that says something posts to the page it stands on, which is then worked out anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

import anyio
import polars as pl
from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from shelfwise.errors import NotFoundError, ShelfwiseError
from shelfwise.rules.plan import ListKind
from shelfwise.service.desk import Answer, Question
from shelfwise.service.models import Served
from shelfwise.service.pages.cards import Card, card
from shelfwise.service.pages.importing import review, take, uploaded
from shelfwise.service.pages.look import Look
from shelfwise.service.pages.memory import follow, give, reader_of, recall, remember
from shelfwise.service.pages.render import page, static_file
from shelfwise.service.pages.texts import say, stars_text
from shelfwise.service.pages.view import Library, library_of
from shelfwise.service.pages.visit import Visit, after
from shelfwise.service.problems import status_of
from shelfwise.service.state import Service, service_of

UPLOADS = "/import"
MOST_FIELDS = 20_000
BEST, CONTINUE, NEW = 12, 6, 6
GRID, FOUND = 24, 12
MOST_SHARED = 50


class PageRoute(APIRoute):
    """Errors as a page for people."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except ShelfwiseError as error:
                status = status_of(error)
                return page(request, "sorry.html", status=status, here="", error=error)

        return answer


async def not_too_often(request: Request) -> None:
    """Pages need no key; where others can ask, each address may ask so often. Raises TooManyError."""
    service, address = service_of(request), "" if request.client is None else request.client.host
    if not await service.is_private():
        service.count(f"page {address}")


router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[Depends(not_too_often)])


@dataclass(frozen=True)
class Turn:
    """One request of a page: what was said before and now, and the controls.

    said    what to say of the button pressed
    reader  whose shelf is kept here; token  what the cookie is to hold from now on, '' for nothing
    """

    service: Service
    served: Served
    library: Library
    form: dict[str, str]
    before: Visit
    visit: Visit
    look: Look
    said: str | None
    reader: str | None = None
    token: str | None = None

    def question(self, kind: ListKind, n: int) -> Question:
        """For a list of one kind, as the desk takes it."""
        served = self.served
        ratings = tuple((served.book_id(book), stars) for book, stars in self.known.items())
        marks = tuple((a, s if a == "hide-author" else served.book_id(s)) for a, s in self.visit.marks)
        return Question(ratings, marks, None, n, None, self.look.rules(kind), True)  # type: ignore[arg-type]

    @property
    def known(self) -> dict[str, float]:
        """The ratings that this model can use."""
        return self.library.usable(self.visit.ratings)

    def values(self, **more: Any) -> dict[str, Any]:
        """What every page is given."""
        undo = self.before.text() if self.said else ""
        return {
            "visit": self.visit, "shelf": self.visit.text(), "undo": undo, "said": self.said, "look": self.look,
            "scale": self.library.stars, "pictures": self.service.settings.covers, "library": self.library,
            "kept": self.reader is not None, "can_remember": self.service.settings.remember, **more,
        }  # fmt: skip

    def card(self, item_idx: int, **more: Any) -> Card:
        """A book, with the visitor's own stars."""
        catalogue = self.library.catalogue
        given = self.visit.ratings.get(str(catalogue.vocabulary.ids[item_idx]))
        return card(catalogue, item_idx, pictures=self.service.settings.covers, given=given, **more)


async def _turn(request: Request) -> Turn:
    """Read what came with a request."""
    service = service_of(request)
    body = (await request.body()).decode("utf-8", "replace") if request.method == "POST" else ""
    pairs = [*parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=MOST_FIELDS),
             *parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS)]  # fmt: skip
    form = dict(pairs)
    served = service.models.active
    library = await run_in_threadpool(library_of, served)
    reader = reader_of(request)
    kept = None if reader is None else await run_in_threadpool(recall, service.store, reader)
    before = Visit.read(form.get("shelf", ""))
    if kept is not None and not before:
        before = kept
    visit, said = _said(before, form, library)
    turn = Turn(service, served, library, form, before, visit, Look.read(form), said, reader if kept else None)
    return await run_in_threadpool(_kept, turn, kept)


def _kept(turn: Turn, kept: Visit | None) -> Turn:
    """Keep what was said where that is asked for, and let go of it where it is not any more."""
    store, do = turn.service.store, turn.form.get("do", "")
    if do == "remember" and kept is None and turn.service.settings.remember:
        token = remember(store, turn.visit)
        return replace(turn, reader="new", token=token)
    if turn.reader is not None and do in ("forget", "clear"):
        store.erase(turn.reader)
        return replace(turn, reader=None, token="")
    if turn.reader is not None and kept is not None:
        follow(store, turn.reader, kept, turn.visit)
    return turn


def _page(request: Request, template: str, turn: Turn, address: str | None, **values: Any) -> Response:
    """A page of a turn, with its cookie."""
    response = page(request, template, address=address, **turn.values(**values))
    if turn.token is not None:
        give(response, turn.token, secure=request.url.scheme == "https")
    return response


def _said(before: Visit, form: dict[str, str], library: Library) -> tuple[Visit, str | None]:
    """The visit after the buttons pressed, and what to say of it."""
    stars = {name.removeprefix("stars."): value for name, value in form.items() if name.startswith("stars.")}
    given = {book: float(value) for book, value in stars.items() if value in library.stars_by_text}
    new = {book: value for book, value in given.items() if before.ratings.get(book) != value}
    visit = before.rated(new) if new else before
    do = form.get("do", "")
    if not do:
        return visit, say("did rates", n=len(new)) if new else None
    if do == "take":
        return take(before, form, library)
    visit = after(visit, Visit.read(form.get("undo", "")), do)
    verb, _, rest = do.partition(":")
    if verb == "undo":
        return visit, say("undone")
    if verb in ("clear", "remember", "forget"):
        return visit, say(f"did {verb}")
    if verb == "rate":
        given_stars, _, book = rest.partition(":")
        library.check(given_stars)
        return visit, say("did rate", title=library.title(book), stars=stars_text(float(given_stars)))
    title = rest if verb.endswith("hide-author") else library.title(rest)
    return visit, say("did un" if verb.startswith("un-") else f"did {verb}", title=title)


Here = Annotated[Turn, Depends(_turn)]


@router.get("/")
@router.post("/")
async def start(request: Request, turn: Here) -> Response:
    """Bring a shelf, or rate a few books."""
    q = turn.form.get("q", "").strip()
    found = await run_in_threadpool(_found, turn, q) if q else []
    more, start_at = turn.form.get("more", ""), turn.form.get("from", "")
    place = int(more or start_at) if (more or start_at).isdecimal() and len(more or start_at) < 9 else 0
    shown = set() if more else set(turn.form.get("shown", "").split(","))  # they stay, so that nothing jumps away
    books = await run_in_threadpool(turn.library.grid, place, GRID, set(turn.visit.ratings) - shown)
    grid = [turn.card(idx) for idx in books]
    n_rated = len(turn.visit.ratings)
    return _page(
        request, "start.html", turn, "/", here="start", grid=grid, found=found, q=q, place=place, n_rated=n_rated
    )


@router.post(UPLOADS)
async def import_(request: Request, service: Annotated[Service, Depends(service_of)]) -> Response:
    """Look at an export: what is found, what is to be decided, what is not here. Nothing is kept."""
    content, name, form = await uploaded(request)
    served = service.models.active
    library = await run_in_threadpool(library_of, served)
    work = partial(service.read_export, served, content, name=name)
    result = await anyio.to_thread.run_sync(work, limiter=service.importing)
    visit = Visit.read(form.get("shelf", ""))
    turn = Turn(service, served, library, form, visit, visit, Look.read(form), None)
    return _page(
        request, "import.html", turn, None, here="", **review(result, turn.card, served.recommender.book_index)
    )


@router.post("/search")
async def search(request: Request, turn: Here) -> Response:
    """Books by title, author, series or ISBN, as they are typed."""
    q = turn.form.get("q", "").strip()
    found = await run_in_threadpool(_found, turn, q) if q else []
    return _page(request, "found.html", turn, None, here="", found=found, q=q)


def _found(turn: Turn, q: str) -> list[Card]:
    return [turn.card(idx) for idx in turn.library.search(turn.service, turn.served, q, FOUND)]


@router.get("/next")
@router.post("/next")
async def following(request: Request, turn: Here) -> Response:
    """What to read next."""
    kinds: dict[ListKind, int] = {
        "continue": CONTINUE,
        "all": BEST + CONTINUE,
        "new": NEW + BEST,
    }  # some stand in a list before
    asked = [asyncio.wrap_future(turn.service.desk.ask(turn.question(kind, n))) for kind, n in kinds.items()]
    lists: dict[str, list[Card]] = {}
    for (kind, _), most, answer in zip(kinds.items(), (CONTINUE, BEST, NEW), await asyncio.gather(*asked), strict=True):
        above = {one.id for books in lists.values() for one in books}
        lists[kind] = [one for one in _listed(turn, answer) if one.id not in above][:most]
    shared = "/shared?books=" + quote(".".join(one.id for one in lists["all"]), safe=".")
    missing, restore = len(turn.visit.ratings) - len(turn.known), request.method == "GET"
    return _page(
        request, "next.html", turn, "/next" + turn.look.query(),
        here="next", lists=lists, shared=shared, missing=missing, restore=restore,
    )  # fmt: skip


def _listed(turn: Turn, answer: Answer) -> list[Card]:
    places = turn.library.catalogue.vocabulary.find([row["book_id"] for row in answer.rows])
    names = ("stars", "low", "high")
    return [
        turn.card(
            int(place), reasons=[r["text"] for r in row.get("reasons", ())], **{name: row[name] for name in names}
        )
        for place, row in zip(places, answer.rows, strict=True)
    ]


@router.get("/book/{book_id}")
@router.post("/book/{book_id}")
async def book(request: Request, book_id: str, turn: Here) -> Response:
    """One book: what is known of it, why or why not, similar ones, readers alike."""
    values = await run_in_threadpool(turn.library.about, turn.known, book_id)
    similar = [turn.card(idx) for idx in values.pop("similar")]
    mine = turn.card(values.pop("item_idx"), **values.pop("expected"))
    address = f"/book/{quote(book_id, safe='')}"
    restore = request.method == "GET"
    return _page(request, "book.html", turn, address, here="", book=mine, similar=similar, restore=restore, **values)


@router.get("/shelf")
@router.post("/shelf")
async def shelf(request: Request, turn: Here) -> Response:
    """The visitor's own ratings, what they tell, and what can be done with them."""
    told = await run_in_threadpool(turn.library.shelf, turn.visit.ratings, turn.known)
    rated = [(turn.card(idx), guess) for idx, guess in told.pop("rated")]
    marked = [(action, subject, turn.library.name_of(action, subject)) for action, subject in turn.visit.marks]
    restore = request.method == "GET"
    return _page(
        request, "shelf.html", turn, "/shelf", here="shelf", rated=rated, marked=marked, restore=restore, **told
    )


@router.post("/shelf.csv")
async def download(turn: Here) -> Response:
    """The visitor's ratings as a file that `recommend --shelf` takes."""
    rows = turn.visit.ratings
    frame = pl.DataFrame({"user_id": ["me"] * len(rows), "book_id": list(rows), "rating": list(rows.values())})
    headers = {"Content-Disposition": 'attachment; filename="my-ratings.csv"', "Cache-Control": "no-store"}
    return Response(frame.write_csv(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/shared")
async def shared(request: Request, turn: Here) -> Response:
    """A list without the shelf that it came from."""
    asked = [turn.served.book_id(one) for one in turn.form.get("books", "").split(".") if one][:MOST_SHARED]
    books = [turn.card(int(place)) for place in turn.library.catalogue.vocabulary.find(asked) if place >= 0]
    if not books:
        raise NotFoundError(say("lost"), hint="the link names no book that is here")
    return _page(request, "shared.html", turn, None, here="", books=books)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Style, script and the one library."""
    return static_file(name)


@router.get("/favicon.ico")
def icon() -> Response:
    """Browsers ask for it."""
    return RedirectResponse("/static/icon.svg")


@router.get("/{path:path}")
def lost(path: str) -> Response:
    """Any other page."""
    if path.startswith("v1/"):
        raise HTTPException(404)
    raise NotFoundError(say("lost"), hint="go back to the start")

"""The readers' page. Each page is there by GET for who comes without a shelf, and by POST with the shelf in the form;
a button that says something posts to the page it stands on, which is then worked out anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlencode

import anyio
import polars as pl
from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from shelfwise.errors import NotFoundError
from shelfwise.service.desk import Answer, Question
from shelfwise.service.pages.importing import review, uploaded
from shelfwise.service.pages.lists import question, shown, tell
from shelfwise.service.pages.look import Look
from shelfwise.service.pages.memory import give
from shelfwise.service.pages.render import page, static_file
from shelfwise.service.pages.texts import say
from shelfwise.service.pages.turn import Turn, check, kept_here, read_turn
from shelfwise.service.pages.view import library_of
from shelfwise.service.pages.visit import Visit
from shelfwise.service.state import Service, service_of, the_service

UPLOADS = "/import"
GRID, FOUND = 24, 12
ROWS = 25  # of the shelf at once
MOST_SHARED = 50


async def not_too_often(request: Request) -> None:
    """Pages need no key; where others can ask, each address may ask so often. Raises TooManyError."""
    service, address = service_of(request), "" if request.client is None else request.client.host
    if not await service.is_private():
        service.count(f"page {address}")


router = APIRouter(include_in_schema=False, dependencies=[Depends(not_too_often)])
Here = Annotated[Turn, Depends(read_turn)]


def _page(request: Request, template: str, turn: Turn, address: str | None, **values: Any) -> Response:
    """A page of a turn, with its cookie."""
    response = page(request, template, address=address, **turn.values(**values))
    if turn.token is not None:
        give(response, turn.token, turn.service.settings.forget_days, secure=request.url.scheme == "https")
    return response


@router.get("/")
@router.post("/")
def start(request: Request, turn: Here) -> Response:
    """Bring a shelf, or rate a few books."""
    place = turn.place("more", "from")
    shown = set() if "more" in turn.form else _names(turn.form.get("shown", ""))  # they stay, so that nothing jumps
    grid = [turn.card(idx) for idx in turn.library.grid(place, GRID, set(turn.visit.ratings) - shown)]
    return _page(
        request, "start.html", turn, "/", here="start", grid=grid, place=place, n_rated=len(turn.visit.ratings),
        shown=json.dumps([one.id for one in grid]), ticket=secrets.token_urlsafe(8),
        most=turn.service.settings.max_upload, **_found(turn),
    )  # fmt: skip


def _names(text: str) -> set[str]:
    try:
        return {str(name) for name in json.loads(text or "[]")}
    except (ValueError, TypeError):
        return set()


@router.post("/search")
def search(request: Request, turn: Here) -> Response:
    """Books by title, author, series or ISBN, as they are typed."""
    return _page(request, "found.html", turn, None, here="", **_found(turn))


def _found(turn: Turn) -> dict[str, Any]:
    q = turn.form.get("q", "").strip()
    books = turn.library.search(turn.service, turn.served, q, FOUND) if q else []
    return {"q": q, "found": [turn.card(idx) for idx in books]}


@router.post(UPLOADS)
async def import_(request: Request, service: Annotated[Service, Depends(the_service)]) -> Response:
    """Look at an export: what is found, what is to be decided, what is not here. Nothing is kept."""
    content, name, form = await uploaded(request)
    request.state.shelf = form.get("shelf", "")
    served, ticket = service.models.active, form.get("ticket", "")[:40]
    note = partial(_note, service.rows_read, ticket)
    work = partial(service.read_export, served, content, name=name, on_progress=note)
    try:
        result = await anyio.to_thread.run_sync(work, limiter=service.importing)
    finally:
        service.rows_read.pop(ticket, None)

    def shown() -> Response:
        library, reader = library_of(served), kept_here(request, service)
        visit = check(Visit.read(form.get("shelf", "")), service)
        turn = Turn(service, served, library, form, visit, visit, Look.read(form), reader=reader)
        values = review(result, turn.card, served.recommender.book_index)
        return _page(request, "import.html", turn, None, here="", **values)

    return await run_in_threadpool(shown)


def _note(rows_read: dict[str, tuple[int, int]], ticket: str, done: int, total: int) -> None:
    rows_read[ticket] = (done, total)


@router.get(UPLOADS + "/{ticket}")
def progress(ticket: str, service: Annotated[Service, Depends(the_service)]) -> Response:
    """How far the file is read that was sent with this ticket, in words."""
    rows = service.rows_read.get(ticket)
    words = say("reading") if rows is None else say("reading rows", done=f"{rows[0]:,}", rows=f"{rows[1]:,}")
    return Response(words, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get("/next")
@router.post("/next")
async def following(request: Request, turn: Here) -> Response:
    """What to read next."""
    asked = await run_in_threadpool(question, turn)
    answer = await asyncio.wrap_future(turn.service.desk.ask(asked))
    return await run_in_threadpool(_following, request, turn, asked, answer)


def _following(request: Request, turn: Turn, asked: Question, answer: Answer) -> Response:
    tell(turn)
    lists, ids = shown(turn, asked, answer)
    shared = "/shared?" + urlencode([("b", one.id) for one in lists["all"]])
    return _page(
        request, "next.html", turn, "/next" + turn.look.query(),
        here="next", lists=lists, list_ids=ids, shared=shared, restore=request.method == "GET",
    )  # fmt: skip


@router.get("/book/{book_id:path}")
@router.post("/book/{book_id:path}")
def book(request: Request, book_id: str, turn: Here) -> Response:
    """One book: what is known of it, why or why not, similar ones, readers alike."""
    values = turn.library.about(turn.judged, turn.unfinished, book_id)
    tell(turn, opened=book_id)
    similar = [turn.card(idx) for idx in values.pop("similar")]
    mine = turn.card(values.pop("item_idx"), **values.pop("expected"))
    address, restore = f"/book/{quote(book_id)}", request.method == "GET"
    return _page(
        request, "book.html", turn, address,
        here="", book=mine, similar=similar, list_ids=turn.form.get("lists", ""), restore=restore, **values,
    )  # fmt: skip


@router.get("/shelf")
@router.post("/shelf")
def shelf(request: Request, turn: Here) -> Response:
    """The visitor's own ratings, what they tell, and what can be done with them."""
    n_rated = len(turn.known)
    row = min(turn.place("to_row", "row"), max(n_rated - 1, 0) // ROWS * ROWS)  # of a page that may be gone
    rows, taste = turn.library.shelf(turn.known, turn.judged, row, ROWS)
    rated = [(turn.card(idx), guess) for idx, guess in rows]
    marks = turn.visit.marks[::-1][: None if "all_marks" in turn.form else ROWS]
    marked = [(action, subject, turn.library.name_of(action, subject)) for action, subject in marks]
    return _page(
        request, "shelf.html", turn, "/shelf",
        here="shelf", rated=rated, n_rated=n_rated, row=row, rows=ROWS, marked=marked, taste=taste,
        strangers=len(turn.visit.ratings) - n_rated, restore=request.method == "GET",
    )  # fmt: skip


@router.post("/shelf.csv")
def download(turn: Here) -> Response:
    """The visitor's ratings as a file that `recommend --shelf` takes."""
    rows = turn.visit.ratings
    frame = pl.DataFrame({"user_id": ["me"] * len(rows), "book_id": list(rows), "rating": list(rows.values())})
    headers = {"Content-Disposition": 'attachment; filename="my-ratings.csv"', "Cache-Control": "no-store"}
    return Response(frame.write_csv(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/shared")
def shared(request: Request, turn: Here) -> Response:
    """A list without the shelf that it came from."""
    asked = [turn.served.book_id(one) for one in parse_qs(request.url.query).get("b", [])][:MOST_SHARED]
    books = [turn.card(int(place)) for place in turn.library.catalogue.vocabulary.find(asked) if place >= 0]
    if not books:
        raise NotFoundError("the link names no book that is here", hint="go back to the start")
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
def lost() -> Response:
    """Any other page."""
    raise HTTPException(404)

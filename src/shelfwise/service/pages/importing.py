"""An export on the page: a file taken in, shown for review, and put on the shelf as the visitor decides.

Between review and shelf nothing is kept here: the page's form holds what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from shelfwise.errors import BadValueError, UsageError
from shelfwise.imports import BookIndex, ImportedRow, ImportResult
from shelfwise.imports.importing import MARKS
from shelfwise.rules.feedback import Action
from shelfwise.service.pages.cards import Card
from shelfwise.service.pages.texts import count, say
from shelfwise.service.pages.visit import Visit

if TYPE_CHECKING:
    from shelfwise.service.pages.view import Library

NONE = "none"
MOST_CANDIDATES = 4
_SAID = TypeAdapter(tuple[float | None, Action | None])  # of a row to be decided: stars and mark


async def uploaded(request: Request) -> tuple[bytes, str, dict[str, str]]:
    """The file, its name, and the other fields. Raises UsageError, BadValueError."""
    try:
        form = await request.form(max_files=1, max_fields=20, max_part_size=request.app.state.service.settings.max_body)
    except FormParserError as error:
        raise BadValueError(f"the form cannot be read: {error}", hint="choose the file again") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise UsageError("no file was chosen", hint="choose the file that the other app gave you")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        return await file.read(), file.filename, fields
    finally:
        await form.close()


def review(result: ImportResult, card: Callable[[int], Card], index: BookIndex) -> dict[str, Any]:
    """What the page shows of a file, and what its form holds of it."""
    found = Visit(
        {str(book): stars for book, stars in result.ratings},
        tuple((action, str(book)) for action, book in result.marks),
    )
    choices = []
    for row in result.of("review"):
        candidates = [card(candidate.item_idx) for candidate in row.match.candidates[:MOST_CANDIDATES]]
        chosen = candidates[0].id if row.match.suggested and candidates else NONE
        choices.append((row, _SAID.dump_json(_said(row)).decode(), candidates, chosen))
    return {
        "result": result,
        "imported": found.text(),
        "choices": choices,
        "found": [(row, index.shown_titles[row.match.item_idx]) for row in result.of("matched")],
        "missing": list(result.of("not-in-catalogue")),
        "unreadable": list(result.of("unreadable")),
    }


def _said(row: ImportedRow) -> tuple[float | None, Action | None]:
    action = MARKS[row.entry.status] if row.entry.status else None
    return row.stars, action if row.stars is None or action == "did-not-finish" else None


def take(before: Visit, form: Mapping[str, str], library: Library) -> tuple[Visit, str]:
    """The visit with what was found in a file and what was chosen, and what to say of it. Raises BadValueError."""
    imported = Visit.read(form.get("imported", ""))
    ratings, marks = dict(imported.ratings), list(imported.marks)
    for name, book in form.items():
        if not name.startswith("choice.") or book == NONE:
            continue
        try:
            stars, action = _SAID.validate_json(form.get("row." + name.removeprefix("choice."), ""))
        except ValidationError as error:
            raise BadValueError("the choices cannot be read", hint="look at your file again") from error
        if library.index(book) < 0:
            raise BadValueError(f"there is no book {book!r} here", hint="look at your file again")
        if stars is not None:
            ratings.setdefault(book, stars)
        if action is not None:
            marks.append((action, book))
    visit = before.with_import(ratings, marks)
    return visit, say("did take", n=count(len({*ratings, *(book for _, book in marks)})))

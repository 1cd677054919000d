"""Exports of other apps: look at one, decide what is open, and store it for a reader, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import TypeAdapter, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile

from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, UsageError
from shelfwise.imports import Choice, ImportResult, describe
from shelfwise.service.models import Served
from shelfwise.service.routes.lists import Here, name_of
from shelfwise.service.schemas import BookId, ImportAnswer, ImportRow, Mark, Rating, ReaderId
from shelfwise.service.state import Service, needs

PREFIX = "/v1/imports"
router = APIRouter(prefix=PREFIX, tags=["imports"])
Reader = Annotated[ReaderId, Path()]
Suggestions = Annotated[bool, Query(description="Take books of another ISBN where title and author are sure.")]
Rows = Annotated[Literal["all", "open"], Query(description="All rows in the answer, or those that are not matched.")]
Choices = TypeAdapter(dict[int, BookId | None])
FILE = {"type": "string", "format": "binary", "description": "The export as the app gave it."}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, or a form with the file and the choices of rows that are to be decided.",
        "content": {
            "text/csv": {"schema": FILE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": FILE,
                        "choices": {
                            "type": "string",
                            "description": 'JSON: row number to book id, or null for none: {"12": 34, "13": null}',
                        },
                    },
                }
            },
        },
    }
}


@router.post("", dependencies=[Depends(needs("read"))], openapi_extra=BODY, response_model=ImportAnswer)
async def look(
    request: Request, service: Here, accept_suggestions: Suggestions = False, rows: Rows = "all"
) -> Response:
    """What an export says, row by row. Nothing is stored."""
    content, choices = await _sent(request)
    return await _in_turn(service, partial(_import, service, content, choices, accept_suggestions, rows))


@router.post("/{reader_id}", dependencies=[Depends(needs("write"))], openapi_extra=BODY, response_model=ImportAnswer)
async def store(
    reader_id: Reader, request: Request, service: Here, accept_suggestions: Suggestions = False, rows: Rows = "all"
) -> Response:
    """Store what is matched for a reader, all or nothing; the same file again changes nothing."""
    content, choices = await _sent(request)
    return await _in_turn(service, partial(_import, service, content, choices, accept_suggestions, rows, reader_id))


async def _in_turn(service: Service, work: Callable[[], str]) -> Response:
    answer = await anyio.to_thread.run_sync(work, limiter=service.importing)
    return Response(answer, media_type="application/json")


async def _sent(request: Request) -> tuple[bytes, dict[int, Choice]]:
    """The file and the choices. Raises UsageError, BadValueError; HTTPException for a form that is none."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/"):
        return await request.body(), {}
    try:
        form = await request.form(max_files=1, max_fields=1, max_part_size=1_000_000)
    except FormParserError as error:
        raise BadValueError(f"the form cannot be read: {error}", hint="send it as multipart/form-data") from error
    try:
        file, choices = form.get("file"), form.get("choices") or "{}"
        if not isinstance(file, UploadFile) or not isinstance(choices, str):
            raise UsageError("a form without a file", hint="send the export as the part 'file'")
        return await file.read(), _choices(choices)
    finally:
        await form.close()


def _choices(text: str) -> dict[int, Choice]:
    try:
        given = Choices.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadValueError(
            f"choices: {str(first['input'])[:100]!r}: {first['msg']}",
            hint='send row numbers and book ids: {"12": 34, "13": null}',
        ) from error
    return {row: Choice(book_id) for row, book_id in given.items()}


def _import(
    service: Service,
    content: bytes,
    choices: dict[int, Choice],
    accept_suggestions: bool,
    rows: str,
    reader_id: str | None = None,
) -> str:
    served = service.models.active
    known = {row: _known(served, choice) for row, choice in choices.items()}
    result = service.read_export(served, content, choices=known, accept_suggestions=accept_suggestions)
    if reader_id is not None:
        stars = {str(book_id): value for book_id, value in result.ratings}
        service.store.take_in(reader_id, stars, [(action, str(book_id)) for action, book_id in result.marks])
    return _answer(result, served, rows, reader_id).model_dump_json()


def _known(served: Served, choice: Choice) -> Choice:
    book_id: Id | None = None if choice.book_id is None else served.book_id(choice.book_id)
    return Choice(book_id)


def _answer(result: ImportResult, served: Served, rows: str, reader_id: str | None) -> ImportAnswer:
    index = served.recommender.book_index
    shown = result.rows if rows == "all" else result.open
    return ImportAnswer(
        source=result.source,
        encoding=result.encoding,
        scale=result.scale,
        counts=result.counts,
        notes=list(result.notes),
        rows=[ImportRow(**describe(row, index)) for row in shown],
        ratings=[Rating(book_id=book_id, stars=stars) for book_id, stars in result.ratings],
        marks=[Mark(action=action, subject=book_id) for action, book_id in result.marks],
        stored=reader_id,
        model=name_of(served),
    )

"""Errors as problem+json (RFC 9457): the command line's codes and words, and a status."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from shelfwise import errors

MEDIA_TYPE = "application/problem+json"
# Errors of these and of classes below them; the first that fits.
STATUS: tuple[tuple[type[errors.ShelfwiseError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.UnknownBookError, 404),
    (errors.KeyMissingError, 401),
    (errors.KeyRoleError, 403),
    (errors.TooLargeError, 413),
    (errors.TooManyError, 429),
    (errors.StoreFullError, 507),
    (errors.OutputError, 507),
    (errors.StoreError, 503),
    (errors.RunError, 409),
    (errors.DataError, 422),
    (errors.UsageError, 422),
    (errors.ConfigError, 422),
)


class Problem(BaseModel):
    """What went wrong: `code` is stable, words may improve; `hint` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    hint: str = ""


def status_of(error: errors.ShelfwiseError) -> int:
    """The HTTP status of an error raised on purpose."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def problem(error: errors.ShelfwiseError) -> JSONResponse:
    """The answer that an error raised on purpose becomes."""
    status = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "1"} if status in (429, 503) else {}
    return _answer(status, error.code, error.message, error.hint, headers)


def too_slow(seconds: float) -> JSONResponse:
    """The answer to a request whose body did not arrive in so many seconds."""
    words = f"the request did not arrive within {seconds:g} seconds"
    return _answer(408, "request", words, "send it in one go", {"Connection": "close"})


def _answer(status: int, code: str, detail: str, hint: str, headers: dict[str, str] | None = None) -> JSONResponse:
    title = code.replace("-", " ")
    body = Problem(title=title, status=status, code=code, detail=detail, hint=hint)
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Every error of the app as a problem."""

    @app.exception_handler(errors.ShelfwiseError)
    def _ours(_: Request, error: errors.ShelfwiseError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        shown = "" if isinstance(first.get("input"), (dict, list)) else f" = {str(first.get('input'))[:100]!r}"
        return _answer(422, "request", f"{where}{shown}: {first['msg']}", "correct the request; see /openapi.json")

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return _answer(404, "not-found", f"there is nothing at {request.url.path}", "see /openapi.json")
        return _answer(error.status_code, "request", str(error.detail), "see /openapi.json", dict(error.headers or {}))

    @app.exception_handler(Exception)
    def _unforeseen(_: Request, __: Exception) -> JSONResponse:
        return _answer(500, "internal", "the service failed; the log says why", "try again, and report it")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "The request cannot be answered"},
    "5XX": {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "The service cannot answer"},
}

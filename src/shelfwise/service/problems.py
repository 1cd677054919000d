"""Errors as problem+json (RFC 9457), or of a page as a page: the command line's codes and words, and a status."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shelfwise import errors
from shelfwise.service.pages.sorry import sorry

MEDIA_TYPE = "application/problem+json"
PROGRAMS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json")  # what programs ask for; all else is pages
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


def problem(request: Request, error: errors.ShelfwiseError) -> Response:
    """The answer that an error raised on purpose becomes."""
    status = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "1"} if status in (429, 503) else {}
    return _answer(request, status, error.code, error.message, error.hint, headers)


def too_slow(request: Request, seconds: float) -> Response:
    """The answer to a request whose body did not arrive in so many seconds."""
    words = f"the request did not arrive within {seconds:g} seconds"
    return _answer(request, 408, "request", words, "send it in one go", {"Connection": "close"})


def unforeseen(request: Request) -> Response:
    """The answer to a request that ran into a fault of the service itself."""
    return _answer(request, 500, "internal", "the service failed; the log says why", "try again, and report it")


def _answer(
    request: Request, status: int, code: str, detail: str, hint: str, headers: dict[str, str] | None = None
) -> Response:
    response: Response
    if request.url.path.startswith(PROGRAMS):
        body = Problem(title=code.replace("-", " "), status=status, code=code, detail=detail, hint=hint)
        response = JSONResponse(body.model_dump(), status, media_type=MEDIA_TYPE)
    else:
        response = sorry(request, status, code, f"{detail}: {hint}" if hint else detail)
    response.headers.update(headers or {})
    return response


def add_handlers(app: FastAPI) -> None:
    """Every error that the app knows as a problem; of all others takes care what stands before it (guards.py)."""

    @app.exception_handler(errors.ShelfwiseError)
    def _ours(request: Request, error: errors.ShelfwiseError) -> Response:
        return problem(request, error)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        shown = "" if isinstance(first.get("input"), (dict, list)) else f" = {str(first.get('input'))[:100]!r}"
        words = f"{where}{shown}: {first['msg']}"
        return _answer(request, 422, "request", words, "correct the request; see /openapi.json")

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _answer(request, 404, "not-found", f"there is nothing at {request.url.path}", "see /openapi.json")
        words, headers = str(error.detail), dict(error.headers or {})
        return _answer(request, error.status_code, "request", words, "see /openapi.json", headers)


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "The request cannot be answered"},
    "5XX": {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "The service cannot answer"},
}

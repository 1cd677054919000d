"""Templates and files of the page."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shelfwise.errors import NotFoundError
from shelfwise.service.pages.cards import OPEN_LIBRARY, whole
from shelfwise.service.pages.texts import count, say, stars_text
from shelfwise.version import __version__

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{pictures}; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {
        "say": say,
        "count": count,
        "stars_text": stars_text,
        "whole": whole,
        "version": __version__,
    }
    environment.globals["static"] = static_path
    return environment


@cache
def static_path(name: str) -> str:
    """Where a file of the page is, with the beginning of its SHA-256, so that it may be kept for good."""
    return f"/static/{name}?{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def static_file(name: str) -> Response:
    """A file of the page. Raises NotFoundError."""
    if name not in {path.name for path in STATIC.iterdir()} or Path(name).suffix not in TYPES:
        raise NotFoundError(f"no file {name!r}", hint="see the page that names it")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response((STATIC / name).read_bytes(), media_type=TYPES[Path(name).suffix], headers=headers)


def page(
    request: Request,
    template: str,
    *,
    pictures: bool = False,
    status: int = 200,
    address: str | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page; of a request by htmx only what changes of it. `address` is what the browser is to show then."""
    part = request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers
    text = _templates().get_template(template).render(part=part, pictures=pictures, **values)
    headers = {
        "Content-Security-Policy": POLICY.format(pictures=f" {OPEN_LIBRARY}" if pictures else ""),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # with none, browsers do not say that a form is of this page
        "Vary": "HX-Request",
    }
    if part and address is not None:
        headers["HX-Push-Url"] = address
    return HTMLResponse(text, status_code=200 if part else status, headers=headers)

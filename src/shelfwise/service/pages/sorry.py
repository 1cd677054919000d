"""What went wrong, as a page in plain words with a way on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse

from shelfwise.service.pages.render import page
from shelfwise.service.pages.texts import TEXTS, say


def sorry(request: Request, status: int, code: str, detail: str) -> HTMLResponse:
    """The page for a code of docs/errors.md; a shelf that came with the request, and was read, stays in it."""
    words = say(f"sorry {code}" if f"sorry {code}" in TEXTS else "sorry other")
    shelf = getattr(request.state, "shelf", "")
    response = page(request, "sorry.html", status=status, here="", words=words, detail=detail, shelf_text=shelf)
    response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#page", "outerHTML"
    return response

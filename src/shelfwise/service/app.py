"""The service as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from shelfwise.service.description import describe
from shelfwise.service.guards import MAX_HEAD, Guards
from shelfwise.service.problems import PROBLEMS, add_handlers
from shelfwise.service.routes import books, feedback, health, imports, lists, models, operator, pages, readers, search
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.state import Service
from shelfwise.version import __version__

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
# How uvicorn is to run it. h11 takes in no more of a head than this before it is whole; httptools knows no limit.
UVICORN: dict[str, Any] = {
    "http": "h11",
    "h11_max_incomplete_event_size": MAX_HEAD,
    "access_log": False,
    "server_header": False,
}


def create_app(settings: ServiceSettings, runs: Sequence[Path]) -> FastAPI:
    """The service of some runs, the first of which answers. Raises ShelfwiseError."""
    service = Service(settings, runs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="Shelfwise",
        version=__version__,
        summary="What to read next, learned from readers' stars and from what books are about.",
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.service = service
    add_handlers(app)
    for routes in (lists, feedback, search, books, readers, imports, models, health, operator, pages):
        app.include_router(routes.router)
    describe(app)
    app.add_middleware(
        Guards,
        settings=settings,
        uploads=dict.fromkeys((imports.PREFIX, pages.UPLOADS), settings.max_upload),
        hosts=LOCAL_NAMES | {settings.host, *settings.names} if settings.is_local or settings.names else set(),
        observe=service.metrics.observe,
    )
    return app

"""The service as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from shelfwise.service.guards import Guards
from shelfwise.service.problems import PROBLEMS, add_handlers
from shelfwise.service.routes import books, feedback, health, lists, models, readers, search
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.state import Service
from shelfwise.version import __version__

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


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
    for routes in (lists, feedback, search, books, readers, models, health):
        app.include_router(routes.router)
    app.add_middleware(
        Guards,
        max_body=settings.max_body,
        body_seconds=settings.body_seconds,
        hosts=LOCAL_NAMES | {settings.host} if settings.is_local else set(),
        observe=service.metrics.observe,
    )
    return app

"""For those who watch over the service."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from shelfwise.service.routes.lists import Here
from shelfwise.service.state import needs

router = APIRouter(tags=["health"])


@router.get("/healthz")
def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def ready(service: Here) -> dict[str, str]:
    """A model is loaded and tried out, and the database can be written; 503 or 507 otherwise."""
    service.store.check()
    return {"status": "ready", "model": service.models.active.name, "version": service.models.active.version}


@router.get("/metrics", dependencies=[Depends(needs("read"))], response_class=Response)
def metrics(service: Here) -> Response:
    """Latencies by route, model version and age, shelf sizes, in Prometheus' format."""
    return Response(service.metrics.text(service.models), media_type="text/plain; version=0.0.4; charset=utf-8")

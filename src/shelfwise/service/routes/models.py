"""Which run answers."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from shelfwise.service.routes.lists import Here
from shelfwise.service.schemas import ModelList, ServedModel
from shelfwise.service.state import Service, needs

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", dependencies=[Depends(needs("read"))])
def models(service: Here) -> ModelList:
    """The runs that may answer, and which one does."""
    return _list(service)


@router.post("/{name}/activate", dependencies=[Depends(needs("admin"))])
def activate(name: str, service: Here) -> ModelList:
    """Let another run answer: loaded, verified and tried out first; on any error the old one goes on."""
    with service.changing:
        service.models.activate(name)
    return _list(service)


@router.post("/rollback", dependencies=[Depends(needs("admin"))])
def roll_back(service: Here) -> ModelList:
    """Let the run that answered before answer again."""
    with service.changing:
        service.models.roll_back()
    return _list(service)


def _list(service: Service) -> ModelList:
    active, previous = service.models.active, service.models.previous
    found = []
    for name in service.models.paths:
        mine = active if name == active.name else None
        found.append(
            ServedModel(name=name, active=mine is not None, version=mine and mine.version, loaded=mine and mine.loaded)
        )
    return ModelList(models=found, previous=None if previous is None else previous.name)

"""What readers did with the books of a list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from shelfwise.errors import BadValueError
from shelfwise.service.feedback import Action, Response
from shelfwise.service.routes.lists import Here
from shelfwise.service.schemas import Asked, BookId
from shelfwise.service.state import needs

router = APIRouter(prefix="/v1/recommendations", tags=["lists"], dependencies=[Depends(needs("read"))])


class Event(Asked):
    """What was done with a book; `stars`, on the scale of the run, if and only if it was rated."""

    book_id: BookId
    event: Action
    stars: Annotated[float | None, Field(allow_inf_nan=False)] = None


class Events(Asked):
    """Events to keep, all or none; given again, they change nothing."""

    events: Annotated[list[Event], Field(max_length=1000)]

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"events": [{"book_id": 27, "event": "opened"}, {"book_id": 27, "event": "rated", "stars": 4}]}
            ]
        },
    )


class KeptEvents(BaseModel):
    """All that is kept of a list, by position."""

    recommendation_id: str
    events: list[Event]


@router.post("/{recommendation_id}/events")
def events(
    recommendation_id: Annotated[str, Path(max_length=40, pattern=r"^[0-9a-f]+$")], asked: Events, service: Here
) -> KeptEvents:
    """Report what was done with books of a list: opened, saved, rated, dismissed. It is counted and changes no rating.

    Who knows the id got the list, so that the role of a reader is enough.
    """
    served = service.models.active
    for one in asked.events:
        if (one.stars is not None) != (one.event == "rated"):
            raise BadValueError(
                f"book {one.book_id!r}: {one.event} with stars = {one.stars}", hint="give stars with 'rated' alone"
            )
        scale = served.recommender.run.model.scale
        if one.stars is not None and not scale.contains([one.stars])[0]:
            raise BadValueError(
                f"book {one.book_id!r}: {one.stars:g} stars are not on the scale {scale}", hint="correct this rating"
            )
    given = [Response(str(one.book_id), one.event, one.stars) for one in asked.events]
    kept = service.lists.respond(recommendation_id, given)
    shown = [Event(book_id=served.book_id(one.book_id), event=one.action, stars=one.stars) for one in kept]
    return KeptEvents(recommendation_id=recommendation_id, events=shown)

"""Finding books of the catalogue by words."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from shelfwise.service.routes.lists import Here, name_of
from shelfwise.service.schemas import BookId, ModelName
from shelfwise.service.state import needs

router = APIRouter(prefix="/v1/books", tags=["books"], dependencies=[Depends(needs("read"))])
COLUMNS = ("title", "series", "series_number", "year")


class Found(BaseModel):
    """A book that a query means."""

    book_id: BookId
    title: str
    authors: list[str]
    series: str | None
    series_number: float | None
    year: int | None


class SearchAnswer(BaseModel):
    """The best first; none where the catalogue has nothing like it."""

    books: list[Found]
    model: ModelName


@router.get("")
def search(
    service: Here,
    q: Annotated[str, Query(description="Words of title, author or series, or an ISBN; the last may be unfinished.")],
    n: Annotated[int, Query(ge=1, le=200)] = 10,
) -> SearchAnswer:
    """Find books: as you type, whatever the accents, with slips of the keyboard.

    Titles that are just that come first, then those that begin so; among equals the book that is read more.
    """
    served = service.models.active
    books = served.recommender.run.catalogue.books
    rows = [books.row(row, named=True) for row in service.search.find(served, q, n)]
    found = [
        Found(book_id=row["book_id"], authors=row["authors"] or [], **{name: row[name] for name in COLUMNS})
        for row in rows
    ]
    return SearchAnswer(books=found, model=name_of(served))

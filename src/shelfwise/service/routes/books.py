"""Books of the catalogue, and books that have just appeared."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from shelfwise.recommender import Recommender
from shelfwise.service.desk import Question
from shelfwise.service.routes.lists import Here, name_of, predict
from shelfwise.service.schemas import Book, NewBook, NewBookAnswer, Similar, SimilarAnswer
from shelfwise.service.state import needs

router = APIRouter(prefix="/v1/books", tags=["books"], dependencies=[Depends(needs("read"))])
NOBODY = Question(())
COLUMNS = ("title", "series", "series_number", "year", "language", "description", "isbn13")


@router.get("/{book_id}")
def book(book_id: str, service: Here) -> Book:
    """What the catalogue has of a book."""
    served = service.models.active
    catalogue, row = served.recommender.run.catalogue, served.recommender.index_of_book(book_id)
    mine = catalogue.books.row(row, named=True)
    return Book(
        book_id=catalogue.vocabulary.ids[row],
        authors=mine["authors"] or [],
        subjects=mine["subjects"] or [],
        ratings=int(served.recommender.run.model.book_counts[row]),
        mean_stars=predict(served.recommender, NOBODY, [book_id])[0].stars,
        model=name_of(served),
        **{name: mine[name] for name in COLUMNS},
    )


@router.get("/{book_id}/similar")
def similar(book_id: str, service: Here, n: Annotated[int, Query(ge=1, le=200)] = 10) -> SimilarAnswer:
    """The books nearest in content."""
    served = service.models.active
    place = served.recommender.index_of_book(book_id)
    return SimilarAnswer(books=_similar(served.recommender, place, n), model=name_of(served))


@router.post("")
def new_book(asked: NewBook, service: Here) -> NewBookAnswer:
    """What a book that has just appeared would get, by what it is about alone. Nothing is stored."""
    served = service.models.active
    given = asked.ratings is not None or asked.reader is not None
    question = service.question(asked) if given else NOBODY
    about = ("title", "authors", "series", "series_number", "year", "language")
    row: dict[str, Any] = {name: getattr(asked, name) for name in about}
    grown, book_id = served.recommender.with_book(row, tags=asked.tags, text=asked.text, vector=asked.vector)
    run = served.recommender.run
    return NewBookAnswer(
        prediction=predict(grown, question, [str(book_id)])[0],
        similar=_similar(grown, len(run.catalogue), 10),
        known_tags=sorted({*run.space.tags_in(asked.text), *(t for tag in asked.tags for t in run.space.tags_in(tag))}),
        model=name_of(served),
    )


def _similar(recommender: Recommender, place: int, n: int) -> list[Similar]:
    frame = recommender.similar(recommender.run.catalogue.vocabulary.ids[place], n)
    return [Similar(**row) for row in frame.drop("rank").iter_rows(named=True)]

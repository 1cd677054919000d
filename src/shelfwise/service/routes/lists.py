"""Lists and predictions, for ratings that nobody keeps or for stored readers."""

from __future__ import annotations

import asyncio
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from shelfwise.recommender import NEW_READER, Recommender
from shelfwise.service.desk import Answer, Question
from shelfwise.service.feedback import shown_list
from shelfwise.service.models import Served
from shelfwise.service.schemas import (
    ListAnswer,
    ListRequest,
    ModelName,
    Prediction,
    PredictionAnswer,
    PredictionRequest,
)
from shelfwise.service.state import Service, needs, the_service

router = APIRouter(prefix="/v1", tags=["lists"], dependencies=[Depends(needs("read"))])
Here = Annotated[Service, Depends(the_service)]


@router.post("/recommendations", response_model=ListAnswer)
async def recommendations(asked: ListRequest, service: Here) -> Response:
    """What to read next: a list of books, with expected stars and, if asked for, reasons.

    What readers do with its books can be reported under its recommendation_id. Ratings given here are not stored.
    """
    ask = service.list_question
    question = ask(asked) if asked.reader is None else await run_in_threadpool(ask, asked)
    answer = await asyncio.wrap_future(service.desk.ask(question))
    kept = shown_list(question, answer, 0, [row["book_id"] for row in answer.lists[0]])
    service.lists.keep(kept)
    return Response(list_answer(answer, kept.list_id).model_dump_json(), media_type="application/json")


@router.post("/predictions")
def predictions(asked: PredictionRequest, service: Here) -> PredictionAnswer:
    """The stars that somebody would give to books, in the order asked."""
    served = service.models.active
    found = predict(served.recommender, service.question(asked), [str(book) for book in asked.books])
    for prediction, book_id in zip(found, asked.books, strict=True):
        prediction.book_id = book_id
    return PredictionAnswer(predictions=found, model=name_of(served))


def predict(recommender: Recommender, question: Question, books: list[str]) -> list[Prediction]:
    """Predictions for who asks. Raises ShelfwiseError."""
    name = NEW_READER if question.reader is None else question.reader
    shelf = recommender.shelves_of({name: question.ratings})
    pairs = pl.DataFrame({"user_id": [name] * len(books), "book_id": pl.Series(books, dtype=pl.String)})
    rows = recommender.predict(pairs, shelf, ids="catalogue", where="books")
    return [Prediction(**{k: v for k, v in row.items() if k != "user_id"}) for row in rows.iter_rows(named=True)]


def list_answer(answer: Answer, list_id: str) -> ListAnswer:
    """What the API says of an answer to a question for one list."""
    (rows,), (short,) = answer.lists, answer.short
    return ListAnswer.model_validate(
        {
            "books": rows,
            "model": name_of(answer.served),
            "recommendation_id": list_id,
            "short": short,
            "unknown_books": answer.unknown,
        }
    )


def name_of(served: Served) -> ModelName:
    """Which run that is."""
    return ModelName(name=served.name, version=served.version)

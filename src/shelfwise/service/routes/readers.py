"""Readers who asked to be remembered: what they say, what is kept of them, and that nothing is kept any more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, NotFoundError
from shelfwise.service.erase import erase_from_run
from shelfwise.service.routes.lists import Here
from shelfwise.service.schemas import Erased, Export, Mark, Marks, NewReader, Rating, Ratings, ReaderId, Said
from shelfwise.service.state import Service, needs

router = APIRouter(prefix="/v1/readers", tags=["readers"])
Reads, Writes = [Depends(needs("read"))], [Depends(needs("write"))]
Reader = Annotated[ReaderId, Path()]


@router.post("", status_code=201, dependencies=Writes)
def create(asked: NewReader, service: Here, response: Response) -> Said:
    """Remember a reader. 201 for a new one, 200 where there is one of that id."""
    if not service.store.add_reader(asked.reader_id):
        response.status_code = 200
    return _said(service, asked.reader_id)


@router.get("/{reader_id}", dependencies=Reads)
def read(reader_id: Reader, service: Here) -> Said:
    """What a reader has said."""
    return _said(service, reader_id)


@router.put("/{reader_id}/ratings", dependencies=Writes)
def rate(reader_id: Reader, asked: Ratings, service: Here) -> Said:
    """Set ratings, all or none. They count from the next list on."""
    scale = service.models.active.recommender.run.model.scale
    for rating in asked.ratings:
        if not scale.contains([rating.stars])[0]:
            raise BadValueError(
                f"book {rating.book_id!r}: {rating.stars:g} stars are not on the scale {scale}",
                hint="correct this rating",
            )
    service.store.rate(reader_id, [(str(rating.book_id), rating.stars) for rating in asked.ratings])
    return _said(service, reader_id)


@router.delete("/{reader_id}/ratings/{book_id}", dependencies=Writes)
def unrate(reader_id: Reader, book_id: str, service: Here) -> Said:
    """Take a rating back."""
    if not service.store.unrate(reader_id, book_id):
        raise NotFoundError(f"reader {reader_id!r} has not rated book {book_id!r}", hint="see their ratings")
    return _said(service, reader_id)


@router.put("/{reader_id}/marks", dependencies=Writes)
def mark(reader_id: Reader, asked: Marks, service: Here) -> Said:
    """Set marks: ignore, read, did-not-finish, dismiss, to-read, hide-author (docs/rules.md). All or none."""
    service.store.mark(reader_id, [(one.action, str(one.subject)) for one in asked.marks])
    return _said(service, reader_id)


@router.delete("/{reader_id}/marks/{action}/{subject}", dependencies=Writes)
def unmark(reader_id: Reader, action: str, subject: str, service: Here) -> Said:
    """Take a mark back."""
    if not service.store.unmark(reader_id, action, subject):
        raise NotFoundError(f"reader {reader_id!r} has no mark {action} {subject!r}", hint="see their marks")
    return _said(service, reader_id)


@router.get("/{reader_id}/export", dependencies=Reads)
def export(reader_id: Reader, service: Here) -> Export:
    """Everything that is kept of a reader: here, and in the training ratings of the runs that are served."""
    kept = service.store.export(reader_id)
    return Export(**kept, training=_training(service, reader_id))


@router.delete("/{reader_id}", dependencies=[Depends(needs("admin"))])
def erase(reader_id: Reader, service: Here) -> Erased:
    """Delete a reader for good: from the database and its log, and from every run that is served."""
    service.lists.flush()
    stored = service.store.erase(reader_id)
    with service.changing:
        runs = []
        for name, path in service.models.paths.items():
            if erase_from_run(path, reader_id):
                service.models.reload(name)
                runs.append(name)
    if not stored and not runs:
        raise NotFoundError(f"nothing is known of a reader {reader_id!r}", hint="check the id")
    return Erased(stored=stored, runs=runs)


def _said(service: Service, reader_id: str) -> Said:
    said, book_id = service.store.said(reader_id), service.models.active.book_id
    marks = [{"action": a, "subject": s if a == "hide-author" else book_id(s)} for a, s in said.marks]
    return Said(
        reader_id=reader_id,
        ratings=[Rating(book_id=book_id(book), stars=stars) for book, stars in said.ratings.items()],
        marks=[Mark.model_validate(mark) for mark in marks],
    )


def _training(service: Service, reader_id: str) -> dict[str, list[Rating]]:
    found = {}
    for name, run in service.models.runs():
        row = int(run.readers.find([reader_id])[0])
        if row >= 0:
            shelf = run.shelves.take([row])
            books: list[Id] = run.catalogue.vocabulary.take(shelf.item_idx).to_list()
            rated = zip(books, shelf.stars, strict=True)
            found[name] = [Rating(book_id=book_id, stars=float(stars)) for book_id, stars in rated]
    return found

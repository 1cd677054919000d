"""What a visitor has said so far: it travels with the page's forms, so that nothing need be kept here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

from pydantic import TypeAdapter, ValidationError

from shelfwise.errors import BadValueError, UsageError
from shelfwise.rules.feedback import Action

LONGEST_ID, LONGEST_NAME = 200, 400  # as the store has them
ACTIONS: tuple[str, ...] = get_args(Action)
_SHELF = TypeAdapter(tuple[dict[str, float], list[tuple[Action, str]]])


@dataclass(frozen=True)
class Visit:
    """ratings  stars by book id, as text; marks  (action, subject), in the order they were said, each once"""

    ratings: Mapping[str, float] = field(default_factory=dict)
    marks: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ratings or self.marks)

    def text(self) -> str:
        """As it stands in a form: JSON that read() takes."""
        return _SHELF.dump_json((dict(self.ratings), list(self.marks))).decode()  # type: ignore[arg-type]

    @classmethod
    def read(cls, text: str) -> Visit:
        """Of what text() gave. Raises BadValueError."""
        if not text.strip():
            return cls()
        try:
            ratings, marks = _SHELF.validate_json(text)
        except ValidationError as error:
            raise BadValueError(
                "the shelf that came with this page cannot be read", hint="go back to the start and try again"
            ) from error
        sound = {b: stars for b, stars in ratings.items() if math.isfinite(stars) and len(b) <= LONGEST_ID}
        return cls(sound, tuple(dict.fromkeys(mark for mark in marks if len(mark[1]) <= LONGEST_NAME)))

    def rated(self, given: Mapping[str, float]) -> Visit:
        """With some ratings more; what is rated is no longer only wanted."""
        marks = tuple(
            mark for mark in self.marks if not (mark[0] in ("to-read", "ignore", "read") and mark[1] in given)
        )
        return Visit({**self.ratings, **given}, marks)

    def unrated(self, book: str) -> Visit:
        """Without the rating of a book."""
        return replace(self, ratings={b: stars for b, stars in self.ratings.items() if b != book})

    def marked(self, action: str, subject: str) -> Visit:
        """With a mark more. Raises UsageError."""
        if action not in ACTIONS:
            raise UsageError(f"nothing is called {action!r} here", hint=f"choose one of {', '.join(ACTIONS)}")
        return replace(self, marks=tuple(dict.fromkeys((*self.marks, (action, subject)))))

    def unmarked(self, action: str, subject: str) -> Visit:
        """Without a mark."""
        return replace(self, marks=tuple(mark for mark in self.marks if mark != (action, subject)))

    def with_import(self, ratings: Mapping[str, float], marks: Iterable[tuple[str, str]]) -> Visit:
        """With what a file says: its stars count; of what was rated already it marks nothing."""
        rated = self.rated(ratings)
        new = (mark for mark in marks if mark[1] not in self.ratings)
        return replace(rated, marks=tuple(dict.fromkeys((*rated.marks, *new))))


def after(visit: Visit, do: str) -> Visit:
    """What a visitor has said after pressing a button.

    do  'rate:STARS:BOOK', 'unrate:BOOK', 'ACTION:SUBJECT', 'un-ACTION:SUBJECT', 'clear', or what changes nothing here:
        'remember', 'forget'
    Raises UsageError, BadValueError.
    """
    verb, _, rest = do.partition(":")
    match verb:
        case "remember" | "forget":
            now = visit
        case "clear":
            now = Visit()
        case "rate":
            stars, _, book = rest.partition(":")
            now = visit.rated({book: _number(stars)})
        case "unrate":
            now = visit.unrated(rest)
        case _ if verb.startswith("un-"):
            now = visit.unmarked(verb.removeprefix("un-"), rest)
        case _:
            now = visit.marked(verb, rest)
    return now


def moved(visit: Visit, old: Visit, new: Visit) -> Visit:
    """A visit with what changes from `old` to `new`, and no more."""
    ratings = {book: stars for book, stars in visit.ratings.items() if book not in old.ratings or book in new.ratings}
    ratings |= {book: stars for book, stars in new.ratings.items() if old.ratings.get(book) != stars}
    marks = [mark for mark in visit.marks if mark not in old.marks or mark in new.marks]
    return Visit(ratings, tuple(dict.fromkeys([*marks, *(mark for mark in new.marks if mark not in old.marks)])))


def _number(stars: str) -> float:
    try:
        return float(stars)
    except ValueError:
        raise BadValueError(f"{stars!r} is no number of stars", hint="choose one of the stars") from None

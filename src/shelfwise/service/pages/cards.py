"""Books as the page shows them: words, and a cover of our own drawing."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shelfwise.data.catalogue import SERIES, Catalogue

COVERS = 8  # ways that a cover may look, see page.css
TITLE_LINES, LINE = 5, 13
OPEN_LIBRARY = "https://covers.openlibrary.org"


@dataclass(frozen=True)
class Card:
    """A book. id  as text; cover  lines of the title; look  0 to COVERS - 1; stars, low, high  expected; given  the
    visitor's own; picture  of the cover elsewhere, or None"""

    id: str
    title: str
    authors: tuple[str, ...]
    series: str | None
    number: str | None
    year: int | None
    language: str | None
    cover: tuple[str, ...]
    look: int
    picture: str | None = None
    stars: float | None = None
    low: float | None = None
    high: float | None = None
    given: float | None = None
    reasons: Sequence[str] = field(default=())

    @property
    def author(self) -> str:
        """The first author, or nothing."""
        return self.authors[0] if self.authors else ""


def card(catalogue: Catalogue, item_idx: int, *, pictures: bool = False, **more: Any) -> Card:
    """The book at an index."""
    row = catalogue.books.row(item_idx, named=True)
    title = bare_title(row["title"] or "")
    number = row["series_number"]
    look = sum(map(ord, (row["authors"] or [title])[0])) % COVERS
    isbn = row["isbn13"] or row["isbn10"]
    return Card(
        id=str(row["book_id"]),
        title=title,
        authors=tuple(row["authors"] or ()),
        series=row["series"],
        number=None if number is None else f"{number:g}",
        year=row["year"],
        language=row["language"],
        cover=tuple(cover_lines(title)),
        look=look,
        picture=f"{OPEN_LIBRARY}/b/isbn/{isbn}-M.jpg?default=false" if pictures and isbn else None,
        **more,
    )


def bare_title(title: str) -> str:
    """A title without its series."""
    return SERIES.sub(r"\g<title>", title).strip() or title


def cover_lines(title: str) -> list[str]:
    """A title on a cover."""
    return textwrap.wrap(title, LINE, max_lines=TITLE_LINES, placeholder=" …") or [title[:LINE]]


def whole(stars: float | None) -> str:
    """Stars as a number of a range."""
    return "" if stars is None else f"{stars:g}"

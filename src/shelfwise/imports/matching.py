"""Which book of a catalogue a row of an export is: surely, perhaps, or none.

By the id that Goodreads gives an edition, else by ISBN, else by title and author. A valid ISBN that the catalogue does
not have is another edition or another book: then nothing is guessed, and the reader is asked (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

from rapidfuzz import fuzz, process

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.isbn import repair_isbn
from shelfwise.data.vocabulary import Id
from shelfwise.imports.readers import Entry
from shelfwise.imports.titles import (
    OTHER_VOLUME,
    Title,
    name_likeness,
    name_of,
    normal,
    take_apart,
    title_likeness,
)

Value = TypeVar("Value", str, int)
Outcome = Literal["matched", "review", "not-in-catalogue", "unreadable"]
# Confidence from which title and author match without asking: chosen and measured by benchmarks/matching.py.
SURE = 0.9
# Confidence from which a book is shown to the reader as what the row may be.
WORTH_ASKING = 0.75
# Two books whose confidences lie closer together than this are not told apart without asking: the first where a title
# is word for word that of the row, the other elsewhere.
CLOSE_TO_EXACT, CLOSE = 0.03, 0.1
# How alike names are from which they are one person's, and what a first author that is lacking takes away.
SAME_NAME, LACKING = 0.8, 0.88
SHOWN = 5
MOST_NAMES = 8
MOST_CANDIDATES = 12  # compared thoroughly
COMMON = 200  # books that share a word, from which it helps to find none


class Candidate(NamedTuple):
    """A book that a row may be; confidence from 0 to 1."""

    item_idx: int
    confidence: float


@dataclass(frozen=True)
class Match:
    """What a row is.

    how        goodreads-id, isbn or title of what is matched; '' of the rest
    reason     in words, why it is not matched, or what is to be decided
    candidates best first; of what is matched the book alone
    suggested  whether the first candidate would be matched by title and author, were it not for its ISBN
    """

    outcome: Outcome
    how: str = ""
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()
    suggested: bool = False

    @property
    def item_idx(self) -> int:
        """The book of what is matched, else -1."""
        return self.candidates[0].item_idx if self.outcome == "matched" else -1


class BookIndex:
    """A catalogue, ready to be searched by id, ISBN, title and author. Made once, used for any number of files."""

    def __init__(self, catalogue: Catalogue) -> None:
        books = catalogue.books
        self.catalogue = catalogue
        self.ids: list[Id] = books["book_id"].to_list()
        self.shown_titles: list[str] = books["title"].to_list()
        self.shown_authors: list[list[str]] = [list(names or ()) for names in books["authors"].to_list()]
        works = books["work_key"].to_list()
        self.works = [work if work is not None else f"book:{idx}" for idx, work in enumerate(works)]
        self._isbns = books["isbn13"].to_list()
        self._by_isbn = _places(self._isbns)
        self._by_goodreads = _places(books["goodreads_id"].to_list())
        columns = books.select("title", "original_title", "series", "series_number").iter_rows()
        self.titles = [_variants(title, original, series, number) for title, original, series, number in columns]
        self._series = {one.series for mine in self.titles for one in mine if one.series}
        self.authors = [[name_of(name) for name in names] for names in self.shown_authors]
        self._by_title = _all_places([{t.full, t.base, _squeezed(t.base)} for t in mine] for mine in self.titles)
        self._by_word = _all_places([{word for t in mine for word in t.full.split()}] for mine in self.titles)
        self._by_surname = _all_places([{name[-1] for name in names if name}] for names in self.authors)
        self._surnames = list(self._by_surname)
        self._alike = lru_cache(maxsize=10_000)(self._alike_surnames)

    def __len__(self) -> int:
        return len(self.ids)

    def match(self, entry: Entry) -> Match:
        """Which book an entry is."""
        if entry.unreadable:
            return Match("unreadable", reason=entry.unreadable)
        title = self._understood(entry.title)
        authors = [name for name in map(name_of, entry.authors) if name]
        by_id = self._by_goodreads.get(entry.goodreads_id, ())
        if by_id and self._agrees(by_id[0], title, authors):
            return Match("matched", "goodreads-id", candidates=(Candidate(by_id[0], 1.0),))
        by_isbn = [idx for isbn in entry.isbns for idx in self._by_isbn.get(isbn, ())]
        if by_isbn:
            return self._match_isbn(list(dict.fromkeys(by_isbn)), title, authors)
        found = self._search(title, authors)
        if not found or found[0].confidence < WORTH_ASKING:
            return Match("not-in-catalogue", reason="no book is like it")
        shown = tuple(one for one in found if one.confidence >= WORTH_ASKING)[:SHOWN]
        why = self._doubt(found, authors)
        suggested = not why
        if entry.isbns and self._isbns[found[0].item_idx] is not None:
            why = why or "its ISBN is not in the catalogue: another edition, or another book"
        if why:
            return Match("review", reason=why, candidates=shown, suggested=suggested)
        return Match("matched", "title", candidates=shown[:1], suggested=True)

    def _understood(self, raw: str) -> Title:
        """A title of a file taken apart; where it begins with the name of a series, as being of that."""
        title = take_apart(raw)
        return title._replace(series=title.base) if not title.series and title.base in self._series else title

    def find(self, isbn: str) -> int:
        """The book of an ISBN, -1 for none."""
        return self._by_isbn.get(repair_isbn(isbn), (-1,))[0]

    def _match_isbn(self, books: list[int], title: Title, authors: list[tuple[str, ...]]) -> Match:
        agreeing = [idx for idx in books if self._agrees(idx, title, authors)]
        works = {self.works[idx] for idx in agreeing}
        if len(works) == 1:
            return Match("matched", "isbn", candidates=(Candidate(agreeing[0], 1.0),))
        candidates = tuple(Candidate(idx, round(self._confidence(idx, title, authors), 3)) for idx in books[:SHOWN])
        why = "its ISBNs are of several books" if agreeing else "its ISBN is of a book with another title and author"
        return Match("review", reason=why, candidates=candidates)

    def _doubt(self, found: list[Candidate], authors: list[tuple[str, ...]]) -> str:
        """Why the best candidate is not sure; '' if it is."""
        if not authors:
            return "without an author a title is not enough"
        if found[0].confidence < SURE:
            return "title and author are not alike enough"
        others = (one for one in found[1:] if self.works[one.item_idx] != self.works[found[0].item_idx])
        second = next(others, None)
        close = CLOSE_TO_EXACT if found[0].confidence >= 0.99 else CLOSE
        if second is not None and second.confidence > found[0].confidence - close:
            return "several books are like it"
        return ""

    def _agrees(self, idx: int, title: Title, authors: list[tuple[str, ...]]) -> bool:
        """Whether title or author of a row are at all those of a book that its number stands for."""
        alike = max((title_likeness(title, one) for one in self.titles[idx]), default=0.0)
        if not title.full or alike > OTHER_VOLUME:
            return True
        by_same = bool(authors) and self._author_likeness(idx, authors) > 0.8
        boxes = {"box" in title.kinds, *("box" in one.kinds for one in self.titles[idx])}
        return by_same and len(boxes) == 1

    def _confidence(self, idx: int, title: Title, authors: list[tuple[str, ...]]) -> float:
        alike = max(title_likeness(title, one) for one in self.titles[idx])
        return alike * (self._author_likeness(idx, authors) if authors else 0.95)

    def _author_likeness(self, idx: int, authors: list[tuple[str, ...]]) -> float:
        """Of the names that are most alike; less where one list lacks the name that stands first in the other."""
        theirs = self.authors[idx]
        if not theirs:
            return 0.0
        rows = [[name_likeness(name, other) for other in theirs[:MOST_NAMES]] for name in authors[:MOST_NAMES]]
        lacking = min(max(rows[0]), max(row[0] for row in rows)) < SAME_NAME
        return max(map(max, rows)) * (LACKING if lacking else 1.0)

    def _search(self, title: Title, authors: list[tuple[str, ...]]) -> list[Candidate]:
        """Books that are like a title and its authors, best first."""
        if not title.full:
            return []
        exact = {idx for key in (title.full, title.base, _squeezed(title.base)) for idx in self._by_title.get(key, ())}
        found = self._scored(exact, title, authors)
        if found and found[0].confidence >= 1 - CLOSE_TO_EXACT:
            return found
        near = self._near(title, authors) - exact
        return sorted([*found, *self._scored(near, title, authors)], key=lambda one: (-one.confidence, one.item_idx))

    def _scored(self, books: Iterable[int], title: Title, authors: list[tuple[str, ...]]) -> list[Candidate]:
        scored = [Candidate(idx, round(self._confidence(idx, title, authors), 3)) for idx in books]
        return sorted(scored, key=lambda one: (-one.confidence, one.item_idx))

    def _near(self, title: Title, authors: list[tuple[str, ...]]) -> set[int]:
        """Books by authors of the same or a like name, or with the same rare words, whose titles are nearest."""
        pool: set[int] = set()
        for name in authors[:4]:
            for surname in {*name[-1:], *name[:1]}:
                pool.update(self._by_surname.get(surname, ()))
            pool.update(idx for surname in self._alike(name[-1]) for idx in self._by_surname[surname])
        words = [self._by_word.get(word, ()) for word in title.full.split()]
        rare = sorted((books for books in words if 0 < len(books) <= COMMON), key=len)[:3]
        pool.update(idx for books in rare for idx in books)
        if len(pool) <= MOST_CANDIDATES:
            return pool
        places = list(pool)
        nearest: set[int] = set()
        for wanted in {title.full, title.base, title.tail} - {""}:
            texts = [self.titles[idx][0].full for idx in places]
            best = process.extract(wanted, texts, scorer=fuzz.ratio, limit=MOST_CANDIDATES // 2, score_cutoff=50)
            nearest.update(places[place] for _, _, place in best)
        return nearest

    def _alike_surnames(self, surname: str) -> tuple[str, ...]:
        if len(surname) < 4:
            return ()
        found = process.extract(surname, self._surnames, scorer=fuzz.ratio, limit=4, score_cutoff=78)
        return tuple(name for name, _, _ in found if name != surname)


def _variants(title: str, original: str | None, series: str | None, number: float | None) -> list[Title]:
    """A book's titles, taken apart: the title itself first."""
    mine = take_apart(title, series or "", number)
    if original is None or normal(original) == normal(title):
        return [mine]
    other = take_apart(original, series or "", number)
    # The original title of a box or a graphic novel may be that of a book in it.
    return [mine, other._replace(last=mine.last, kinds=other.kinds | mine.kinds)]


def _squeezed(words: str) -> str:
    return words.replace(" ", "")


def _places(values: list[Value | None]) -> dict[Value | None, tuple[int, ...]]:
    """Where each value stands; nothing is known of a missing one."""
    found: dict[Value | None, list[int]] = {}
    for idx, value in enumerate(values):
        if value is not None:
            found.setdefault(value, []).append(idx)
    return {value: tuple(places) for value, places in found.items()}


def _all_places(keys: Iterable[Iterable[set[str]]]) -> dict[str, tuple[int, ...]]:
    """Where each key stands among the sets of each book."""
    found: dict[str, dict[int, None]] = {}
    for idx, sets in enumerate(keys):
        for some in sets:
            for key in some:
                if key:
                    found.setdefault(key, {})[idx] = None
    return {key: tuple(places) for key, places in found.items()}

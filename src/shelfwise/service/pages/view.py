"""What pages show of the run that answers. One Library for each run that is served, made when first asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, UnknownBookError
from shelfwise.models.blocks import describe
from shelfwise.reasons import Why
from shelfwise.recommender import NEW_READER, Recommender
from shelfwise.rules import Rules
from shelfwise.service.models import Served
from shelfwise.service.pages.cards import bare_title
from shelfwise.service.pages.grid import telling_books
from shelfwise.service.pages.taste import Crowd, Taste, guesses, taste_of
from shelfwise.service.pages.texts import say, stars_text

if TYPE_CHECKING:
    from shelfwise.service.state import Service

MOST_LANGUAGES, MOST_TAGS, SHOWN_TAGS = 30, 150, 8
SIMILAR, MOVES, LEAST_MOVE = 8, 6, 0.02
COUNTING = ("ignore", "did-not-finish")  # marks that change what is judged by
KEPT = 2


class Library:
    """The books of one run, and what its model says of them."""

    def __init__(self, served: Served) -> None:
        self.served = served
        scale = served.recommender.run.model.scale
        self.scale = scale
        whole = [value for value in scale.values.tolist() if value == int(value)]
        self.stars: list[float] = whole if len(whole) > 1 else scale.values.tolist()
        self._making, self._made = threading.Lock(), None  # type: tuple[threading.Lock, Crowd | None]
        self.stars_by_text = {f"{value:g}": value for value in scale.values.tolist()}

    def prepare(self, served: Served) -> None:
        """Take the run as it was loaded last, and work out now what the first visitors would have to wait for."""
        self.served = served  # the same run: nothing known of it is out of date
        self.grid(0, 1, set())
        _ = self.tags, self.languages, self._crowd, self.recommender.book_index
        rules = Rules(list="continue", first_unread=True, per_author=1, diversity=0.1)
        book_id = self.catalogue.vocabulary.ids[0]
        self.recommender.recommend(ratings=[(book_id, self.scale.high)], n=1, rules=rules, why=True)

    @property
    def recommender(self) -> Recommender:
        return self.served.recommender

    @property
    def catalogue(self) -> Catalogue:
        return self.recommender.run.catalogue

    # Books by their ids as text.

    def index(self, book: str) -> int:
        """The index of a book, -1 if unknown."""
        return int(self.catalogue.vocabulary.find([self.served.book_id(book)])[0])

    def title(self, book: str) -> str:
        """The title of a book, or its id."""
        place = self.index(book)
        return book if place < 0 else bare_title(self.catalogue.books["title"][place] or book)

    def name_of(self, action: str, subject: str) -> str:
        """Whom or what a mark is about."""
        return subject if action == "hide-author" else self.title(subject)

    def check(self, stars: str) -> None:
        """Raise BadValueError for stars that are not on the scale."""
        if stars not in self.stars_by_text:
            raise BadValueError(f"{stars!r} stars are not on the scale {self.scale}", hint="choose one of the stars")

    def usable(self, ratings: Mapping[str, float]) -> dict[str, float]:
        """The ratings of books that are here, with stars of this scale."""
        if not ratings:
            return {}
        places = self.catalogue.vocabulary.find([self.served.book_id(book) for book in ratings])
        good = self.scale.contains(list(ratings.values()))
        return {b: s for (b, s), place, ok in zip(ratings.items(), places, good, strict=True) if place >= 0 and ok}

    def judged(self, known: Mapping[str, float], marks: Iterable[tuple[str, str]]) -> dict[str, float]:
        """The ratings to judge by, as in lists: rules.Feedback.shelf says what marks do to them."""
        pairs = [(NEW_READER, action, self.served.book_id(subject)) for action, subject in marks if action in COUNTING]
        if not pairs:
            return dict(known)
        shelf = self.recommender.shelf_of(self.pairs(known))
        used = self.recommender.feedback_of(pairs).take(shelf.readers.ids).shelf(shelf.shelves, self.scale)
        ids = self.catalogue.vocabulary.take(used.item_idx).to_list()
        return {str(book): stars for book, stars in zip(ids, used.stars.tolist(), strict=True)}

    def pairs(self, ratings: Mapping[str, float]) -> list[tuple[Id, float]]:
        """Ratings with ids as the catalogue has them."""
        return [(self.served.book_id(book), stars) for book, stars in ratings.items()]

    # Start.

    @cached_property
    def _telling(self) -> list[int]:
        return [int(idx) for idx in telling_books(self.recommender)]

    def grid(self, place: int, n: int, rated: set[str]) -> list[int]:
        """n books to ask about, from a place on and from the beginning again after the last; none that is rated."""
        ids = self.catalogue.vocabulary.ids
        left = [idx for idx in self._telling if str(ids[idx]) not in rated]
        start = place % max(len(left), 1)
        return (left[start:] + left[:start])[:n]

    def search(self, service: Service, served: Served, q: str, n: int) -> list[int]:
        """The books that words mean, best first."""
        found: list[int] = service.search.find(served, q, n)
        return found

    # Controls.

    @cached_property
    def languages(self) -> list[str]:
        """Those of the most books first."""
        return _commonest([language for language in self.recommender.facts.languages if language], MOST_LANGUAGES)

    @cached_property
    def tags(self) -> list[str]:
        """What most books are about, in alphabetical order."""
        facts = self.recommender.facts
        counts = np.asarray(facts.by_tag.sum(axis=0)).ravel()
        most = np.argsort(-counts, kind="stable")[:MOST_TAGS]
        return sorted(str(facts.tags.ids[int(tag)]) for tag in most)

    @cached_property
    def has_fame(self) -> bool:
        """Whether it is known which books are read much."""
        return self.recommender.facts.popularity is not None

    # One book.

    def about(self, judged: Mapping[str, float], unfinished: set[str], book: str) -> dict[str, Any]:
        """All that a page tells of a book. unfinished  those of `judged` that got no stars. Raises UnknownBookError."""
        place = self.index(book)
        if place < 0:
            raise UnknownBookError(f"there is no book {book!r} here", hint="go back, or look for it by its title")
        ratings = self.pairs({b: stars for b, stars in judged.items() if b != book})  # what the others say
        book_id = self.served.book_id(book)
        why = self.recommender.explain(book_id, ratings=ratings, effects=False)
        others = self.catalogue.vocabulary.find(self.recommender.similar(book_id, SIMILAR)["book_id"])
        items = self.catalogue.vocabulary.find([b for b, _ in ratings])
        stars = np.array([s for _, s in ratings], dtype=np.float32)
        counts = self.recommender.run.model.book_counts
        facts = self.recommender.facts
        tags = [str(facts.tags.ids[int(tag)]) for tag in facts.by_tag[place].indices[:SHOWN_TAGS]]
        row = self.catalogue.books.row(place, named=True)
        return {
            "item_idx": place,
            "expected": self._expected(ratings, place),
            "moves": _moves(why, unfinished) if ratings else [],
            "average": stars_text(why.mean + why.book_average) if counts[place] else None,
            "similar": [int(other) for other in others],
            "alike": self._crowd.like(items, stars, place) if len(items) else None,
            "tags": tags,
            "description": row["description"],
            "has_ratings": bool(ratings),
        }

    @property
    def _crowd(self) -> Crowd:
        with self._making:  # once, whoever asks
            if self._made is None:
                self._made = Crowd.of(self.recommender)
            return self._made

    def _expected(self, ratings: list[tuple[Any, float]], place: int) -> dict[str, float | None]:
        model = self.recommender.run.model
        readers = model.fold_in(self.recommender.shelf_of(ratings).shelves)
        rows, books = np.zeros(1, dtype=np.int64), np.array([place], dtype=np.int32)
        chances = model.probabilities(readers, rows, books)
        stars = float(model.stars(readers, rows, books)[0])
        if chances is None:
            return {"stars": stars, "low": None, "high": None}
        found = describe(chances, model.scale)
        return {"stars": stars, "low": float(found["low"][0]), "high": float(found["high"][0])}

    # The shelf.

    def shelf(
        self, known: Mapping[str, float], judged: Mapping[str, float], start: int, n: int
    ) -> tuple[list[tuple[int, float | None]], Taste | None]:
        """n of the own ratings, from a place on, newest first, each with what would have been guessed; and the taste
        that all show.

        judged  those of them that are used, and what was not finished
        """
        rows = list(known)[::-1][start : start + n]
        asked = [book for book in rows if book in judged]
        guessed = guesses(self.recommender, self.pairs(judged), [self.served.book_id(book) for book in asked])
        by_book = dict(zip(asked, guessed, strict=True)) if len(judged) > 1 else {}
        used = {book: stars for book, stars in known.items() if book in judged}
        items = self.catalogue.vocabulary.find([book for book, _ in self.pairs(used)])
        stars = np.array(list(used.values()), dtype=np.float32)
        taste = taste_of(self.recommender, items, stars) if used else None
        return [(self.index(book), by_book.get(book)) for book in rows], taste


def _moves(why: Why, unfinished: set[str]) -> list[tuple[bool, str, str]]:
    """The ratings that move a prediction most: whether up, what was said of the book, and what that means."""
    found = []
    for row in why.ratings.head(MOVES).iter_rows(named=True):
        if abs(row["contribution"]) < LEAST_MOVE:
            continue
        title, up = bare_title(row["title"]), row["contribution"] > 0
        said = say("move stars", title=title, stars=stars_text(row["stars"]))
        if str(row["book_id"]) in unfinished:
            said = say("move unfinished", title=title)
        through = row["through"] or say("through other")
        found.append((up, said, say("move up" if up else "move down", through=through)))
    return found


def _commonest(values: list[str], n: int) -> list[str]:
    names, counts = np.unique(np.array(values, dtype=object).astype(str), return_counts=True)
    return [str(name) for name in names[np.argsort(-counts, kind="stable")][:n]]


_libraries: OrderedDict[tuple[str, str], Library] = OrderedDict()
_making = threading.Lock()


def library_of(served: Served) -> Library:
    """The Library of a run; those of the last KEPT runs are kept."""
    key = (str(served.path), served.version)
    with _making:
        if key not in _libraries:
            for old in [known for known in _libraries if known[0] == key[0]]:
                del _libraries[old]  # it may know readers who have been deleted since
            _libraries[key] = Library(served)
            while len(_libraries) > KEPT:
                _libraries.popitem(last=False)
        return _libraries[key]

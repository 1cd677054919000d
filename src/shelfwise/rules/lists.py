"""Scores of a model -> lists that keep the rules."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shelfwise.data.shelves import Floats, Indices
from shelfwise.models.contract import Lists, Model, Readers
from shelfwise.rules.histories import Histories
from shelfwise.rules.incidence import Mask
from shelfwise.rules.plan import Plan, allowed, kept

# The dials re-order so many of the best books: POOL_SHARE for each one asked for, within these bounds.
POOL_SHARE, SMALLEST_POOL, LARGEST_POOL = 10, 100, 500


class Basket:
    """A list of at most n books in the making, which takes no book that would break a cap."""

    def __init__(self, plan: Plan, n: int) -> None:
        self.n = n
        self.books: list[int] = []
        self._groups_of, self._caps = plan.facts.groups_of, plan.caps
        self._taken: dict[int, int] = {}  # by group; a list has few, and arrays are slow for few

    @property
    def full(self) -> bool:
        return len(self.books) >= self.n

    def take(self, book: int) -> bool:
        """Add a book and say so, unless the list is full or a cap is reached."""
        if self.full:
            return False
        for kind, group in self._groups_of(book):  # not by any(), which costs as much again
            if self._taken.get(group, 0) >= self._caps[kind]:
                return False
        self.add(book)
        return True

    def add(self, book: int) -> None:
        """Add a book whatever the caps; it counts in them."""
        self.books.append(book)
        for _, group in self._groups_of(book):
            self._taken[group] = self._taken.get(group, 0) + 1


def choose(plan: Plan, scores: Floats, may: Mask, pinnable: Mask, n: int) -> list[int]:
    """A list of at most n books: pins first, then what `may` be listed.

    scores  what the model orders by, float32 [I]; may, pinnable  bool [I], see allowed() and kept()
    """
    basket = Basket(plan, n)
    add_pins(basket, plan, pinnable)
    books = np.flatnonzero(may & (scores > -np.inf)).astype(np.int32)
    size = min(max(POOL_SHARE * n, SMALLEST_POOL), LARGEST_POOL)
    for place, best in enumerate(_best_first(books, scores, size)):
        pool = size if not place and _has_dials(plan) else 0
        if pool:
            _take_by_dials(basket, plan, best[:pool])
        for book in best[pool:].tolist():
            if basket.full:
                return basket.books
            basket.take(book)
    return basket.books


def _has_dials(plan: Plan) -> bool:
    return bool(plan.rules.diversity or plan.rules.obscurity)


def _best_first(books: Indices, scores: Floats, size: int) -> Iterator[Indices]:
    """The books in order of their scores, ties by index: the best `size` (and their ties), then all others."""
    mine = scores[books]
    bar = np.partition(mine, -size)[-size] if len(mine) > size else -np.inf
    for good in (np.greater_equal, np.less):
        part = books[good(mine, bar)]
        yield part[np.argsort(-scores[part], kind="stable")]


def add_pins(basket: Basket, plan: Plan, pinnable: Mask) -> None:
    """Put the pinned books that may be there on an empty list, one edition of each work."""
    works: set[int] = set()
    for book in plan.pins.tolist():
        work = int(plan.facts.work[book])
        if not basket.full and pinnable[book] and work not in works:
            works.add(work)
            basket.add(book)


def _take_by_dials(basket: Basket, plan: Plan, pool: Indices) -> None:
    """Fill the basket from a pool, best first, by the dials.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): the best of (1 - diversity) * relevance -
    diversity * likeness to the nearest book listed. Relevance is the place in the pool, from 1 down to 0, since scores
    of models are on scales of their own; obscurity moves it towards popularity or its opposite.
    """
    rules, facts = plan.rules, plan.facts
    relevance = np.linspace(1, 0, len(pool), dtype=np.float32) if len(pool) > 1 else np.ones(len(pool), np.float32)
    if rules.obscurity and facts.popularity is not None:
        popular = facts.popularity[pool]
        towards = popular if rules.obscurity < 0 else 1 - popular
        relevance = (1 - abs(rules.obscurity)) * relevance + abs(rules.obscurity) * towards
    likeness = np.zeros((len(pool), len(pool)), np.float32)
    nearest = np.zeros(len(pool), dtype=np.float32)
    if rules.diversity:
        likeness = facts.likeness(pool, pool)
        if basket.books:
            nearest = facts.likeness(pool, np.array(basket.books, dtype=np.int32)).max(axis=1, initial=0)
    value = (1 - rules.diversity) * relevance
    for _ in range(len(pool)):
        if basket.full:
            return
        best = int(np.argmax(value - rules.diversity * nearest))
        value[best] = -np.inf
        if basket.take(int(pool[best])):
            nearest = np.maximum(nearest, likeness[best])


def ruled_lists(
    model: Model, readers: Readers, histories: Histories, plan: Plan, n: int, *, among: Mask | None = None
) -> Lists:
    """Lists of a block of U readers.

    among  bool [I], books that may be listed beside pins, where that is known to be fewer than the rules allow
    """
    shape = len(readers), len(plan.facts)
    may = allowed(plan, histories) if among is None else np.broadcast_to(among, shape)
    first = None if len(plan.pins) or _has_dials(plan) else model.first_among(readers, may, n)
    if first is None:
        return _of_all_books(model, readers, histories, plan, n, may)
    lists = _within_caps(plan, first, n)
    short = np.flatnonzero((lists.books[:, -1] < 0) & (first.books[:, -1] >= 0))  # others are allowed
    if len(short):
        longer = _of_all_books(model, readers.take(short), histories.take(short), plan, n, may[short])
        lists.books[short], lists.scores[short] = longer.books, longer.scores
        if lists.chances is not None:
            lists.chances[short] = np.nan
    return lists


def _of_all_books(model: Model, readers: Readers, histories: Histories, plan: Plan, n: int, may: Mask) -> Lists:
    """The lists that choose() makes of scores of all books, where `may`, bool [U, I], is what rules allow."""
    books = np.full((len(readers), n), -1, dtype=np.int32)
    found = np.full((len(readers), n), -np.inf, dtype=np.float32)
    pinnable = kept(plan, histories) if len(plan.pins) else may
    for row, scores in enumerate(model.scores_among(readers, may)):
        chosen = choose(plan, scores, may[row], pinnable[row], n)
        books[row, : len(chosen)] = chosen
        found[row, : len(chosen)] = scores[chosen]
    return Lists(books, found)


def _within_caps(plan: Plan, longer: Lists, n: int) -> Lists:
    """The first n books of each list that keep the caps, or as many as there are."""
    places = np.full((len(longer.books), n), -1)
    for row, books in enumerate(longer.books.tolist()):
        basket = Basket(plan, n)
        taken = []
        for place, book in enumerate(books):
            if book < 0 or basket.full:
                break
            if basket.take(book):
                taken.append(place)
        places[row, : len(taken)] = taken
    filled, chances = places >= 0, longer.chances
    places = places.clip(min=0)
    if chances is not None:
        chances = np.where(filled[..., None], np.take_along_axis(chances, places[..., None], axis=1), np.nan)
    books, scores = (np.take_along_axis(values, places, axis=1) for values in (longer.books, longer.scores))
    return Lists(np.where(filled, books, -1), np.where(filled, scores, -np.inf), chances)

"""Scores of a model -> lists that keep the rules."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shelfwise.data.shelves import Floats, Indices
from shelfwise.models.contract import Lists, Model, Readers
from shelfwise.rules.facts import Mask
from shelfwise.rules.plan import Plan, allowed, kept
from shelfwise.rules.reader import Histories

# The dials re-order so many of the best books: POOL_SHARE for each one asked for, within these bounds.
POOL_SHARE, SMALLEST_POOL, LARGEST_POOL = 10, 100, 500


class Basket:
    """A list of at most n books in the making, which takes no book that would break a cap."""

    def __init__(self, plan: Plan, n: int) -> None:
        self.n = n
        self.books: list[int] = []
        self._groups, self._caps = plan.facts.groups, plan.caps
        self._taken: dict[int, int] = {}  # by group; a list has few, and arrays are slow for few

    @property
    def full(self) -> bool:
        return len(self.books) >= self.n

    def take(self, book: int) -> bool:
        """Add a book and say so, unless the list is full or a cap is reached."""
        if self.full:
            return False
        groups = self._of(book)
        for group in groups:  # not by any(), which costs as much again
            if self._taken.get(group, 0) >= self._caps[group]:
                return False
        self._put(book, groups)
        return True

    def add(self, book: int) -> None:
        """Add a book whatever the caps; it counts in them."""
        self._put(book, self._of(book))

    def _put(self, book: int, groups: list[int]) -> None:
        self.books.append(book)
        for group in groups:
            self._taken[group] = self._taken.get(group, 0) + 1

    def _of(self, book: int) -> list[int]:
        indptr = self._groups.indptr
        groups: list[int] = self._groups.indices[indptr[book] : indptr[book + 1]].tolist()
        return groups


def choose(plan: Plan, scores: Floats, may: Mask, pinnable: Mask, n: int, *, first: Indices | None = None) -> list[int]:
    """A list of at most n books: pins first, then what `may` be listed.

    scores  what the model orders by, float32 [I]; may, pinnable  bool [I], see allowed() and kept()
    first   books that come before all others that may be listed, int32 [C], where they are known
    """
    basket = Basket(plan, n)
    add_pins(basket, plan, pinnable)
    if first is not None and not (plan.rules.diversity or plan.rules.obscurity):
        first = np.sort(first[may[first] & (scores[first] > -np.inf)])
        for book in first[np.argsort(-scores[first], kind="stable")].tolist():
            if basket.full:
                break
            basket.take(book)
        if basket.full:
            return basket.books  # else the others follow; none is taken twice, since no work is
    books = np.flatnonzero(may & (scores > -np.inf)).astype(np.int32)
    size = min(max(POOL_SHARE * n, SMALLEST_POOL), LARGEST_POOL)
    for place, best in enumerate(_best_first(books, scores, size)):
        pool = size if not place and (plan.rules.diversity or plan.rules.obscurity) else 0
        if pool:
            _take_by_dials(basket, plan, best[:pool])
        for book in best[pool:].tolist():
            if basket.full:
                return basket.books
            basket.take(book)
    return basket.books


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
    books = np.full((len(readers), n), -1, dtype=np.int32)
    found = np.full((len(readers), n), -np.inf, dtype=np.float32)
    may = np.empty((len(readers), len(plan.facts)), dtype=bool)
    for row in range(len(readers)):
        may[row] = allowed(plan, histories[row]) if among is None else among
    scores = model.scores_among(readers, may)
    for row in range(len(readers)):
        pinnable = kept(plan, histories[row]) if len(plan.pins) else may[row]
        first = None if scores.books is None else scores.books[row]
        chosen = choose(plan, scores.values[row], may[row], pinnable, n, first=first)
        books[row, : len(chosen)] = chosen
        found[row, : len(chosen)] = scores.values[row, chosen]
    return Lists(books, found, scores.chances_of(books))

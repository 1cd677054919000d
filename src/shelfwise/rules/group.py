"""One list for a group of readers, from what each of them would get."""

from __future__ import annotations

from typing import Literal

import numpy as np

from shelfwise.data.shelves import Floats
from shelfwise.models.contract import Model, Readers
from shelfwise.rules.histories import Histories
from shelfwise.rules.incidence import Mask
from shelfwise.rules.lists import Basket, add_pins, choose, ruled_lists
from shelfwise.rules.plan import Plan, allowed, kept

GroupRule = Literal["average", "least-misery", "fair-turns"]
CANDIDATES = 100  # books of each member's own list


def group_list(
    model: Model, readers: Readers, members: Histories, plan: Plan, *, n: int, how: GroupRule
) -> tuple[list[int], Floats]:
    """At most n books for all of M `members`, and the stars expected of each, float32 [M, N].

    What one member has read, put aside or hidden is not for the group, and the rules hold for each member. Candidates
    are the first CANDIDATES books of each member's own list. average orders them by mean stars, least-misery by the
    lowest; in fair-turns the members take turns, each with the first book left of the own list. Ties go by index.
    """
    may: Mask = np.logical_and.reduce(allowed(plan, members))
    pinnable: Mask = np.logical_and.reduce(kept(plan, members))
    lists = ruled_lists(model, readers, members, plan, max(CANDIDATES, n), among=may).books
    if how == "fair-turns":
        books = _by_turns(lists.tolist(), plan, pinnable, n)
    else:
        candidates = np.unique(lists[lists >= 0]).astype(np.int32)
        stars = stars_of_all(model, readers, candidates.tolist())
        scores = np.full(len(plan.facts), -np.inf, dtype=np.float32)
        scores[candidates] = stars.mean(axis=0) if how == "average" else stars.min(axis=0, initial=np.inf)
        books = choose(plan, scores, may, pinnable, n)
    return books, stars_of_all(model, readers, books)


def stars_of_all(model: Model, readers: Readers, books: list[int]) -> Floats:
    """Expected stars of each reader for each book, float32 [U, N]."""
    rows = np.repeat(np.arange(len(readers)), len(books))
    item_idx = np.tile(np.array(books, dtype=np.int32), len(readers))
    return model.stars(readers, rows, item_idx).reshape(len(readers), len(books))


def _by_turns(lists: list[list[int]], plan: Plan, pinnable: np.ndarray, n: int) -> list[int]:
    """Each member in turn adds the first book of the own list that is not listed yet and keeps the caps."""
    basket = Basket(plan, n)
    add_pins(basket, plan, pinnable)
    left = [[book for book in books if book >= 0] for books in lists]
    turn = 0
    while any(left) and not basket.full:
        mine = left[turn % len(left)]
        while mine and not basket.take(mine.pop(0)):
            pass
        turn += 1
    return basket.books

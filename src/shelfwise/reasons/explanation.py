"""Why a reader's books are expected to get their stars, as numbers. Two quantities, which are not the same:

contributions    add up: stars = mean + book + sum of the contributions + remainder, where the remainder is what a
                 non-linear stage (a network, the ends of the scale) does to the sum
removal effects  the prediction less what it would be without that rating, everything else worked out anew

Two ratings that say the same share a contribution, and either can go at little loss: removal effects need not add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial, singledispatch

import numpy as np
import numpy.typing as npt

from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Model, Readers

# Through what a rated book speaks for another one, most telling first.
LINKS = ("series", "author", "tags", "readers")
CERTAIN = ("series", "author")  # these are named before stronger ones
LEAST_TIE = 0.15  # for a tie to be worth naming
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Explanation:
    """M books for one reader with L ratings, in the order of the shelf; all but links and pickup in stars.

    books          int32 [M]
    shelf          the reader's ratings, a block of one
    predict        works out the prediction; lists have it already
    mean           of all ratings; for models that add nothing up, what a reader without a shelf gets [M]
    book           float32 [M], by how much the book's own average lies beyond that
    contributions  float32 [M, L]
    links          by name (LINKS): float32 [M, L], how strongly that ties the rated book to the other, 0 to 1
    pickup         float32 [M, L], what each rating adds to the score by which books are proposed, or None
    adds_up        whether the model is a sum at all; if not, mean and book say nothing of the book's own average
    """

    books: Indices
    shelf: Shelves
    predict: Callable[[], Floats]
    mean: Floats
    book: Floats
    contributions: Floats
    links: dict[str, Floats]
    pickup: Floats | None = None
    adds_up: bool = True

    @cached_property
    def stars(self) -> Floats:
        """The prediction, float32 [M]."""
        return self.predict()

    @cached_property
    def orders(self) -> dict[str, Places]:
        """The ratings of the shelf by how much each speaks for, against and, where it is known, brings up each book:
        places of ratings, most first, int64 [M, L] each; equal ones in the order of the shelf."""
        by = {"for": self.contributions, "against": -self.contributions}
        if self.pickup is not None:
            by["pickup"] = self.pickup
        return {name: np.argsort(-values, axis=1, kind="stable") for name, values in by.items()}

    @cached_property
    def closest(self) -> Places:
        """Through what each rating speaks for each book: a place in LINKS, -1 where no tie is worth naming. [M, L]"""
        none = np.zeros_like(self.contributions)
        ties = np.stack([self.links.get(name, none) for name in LINKS])
        ties[ties < LEAST_TIE] = 0
        found: Places = ties.argmax(axis=0)
        for place in reversed([LINKS.index(name) for name in CERTAIN]):
            found[ties[place] > 0] = place
        found[~ties.any(axis=0)] = -1
        return found

    @property
    def remainder(self) -> Floats:
        """What the sum leaves to be said, float32 [M]."""
        rest: Floats = self.stars - self.mean - self.book - self.contributions.sum(axis=1)
        return rest


@singledispatch
def explain(model: Model, readers: Readers, row: int, books: Indices) -> Explanation:
    """Why reader `row` of the block gets these predictions for M books, int32 [M], -1 for one that nobody knows.

    A model that adds nothing up has all of it in the remainder.
    """
    shelf = readers.shelves.take([row])
    nothing = np.zeros((len(books), len(shelf.item_idx)), dtype=np.float32)
    plain = stars_of(model, model.fold_in(Shelves.empty(1)), 0, books)
    predict = partial(stars_of, model, readers, row, books)
    return Explanation(books, shelf, predict, plain, np.zeros_like(plain), nothing, {}, adds_up=False)


@singledispatch
def explain_lists(model: Model, readers: Readers, lists: Indices) -> list[Explanation]:
    """explain() for each reader of the block and its list, int32 [U, n] in all."""
    return [explain(model, readers, row, books) for row, books in enumerate(lists)]


@singledispatch
def without_each(model: Model, readers: Readers, row: int, books: Indices) -> Floats:
    """The stars of M books without each of the reader's L ratings, float32 [M, L]: by leaving it out in truth."""
    shelf = readers.shelves.take([row])
    n = len(shelf.item_idx)
    others = np.flatnonzero(~np.eye(n, dtype=bool).ravel())
    rest = Shelves.build(others // n, shelf.item_idx[others % n], shelf.stars[others % n], n)
    folded = model.fold_in(rest)
    found = model.stars(folded, np.repeat(np.arange(n), len(books)), np.tile(books, n))
    return found.reshape(n, len(books)).T


def stars_of(model: Model, readers: Readers, row: int, books: Indices) -> Floats:
    """Stars of M books for one reader of a block, float32 [M]."""
    return model.stars(readers, np.full(len(books), row, dtype=np.int64), books)

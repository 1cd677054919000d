"""What every model promises.

A reader reaches a model as a shelf of ratings, an item index each: `fold_in` turns a block of
shelves into `Readers`, the model's view of them against frozen book parameters, and everything else
takes `Readers`. So a new reader, a newer rating and a deleted one need no training. A model that
also learned parameters for the readers in training may use those for a shelf that has not changed.

Never raised: unknown readers are empty shelves, unknown books have index -1, and both get an answer
that rests on less (`basis`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from shelfwise.config import ModelConfig
from shelfwise.data.ratings import Ratings
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.engine import HERE, Engine
from shelfwise.errors import UsageError
from shelfwise.features.vectors import BookFeatures
from shelfwise.ranking import top_n

# On what a prediction rests, from most to least.
BASES = ("reader+book", "book", "reader", "mean")

Arrays = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.int64]
# Called with (stage, units done, units in all).
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """The Progress that shows nothing."""


@dataclass(frozen=True)
class Readers:
    """A block of U readers as a model sees them: their shelves, and arrays whose first axis is U."""

    shelves: Shelves
    arrays: dict[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.shelves)

    def take(self, rows: npt.ArrayLike) -> Readers:
        """Some readers of the block."""
        rows = np.asarray(rows, dtype=np.int64)
        return Readers(self.shelves.take(rows), {name: array[rows] for name, array in self.arrays.items()})


@dataclass(frozen=True)
class Lists:
    """n books for each of U readers, best first.

    books    int32 [U, n], -1 fills up
    scores   float32 [U, n], minus infinity fills up
    chances  float32 [U, n, S], of each value of the scale where a model worked them out on its way, else NaN; or None
    """

    books: Indices
    scores: Floats
    chances: Floats | None = None


@dataclass(frozen=True)
class FitInputs:
    """What a model may learn from.

    train     ratings to fit
    valid     ratings that select (when to stop), never fit; None where there are none
    given     ratings of new readers in validation: their shelves, never fitted; None where there are none
    features  what is known of the books; needed by models that use content
    events    (user_idx, item_idx) of what readers took up without stars, int32 [M] each, or None
    seed      of every random choice
    engine    works out sums over blocks of readers, for models that are learned from such
    """

    train: Ratings
    valid: Ratings | None = None
    given: Ratings | None = None
    features: BookFeatures | None = None
    events: tuple[Indices, Indices] | None = None
    seed: int = 0
    on_progress: Progress = silent
    engine: Engine = HERE


class Model(ABC):
    """A fitted model of I books. Subclasses say how they are fitted, and what they hold."""

    kind: ClassVar[str]
    config: ModelConfig
    scale: Scale
    book_counts: Indices  # ratings of each book in training, int32 [I]

    @abstractmethod
    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """A block of U readers given by their ratings, against frozen book parameters.

        trained_idx  int32 [U], the user index of readers whose shelf is just what they were trained
                     with, else -1; None if there are none. Models without reader parameters ignore it.
        """

    @abstractmethod
    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        """Expected stars of N reader-book pairs, float32 [N], inside the scale.

        rows      which reader of the block, int64 [N]
        item_idx  which book, int32 [N]; -1 for a book that is not in the catalogue
        """

    def probabilities(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats | None:
        """The probability of each value of the scale, float32 [N, S], whose mean is stars(); None if it has none."""
        return None

    def scores(self, readers: Readers) -> Floats:
        """What the list is ordered by, for every reader and book, float32 [U, I]: stars, unless overridden."""
        n_books = len(self.book_counts)
        rows = np.repeat(np.arange(len(readers)), n_books)
        item_idx = np.tile(np.arange(n_books, dtype=np.int32), len(readers))
        return self.stars(readers, rows, item_idx).reshape(len(readers), n_books)

    def scores_among(self, readers: Readers, allowed: npt.NDArray[np.bool_]) -> Floats:
        """scores() for lists that may hold only what is `allowed`, bool [U, I]; of other books anything finite.

        For models that look closely at a few books only, so that these are among those allowed.
        """
        return self.scores(readers)

    def first_among(self, readers: Readers, allowed: npt.NDArray[np.bool_], n: int) -> Lists | None:
        """n books or more for each reader that come before all others allowed by scores_among(); -1 fills up where no
        others are. None where nothing gets there faster."""
        return None

    def top(self, readers: Readers, n: int, leave_out: Shelves | None = None) -> Lists:
        """The lists that ranking.top_n makes of scores(); models may get there faster."""
        return Lists(*top_n(self.scores(readers), n, leave_out))

    def with_order(self, order: str) -> Model:
        """The same model with lists in the order that is named. Raises UsageError unless it has several."""
        raise UsageError(f"the model {self.kind} has one order of lists only", hint="leave out --order")

    def with_new_books(self, features: BookFeatures) -> Model:
        """The same model with books beyond its own: the first I of `features` are those it has, all others are new.

        Raises UsageError unless the model knows books by what they are about.
        """
        raise UsageError(
            f"the model {self.kind} knows no books but those it was trained with",
            hint="train a model that knows books by content, such as shelf",
        )

    def basis(self, readers: Readers, rows: Rows, item_idx: Indices) -> npt.NDArray[np.int8]:
        """On what each prediction rests, int8 [N], as an index into BASES."""
        reader_known = readers.shelves.lengths[rows] > 0
        book_known = (item_idx >= 0) & (self.book_counts[np.maximum(item_idx, 0)] > 0)
        return np.where(reader_known, np.where(book_known, 0, 2), np.where(book_known, 1, 3)).astype(np.int8)

    @abstractmethod
    def book_state(self) -> Arrays:
        """Everything learned that is not about single readers."""

    def reader_state(self) -> Arrays:
        """What was learned about single readers; arrays whose first axis is the reader."""
        return {}

    @classmethod
    @abstractmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        """The inverse of book_state and reader_state."""

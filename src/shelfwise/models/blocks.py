"""Any number of readers through a model in blocks, so that memory does not grow with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.engine import HERE, Engine
from shelfwise.models.contract import Model, Progress, Readers, Rows, silent

PREDICT_BLOCK = 8192  # readers
RANK_BLOCK = 1024  # readers, or fewer: see rank_block
MOST_SCORES = 100_000_000  # of readers and books at once: 0.4 GB for each array of them


@dataclass(frozen=True)
class Answers:
    """Predictions of N pairs: stars float32 [N]; basis int8 [N] into BASES; probabilities float32 [N, S] or None."""

    stars: Floats
    basis: npt.NDArray[np.int8]
    probabilities: Floats | None

    def likely(self, scale: Scale) -> Floats:
        """The most probable stars, else the rounded ones, float32 [N]."""
        if self.probabilities is None:
            return scale.round(self.stars)
        likely: Floats = scale.values[self.probabilities.argmax(axis=1)]
        return likely


RANGE_HOLDS = 0.8


def describe(probabilities: Floats, scale: Scale) -> dict[str, Floats]:
    """most_likely, sd, low and high of N distributions over the scale's values (float32 [N, S]), all in stars.

    low and high bound the smallest run of neighbouring values that holds RANGE_HOLDS; of equals the most probable.
    """
    values = scale.values.astype(np.float64)
    chances = probabilities.astype(np.float64)
    mean = chances @ values
    low, high = np.empty(len(chances)), np.empty(len(chances))
    below = np.concatenate([np.zeros((len(chances), 1)), chances.cumsum(axis=1)], axis=1)
    is_open = np.ones(len(chances), dtype=bool)  # no narrower run was enough
    for width in range(1, len(values) + 1):
        held = below[:, width:] - below[:, :-width]
        first = held.argmax(axis=1)
        found = is_open & (held.max(axis=1) >= RANGE_HOLDS - 1e-9)
        low[found], high[found] = values[first[found]], values[first[found] + width - 1]
        is_open &= ~found
    columns = {
        "most_likely": values[chances.argmax(axis=1)] if len(chances) else mean,
        "sd": np.sqrt(np.maximum(chances @ values**2 - mean**2, 0)),
        "low": low,
        "high": high,
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def rank_block(model: Model) -> int:
    """How many readers a model scores all books for at once."""
    return max(1, min(RANK_BLOCK, MOST_SCORES // max(len(model.book_counts), 1)))


def reader_blocks(
    model: Model,
    shelves: Shelves,
    rows: Rows,
    *,
    trained_idx: Indices | None = None,
    size: int = RANK_BLOCK,
) -> Iterator[tuple[Rows, Readers]]:
    """(the next `size` of `rows`, their readers as the model sees them); trained_idx is per row of `shelves`."""
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        trained = None if trained_idx is None else trained_idx[block]
        yield block, model.fold_in(shelves.take(block), trained)


@dataclass(frozen=True)
class Asked:
    """What is asked of a block of readers: which of their rows (int64 [N]) get how many stars for which books."""

    shelves: Shelves
    trained_idx: Indices | None
    rows: Rows
    item_idx: Indices


def predict(
    model: Model,
    shelves: Shelves,
    rows: npt.NDArray[np.integer],
    item_idx: Indices,
    *,
    trained_idx: Indices | None = None,
    on_progress: Progress = silent,
    engine: Engine = HERE,
) -> Answers:
    """Answers for N pairs of a row of `shelves` and a book index."""
    stars = np.empty(len(rows), dtype=np.float32)
    basis = np.empty(len(rows), dtype=np.int8)
    probabilities = None
    order = np.argsort(rows, kind="stable")
    readers, starts = np.unique(rows[order], return_index=True)
    ends = np.append(starts[1:], len(rows))
    places: deque[Rows] = deque()  # of the pairs of each block that is at work

    def blocks() -> Iterator[Asked]:
        for start in range(0, len(readers), PREDICT_BLOCK):
            block = readers[start : start + PREDICT_BLOCK]
            at = order[starts[start] : ends[start + len(block) - 1]]
            places.append(at)
            trained = None if trained_idx is None else trained_idx[block]
            yield Asked(shelves.take(block), trained, np.searchsorted(block, rows[at]), item_idx[at])

    for done, found in enumerate(engine.map(answer, blocks(), model), start=1):
        at = places.popleft()
        stars[at], basis[at] = found.stars, found.basis
        if found.probabilities is not None:
            if probabilities is None:
                probabilities = np.empty((len(rows), found.probabilities.shape[1]), dtype=np.float32)
            probabilities[at] = found.probabilities
        on_progress("predict", min(done * PREDICT_BLOCK, len(readers)), len(readers))
    return Answers(stars, basis, probabilities)


def answer(model: Model, asked: Asked) -> Answers:
    """The answers for a block."""
    state = model.fold_in(asked.shelves, asked.trained_idx)
    chances = model.probabilities(state, asked.rows, asked.item_idx)
    stars = model.stars(state, asked.rows, asked.item_idx) if chances is None else model.scale.expected(chances)
    return Answers(stars, model.basis(state, asked.rows, asked.item_idx), chances)

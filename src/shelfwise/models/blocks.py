"""Any number of readers through a model in blocks, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Model, Progress, Readers, Rows, silent

PREDICT_BLOCK = 8192  # readers
RANK_BLOCK = 1024  # readers; a block's scores take RANK_BLOCK x books x 4 bytes


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


def predict(
    model: Model,
    shelves: Shelves,
    rows: npt.NDArray[np.integer],
    item_idx: Indices,
    *,
    trained_idx: Indices | None = None,
    on_progress: Progress = silent,
) -> Answers:
    """Answers for N pairs of a row of `shelves` and a book index."""
    stars = np.empty(len(rows), dtype=np.float32)
    basis = np.empty(len(rows), dtype=np.int8)
    probabilities = None
    order = np.argsort(rows, kind="stable")
    readers, starts = np.unique(rows[order], return_index=True)
    ends = np.append(starts[1:], len(rows))
    done = 0
    for block, state in reader_blocks(model, shelves, readers, trained_idx=trained_idx, size=PREDICT_BLOCK):
        at = order[starts[done] : ends[done + len(block) - 1]]
        place = np.searchsorted(block, rows[at])
        chances = model.probabilities(state, place, item_idx[at])
        if chances is None:
            stars[at] = model.stars(state, place, item_idx[at])
        else:
            if probabilities is None:
                probabilities = np.empty((len(rows), chances.shape[1]), dtype=np.float32)
            probabilities[at] = chances
            stars[at] = chances @ model.scale.values
        basis[at] = model.basis(state, place, item_idx[at])
        done += len(block)
        on_progress("predict", done, len(readers))
    return Answers(stars, basis, probabilities)

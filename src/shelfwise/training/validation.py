"""The validation error of a model as it stands: what the loop selects the best epoch by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from shelfwise.data.ratings import Ratings, join_ratings
from shelfwise.engine import HERE
from shelfwise.models.blocks import reader_blocks
from shelfwise.models.contract import FitInputs, Model, Readers, Rows, silent


def validation_error(model: Model, inputs: FitInputs, *, refold: bool = False) -> Callable[[], float] | None:
    """A function that gives the mean squared error (stars squared) on the validation rows; None without any.

    Readers are folded in once from their train and given ratings, or at each call where `refold` says that the
    loop changes what readers look like.
    """
    valid = inputs.valid
    if valid is None or not len(valid):
        return None
    readers, rows = validation_readers(model, inputs, valid)

    def fold() -> Readers:
        return validation_readers(model, inputs, valid)[0]

    folded = None if refold else readers

    def error() -> float:
        predicted = model.stars(folded or fold(), rows, valid.item_idx)
        return float(np.mean((predicted.astype(np.float64) - valid.stars) ** 2))

    return error


def for_validation(inputs: FitInputs) -> FitInputs:
    """What validation_error needs of the inputs, to be sent to another process."""
    return replace(inputs, features=None, events=None, on_progress=silent, engine=HERE)


def validation_readers(model: Model, inputs: FitInputs, valid: Ratings) -> tuple[Readers, Rows]:
    """The readers of the validation rows, as their train and given ratings show them, and the reader of each row."""
    given = inputs.train if inputs.given is None else join_ratings([inputs.train, inputs.given])
    shelves = given.shelves()
    readers, rows = np.unique(valid.user_idx.astype(np.int64), return_inverse=True)
    trained_idx = np.full(len(shelves), -1, dtype=np.int32)
    trained_idx[readers] = np.where(np.isin(readers, inputs.train.user_idx), readers, -1)
    [(_, state)] = reader_blocks(model, shelves, readers, trained_idx=trained_idx, size=max(len(readers), 1))
    return state, rows

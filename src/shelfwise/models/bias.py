"""Reader and book biases: the model that every other one has to beat.

    stars(u, i) = mean + b_u + b_i
    b_i = sum over readers of i of (stars - mean - b_u) / (n_i + book_shrinkage)
    b_u = sum over books of u  of (stars - mean - b_i) / (n_u + reader_shrinkage)

in turn until they settle (Koren, Factor in the neighbors, TKDD 2010, section 2.1: the alternating
solution of the regularised baseline predictors). A reader's bias is a function of the shelf, so
fold-in is exact and nothing about readers is stored.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.errors import FitError
from shelfwise.models.contract import Arrays, FitInputs, Model, Readers, Rows

SETTLED = 1e-4  # stars
MAX_SWEEPS = 100


class BiasConfig(ModelConfig):
    """Shrinkage in pseudo-ratings: that many ratings at the mean are added to each reader and book."""

    grid: ClassVar[dict[str, tuple[float, ...]]] = {
        "reader_shrinkage": (1.0, 2.0, 3.0, 5.0),
        "book_shrinkage": (3.0, 6.0, 12.0),
    }
    kind: Literal["bias"] = "bias"
    reader_shrinkage: Annotated[float, Field(ge=0)] = 3.0
    book_shrinkage: Annotated[float, Field(ge=0)] = 6.0


class Bias(Model):
    """Mean, book biases (float32 [I], stars) and the shrinkage that gives a reader's bias."""

    kind: ClassVar[str] = "bias"

    def __init__(self, config: BiasConfig, scale: Scale, mean: float, book_bias: Floats, book_counts: Indices) -> None:
        self.config: BiasConfig = config
        self.scale = scale
        self.mean = mean
        self.book_bias = book_bias
        self.book_counts = book_counts

    @classmethod
    def fit(cls, config: ModelConfig, inputs: FitInputs) -> Self:
        """Alternate until no bias moves by more than SETTLED stars. Raises FitError without ratings."""
        assert_ratings(inputs)
        config = BiasConfig.model_validate(config.model_dump())
        train = inputs.train
        users, items = train.user_idx, train.item_idx
        counts = np.bincount(items, minlength=train.n_books)
        reader_counts = np.bincount(users, minlength=train.n_readers)
        mean = float(train.stars.mean(dtype=np.float64))
        residual = train.stars.astype(np.float64) - mean
        book_bias, reader_bias = np.zeros(train.n_books), np.zeros(train.n_readers)
        for sweep in range(MAX_SWEEPS):
            before = book_bias
            book_sums = np.bincount(items, residual - reader_bias[users], train.n_books)
            book_bias = book_sums / np.maximum(counts + config.book_shrinkage, 1e-9)
            reader_sums = np.bincount(users, residual - book_bias[items], train.n_readers)
            reader_bias = reader_sums / np.maximum(reader_counts + config.reader_shrinkage, 1e-9)
            inputs.on_progress("fit", sweep + 1, MAX_SWEEPS)
            if np.abs(book_bias - before).max() < SETTLED:
                break
        return cls(config, train.scale, mean, book_bias.astype(np.float32), counts.astype(np.int32))

    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """The reader's shrunk mean residual, float32 [U], in stars."""
        residual = shelves.stars.astype(np.float64) - self.mean - self.book_bias[shelves.item_idx]
        sums = np.bincount(shelves.rows, residual, len(shelves))
        bias = sums / np.maximum(shelves.lengths + self.config.reader_shrinkage, 1e-9)
        return Readers(shelves, {"bias": bias.astype(np.float32)})

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        return self.scale.clip(self.unclipped(readers, rows, item_idx))

    def unclipped(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        """Stars before they are kept inside the scale, float32 [N]."""
        book_bias = np.where(item_idx >= 0, self.book_bias[item_idx], 0)
        return (self.mean + readers.arrays["bias"][rows] + book_bias).astype(np.float32)

    def residuals(self, readers: Readers) -> Floats:
        """By how many stars each rating on the readers' shelves lies beyond the biases, float32 [N]."""
        shelves = readers.shelves
        return (shelves.stars - self.unclipped(readers, shelves.rows, shelves.item_idx)).astype(np.float32)

    def scores(self, readers: Readers) -> Floats:
        """Unclipped stars, so that books beyond the scale's end keep their order."""
        return (self.mean + readers.arrays["bias"][:, None] + self.book_bias[None, :]).astype(np.float32)

    def book_state(self) -> Arrays:
        return {
            "mean": np.array([self.mean]),
            "book_bias": self.book_bias,
            "book_counts": self.book_counts,
        }

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        config = BiasConfig.model_validate(config.model_dump())
        return cls(config, scale, float(book_state["mean"][0]), book_state["book_bias"], book_state["book_counts"])


def assert_ratings(inputs: FitInputs) -> None:
    """Raise FitError where there is nothing to learn from."""
    if not len(inputs.train):
        raise FitError("no ratings to learn from", hint="check the split and the training file")

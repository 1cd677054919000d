"""The simplest models: everybody's mean, and what most people read."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.bias import assert_ratings
from shelfwise.models.contract import Arrays, FitInputs, Model, Readers, Rows


class GlobalMeanConfig(ModelConfig):
    kind: Literal["global-mean"] = "global-mean"


class PopularityConfig(ModelConfig):
    kind: Literal["popularity"] = "popularity"


class GlobalMean(Model):
    """The mean of all ratings for every reader and book; its lists are in catalogue order."""

    kind: ClassVar[str] = "global-mean"

    def __init__(self, config: ModelConfig, scale: Scale, mean: float, book_counts: Indices) -> None:
        self.config = config
        self.scale = scale
        self.mean = mean
        self.book_counts = book_counts

    @classmethod
    def fit(cls, config: ModelConfig, inputs: FitInputs) -> Self:
        assert_ratings(inputs)
        train = inputs.train
        counts = np.bincount(train.item_idx, minlength=train.n_books)
        if inputs.events is not None:
            counts += np.bincount(inputs.events[1], minlength=train.n_books)
        return cls(config, train.scale, float(train.stars.mean(dtype=np.float64)), counts.astype(np.int32))

    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        return Readers(shelves)

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        return np.full(len(rows), self.mean, dtype=np.float32)

    def book_state(self) -> Arrays:
        return {"mean": np.array([self.mean]), "book_counts": self.book_counts}

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        return cls(config, scale, float(book_state["mean"][0]), book_state["book_counts"])


class Popularity(GlobalMean):
    """Lists by number of ratings and events; stars are the mean of all ratings."""

    kind: ClassVar[str] = "popularity"

    def scores(self, readers: Readers) -> Floats:
        return np.tile(self.book_counts.astype(np.float32), (len(readers), 1))

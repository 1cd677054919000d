"""Item neighbours on what is left of stars beyond the biases: on short shelves the strongest model from ids alone.

    r_uj    = stars - mean - b_u - b_j
    rho_ij  = sum of r_ui r_uj / sqrt(sum of r_ui^2 * sum of r_uj^2), sums over the n_ij readers of both books
    w_ij    = (max(rho_ij, 0) n_ij / (n_ij + similarity_shrinkage))^2
    stars   = mean + b_u + b_i + sum of w_ij r_uj / (sum of w_ij + weight_shrinkage), sums over the shelf

Koren, Factor in the neighbors, TKDD 2010, section 2.2, with squared weights. A new reader is a shelf like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.bias import Bias, BiasConfig
from shelfwise.models.contract import Arrays, FitInputs, Model, Readers, Rows
from shelfwise.models.sparse import from_arrays, matrix_of, reading_matrix, strongest, to_arrays

BOOKS_AT_ONCE = 1000
READERS_AT_ONCE = 512
PAIRS_AT_ONCE = 20_000


class ItemKNNConfig(ModelConfig):
    """similarity_shrinkage in common readers, weight_shrinkage in units of w, and how many neighbours a book keeps."""

    grid: ClassVar[dict[str, tuple[float, ...]]] = {
        "similarity_shrinkage": (20.0, 50.0, 150.0),
        "weight_shrinkage": (0.005, 0.02),
    }
    kind: Literal["item-knn"] = "item-knn"
    similarity_shrinkage: Annotated[float, Field(ge=0)] = 50.0
    weight_shrinkage: Annotated[float, Field(gt=0)] = 0.02
    neighbours: Annotated[int, Field(ge=1)] = 500


class ItemKNN(Model):
    """Biases and the weights w, sparse float32 [I, I]: row i holds the neighbours of book i."""

    kind: ClassVar[str] = "item-knn"

    def __init__(self, config: ItemKNNConfig, bias: Bias, weights: sp.csr_matrix) -> None:
        self.config: ItemKNNConfig = config
        self.scale = bias.scale
        self.book_counts = bias.book_counts
        self.bias = bias
        self.weights = weights

    @classmethod
    def fit(cls, config: ModelConfig, inputs: FitInputs) -> Self:
        """Raises FitError without ratings."""
        return cls.fit_each([ItemKNNConfig.model_validate(config.model_dump())], inputs)[0]

    @classmethod
    def fit_each(cls, configs: Sequence[ItemKNNConfig], inputs: FitInputs) -> list[Self]:
        """fit() for several settings; the sums over readers, which are most of the work, are the same for all."""
        bias = Bias.fit(BiasConfig(), inputs)
        shelves = inputs.train.shelves()
        residuals = matrix_of(shelves, bias.residuals(bias.fold_in(shelves)), inputs.train.n_books)
        kept: dict[tuple[float, int], list[sp.csr_matrix]] = {
            (config.similarity_shrinkage, config.neighbours): [] for config in configs
        }
        done = 0
        for rho, both in correlations(residuals, reading_matrix(shelves, inputs.train.n_books)):
            for (shrinkage, neighbours), blocks in kept.items():
                weights = (rho * both / np.maximum(both + shrinkage, 1e-12)) ** 2
                blocks.append(strongest(weights, neighbours))
            done += len(rho)
            inputs.on_progress("neighbours", done, inputs.train.n_books)
        found = {settings: sp.vstack(blocks, format="csr") for settings, blocks in kept.items()}
        return [cls(config, bias, found[config.similarity_shrinkage, config.neighbours]) for config in configs]

    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """The reader's bias; the rest is worked out from the shelf when it is asked for."""
        return self.bias.fold_in(shelves)

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        stars, residuals = self.bias.unclipped(readers, rows, item_idx), self.bias.residuals(readers)
        shelves = replace(readers.shelves, stars=residuals)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            mine, books = shelves.take(rows[part]), item_idx[part]  # one shelf a pair
            found = self.weights[np.maximum(books, 0)[mine.rows], mine.item_idx]
            weights = np.asarray(found).ravel() * (books >= 0)[mine.rows]
            beyond = np.bincount(mine.rows, weights * mine.stars, len(books))
            total = np.bincount(mine.rows, weights, len(books))
            stars[part] += beyond / (total + self.config.weight_shrinkage)
        return self.scale.clip(stars)

    def scores(self, readers: Readers) -> Floats:
        """Unclipped stars."""
        scores, n_books = self.bias.scores(readers), len(self.book_counts)
        residuals = matrix_of(readers.shelves, self.bias.residuals(readers), n_books)
        read = reading_matrix(readers.shelves, n_books)
        for start in range(0, len(readers), READERS_AT_ONCE):
            rows = slice(start, start + READERS_AT_ONCE)
            total = (read[rows] @ self._by_neighbour).toarray() + self.config.weight_shrinkage
            scores[rows] += (residuals[rows] @ self._by_neighbour).toarray() / total
        return scores

    @cached_property
    def _by_neighbour(self) -> sp.csr_matrix:
        """The weights with a row for each neighbour, as a product with shelves needs them."""
        return self.weights.T.tocsr()

    def book_state(self) -> Arrays:
        return self.bias.book_state() | to_arrays("weights", self.weights)

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        config = ItemKNNConfig.model_validate(config.model_dump())
        bias = Bias.from_state(BiasConfig(), scale, book_state, {})
        return cls(config, bias, from_arrays("weights", book_state))


def correlations(residuals: sp.csr_matrix, read: sp.csr_matrix) -> Iterator[tuple[Floats, Floats]]:
    """max(rho, 0) and n, the readers of both, of BOOKS_AT_ONCE books with all; float32 [., I], rho 0 with itself.

    residuals  float32 [U, I], 0 where not read; read  1 where it was
    """
    n_books = read.shape[1]
    squares = residuals.power(2)
    by_book = [matrix.T.tocsr() for matrix in (read, residuals, squares)]
    for start in range(0, n_books, BOOKS_AT_ONCE):
        end = min(start + BOOKS_AT_ONCE, n_books)
        my_read, my_residuals, my_squares = (matrix[start:end] for matrix in by_book)
        both = (my_read @ read).toarray()
        lengths = (my_squares @ read).toarray() * (my_read @ squares).toarray()
        rho = np.maximum((my_residuals @ residuals).toarray(), 0) / np.sqrt(np.maximum(lengths, 1e-12))
        rho[np.arange(end - start), np.arange(start, end)] = 0
        yield rho, both

"""What a book is expected to get from what it is about alone: a Gaussian process over books.

    k(i, j) = sum over parts of weight_p * k_p(i, j), the kernel of models/similarity.py with weights of its own
    y_i     = the mean of n_i ratings beyond what their readers explain, with variance 1 / n_i + noise

all relative to the variance of a rating; the noise is what is a book's own, which nothing that is known of it tells.
A book that was rated is expected to get what the others say of it, its own ratings left out (Rasmussen and Williams,
2006, eq. 2.25 and 5.12): so the head sees old books as it will see new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shelfwise.engine import in_threads
from shelfwise.models.inverses import inverted_factor
from shelfwise.models.shelf_books import covariance
from shelfwise.models.similarity import BookTraits, KernelWeights

BOOKS_AT_ONCE = 250


@dataclass(frozen=True)
class Expected:
    """prior    of each book, float32 [I]
    weights, centre  of the process: an unrated book gets centre + the sum of k(book, i) * weights[i]; [I] and a number
    coefficients     of a ridge regression in its place, float64 [D + 1]; else of length 0
    """

    prior: Tensor
    weights: Tensor
    centre: float
    coefficients: Tensor


@dataclass(frozen=True)
class BookPrior:
    """The covariance of the means of the R books that were rated, by the weights given: the inverse T [R, R] of its
    Cholesky factor, and the diagonal [R] of its inverse, T'T."""

    traits: BookTraits
    weights: KernelWeights
    rated: Tensor
    inverse_factor: npt.NDArray[np.float32]
    diagonal: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, traits: BookTraits, count: Tensor, weights: KernelWeights) -> BookPrior:
        """count float32 [I], ratings of each book. Time R^3, memory 4 R^2 bytes."""
        rated = torch.nonzero(count > 0)[:, 0]
        matrix = np.empty((len(rated), len(rated)), dtype=np.float32, order="F")
        blocks = [slice(start, start + BOOKS_AT_ONCE) for start in range(0, len(rated), BOOKS_AT_ONCE)]

        def of_block(books: slice) -> Tensor:
            return covariance(traits, rated[books], rated[books.start :], weights)

        for books, found in zip(blocks, in_threads(of_block, blocks), strict=True):
            matrix[books.start :, books] = found.T
        np.einsum("ii->i", matrix)[:] += (1 / count[rated] + weights.noise).numpy()
        factor = inverted_factor(matrix)
        diagonal = np.empty(len(rated), dtype=np.float32)
        for books in blocks:
            diagonal[books] = np.square(factor[books.start :, books]).sum(axis=0)
        return cls(traits, weights, rated, factor, diagonal)

    def expect(self, means: Tensor) -> Expected:
        """The expected mean of each book from the means [I] of those that were rated, but for its own."""
        y = means[self.rated].numpy()
        centre = y.mean(dtype=np.float64).astype(np.float32) if len(y) else np.float32(0)
        weights = self.inverse_factor.T @ (self.inverse_factor @ (y - centre))
        found = np.full(len(means), centre, dtype=np.float32)
        found[self.rated.numpy()] = y - weights / self.diagonal
        unrated = torch.ones(len(means), dtype=torch.bool).index_fill_(0, self.rated, False).nonzero()[:, 0]
        for start in range(0, len(unrated), BOOKS_AT_ONCE):
            part = unrated[start : start + BOOKS_AT_ONCE]
            found[part.numpy()] += covariance(self.traits, part, self.rated, self.weights).numpy() @ weights
        of_all = torch.zeros(len(means)).index_copy_(0, self.rated, torch.from_numpy(weights))
        return Expected(torch.from_numpy(found), of_all, float(centre), torch.zeros(0, dtype=torch.float64))

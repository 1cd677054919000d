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

from shelfwise.models.coreading import inverted
from shelfwise.models.similarity import PARTS, BookTraits, KernelWeights, kernel, similarities

NOTHING = KernelWeights(**dict.fromkeys(PARTS, 0.0), constant=0.013, noise=0.013)
# Of books of which no more than author, series and year is known; and of all others.
BARE = NOTHING.model_copy(update={"author": 0.027, "series": 0.027, "era": 0.027})
FULL = BARE.model_copy(update={"about": 0.04, "close": 0.04})
BOOKS_AT_ONCE = 250


@dataclass(frozen=True)
class BookPrior:
    """The inverse covariance [R, R] of the means of the R books that were rated, by the weights given."""

    traits: BookTraits
    weights: KernelWeights
    rated: Tensor
    inverse: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, traits: BookTraits, count: Tensor, weights: KernelWeights) -> BookPrior:
        """count float32 [I], ratings of each book. Time R^3, memory 4 R^2 bytes."""
        rated = torch.nonzero(count > 0)[:, 0]
        covariance = np.empty((len(rated), len(rated)), dtype=np.float32, order="F")
        for start in range(0, len(rated), BOOKS_AT_ONCE):
            part = slice(start, start + BOOKS_AT_ONCE)
            covariance[:, part] = _covariance(traits, rated[part], rated, weights).T  # symmetric
        np.einsum("ii->i", covariance)[:] += (1 / count[rated] + weights.noise).numpy()
        return cls(traits, weights, rated, inverted(covariance))

    def expect(self, means: Tensor) -> Tensor:
        """The expected mean of each book [I] from the means [I] of those that were rated, but for its own."""
        y = means[self.rated].numpy()
        centre = y.mean(dtype=np.float64).astype(np.float32) if len(y) else np.float32(0)
        weights = self.inverse @ (y - centre)
        found = np.full(len(means), centre, dtype=np.float32)
        found[self.rated.numpy()] = y - weights / np.einsum("ii->i", self.inverse)
        unrated = torch.ones(len(means), dtype=torch.bool).index_fill_(0, self.rated, False).nonzero()[:, 0]
        for start in range(0, len(unrated), BOOKS_AT_ONCE):
            part = unrated[start : start + BOOKS_AT_ONCE]
            found[part.numpy()] += _covariance(self.traits, part, self.rated, self.weights).numpy() @ weights
        return torch.from_numpy(found)


def _covariance(traits: BookTraits, books: Tensor, others: Tensor, weights: KernelWeights) -> Tensor:
    """k of B books and O others, float32 [B, O]."""
    return kernel(similarities(traits, weights, books[None], others[None])[:, 0], weights)

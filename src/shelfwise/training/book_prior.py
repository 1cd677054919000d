"""What a book is expected to get from what it is about alone: a Gaussian process over books.

    k(i, j) = sum over parts of weight_p * k_p(i, j), with the parts of models/similarity.py
    y_i     = the mean of n_i ratings beyond what their readers explain, with variance 1 / n_i + OWN

all relative to the variance of a rating. A book that was rated is expected to get what the others say of it, its own
ratings left out (Rasmussen and Williams, 2006, eq. 2.25 and 5.12): so the head sees old books as it will see new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shelfwise.models.coreading import inverted
from shelfwise.models.similarity import CLOSE_POWER, ERA_YEARS, POWER, BookTraits

ABOUT, CLOSE, AUTHOR, SERIES, ERA, CONSTANT = 0.04, 0.04, 0.027, 0.027, 0.027, 0.013
OWN = 0.013  # what is a book's own, which nothing that is known of it tells
BOOKS_AT_ONCE = 1000


@dataclass(frozen=True)
class BookPrior:
    """The inverse covariance [R, R] of the means of the R books that were rated; with `about`, or without, for books
    of which no more than author, series and year is known."""

    traits: BookTraits
    about: bool
    rated: Tensor
    inverse: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, traits: BookTraits, count: Tensor, *, about: bool) -> BookPrior:
        """count float32 [I], ratings of each book. Time R^3, memory 4 R^2 bytes."""
        rated = torch.nonzero(count > 0)[:, 0]
        covariance = np.empty((len(rated), len(rated)), dtype=np.float32, order="F")
        for start in range(0, len(rated), BOOKS_AT_ONCE):
            part = slice(start, start + BOOKS_AT_ONCE)
            covariance[:, part] = _covariance(traits, rated, rated[part], about=about)
        np.einsum("ii->i", covariance)[:] += (1 / count[rated] + OWN).numpy()
        return cls(traits, about, rated, inverted(covariance))

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
            found[part.numpy()] += _covariance(self.traits, part, self.rated, about=self.about).numpy() @ weights
        return torch.from_numpy(found)


def _covariance(traits: BookTraits, books: Tensor, others: Tensor, *, about: bool) -> Tensor:
    """k of B books and O others, float32 [B, O], without what is a book's own."""
    found = torch.exp((traits.year[books][:, None] - traits.year[others]).abs_() / -ERA_YEARS).mul_(ERA)
    found += CONSTANT
    for weight, codes in ((AUTHOR, traits.author), (SERIES, traits.series)):
        mine = codes[books][:, None]
        found += weight * ((mine == codes[others]) & (mine >= 0))
    if about:
        cosine = (traits.about[books] @ traits.about[others].T).clamp_(min=0)
        found += ABOUT * cosine**POWER + CLOSE * cosine**CLOSE_POWER
    return found

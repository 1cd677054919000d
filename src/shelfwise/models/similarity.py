"""How alike two books are, part by part, and what a reader's shelf says of a book through that.

    k(i, j) = sum over parts of weight_p * k_p(i, j)

about       max(0, cos)^1.3 of what the books are about         close       max(0, cos)^4 of the same: near twins only
author      1 for the same first author                         series      1 for the same series
coreading   max(0, cos) of who read them, whatever the stars    era         exp(-|difference of years| / 8)
constant    1 for every pair: the reader's own level

A reader is a Gaussian process over books with this kernel (Rasmussen and Williams, 2006, eq. 2.25): with residuals y of
the books on the shelf, (K + noise I) a = y, and a book i is expected sum_j k(i, j) a_j beyond its own mean. Leaving
out one rating is closed form (ibid., eq. 5.12), so a training row never sees its own stars.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import embedding  # for few rows a fourth of what an index takes

from shelfwise.config import Config
from shelfwise.data.shelves import Shelves

POWER = 1.3
ERA_YEARS = 8.0
PARTS = ("about", "close", "author", "series", "coreading", "era")
MAX_NUMBERS = 500_000  # in one batch of padded shelves, for one part
MAX_READERS = 2048


class KernelWeights(Config):
    """The weight of each part and of the constant, and the noise of a rating, all relative. A part of weight 0 is not
    looked at, by the heads neither.

    The defaults were learned on leave-one-out errors of training rows of goodbooks-10k (docs/models.md).
    """

    about: float = Field(default=0.43, ge=0)
    close: float = Field(default=0.38, ge=0)
    author: float = Field(default=0.58, ge=0)
    series: float = Field(default=0.79, ge=0)
    coreading: float = Field(default=0.31, ge=0)
    era: float = Field(default=0.10, ge=0)
    constant: float = Field(default=0.73, ge=0)
    noise: float = Field(default=1.45, gt=0)

    def parts(self) -> Tensor:
        """float32 [P] in the order of PARTS."""
        return torch.tensor([getattr(self, name) for name in PARTS])


@dataclass(frozen=True)
class BookTraits:
    """What books are compared by.

    about      float32 [I, D], rows of length 1 or 0
    coreading  float32 [I, C], the same
    author, series  int64 [I], -1 where there is none
    year       float32 [I]
    """

    about: Tensor
    coreading: Tensor
    author: Tensor
    series: Tensor
    year: Tensor


def similarities(traits: BookTraits, weights: KernelWeights, books: Tensor, shelf: Tensor) -> Tensor:
    """k_p of B x M books and the B x L books on shelves, float32 [P, B, M, L]; books and shelf int64.

    0 for a part of weight 0.
    """
    parts = torch.empty(len(PARTS), *books.shape, shelf.shape[1], device=traits.about.device)
    about, close, author, series, coreading, era = parts
    if weights.about or weights.close:
        cosine = (embedding(books, traits.about) @ embedding(shelf, traits.about).mT).clamp_(min=0)
        torch.pow(cosine, POWER, out=about)
        torch.square(cosine, out=close).square_()  # a fourth of what a power of 4 takes
    for part, codes in ((author, traits.author), (series, traits.series)):
        mine, theirs = codes[books][..., None], codes[shelf][:, None]
        torch.logical_and(mine == theirs, mine >= 0, out=part)
    if weights.coreading:
        mine, theirs = embedding(books, traits.coreading), embedding(shelf, traits.coreading)
        torch.matmul(mine, theirs.mT, out=coreading).clamp_(min=0)
    if weights.era:
        torch.exp((traits.year[books][..., None] - traits.year[shelf][:, None]).abs_() / -ERA_YEARS, out=era)
    for place, name in enumerate(PARTS):
        if not getattr(weights, name):
            parts[place] = 0
    return parts


def kernel(parts: Tensor, weights: KernelWeights) -> Tensor:
    """k from its parts [P, ...]."""
    total: Tensor = torch.tensordot(weights.parts().to(parts.device), parts, dims=1) + weights.constant
    return total


@dataclass(frozen=True)
class Batch:
    """B readers with shelves of like length, padded to L: rows of the shelves, places of ratings, which are real."""

    readers: np.ndarray
    places: Tensor
    real: Tensor


def batches(shelves: Shelves) -> Iterator[Batch]:
    """All readers with ratings, shortest shelves first."""
    lengths = shelves.lengths
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        end = min(start + MAX_READERS, len(order))
        longest = int(lengths[order[end - 1]])
        while end - start > 1 and (end - start) * longest * max(longest, 32) > MAX_NUMBERS:
            end = start + (end - start + 1) // 2
            longest = int(lengths[order[end - 1]])
        yield padded(shelves, order[start:end], longest)
        start = end


def padded(shelves: Shelves, readers: np.ndarray, longest: int) -> Batch:
    """The shelves of some readers, padded; padding has place 0."""
    place = np.arange(longest)[None, :]
    real = place < shelves.lengths[readers][:, None]
    places = np.where(real, shelves.indptr[readers][:, None] + place, 0)
    return Batch(readers, torch.from_numpy(places), torch.from_numpy(real))


def system(traits: BookTraits, weights: KernelWeights, shelf: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of B readers: the parts of K [P, B, L, L], which pairs are real [B, L, L], and the Cholesky factor of
    K + noise I [B, L, L]."""
    parts = similarities(traits, weights, shelf, shelf)
    pairs = (real[:, :, None] & real[:, None, :]).float()
    matrix = kernel(parts, weights).mul_(pairs)
    matrix.diagonal(dim1=-2, dim2=-1).add_(weights.noise)
    return parts, pairs, torch.linalg.cholesky(matrix)

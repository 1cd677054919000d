"""Reader vectors in closed form: ridge regression of a reader's residuals on the vectors of the books rated.

For a reader with books of vectors X [L, D] and residuals y [L] (stars beyond mean and book bias):

    (p, b) = argmin |y - X p - b|^2 + noise (|p|^2 + b^2 / bias_variance)

which is the reader's half-step of alternating least squares (Koren, Bell, Volinsky, Computer 2009), or Gaussian
process regression with kernel x.x' + bias_variance (Rasmussen and Williams, 2006, eq. 2.23). Being closed, it
also says what a reader would be without one rating (ibid., eq. 5.12): so a network can be trained on what a
reader's *other* ratings say, and no training row sees its own stars.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shelfwise.data.shelves import Shelves

MAX_NUMBERS = 8_000_000  # of one batch of padded shelves
MAX_READERS = 4096  # of one batch


@dataclass(frozen=True)
class Ridge:
    """Regularisation: noise of a rating and variance of a reader's bias, relative to vectors of length 1."""

    noise: float
    bias_variance: float


@dataclass(frozen=True)
class Profiles:
    """Readers [U, ...], or one reader for each rating [N, ...] with that rating left out.

    vector [., D], bias [.] (stars), book_sum [., D] (sum of the vectors of the books rated), count [.] (ratings)
    """

    vector: Tensor
    bias: Tensor
    book_sum: Tensor
    count: Tensor


def fit_profiles(shelves: Shelves, book_vectors: Tensor, residuals: Tensor, ridge: Ridge) -> Profiles:
    """The profile of each reader; residuals float32 [N], stars, in the order of `shelves`."""
    profiles = _empty(len(shelves), book_vectors)
    for readers, _, _, z, y in _padded(shelves, book_vectors, residuals, ridge):
        weights, _ = _solve(z, y, ridge.noise)
        profiles.vector[readers], profiles.bias[readers] = _split(weights, ridge)
        profiles.book_sum[readers] = z[..., :-1].sum(1)
        profiles.count[readers] = (z[..., -1] > 0).sum(1).to(z.dtype)
    return profiles


def leave_one_out(
    shelves: Shelves, book_vectors: Tensor, residuals: Tensor, ridge: Ridge
) -> Iterator[tuple[Tensor, Profiles, Tensor]]:
    """For each rating the profile of its reader without it, in batches of ratings.

    Yields (places of the ratings in `shelves` int64 [B], their profiles [B, ...], and by how many stars the
    rating lies beyond what its profile predicts [B]).
    """
    for _, rows, real, z, y in _padded(shelves, book_vectors, residuals, ridge):
        weights, influence = _solve(z, y, ridge.noise)
        leverage = (influence * z).sum(-1)
        beyond = (y - (z @ weights[..., None])[..., 0]) / (1 - leverage)
        vector, bias = _split((weights[:, None] - influence * beyond[..., None])[real], ridge)
        book_sum = (z.sum(1, keepdim=True) - z)[real][:, :-1]
        count = ((z[..., -1] > 0).sum(1, keepdim=True) - 1).expand(real.shape)[real].to(z.dtype)
        yield rows[real], Profiles(vector, bias, book_sum, count), beyond[real]


def ridge_influence(book_vectors: Tensor, ridge: Ridge) -> tuple[Tensor, Tensor]:
    """How one reader's residuals y [L] give vector and bias: y @ influence, [L, D] and [L], for books [L, D]."""
    ones = book_vectors.new_full((len(book_vectors), 1), ridge.bias_variance**0.5)
    z = torch.cat([book_vectors, ones], 1)[None]
    _, influence = _solve(z, z[..., 0], ridge.noise)
    return _split(influence[0], ridge)


def _empty(n_readers: int, book_vectors: Tensor) -> Profiles:
    dim = book_vectors.shape[1]
    sizes = ((n_readers, dim), (n_readers,), (n_readers, dim), (n_readers,))
    return Profiles(*(torch.zeros(size, dtype=book_vectors.dtype, device=book_vectors.device) for size in sizes))


def _split(weights: Tensor, ridge: Ridge) -> tuple[Tensor, Tensor]:
    """Weights [..., D + 1] -> vector and bias."""
    return weights[..., :-1], weights[..., -1] * ridge.bias_variance**0.5


def _solve(z: Tensor, y: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Weights [B, D + 1] of the ridge regression of y [B, L] on z [B, L, D + 1], and each row's influence on them.

    influence [B, L, D + 1] = z (z'z + noise I)^-1, by the smaller of the two Gram matrices.
    """
    if z.shape[1] <= z.shape[2]:
        gram = z @ z.mT
        gram.diagonal(dim1=-2, dim2=-1).add_(noise)
        influence = torch.cholesky_inverse(torch.linalg.cholesky(gram)) @ z
    else:
        gram = z.mT @ z
        gram.diagonal(dim1=-2, dim2=-1).add_(noise)
        influence = z @ torch.cholesky_inverse(torch.linalg.cholesky(gram))
    return (y[:, None] @ influence)[:, 0], influence


def _padded(
    shelves: Shelves, book_vectors: Tensor, residuals: Tensor, ridge: Ridge
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Readers with ratings, in batches of like lengths padded to [B, L].

    Yields (readers [B], places of their ratings [B, L], which of those are real [B, L], book vectors with
    a last column for the bias [B, L, D + 1], residuals [B, L]); padding is 0.
    """
    device, lengths = book_vectors.device, shelves.lengths
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    books = torch.from_numpy(np.array(shelves.item_idx)).to(device)  # a copy: a run's shelves are read-only
    width = book_vectors.shape[1] + 1
    start = 0
    while start < len(order):
        end = min(start + MAX_READERS, len(order))
        longest = int(lengths[order[end - 1]])
        while end - start > 1 and (end - start) * longest * max(longest, width) > MAX_NUMBERS:
            end = start + (end - start + 1) // 2
            longest = int(lengths[order[end - 1]])
        readers = order[start:end]
        place = np.arange(longest)[None, :]
        real = torch.from_numpy(place < lengths[readers][:, None]).to(device)
        rows = torch.from_numpy(shelves.indptr[readers][:, None] + place).to(device).where(real, 0)
        x = book_vectors[books[rows].long()] * real[..., None]
        ones = real[..., None].to(x.dtype) * ridge.bias_variance**0.5
        yield torch.from_numpy(readers).to(device), rows, real, torch.cat([x, ones], -1), residuals[rows] * real
        start = end

"""What is known of a reader-book pair from the reader's shelf, as numbers for a network: made in one place for
training, where the pair's own rating is left out, and for answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shelfwise.models.similarity import PARTS, KernelWeights

NEAREST = 3
ERA = PARTS.index("era")
N_ALIKE = 5  # the parts by which the nearest books are found: about, close, author, series, coreading


@dataclass(frozen=True)
class ShelfSide:
    """R shelves met by M books each, with the L books of a shelf; padding and a pair's own rating are not `real`.

    What is the same for all M books of a shelf is [R, 1, L]; where each has a rating of its own left out, [R, M, L].

    parts      float32 [P, R, M, L], similarities of the book and each on the shelf
    weights    float32, a of the Gaussian process (similarity.py)
    residuals  float32, stars beyond the mean and book bias of each on the shelf
    steps      int64, stars of each on the shelf as steps above the lowest
    real       float32, 1 or 0
    """

    parts: Tensor
    weights: Tensor
    residuals: Tensor
    steps: Tensor
    real: Tensor


def shelf_evidence(side: ShelfSide, kernel: KernelWeights, n_values: int) -> Tensor:
    """Numbers of pairs, float32 [R * M, F]. The first is by how many stars the shelf moves the book's own mean."""
    parts, y = side.parts * side.real, side.residuals * side.real
    shape = parts.shape[1:3]
    weights = kernel.parts()
    by_part = weights[:, None, None] * (parts * side.weights).sum(-1)
    masses = parts.sum(-1)
    means = (parts * y).sum(-1) / (masses + 1)
    alike = torch.tensordot(weights[:N_ALIKE], parts[:N_ALIKE], dims=1)
    nearest = alike.topk(min(NEAREST, alike.shape[-1]), dim=-1)
    # Of books that are not alike at all none is nearest.
    near = _wide(nearest.values)
    near_y = _wide(y.expand_as(alike).gather(-1, nearest.indices) * (nearest.values > 0))
    level = kernel.constant * (side.weights * side.real).sum(-1)
    n = side.real.sum(-1)
    counts = ((side.steps[..., None, :] == torch.arange(n_values)[:, None]) * side.real[..., None, :]).sum(-1)
    of_level = level[..., None].expand(*shape, 1)
    of_shelf = torch.stack([n.log1p(), y.sum(-1) / (n + 3), y.square().sum(-1) / (n + 1)], -1)
    of_shelf = torch.cat([of_shelf, counts / (n + n_values)[..., None]], -1)
    numbers = [
        by_part.sum(0)[..., None] + of_level,
        of_level,
        by_part.movedim(0, -1),
        masses.log1p().movedim(0, -1),
        means.movedim(0, -1),
        near,
        near_y,
        near * near_y,
        of_shelf.expand(*shape, -1),
    ]
    return torch.cat(numbers, -1).flatten(0, 1)


@dataclass(frozen=True)
class ShelfSums:
    """Sums over R shelves: ratings n, residuals and their squares, float32 [R]; ratings by step, float32 [R, S]."""

    n: Tensor
    residuals: Tensor
    squares: Tensor
    counts: Tensor


def sums_of_shelves(rows: Tensor, n_rows: int, residuals: Tensor, steps: Tensor, n_values: int) -> ShelfSums:
    """The sums of each of n_rows shelves from its ratings: row, residual and step of each rating, [N]."""
    counts = torch.zeros(n_rows, n_values)
    counts.index_put_((rows, steps), torch.ones(len(rows)), accumulate=True)
    totals = torch.zeros(n_rows, 2).index_add_(0, rows, torch.stack([residuals, residuals.square()], -1))
    return ShelfSums(counts.sum(1), totals[:, 0], totals[:, 1], counts)


def level_evidence(sums: ShelfSums, kernel: KernelWeights, known: Tensor) -> Tensor:
    """shelf_evidence() in closed form where books have no traits: all are alike in era, and in nothing else.

    K is (constant + era) 11' then, and the sum of (K + noise I)^-1 y is that of y over noise + (constant + era) n.
    known  float32 [R], 0 for a book that is not in the catalogue, which is like none on the shelf, else 1
    """
    n, n_values = sums.n, sums.counts.shape[1]
    weights = sums.residuals / (kernel.noise + (kernel.constant + kernel.era) * n)
    numbers = torch.zeros(len(n), n_shelf_numbers(n_values))
    numbers[:, 0] = (kernel.constant + kernel.era * known) * weights
    numbers[:, 1] = kernel.constant * weights
    sizes = [2, len(PARTS), len(PARTS), len(PARTS), 3 * NEAREST, 3 + n_values]
    _, by_part, masses, means, _, rest = torch.split(numbers, sizes, dim=1)
    by_part[:, ERA] = kernel.era * known * weights
    if kernel.era:
        masses[:, ERA] = (known * n).log1p()
        means[:, ERA] = known * sums.residuals / (n + 1)
    rest[:, :3] = torch.stack([n.log1p(), sums.residuals / (n + 3), sums.squares / (n + 1)], -1)
    rest[:, 3:] = sums.counts / (n + n_values)[:, None]
    return numbers


def n_shelf_numbers(n_values: int) -> int:
    """How many numbers shelf_evidence gives."""
    return 2 + 3 * len(PARTS) + 3 * NEAREST + 3 + n_values


def book_evidence(simple: tuple[Tensor, Tensor, Tensor], histogram: Tensor, usual: Tensor, outside: Tensor) -> Tensor:
    """Numbers of R books, float32 [R, F]: bias, prior and count (simple, [R] each), shrunk histogram, outside numbers.

    histogram  [R, S], ratings of the book by step; usual [S], shares over all ratings; outside [R, O]
    """
    bias, prior, count = simple
    n_values = len(usual)
    shares = (histogram + n_values * usual) / (histogram.sum(1, keepdim=True) + n_values)
    return torch.cat([torch.stack([bias, prior, count.log1p()], 1), shares, outside], 1)


def _wide(values: Tensor) -> Tensor:
    """Padded to NEAREST columns."""
    return torch.nn.functional.pad(values, (0, NEAREST - values.shape[-1]))

"""What is known of a reader-book pair from the reader's shelf, as numbers for a network: made in one place for
training, where the pair's own rating is left out, and for answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shelfwise.models.similarity import N_MASSES, PARTS, KernelWeights

NEAREST = 3
N_ALIKE = 5  # the parts by which the nearest books are found: about, close, author, series, coreading


@dataclass(frozen=True)
class ShelfSide:
    """R pairs with the L books of the reader's shelf beside each; padding and the pair's own rating are not `real`.

    parts      float32 [P, R, L], similarities of the book and each on the shelf
    weights    float32 [R, L], a of the Gaussian process (similarity.py)
    residuals  float32 [R, L], stars beyond the mean and book bias of each on the shelf
    steps      int64 [R, L], stars of each on the shelf as steps above the lowest
    real       float32 [R, L], 1 or 0
    """

    parts: Tensor
    weights: Tensor
    residuals: Tensor
    steps: Tensor
    real: Tensor


def shelf_evidence(side: ShelfSide, kernel: KernelWeights, n_values: int) -> Tensor:
    """Numbers of R pairs, float32 [R, F]. The first is by how many stars the shelf moves the book's own mean."""
    parts, y = side.parts * side.real, side.residuals * side.real
    weights = kernel.parts()
    by_part = weights[:, None] * (parts * side.weights).sum(-1)
    level = kernel.constant * (side.weights * side.real).sum(-1)
    masses = parts[:N_MASSES].sum(-1)
    means = (parts[:N_MASSES] * y).sum(-1) / (masses + 1)
    alike = torch.tensordot(weights[:N_ALIKE], parts[:N_ALIKE], dims=1)
    nearest = alike.topk(min(NEAREST, alike.shape[-1]), dim=-1)
    # Of books that are not alike at all none is nearest.
    near, near_y = _wide(nearest.values), _wide(y.gather(-1, nearest.indices) * (nearest.values > 0))
    n = side.real.sum(-1)
    counts = torch.stack([((side.steps == step) * side.real).sum(-1) for step in range(n_values)], -1)
    numbers = [
        (by_part.sum(0) + level)[:, None],
        level[:, None],
        by_part.T,
        masses.log1p().T,
        means.T,
        near,
        near_y,
        near * near_y,
        torch.stack([n.log1p(), y.sum(-1) / (n + 3), y.square().sum(-1) / (n + 1)], -1),
        counts / (n + n_values)[:, None],
    ]
    return torch.cat(numbers, 1)


def n_shelf_numbers(n_values: int) -> int:
    """How many numbers shelf_evidence gives."""
    return 2 + len(PARTS) + 2 * N_MASSES + 3 * NEAREST + 3 + n_values


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

"""Ridge regression of what books get on numbers that are known of them, by sums over blocks of books."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shelfwise.models.shelf_books import Columns, book_blocks, valued, with_one

PRIOR_RIDGE = 5.0  # in ratings


def ridge(columns: Columns, count: Tensor, shrinkage: float) -> Callable[[Tensor], Tensor]:
    """From the sums [I] of what books got to the coefficients of their means, float64 [D + 1], the intercept last.

    count  float32 [I], ratings of each book: how sure its mean is. Memory D^2 and one block of books.
    """
    weight = (count / (count + shrinkage).clamp(min=1e-9)).double()

    def summed(of_block: Callable[[Tensor, slice], Tensor]) -> Tensor:
        parts = (of_block(with_one(columns(block)).double(), block) for block in book_blocks(len(count)))
        total = next(parts)
        for part in parts:
            total += part
        return total

    gram = summed(lambda x, block: x.T @ (x * weight[block][:, None]))
    penalty = PRIOR_RIDGE * torch.eye(len(gram), dtype=torch.float64)
    penalty[-1, -1] = 1e-6  # the intercept is free

    def coefficients(total: Tensor) -> Tensor:
        y = weight * (total / count.clamp(min=1)).double()
        found: Tensor = torch.linalg.solve(gram + penalty, summed(lambda x, block: x.T @ y[block]))
        return found

    return coefficients


def regress(vectors: Tensor, total: Tensor, count: Tensor, shrinkage: float) -> Tensor:
    """What each book is expected to get by its vector, float32 [I]; vectors [I, D]."""

    def columns(block: slice) -> Tensor:
        return vectors[block]

    return valued(columns, ridge(columns, count, shrinkage)(total), len(vectors))

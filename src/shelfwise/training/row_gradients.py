"""Dense steps from gradients of few rows, without a fresh table of zeros for every batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def take_row_gradients(optimiser: torch.optim.Optimizer, tables: list[Tensor]) -> None:
    """Let an optimiser that needs dense gradients step from row-sparse ones of these tables; the step is the same.

    Each table keeps one gradient, all 0 but in the rows of the batch at hand.
    """
    standing = [torch.zeros_like(table) for table in tables]
    filled: list[Tensor] = []

    def spread(*_: Any) -> None:
        filled.clear()
        for table, gradient in zip(tables, standing, strict=True):
            assert table.grad is not None
            rows = table.grad.coalesce()
            filled.append(rows.indices()[0])
            table.grad = gradient.index_copy_(0, filled[-1], rows.values())

    def clear(*_: Any) -> None:
        for rows, gradient in zip(filled, standing, strict=True):
            gradient.index_fill_(0, rows, 0)

    optimiser.register_step_pre_hook(spread)
    optimiser.register_step_post_hook(clear)

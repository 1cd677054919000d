"""Dense steps from gradients of few rows, without a fresh table for every batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def take_row_gradients(optimiser: torch.optim.Optimizer, tables: list[Tensor]) -> None:
    """Let an optimiser that needs dense gradients step from row-sparse ones of these tables; the step is the same.

    Each table keeps one gradient, which is cleared and filled for each batch.
    """
    standing = [torch.zeros_like(table) for table in tables]

    def spread(*_: Any) -> None:
        for table, gradient in zip(tables, standing, strict=True):
            assert table.grad is not None
            # Not coalesced, which would sort the rows and add them up on one core.
            rows, values = table.grad._indices()[0], table.grad._values()
            table.grad = gradient.zero_().index_add_(0, rows, values)

    optimiser.register_step_pre_hook(spread)

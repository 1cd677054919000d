"""Dense steps from gradients of few rows, without a fresh table for every batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def take_row_gradients(optimiser: torch.optim.Optimizer, tables: list[Tensor]) -> None:
    """Let an optimiser that needs dense gradients step from row-sparse ones of these tables; the step is the same.

    Each table keeps one gradient, of which the rows of the last batch are cleared before those of the next are filled.
    """
    standing = [torch.zeros_like(table) for table in tables]
    filled = [torch.empty(0, dtype=torch.int64, device=table.device) for table in tables]

    def spread(*_: Any) -> None:
        for place, (table, gradient) in enumerate(zip(tables, standing, strict=True)):
            assert table.grad is not None
            # Not coalesced, which would sort the rows and add them up on one core.
            rows, values = table.grad._indices()[0], table.grad._values()
            gradient.index_fill_(0, filled[place], 0)
            table.grad, filled[place] = gradient.index_add_(0, rows, values), rows

    optimiser.register_step_pre_hook(spread)

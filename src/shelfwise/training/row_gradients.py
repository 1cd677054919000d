"""Dense steps from gradients of few rows, without a dense gradient."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shelfwise.engine import in_threads
from shelfwise.training.kernels import AdamStep, Floats, Places, Table, adam_rows

ROWS_AT_ONCE = 8192


def take_row_gradients(optimiser: torch.optim.Adam, tables: list[Tensor]) -> None:
    """Let Adam, or AdamW, step from row-sparse gradients of these tables; the step is that of dense ones.

    Its state of the tables is what it would keep. Beyond a CPU's memory their gradients become dense.
    """

    def step_tables(*_: Any) -> None:
        jobs: list[tuple[Any, ...]] = []
        for table in tables:
            sparse = table.grad
            assert sparse is not None
            # Not coalesced, which would sort the rows.
            rows, values = sparse._indices()[0], sparse._values()
            if table.device.type == "cpu":
                jobs += _jobs(optimiser, table, rows.numpy(), values.numpy())
                table.grad = None  # so that the optimiser leaves it as it is
            else:
                table.grad = torch.zeros_like(table).index_add_(0, rows, values)
        list(in_threads(lambda job: adam_rows(*job), jobs, len(jobs)))

    optimiser.register_step_pre_hook(step_tables)


def _jobs(optimiser: torch.optim.Adam, table: Tensor, rows: Places, values: Floats) -> list[tuple[Any, ...]]:
    """What adam_rows needs for each part of the table; the optimiser's state of it goes a step on."""
    (group,) = optimiser.param_groups
    state = optimiser.state[table]
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
    state["step"] += 1
    (beta1, beta2), rate, decay, n_steps = group["betas"], group["lr"], group["weight_decay"], float(state["step"])
    decoupled = isinstance(optimiser, torch.optim.AdamW)
    size, unbias = rate / (1 - beta1**n_steps), (1 - beta2**n_steps) ** -0.5
    l2, kept = (0.0, 1 - rate * decay) if decoupled else (decay, 1.0)
    step = AdamStep(*map(np.float32, (beta1, 1 - beta1, beta2, 1 - beta2, size, unbias, group["eps"], l2, kept)))
    numbers = Table(*(tensor.detach().numpy() for tensor in (table, state["exp_avg"], state["exp_avg_sq"])))
    bounds = np.linspace(0, len(table), 1 + math.ceil(len(table) / ROWS_AT_ONCE), dtype=np.int64).tolist()
    return [(numbers, rows, values, first, last, step) for first, last in pairwise(bounds)]

"""Adam for tables of which a batch looks up few rows, without dense gradients of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from shelfwise.engine import shared_by_threads
from shelfwise.training.compiled import ZERO, Floats, Places, compiled

ROWS_AT_ONCE = 8192
THE_ROW = np.zeros(1, np.int64)


class RowAdam(torch.optim.Adam):
    """torch's Adam, or with `decoupled` decay AdamW, for gradients of which some are row-sparse; its state is torch's.

    On a CPU threads share a step. Beyond its memory gradients become dense; where all are, the step is torch's own.
    """

    def __init__(self, parameters: Iterable[Tensor], *, lr: float, weight_decay: float, decoupled: bool) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, decoupled_weight_decay=decoupled, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """A step by the gradients that are there, of all rows: without a gradient they go on by what is left of it."""
        (group,) = self.param_groups
        given = [(parameter, parameter.grad) for parameter in group["params"] if parameter.grad is not None]
        by_rows = [parameter for parameter, gradient in given if gradient.is_sparse]
        if by_rows and all(parameter.device.type == "cpu" for parameter, _ in given):
            dense = [parameter for parameter, gradient in given if not gradient.is_sparse]
            jobs = [job for table in by_rows for job in self._table_jobs(table, group)]
            jobs.append(partial(self._step_dense, dense, group))
            shared_by_threads(lambda job: job(), jobs)
            return
        for parameter in by_rows:
            assert parameter.grad is not None
            parameter.grad = torch.zeros_like(parameter).index_add_(0, *_rows_of(parameter.grad))
        super().step(closure)

    def _table_jobs(self, table: Tensor, group: dict[str, Any]) -> list[Callable[[], None]]:
        """The steps of a table's parts."""
        assert table.grad is not None
        moments, step = self._moments(table, group)
        rows, values = (tensor.numpy() for tensor in _rows_of(table.grad))
        ends = [*range(0, len(table), ROWS_AT_ONCE), len(table)]
        return [partial(adam_rows, moments, rows, values, first, last, step) for first, last in pairwise(ends)]

    def _step_dense(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Steps from dense gradients: of small parameters, each as a table of one row."""
        for parameter in parameters:
            assert parameter.grad is not None
            moments, step = self._moments(parameter, group)
            row = Moments(*(numbers.reshape(1, -1) for numbers in moments))
            adam_rows(row, THE_ROW, parameter.grad.reshape(1, -1).numpy(), 0, 1, step)

    def _moments(self, parameter: Tensor, group: dict[str, Any]) -> tuple[Moments, AdamStep]:
        """Views of a parameter's numbers, and the step that is next."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        tensors = (parameter.detach(), state["exp_avg"], state["exp_avg_sq"])
        assert all(tensor.is_contiguous() for tensor in tensors)  # or a change of shape would be a copy
        return Moments(*(tensor.numpy() for tensor in tensors)), adam_step(group, float(state["step"]))


def _rows_of(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and values of a row-sparse gradient; not coalesced, which would sort the rows."""
    return gradient._indices()[0], gradient._values()


class AdamStep(NamedTuple):
    """What a step of Adam multiplies by, float32 all."""

    beta1: np.float32
    rest1: np.float32  # 1 - beta1, which float32 itself would give four digits of
    beta2: np.float32
    rest2: np.float32
    size: np.float32  # the learning rate, for first moments that start at 0
    unbias: np.float32  # the same for the roots of second moments
    eps: np.float32
    l2: np.float32  # of the weights, which is added to their gradients
    kept: np.float32  # of the weights, by AdamW


def adam_step(group: dict[str, Any], n_steps: float) -> AdamStep:
    """The step that is the n-th, by an optimiser's settings."""
    (beta1, beta2), rate, decay = group["betas"], group["lr"], group["weight_decay"]
    size, unbias = rate / (1 - beta1**n_steps), (1 - beta2**n_steps) ** -0.5
    l2, kept = (0.0, 1 - rate * decay) if group["decoupled_weight_decay"] else (decay, 1.0)
    return AdamStep(*map(np.float32, (beta1, 1 - beta1, beta2, 1 - beta2, size, unbias, group["eps"], l2, kept)))


class Moments(NamedTuple):
    """Weights and Adam's first and second moments of them, of one shape."""

    weights: Floats
    exp_avg: Floats
    exp_avg_sq: Floats


@compiled
def adam_rows(moments: Moments, rows: Places, values: Floats, first: int, last: int, step: AdamStep) -> None:
    """A step for a table's rows from `first` up to `last`; gradients are 0 but for values [B, W] of rows [B].

    A row's values are added up in order. Algorithm 1 of Kingma, Ba (ICLR 2015); 2 of Loshchilov, Hutter (ICLR 2019).
    """
    weights, exp_avg, exp_avg_sq = moments
    beta1, rest1, beta2, rest2, size, unbias, eps, l2, kept = step
    n, width = last - first, weights.shape[1]
    ends = np.zeros(n + 1, np.int64)
    for place in range(rows.size):
        if first <= rows[place] < last:
            ends[rows[place] - first + 1] += 1
    for row in range(n):
        ends[row + 1] += ends[row]
    order = np.empty(ends[n], np.int64)
    for place in range(rows.size):
        if first <= rows[place] < last:
            row = rows[place] - first
            order[ends[row]] = place
            ends[row] += 1  # at the end ends[row] is where those of the row end
    gradient = np.empty(width, np.float32)
    start = 0
    for row in range(n):
        weight, mean, square = weights[first + row], exp_avg[first + row], exp_avg_sq[first + row]
        gradient[:] = ZERO
        for at in range(start, ends[row]):
            value = values[order[at]]
            for i in range(width):
                gradient[i] += value[i]
        start = ends[row]
        for i in range(width):
            slope = gradient[i] + l2 * weight[i]
            m, v = beta1 * mean[i] + rest1 * slope, beta2 * square[i] + rest2 * slope * slope
            mean[i], square[i] = m, v
            weight[i] = kept * weight[i] - size * m / (np.sqrt(v) * unbias + eps)

"""The processes that train one network together, over torch.distributed: each takes its share of every batch.

Rows of training are dealt like cards: hand j of m holds rows j, j + m, j + 2m, ... of all, and process r of n the hands
r, r + n, ... Every process draws the same order of all rows and takes what it holds of each batch, so that batches are
those of one process alone; gradients are added up after each. What is drawn beside the order, dropout, differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shelfwise.training.pieces import Backward


@dataclass(frozen=True)
class Peers:
    """Process `rank` of `size`, to which hands of `n_hands` were dealt; one is alone, and needs no process group."""

    rank: int = 0
    size: int = 1
    n_hands: int = 1

    def held(self, rows: Tensor) -> Tensor:
        """Those of a batch's rows that are here, int64: by their places in what gather() makes of the hands."""
        if self.size == 1:
            return rows
        hands = rows % self.n_hands
        here = hands % self.size == self.rank
        n_mine = len(range(self.rank, self.n_hands, self.size))
        return rows[here] // self.n_hands * n_mine + hands[here] // self.size

    def backward(self, backward: Backward, batch: Tensor, network: nn.Module) -> Tensor:
        """Gradients of the mean loss of a batch, in every process; returns this process's part of the mean, []."""
        rows = self.held(batch)
        part = backward(rows, len(batch)) if len(rows) else torch.zeros(())
        if self.size > 1:
            _add_up(network)
        return part

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        torch.distributed.all_reduce(found)
        return float(found)

    def of_first(self, work: Callable[[], float]) -> float:
        """What the first process works out, while the others wait."""
        return self.total(work() if self.rank == 0 else 0.0)

    def same(self, value: int) -> int:
        """The first process's whole number, in every process."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.int64)
        torch.distributed.broadcast(found, 0)
        return int(found)

    def seed(self, seed: int, epoch: int) -> None:
        """Draw as no other process does: all but the first, which goes on with its own random state."""
        if self.rank:
            torch.manual_seed((seed * 1_000_003 + epoch) * self.size + self.rank)


def deal(rows: Sequence[Tensor], hand: int, n_hands: int) -> list[Tensor]:
    """One hand of rows, which are the first axis of each tensor."""
    return [values[hand::n_hands].clone() for values in rows]


def gather(hands: Sequence[list[Tensor]]) -> list[Tensor]:
    """The rows of several hands of one process, in the order that they have among all rows."""
    gathered = []
    for parts in zip(*hands, strict=True):
        values = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=parts[0].dtype)
        for place, part in enumerate(parts):
            values[place :: len(hands)] = part
        gathered.append(values)
    return gathered


def _add_up(network: nn.Module) -> None:
    """Sum the gradients over all processes: dense ones in one message, of each embedding the rows it touched."""
    by_rows = [module.weight for module in network.modules() if isinstance(module, nn.Embedding) and module.sparse]
    for weight in by_rows:
        if weight.grad is None:
            weight.grad = torch.sparse_coo_tensor(
                torch.zeros(1, 0, dtype=torch.int64), torch.zeros(0, weight.shape[1]), weight.shape
            )
        weight.grad = weight.grad.coalesce()
        torch.distributed.all_reduce(weight.grad)
    rest = [p for p in network.parameters() if p.requires_grad and not any(p is weight for weight in by_rows)]
    flat = torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in rest])
    torch.distributed.all_reduce(flat)
    for parameter, gradient in zip(rest, torch.split(flat, [p.numel() for p in rest]), strict=True):
        parameter.grad = gradient.view_as(parameter)


ALONE = Peers()

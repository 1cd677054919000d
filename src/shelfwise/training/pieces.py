"""One process whose threads share every batch of training, and come to the same gradients however many they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shelfwise.engine import in_threads
from shelfwise.models.dropout import drawing_from
from shelfwise.training.peers import Peers


@dataclass(frozen=True)
class Pieces(Peers):
    """The gradients of a batch as the sum of those of its pieces of `n_rows`, in their order.

    Each piece has a random state of its own, from which dropout.py draws; a batch of one piece has torch's.
    """

    n_rows: int = 2048

    def backward(self, loss: Callable[[Tensor], Tensor], batch: Tensor, network: nn.Module) -> Tensor:
        if len(batch) <= self.n_rows:
            return super().backward(loss, batch, network)
        parameters = list(network.parameters())
        seed = int(torch.empty((), dtype=torch.int64).random_())

        def of_piece(piece: tuple[int, Tensor]) -> tuple[Tensor, ...]:
            number, rows = piece
            with drawing_from((seed + number) % 2**63):
                part = loss(rows) * (len(rows) / len(batch))
            return part.detach(), *torch.autograd.grad(part, parameters)

        pieces = in_threads(of_piece, enumerate(torch.split(batch, self.n_rows)))
        total, *gradients = map(_sum, zip(*pieces, strict=True))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return total


def _sum(parts: tuple[Tensor, ...]) -> Tensor:
    """The sum, in order; row-sparse ones as one that is not coalesced."""
    if parts[0].is_sparse:
        indices, values = ([getattr(part, name)() for part in parts] for name in ("_indices", "_values"))
        return torch.sparse_coo_tensor(torch.cat(indices, 1), torch.cat(values), parts[0].shape, check_invariants=False)
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


PIECES = Pieces()

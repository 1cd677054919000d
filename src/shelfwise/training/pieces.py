"""Batches that threads share, which come to the same gradients however many threads there are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from shelfwise.engine import shared_by_threads
from shelfwise.models.dropout import drawing_from

# Puts the gradients of a mean loss of rows (int64 [B]), times B / n, in their place, and returns it, [].
Backward = Callable[[Tensor, int], Tensor]
PIECE = 2048  # rows


def by_pieces(network: nn.Module, loss: Callable[[Tensor], Tensor], piece: int = PIECE) -> Backward:
    """Gradients of a mean loss of rows by autograd: on a CPU the sum of those of pieces of a batch, in their order.

    Each piece has a random state of its own, from which dropout.py draws; a batch of one piece has torch's.
    """
    parameters = list(network.parameters())

    def backward(rows: Tensor, n: int) -> Tensor:
        if len(rows) <= piece or parameters[0].device.type != "cpu":
            part = loss(rows) * (len(rows) / n)
            part.backward()  # type: ignore[no-untyped-call]
            return part.detach()
        seed = int(torch.empty((), dtype=torch.int64).random_())

        def of_piece(numbered: tuple[int, Tensor]) -> tuple[Tensor, ...]:
            number, some = numbered
            with drawing_from((seed + number) % 2**63):
                part = loss(some) * (len(some) / n)
            return part.detach(), *torch.autograd.grad(part, parameters)

        parts = torch.split(rows, piece)
        pieces = shared_by_threads(of_piece, list(enumerate(parts)))
        total, *gradients = shared_by_threads(_sum, list(zip(*pieces, strict=True)))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return total

    return backward


def _sum(parts: tuple[Tensor, ...]) -> Tensor:
    """The sum, in order; row-sparse ones as one that is not coalesced."""
    if parts[0].is_sparse:
        indices, values = ([getattr(part, name)() for part in parts] for name in ("_indices", "_values"))
        return torch.sparse_coo_tensor(torch.cat(indices, 1), torch.cat(values), parts[0].shape, check_invariants=False)
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total

"""One process whose threads share every batch of training, and come to the same gradients however many they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shelfwise.engine import in_threads
from shelfwise.training.peers import Peers


@dataclass(frozen=True)
class Pieces(Peers):
    """The gradients of a batch as the sum of those of its pieces of `n_rows`, in their order.

    For networks that draw nothing while they learn: dropout has one random state for all threads.
    """

    n_rows: int = 2048

    def backward(self, loss: Callable[[Tensor], Tensor], batch: Tensor, network: nn.Module) -> Tensor:
        parameters = list(network.parameters())

        def of_piece(_: None, rows: Tensor) -> tuple[Tensor, ...]:
            part = loss(rows) * (len(rows) / len(batch))
            return part.detach(), *torch.autograd.grad(part, parameters)

        total, *gradients = next(pieces := in_threads(of_piece, torch.split(batch, self.n_rows), None))
        for part, *others in pieces:
            total += part
            torch._foreach_add_(gradients, others)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return total


PIECES = Pieces()

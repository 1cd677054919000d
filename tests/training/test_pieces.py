"""Gradients in pieces are those of the batch, and the same to the last bit however many threads share them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn

from shelfwise.engine import sharing_threads
from shelfwise.training.peers import ALONE
from shelfwise.training.pieces import Pieces


def task(n_rows: int) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(n_rows)
    network = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
    return network, torch.randn(n_rows, 5), torch.randn(n_rows)


def gradients(pieces: Pieces, n_rows: int, n_threads: int = 1) -> list[Tensor]:
    network, x, y = task(n_rows)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with sharing_threads():
            part = pieces.backward(
                lambda rows: (network(x[rows])[:, 0] - y[rows]).square().mean(), order(n_rows), network
            )
    finally:
        torch.set_num_threads(before)
    return [part, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]


def order(n_rows: int) -> Tensor:
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(1))


@given(n_rows=some.integers(1, 70), size=some.integers(1, 80))
def test_pieces_are_the_batch(n_rows: int, size: int) -> None:
    network, x, y = task(n_rows)
    part = ALONE.backward(lambda rows: (network(x[rows])[:, 0] - y[rows]).square().mean(), order(n_rows), network)
    whole = [part, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]
    found = gradients(Pieces(n_rows=size), n_rows)
    assert len(found) == 5
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_threads_change_nothing() -> None:
    pieces = Pieces(n_rows=100)
    one, three, again = (gradients(pieces, 5000, n_threads) for n_threads in (1, 3, 3))
    for values in zip(one, three, again, strict=True):
        assert torch.equal(values[0], values[1])
        assert torch.equal(values[0], values[2])

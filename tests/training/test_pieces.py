"""Gradients in pieces are those of the batch, and the same to the last bit however many threads share them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn

from shelfwise.engine import sharing_threads
from shelfwise.models.dropout import ByteDropout, random_words
from shelfwise.training.pieces import by_pieces


def gradients(piece: int, n_rows: int, *, dropout: float = 0.0, n_threads: int = 1) -> list[Tensor]:
    """The loss, and the gradients of a table by rows and of layers, of a batch of all rows in some order."""
    torch.manual_seed(n_rows)
    table, layers = nn.Embedding(7, 5, sparse=True), (nn.Linear(5, 32), nn.ReLU(), ByteDropout(dropout))
    network = nn.Sequential(table, *layers, nn.Linear(32, 1))
    x, y = torch.randint(7, (n_rows,)), torch.randn(n_rows)
    batch = torch.randperm(n_rows)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with sharing_threads():
            backward = by_pieces(network, lambda rows: (network(x[rows])[:, 0] - y[rows]).square().mean(), piece)
            part = backward(batch, n_rows)
    finally:
        torch.set_num_threads(before)
    found = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in found)
    return [part, *(gradient.to_dense() for gradient in found if gradient is not None)]


@given(n_rows=some.integers(1, 70), size=some.integers(1, 80))
def test_pieces_are_the_batch(n_rows: int, size: int) -> None:
    found, whole = gradients(size, n_rows), gradients(n_rows, n_rows)
    assert len(found) == 6
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_threads_change_nothing(dropout: float) -> None:
    one, three, again = (gradients(100, 5000, dropout=dropout, n_threads=n) for n in (1, 3, 3))
    for values in zip(one, three, again, strict=True):
        assert torch.equal(values[0], values[1])
        assert torch.equal(values[0], values[2])


def test_each_piece_drops_other_numbers_and_none_after_an_error_is_drawn_from_a_pieces_state() -> None:
    drawn = []

    def loss(rows: Tensor) -> Tensor:
        drawn.append(random_words(4).tolist())
        if len(drawn) == 3:
            raise ValueError("enough")
        return network(torch.zeros(len(rows), 1)).sum()

    network = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="enough"):
        by_pieces(network, loss, 2)(torch.arange(6), 6)
    assert len({tuple(words) for words in drawn}) == 3
    torch.manual_seed(0)
    expected = torch.empty(4, dtype=torch.int64).random_(-(2**63), None)
    torch.manual_seed(0)
    assert torch.equal(random_words(4), expected)

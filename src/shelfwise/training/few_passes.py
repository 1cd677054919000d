"""The notebook's networks with an MLP, in few passes over memory: for training with large batches on a CPU.

What torch's own layers and autograd spend beyond the products of matrices is three quarters of their time. Here
- a batch goes forwards and back by hand: products are torch's, what lies between them are the loops of kernels.py;
- rows are looked up, joined and masked in one pass; ReLU and mask are one pass, and one back, since both leave 0 where
  no gradient passes;
- a mask costs a random byte a number, and what is kept is scaled behind the product, where it is half as many numbers;
- products are oneDNN's where those that torch takes by itself, MKL's, are half as fast: on all processors but Intel's.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shelfwise.engine import in_threads
from shelfwise.models.dropout import dropped_of_256, random_words
from shelfwise.models.notebook import BookNetwork, ReaderTable
from shelfwise.training.kernels import (
    Bytes,
    Floats,
    LastGradients,
    Pairs,
    Places,
    draw_words,
    joined_gradients,
    keep_joined,
    last_layer,
    last_layer_gradients,
    relu_gradients,
    relu_keep,
)
from shelfwise.training.pieces import PIECE, Backward

Words = NDArray[np.uint64]
NOTHING = np.uint8(0)


def few_passes(readers: ReaderTable, books: BookNetwork, rows: Sequence[Tensor], piece_rows: int = PIECE) -> Backward:
    """Gradients of the mean of (books(readers(u), i) - stars) ** 2 over rows of u, i (int64) and stars (float32).

    Threads share pieces of a batch, as in pieces.py. Masks come from torch's random state; dropout's p is taken to the
    nearest n / 256, at most 255 / 256, and the mean is kept exactly.
    """

    def backward(places: Tensor, n: int) -> Tensor:
        network = _Network.of(readers, books)
        batch = [torch.empty(len(places), dtype=values.dtype) for values in rows]
        by_row = [torch.empty(len(places), table.shape[1]) for table in network.tables]
        parts = [slice(start, start + piece_rows) for start in range(0, len(places), piece_rows)]
        seeds = random_words(len(parts) * (len(network.layers) + 1)).numpy().view(np.uint64)

        def of_piece(piece: tuple[slice, Words]) -> list[Tensor]:
            part, seeds = piece
            for values, taken in zip(rows, batch, strict=True):
                torch.index_select(values, 0, places[part], out=taken[part])
            users, items, stars = (taken[part] for taken in batch)
            return _piece(network, (users.numpy(), items.numpy(), stars), n, seeds, [g[part].numpy() for g in by_row])

        pieces = in_threads(of_piece, zip(parts, seeds.reshape(len(parts), -1), strict=True), len(parts))
        error, *dense = (torch.stack(found).sum(0) for found in zip(*pieces, strict=True))
        tables, (users, items, _) = _tables(readers, books), batch
        for table, table_rows, values in zip(tables, (users, items, users, items), by_row, strict=True):
            table.weight.grad = _of_table(table, table_rows, values)
        for parameter, gradient in zip(_layer_parameters(books), dense, strict=True):
            parameter.grad = gradient
        return error

    return backward


@cache
def mkl_is_fast() -> bool:
    """Whether torch's own products are MKL's, and this is a processor that MKL has kernels for: its maker's."""
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        processor = platform.processor()
    return torch.backends.mkl.is_available() and "GenuineIntel" in processor  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Layer:
    """A linear layer behind a dropout that drops `dropped` of 256 numbers and leaves the others, as they are, to it.

    scale  that of its products, which the numbers kept would have had
    """

    weight: Tensor
    bias: Floats
    dropped: np.uint8
    scale: np.float32

    @classmethod
    def of(cls, dropout: nn.Module, linear: nn.Module) -> _Layer:
        assert isinstance(dropout, nn.Dropout)
        assert isinstance(linear, nn.Linear)
        dropped = dropped_of_256(dropout.p) if dropout.training else 0
        return cls(linear.weight.detach(), _numbers(linear.bias), np.uint8(dropped), np.float32(256 / (256 - dropped)))


@dataclass(frozen=True)
class _Network:
    """The numbers of both modules; `tables`: of readers and books for GMF, of readers and books for the MLP."""

    tables: list[Floats]
    content: Floats
    layers: list[_Layer]
    last: Floats
    bias: Tensor

    @classmethod
    def of(cls, readers: ReaderTable, books: BookNetwork) -> _Network:
        assert books.mlp is not None
        tables = [_numbers(table.weight) for table in _tables(readers, books)]
        content = np.empty((len(tables[1]), 0), np.float32) if books.content is None else books.content.numpy()
        layers = [_Layer.of(books.mlp[place], books.mlp[place + 1]) for place in range(0, len(books.mlp), 3)]
        return cls(tables, content, layers, _numbers(books.last.weight)[0], books.last.bias.detach())


def _tables(readers: ReaderTable, books: BookNetwork) -> list[nn.Embedding]:
    assert readers.mlp is not None
    assert books.mlp_book is not None
    return [readers.gmf, books.gmf, readers.mlp, books.mlp_book]


def _layer_parameters(books: BookNetwork) -> list[nn.Parameter]:
    """Weight and bias of each layer, then of the last."""
    assert books.mlp is not None
    return [*books.mlp.parameters(), *books.last.parameters()]


def _piece(
    network: _Network, rows: tuple[Places, Places, Tensor], n: int, seeds: Words, by_row: list[Floats]
) -> list[Tensor]:
    """The sum of squared errors of rows over n, and the gradients of layers; those of tables go to by_row [B, *]."""
    users, items, stars = rows
    layers, (mine, theirs, mine_mlp, theirs_mlp) = network.layers, network.tables
    drawn = _draw(seeds[0], len(users), layers[0].weight.shape[1])
    hidden = [torch.empty(len(users), layers[0].weight.shape[1])]
    keep_joined(Pairs(mine_mlp, theirs_mlp, users, items), drawn, layers[0].dropped, hidden[0].numpy())
    for place, layer in enumerate(layers, start=1):
        product = _product(hidden[-1], layer.weight)
        dropped = NOTHING if place == len(layers) else layers[place].dropped
        relu_keep(product.numpy(), layer.scale, layer.bias, _draw(seeds[place], *product.shape), dropped)
        hidden.append(product)
    last = (Pairs(mine, theirs, users, items), network.content, hidden[-1].numpy(), network.last)
    errors = network.bias - stars
    last_layer(*last, errors.numpy())

    slopes = errors * (2 / n)
    of_last, gradient = torch.empty(1, len(network.last)), torch.empty_like(hidden[-1])
    of_paths = LastGradients(by_row[0], by_row[1], gradient.numpy(), of_last.numpy()[0])
    last_layer_gradients(*last, slopes.numpy(), of_paths)
    found = [of_last, slopes.sum()[None]]
    for layer, given, after in zip(layers[::-1], hidden[-2::-1], hidden[:0:-1], strict=True):
        of_bias = torch.empty(len(layer.bias))
        relu_gradients(gradient.numpy(), after.numpy(), layer.scale, of_bias.numpy())
        gradient, of_weight = _product_gradients(given, layer.weight, gradient)
        found = [of_weight, of_bias, *found]
    joined_gradients(gradient.numpy(), drawn, layers[0].dropped, by_row[2], by_row[3])
    return [torch.dot(errors, errors) / n, *found]


def _numbers(parameter: Tensor) -> Floats:
    found: Floats = parameter.detach().numpy()
    return found


def _draw(seed: np.uint64, n_rows: int, width: int) -> Bytes:
    """Random bytes [n_rows, >= width]."""
    words = np.empty((n_rows, -(-width // 8)), np.uint64)
    draw_words(seed, words.reshape(-1))
    return words.view(np.uint8)


def _of_table(table: nn.Embedding, rows: Tensor, values: Tensor) -> Tensor:
    """Gradients of a table whose `rows` have these."""
    if not table.sparse:
        return torch.zeros_like(table.weight).index_add_(0, rows, values)
    return torch.sparse_coo_tensor(rows[None], values, table.weight.shape, check_invariants=False)


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """rows @ weight.T, by oneDNN where that is faster."""
    if _by_mkl():
        return rows @ weight.T
    return nn.functional.linear(rows.to_mkldnn(), weight).to_dense()


def _product_gradients(rows: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows and weight in _product, whose result has this gradient."""
    if _by_mkl():
        return gradient @ weight, gradient.T @ rows
    of_rows, of_weight, _ = torch.ops.aten.mkldnn_linear_backward(
        rows.to_mkldnn(), gradient.to_mkldnn(), weight, [True, True, False]
    )
    return of_rows.to_dense(), of_weight


def _by_mkl() -> bool:
    return mkl_is_fast() or not torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

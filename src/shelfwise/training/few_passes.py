"""The notebook's networks with an MLP, in few passes over memory: for training with large batches on a CPU.

What torch's own layers and autograd spend beyond the products of matrices is three quarters of their time. Here
- a batch goes forwards and back by hand, each piece of it by one compiled function (kernels.py);
- rows are looked up, joined and masked in one pass; ReLU and mask are one pass, and one back, since both leave 0 where
  no gradient passes;
- a mask costs a random byte a number, and what is kept is scaled behind the product, where it is half as many numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from shelfwise.engine import shared_by_threads
from shelfwise.models.dropout import dropped_of_256, random_words
from shelfwise.models.notebook import BookNetwork, ReaderTable
from shelfwise.training.compiled import Floats, Places
from shelfwise.training.kernels import Batch, Gradients, Layers, Network, piece_gradients
from shelfwise.training.pieces import PIECE, Backward


def few_passes(readers: ReaderTable, books: BookNetwork, rows: Sequence[Tensor], piece_rows: int = PIECE) -> Backward:
    """Gradients of the mean of (books(readers(u), i) - stars) ** 2 over rows of u, i (int64) and stars (float32).

    Threads share pieces of a batch, as in pieces.py. Masks come from torch's random state; dropout's p is taken to the
    nearest n / 256, at most 255 / 256, and the mean is kept exactly.
    """
    tables, parameters = _tables(readers, books), _layer_parameters(books)
    sizes = [parameter.numel() for parameter in parameters]
    user_idx, item_idx, stars = rows
    columns = _places(user_idx), _places(item_idx), _numbers(stars)
    network_of = cache(partial(_network, readers, books))

    def backward(places: Tensor, n: int) -> Tensor:
        network, n_pieces = network_of(training=books.training), -(-len(places) // piece_rows)
        seeds = random_words(n_pieces * (1 + len(network.layers.weights))).numpy().view(np.uint64).reshape(n_pieces, -1)
        users, items = torch.empty_like(places), torch.empty_like(places)
        by_row = [torch.empty(len(places), table.embedding_dim) for table in tables]
        mine, theirs, mine_mlp, theirs_mlp = map(_numbers, by_row)
        of_layers = np.zeros((n_pieces, sum(sizes)), np.float32)
        found = Gradients(_places(users), _places(items), (mine, theirs), (mine_mlp, theirs_mlp), of_layers)
        batch = Batch(*columns, _places(places))

        def of_piece(piece: int) -> float:
            return piece_gradients(network, batch, n, seeds, found, piece, piece_rows)

        errors = shared_by_threads(of_piece, range(n_pieces))
        for table, looked_up, values in zip(tables, (users, items, users, items), by_row, strict=True):
            table.weight.grad = _of_table(table, looked_up, values)
        dense = torch.from_numpy(of_layers.sum(0))
        for parameter, gradient in zip(parameters, torch.split(dense, sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return torch.tensor(sum(errors), dtype=torch.float32)

    return backward


def _tables(readers: ReaderTable, books: BookNetwork) -> list[nn.Embedding]:
    """Of readers and books for GMF, of readers and books for the MLP."""
    assert readers.mlp is not None
    assert books.mlp_book is not None
    return [readers.gmf, books.gmf, readers.mlp, books.mlp_book]


def _layer_parameters(books: BookNetwork) -> list[nn.Parameter]:
    """Weight and bias of each layer, then of the last."""
    assert books.mlp is not None
    return [*books.mlp.parameters(), *books.last.parameters()]


def _network(readers: ReaderTable, books: BookNetwork, *, training: bool) -> Network:
    """The numbers of both modules, as they are and will be."""
    assert books.mlp is not None
    mine, theirs, mine_mlp, theirs_mlp = (_numbers(table.weight) for table in _tables(readers, books))
    drops = [dropped_of_256(layer.p) if training else 0 for layer in books.mlp if isinstance(layer, nn.Dropout)]
    scales = tuple(np.float32(256 / (256 - drop)) for drop in drops)
    *of_layers, last, bias = map(_numbers, _layer_parameters(books))
    layers = Layers(tuple(of_layers[::2]), tuple(of_layers[1::2]), tuple(map(np.uint8, drops)), scales)
    content = np.empty((len(theirs), 0), np.float32) if books.content is None else books.content.numpy()
    return Network((mine, theirs), (mine_mlp, theirs_mlp), content, layers, last[0], bias)


def _numbers(tensor: Tensor) -> Floats:
    found: Floats = tensor.detach().numpy()
    return found


def _places(tensor: Tensor) -> Places:
    found: Places = tensor.numpy()
    return found


def _of_table(table: nn.Embedding, rows: Tensor, values: Tensor) -> Tensor:
    """Gradients of a table whose `rows` have these."""
    if not table.sparse:
        return torch.zeros_like(table.weight).index_add_(0, rows, values)
    return torch.sparse_coo_tensor(rows[None], values, table.weight.shape, check_invariants=False)

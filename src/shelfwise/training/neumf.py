"""Fitting mf, ncf and hybrid in their default recipe: the book side by sums, the network by the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from shelfwise.data.shelves import Shelves
from shelfwise.models.bias import Bias, BiasConfig, assert_ratings
from shelfwise.models.contract import FitInputs
from shelfwise.models.neumf import BookSide, NeuMF, NeuMFConfig, PairNetwork, Pairs, make_pairs
from shelfwise.models.profiles import leave_one_out
from shelfwise.training.loop import Task
from shelfwise.training.pieces import by_pieces
from shelfwise.training.ridge import regress
from shelfwise.training.settings import Checkpoint, History, LoopSettings
from shelfwise.training.together import train_work
from shelfwise.training.validation import validation_error


def fit_neumf(
    kind: type[NeuMF], config: NeuMFConfig, loop: LoopSettings, inputs: FitInputs, checkpoint: Checkpoint | None = None
) -> tuple[NeuMF, History]:
    """A fitted model and its training history. Raises FitError, StoppedError."""
    assert_ratings(inputs)
    torch.manual_seed(inputs.seed)
    shelves = inputs.train.shelves()
    vectors = kind.book_vectors(config, inputs)
    start = Bias.fit(BiasConfig(), inputs).book_bias
    books, beyond = fit_books(shelves, vectors, torch.from_numpy(start), config)
    pairs = training_pairs(shelves, books, beyond, config, inputs.seed)
    network = kind.make_network(config, books)
    network.standardise(pairs.mlp)
    model = kind(config, inputs.train.scale, books, network)
    rows = (pairs.base, pairs.gmf, pairs.mlp, torch.from_numpy(shelves.stars))
    return model, train_work(PairsWork(model, rows, len(shelves.stars), inputs), loop, inputs, checkpoint)


@dataclass(frozen=True)
class PairsWork:
    """See together.Work. Rows are Pairs and stars, of `n_rows` in all."""

    model: NeuMF
    rows: Sequence[Tensor]
    n_rows: int
    inputs: FitInputs | None

    @property
    def network(self) -> PairNetwork:
        return self.model.network

    def holding(self, rows: Sequence[Tensor], inputs: FitInputs | None) -> PairsWork:
        """See together.Work."""
        return replace(self, rows=rows, inputs=inputs)

    def task(self, device: torch.device) -> Task:
        """See together.Work."""
        network = self.network.to(device)
        base, gmf, mlp, stars = (values.to(device) for values in self.rows)

        def loss(rows: Tensor) -> Tensor:
            predicted: Tensor = network(Pairs(base[rows], gmf[rows], mlp[rows]))
            return (predicted - stars[rows]).square().mean()

        validate = None if self.inputs is None else validation_error(self.model, self.inputs)
        return Task(network, by_pieces(network, loss), self.n_rows, validate)


def fit_books(shelves: Shelves, vectors: Tensor, bias: Tensor, config: NeuMFConfig) -> tuple[BookSide, Tensor]:
    """The book side, and for each rating the stars beyond the mean that its reader's other ratings do not explain.

    A book's bias is the shrunk mean of what is not explained; it is shrunk towards a ridge regression on the
    book's vector, so that a new book needs no rule of its own. `bias` [I] is where to start.
    """
    items = torch.from_numpy(shelves.item_idx.astype(np.int64))
    stars = torch.from_numpy(shelves.stars.astype(np.float32))
    mean = float(stars.double().mean())
    count = torch.bincount(items, minlength=len(vectors)).float()
    beyond = torch.zeros(len(stars))
    for rows, _, unexplained in leave_one_out(shelves, vectors, stars - mean - bias[items], config.ridge):
        beyond[rows] = unexplained + bias[items[rows]]
    total = torch.zeros(len(vectors)).index_add_(0, items, beyond)
    prior = regress(vectors, total, count, config.book_shrinkage)
    bias = (total + config.book_shrinkage * prior) / (count + config.book_shrinkage).clamp(min=1e-9)
    return BookSide(mean, vectors, config.blocks(vectors.shape[1]), prior, bias, count), beyond


def training_pairs(shelves: Shelves, books: BookSide, beyond: Tensor, config: NeuMFConfig, seed: int) -> Pairs:
    """What the network sees of each training row: reader, book bias and counts without that row."""
    items = torch.from_numpy(shelves.item_idx.astype(np.int64))
    stars = torch.from_numpy(shelves.stars.astype(np.float32))
    left = (books.count[items] + config.book_shrinkage - 1).clamp(min=1e-9)
    bias = (books.bias[items] * (left + 1) - beyond) / left
    count = books.count[items] - 1
    alone = left <= 1e-9  # a book with this rating only, unshrunk: nothing is left of its bias
    bias = torch.where(alone, books.prior[items], bias)
    new = torch.rand(len(items), generator=torch.Generator().manual_seed(seed)) < config.new_book_share
    bias, count = torch.where(new, books.prior[items], bias), torch.where(new, 0.0, count)
    seen = config.n_seen(books.vectors.shape[1])
    n_rows, n_blocks = len(items), books.n_blocks
    pairs = Pairs(torch.empty(n_rows), torch.empty(n_rows, n_blocks), torch.empty(n_rows, config.n_inputs(books)))
    residuals = stars - books.mean - books.bias[items]
    for rows, readers, _ in leave_one_out(shelves, books.vectors, residuals, config.ridge):
        part = make_pairs(books, readers, items[rows], bias[rows], count[rows], seen)
        pairs.base[rows], pairs.gmf[rows], pairs.mlp[rows] = part.base, part.gmf, part.mlp
    return pairs

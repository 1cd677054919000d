"""Fitting the notebook's architectures.

All that is random is drawn in the notebook's order (weights, order of rows, dropout), so that the same random state
gives the same run (docs/models.md); batches beyond FAITHFUL_BATCH, which the notebook has not, take few passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from shelfwise.errors import FitError
from shelfwise.features.vectors import default_embedding
from shelfwise.models.bias import assert_ratings
from shelfwise.models.contract import FitInputs
from shelfwise.models.notebook import BookNetwork, NotebookConfig, NotebookModel, ReaderTable, draw_weights
from shelfwise.training.few_passes import few_passes
from shelfwise.training.loop import Task, pick_device
from shelfwise.training.pieces import by_pieces
from shelfwise.training.settings import Checkpoint, History, LoopSettings
from shelfwise.training.together import train_work
from shelfwise.training.validation import validation_error

FAITHFUL_BATCH = 1024


def fit_notebook(
    config: NotebookConfig, loop: LoopSettings, inputs: FitInputs, checkpoint: Checkpoint | None = None
) -> tuple[NotebookModel, History]:
    """A fitted model and its training history. Raises FitError, StoppedError."""
    assert_ratings(inputs)
    torch.manual_seed(inputs.seed)
    train = inputs.train
    content = None
    if config.kind == "hybrid":
        if inputs.features is None:
            raise FitError("hybrid needs what is known of the books", hint="fit it through shelfwise.train")
        content = torch.from_numpy(default_embedding(inputs.features))
    readers = ReaderTable(config, train.n_readers)
    books = BookNetwork(config, train.n_books, content)
    draw_weights(readers, books)
    counts = np.bincount(train.item_idx, minlength=train.n_books).astype(np.int32)
    model = NotebookModel(config, train.scale, books, readers, counts)
    user_idx, item_idx = (torch.from_numpy(idx.astype(np.int64)) for idx in (train.user_idx, train.item_idx))
    network = nn.ModuleDict({"readers": readers, "books": books})
    rows = (user_idx, item_idx, torch.from_numpy(train.stars))
    large = config.kind != "mf" and pick_device(loop).type == "cpu" and loop.batch_size > FAITHFUL_BATCH
    work = TablesWork(model, network, rows, len(train), inputs, by_hand=large)
    return model, train_work(work, loop, inputs, checkpoint)


@dataclass(frozen=True)
class TablesWork:
    """See together.Work. Rows are (reader, book, stars), of `n_rows` in all; gradients by few_passes or by autograd."""

    model: NotebookModel
    network: nn.ModuleDict
    rows: Sequence[Tensor]
    n_rows: int
    inputs: FitInputs | None
    by_hand: bool

    def holding(self, rows: Sequence[Tensor], inputs: FitInputs | None) -> TablesWork:
        """See together.Work."""
        return replace(self, rows=rows, inputs=inputs)

    def task(self, device: torch.device) -> Task:
        """See together.Work."""
        network = self.network.to(device)
        readers, books = network["readers"], network["books"]
        assert isinstance(readers, ReaderTable)
        assert isinstance(books, BookNetwork)
        rows = [values.to(device) for values in self.rows]

        def loss(places: Tensor) -> Tensor:
            users, items, given = (values.index_select(0, places) for values in rows)
            predicted: Tensor = books(readers(users), items)
            return (predicted - given).square().mean()

        error = None if self.inputs is None else validation_error(self.model, self.inputs, refold=True)

        def validate() -> float:
            loader_seed()  # the notebook shuffles its validation rows too
            assert error is not None
            return error()

        backward = few_passes(readers, books, rows) if self.by_hand else by_pieces(network, loss)
        return Task(network, backward, self.n_rows, validate if error else None, loader_seed)


def loader_seed() -> int:
    """The seed of an epoch's order, drawn from torch's random state as a DataLoader that shuffles draws it."""
    torch.empty((), dtype=torch.int64).random_()  # the seed of its workers
    return int(torch.empty((), dtype=torch.int64).random_())

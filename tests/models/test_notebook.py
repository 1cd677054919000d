"""The notebook's architectures: what the contract suite cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.models.notebook import BookNetwork, NotebookConfig, NotebookModel, ReaderTable, draw_weights


def test_new_readers_are_folded_in_on_the_device_of_the_network() -> None:
    """As in validation on a GPU. The device 'meta' is everywhere, and refuses only to give its numbers back."""
    config = NotebookConfig(kind="ncf", embedding_dim=4)
    books, readers = BookNetwork(config, 5, None).to("meta"), ReaderTable(config, 3).to("meta")
    model = NotebookModel(config, Scale(1, 5), books, readers, np.zeros(5, dtype=np.int32))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        model._fit_rows(Shelves.build([0, 1], [1, 2], [5, 3], 2))


def test_a_random_state_gives_the_weights_that_the_notebook_starts_from() -> None:
    """Drawn as torch does at construction, tables first; then the last layer, the tables and the MLP anew."""
    torch.manual_seed(7)
    config = NotebookConfig(kind="ncf", embedding_dim=4)
    readers, books = ReaderTable(config, 30), BookNetwork(config, 20, None)
    draw_weights(readers, books)

    torch.manual_seed(7)
    tables = [nn.Embedding(n, d) for n, d in ((30, 4), (20, 4), (30, 16), (20, 16))]
    mlp = [nn.Linear(width, width // 2) for width in (32, 16, 8)]
    last = nn.Linear(8, 1)
    nn.init.xavier_uniform_(last.weight)
    for table in tables:
        nn.init.normal_(table.weight, std=0.01)
    for layer in mlp:
        nn.init.xavier_uniform_(layer.weight)

    assert readers.mlp is not None
    assert books.mlp is not None
    assert books.mlp_book is not None
    drawn = [layer for layer in books.mlp if isinstance(layer, nn.Linear)]
    pairs = zip([readers.gmf, books.gmf, readers.mlp, books.mlp_book], tables, strict=True)
    assert all(torch.equal(ours.weight, theirs.weight) for ours, theirs in pairs)
    for ours, theirs in zip([*drawn, books.last], [*mlp, last], strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)

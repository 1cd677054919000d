"""The notebook's architectures: what the contract suite cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from worlds import checkerboard

from shelfwise.data.ratings import Ratings
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.features.vectors import default_embedding
from shelfwise.models.contract import FitInputs
from shelfwise.models.notebook import BookNetwork, NotebookConfig, NotebookModel, ReaderTable, draw_weights
from shelfwise.models.registry import model_config
from shelfwise.training.few_passes import few_passes
from shelfwise.training.notebook import fit_notebook
from shelfwise.training.pieces import Backward
from shelfwise.training.recipes import loop_settings


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


class PlainNCF(nn.Module):
    """The notebook's NCF, or its hybrid where there is content, as one writes it."""

    def __init__(self, n_readers: int, n_books: int, dim: int, content: Tensor | None) -> None:
        super().__init__()
        sizes = ((n_readers, dim), (n_books, dim), (n_readers, 4 * dim), (n_books, 4 * dim))
        self.tables = nn.ModuleList([nn.Embedding(*size) for size in sizes])
        layers: list[nn.Module] = []
        for drop, width in ((0.5, 8 * dim), (0.3, 4 * dim), (0.3, 2 * dim)):
            layers += [nn.Dropout(drop), nn.Linear(width, width // 2), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.content = content
        self.last = nn.Linear(2 * dim + (0 if content is None else content.shape[1]), 1)
        nn.init.xavier_uniform_(self.last.weight)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.01)
        for layer in layers[1::3]:
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, users: Tensor, books: Tensor) -> Tensor:
        parts = [self.tables[0](users) * self.tables[1](books)]
        parts.append(self.mlp(torch.cat([self.tables[2](users), self.tables[3](books)], -1)))
        if self.content is not None:
            parts.insert(0, self.content[books])
        return self.last(torch.cat(parts, -1)).view(-1)


def plain_loop(model: PlainNCF, inputs: FitInputs, epochs: int, batch_size: int) -> list[float]:
    """The notebook's loop: validation error after each epoch."""

    def loader(part: Ratings) -> DataLoader[tuple[Tensor, ...]]:
        columns = (part.user_idx.astype(np.int64), part.item_idx.astype(np.int64), part.stars)
        return DataLoader(TensorDataset(*map(torch.from_numpy, columns)), batch_size=batch_size, shuffle=True)

    assert inputs.valid is not None
    train, valid = loader(inputs.train), loader(inputs.valid)
    optimiser: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    errors = []
    for epoch in range(epochs):
        model.train()
        if epoch == 1:
            optimiser = torch.optim.SGD(model.parameters(), lr=5e-4)
        for users, books, stars in train:
            optimiser.zero_grad()
            nn.functional.mse_loss(model(users, books), stars).backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            squared = [(model(users, books).clamp(1, 5) - stars).square() for users, books, stars in valid]
        errors.append(float(torch.cat(squared).mean()))
    return errors


@pytest.mark.parametrize("kind", ["ncf", "hybrid"])
def test_a_random_state_gives_the_run_that_the_notebook_has(kind: str) -> None:
    """Weights, order of rows in each epoch, dropout: all of a whole training is drawn alike."""
    inputs = checkerboard(60, 30, seed=5)
    settings = {"embedding_dim": 4}
    config = model_config(kind, "notebook", settings)
    loop = loop_settings(config, {"batch_size": 16, "epochs": 3})
    assert isinstance(config, NotebookConfig)
    _, history = fit_notebook(config, loop, inputs)

    assert inputs.features is not None
    content = torch.from_numpy(default_embedding(inputs.features)) if kind == "hybrid" else None
    torch.manual_seed(inputs.seed)
    errors = plain_loop(PlainNCF(60, 30, 4, content), inputs, 3, 16)
    assert [entry["valid_mse"] for entry in history] == pytest.approx(errors, rel=1e-4)


def test_large_batches_go_by_few_passes_and_repeat_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run at 1,024 and below, which is the notebook's, must not take that path."""
    calls: list[int] = []

    def counted(readers: ReaderTable, books: BookNetwork, rows: list[Tensor]) -> Backward:
        calls.append(len(rows))
        return few_passes(readers, books, rows)

    monkeypatch.setattr("shelfwise.training.notebook.few_passes", counted)
    inputs = checkerboard(60, 30, seed=5)
    config = model_config("hybrid", "notebook", {"embedding_dim": 4})
    assert isinstance(config, NotebookConfig)
    loop = loop_settings(config, {"batch_size": 1025, "epochs": 3, "adam_epochs": 2})
    (first, history), (second, again) = (fit_notebook(config, loop, inputs) for _ in range(2))
    assert calls
    assert [entry["valid_mse"] for entry in history] == [entry["valid_mse"] for entry in again]
    for mine, theirs in zip(first.books.state_dict().values(), second.books.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    calls.clear()
    fit_notebook(config, loop_settings(config, {"batch_size": 1024, "epochs": 1}), inputs)
    plain = model_config("mf", "notebook", {"embedding_dim": 4})
    assert isinstance(plain, NotebookConfig)
    fit_notebook(plain, loop_settings(plain, {"batch_size": 1025, "epochs": 1}), inputs)
    assert not calls

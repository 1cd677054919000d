"""The three architectures of the source notebook, as they were: mf, ncf and hybrid with `--recipe notebook`.

    mf      Linear(p_u * q_i)
    ncf     Linear([p_u * q_i, MLP([p'_u, q'_i])])                    NeuMF (He et al., WWW 2017)
    hybrid  Linear([content_i, p_u * q_i, MLP([p'_u, q'_i])])         content enters the last layer only

Embeddings start at N(0, 0.01), layers at Xavier's uniform; the MLP halves its width layer by layer, with dropout before
each. Here for comparison: the default recipes of the same names do far better (docs/models.md).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Arrays, Model, Readers, Rows

PAIRS_AT_ONCE = 65_536
FOLD_IN_STEPS = 75
FOLD_IN_RATE = 0.05


class NotebookConfig(ModelConfig):
    """The notebook's sizes: embedding_dim for GMF, and 2 ** (layers - 1) times that for the MLP."""

    loop: ClassVar[dict[str, Any]] = {
        "epochs": 6,
        "batch_size": 256,
        "patience": 6,
        "optimiser": "sgd",
        "learning_rate": 5e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
        "adam_epochs": 1,
        "adam_learning_rate": 1e-3,
    }
    kind: Literal["mf", "ncf", "hybrid"]
    recipe: Literal["notebook"] = "notebook"
    embedding_dim: Annotated[int, Field(ge=1)] = 32
    layers: Annotated[int, Field(ge=1)] = 3
    first_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    fold_in_l2: Annotated[float, Field(ge=0)] = 0.02

    @property
    def mlp_dim(self) -> int:
        """Length of a reader's or book's embedding in the MLP."""
        return self.embedding_dim << (self.layers - 1)


class ReaderTable(nn.Module):
    """The parameters of readers: a row each in a GMF and, but for mf, an MLP embedding."""

    def __init__(self, config: NotebookConfig, n_readers: int) -> None:
        super().__init__()
        self.gmf = nn.Embedding(n_readers, config.embedding_dim)
        self.mlp = None if config.kind == "mf" else nn.Embedding(n_readers, config.mlp_dim)

    def forward(self, user_idx: Tensor) -> dict[str, Tensor]:
        """The rows of B readers, by path."""
        rows = {"gmf": self.gmf(user_idx)}
        return rows if self.mlp is None else rows | {"mlp": self.mlp(user_idx)}


class BookNetwork(nn.Module):
    """Everything that is not about single readers: book embeddings, the MLP, the last layer."""

    content: Tensor | None

    def __init__(self, config: NotebookConfig, n_books: int, content: Tensor | None) -> None:
        super().__init__()
        self.gmf = nn.Embedding(n_books, config.embedding_dim)
        self.mlp_book = self.mlp = None
        n_inputs = config.embedding_dim
        if config.kind != "mf":
            self.mlp_book = nn.Embedding(n_books, config.mlp_dim)
            layers: list[nn.Module] = []
            width = 2 * config.mlp_dim
            for place in range(config.layers):
                drop = config.first_dropout if place == 0 else config.dropout
                layers += [nn.Dropout(drop), nn.Linear(width, width // 2), nn.ReLU()]
                width //= 2
            self.mlp = nn.Sequential(*layers)
            n_inputs += width
        self.register_buffer("content", content)
        n_content = 0 if content is None else content.shape[1]
        self.path_widths = [n_content, config.embedding_dim, n_inputs - config.embedding_dim]
        self.last = nn.Linear(n_inputs + n_content, 1)

    def forward(self, readers: dict[str, Tensor], item_idx: Tensor) -> Tensor:
        """Stars [B] of B pairs: rows of readers by path, and book indices."""
        content, gmf, mlp = torch.split(self.last.weight[0], self.path_widths)
        stars: Tensor = (readers["gmf"] * self.gmf(item_idx)) @ gmf + self.last.bias
        if self.content is not None:
            stars = stars + self.content.index_select(0, item_idx) @ content
        if self.mlp is not None and self.mlp_book is not None:
            stars = stars + self.mlp(torch.cat([readers["mlp"], self.mlp_book(item_idx)], -1)) @ mlp
        return stars

    def all_books(self, readers: dict[str, Tensor]) -> Tensor:
        """What forward gives for U readers and every book, [U, I], with each half of the first layer done once."""
        content, gmf, mlp = torch.split(self.last.weight[0], self.path_widths)
        stars: Tensor = (readers["gmf"] * gmf) @ self.gmf.weight.T + self.last.bias
        if self.content is not None:
            stars = stars + self.content @ content
        if self.mlp is not None and self.mlp_book is not None:
            _, first, *others = self.mlp
            assert isinstance(first, nn.Linear)
            mine, theirs = first.weight.tensor_split(2, dim=1)
            hidden = (readers["mlp"] @ mine.T)[:, None] + self.mlp_book.weight @ theirs.T + first.bias
            for layer in others:
                hidden = layer(hidden)
            stars = stars + hidden @ mlp
        return stars


def draw_weights(readers: ReaderTable, books: BookNetwork) -> None:
    """Draw all weights anew: embeddings N(0, 0.01), layers Xavier's uniform; biases stay as torch drew them.

    In the notebook's order, so that the same random state gives the weights that it starts from.
    """
    nn.init.xavier_uniform_(books.last.weight)
    for table in (readers.gmf, books.gmf, readers.mlp, books.mlp_book):
        if table is not None:
            nn.init.normal_(table.weight, std=0.01)
    for layer in books.mlp or ():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)


class NotebookModel(Model):
    """A fitted notebook network: book side, and the table of the readers in training."""

    kind: ClassVar[str] = "notebook"

    def __init__(
        self, config: NotebookConfig, scale: Scale, books: BookNetwork, readers: ReaderTable, book_counts: Indices
    ) -> None:
        self.config: NotebookConfig = config
        self.kind = config.kind  # type: ignore[misc]
        self.scale = scale
        self.books = books.eval()
        self.readers = readers.eval()
        self.book_counts = book_counts

    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """Trained rows where the shelf is unchanged; else rows fitted to the shelf by FOLD_IN_STEPS of Adam."""
        trained = np.full(len(shelves), -1, dtype=np.int64) if trained_idx is None else trained_idx.astype(np.int64)
        with torch.no_grad():
            found = self.readers(torch.from_numpy(np.maximum(trained, 0)).to(self._device))
            rows = {name: value.cpu().clone() for name, value in found.items()}
        fresh = np.flatnonzero(trained < 0)
        if len(fresh):
            fitted = self._fit_rows(shelves.take(fresh))
            for name, value in fitted.items():
                rows[name][torch.from_numpy(fresh)] = value
        return Readers(shelves, {name: value.numpy() for name, value in rows.items()})

    @property
    def _device(self) -> torch.device:
        return self.books.last.weight.device

    def _fit_rows(self, shelves: Shelves) -> dict[str, Tensor]:
        """Reader rows that fit their shelves, from zero, against frozen books; each reader's loss is its own."""
        sizes = {"gmf": self.config.embedding_dim, "mlp": self.config.mlp_dim}
        names = ("gmf",) if self.config.kind == "mf" else ("gmf", "mlp")
        rows = {name: torch.zeros(len(shelves), sizes[name], device=self._device, requires_grad=True) for name in names}
        if not len(shelves.item_idx):
            return {name: value.detach().cpu() for name, value in rows.items()}
        who = torch.from_numpy(shelves.rows).to(self._device)
        books = torch.from_numpy(shelves.item_idx.astype(np.int64)).to(self._device)
        stars = torch.from_numpy(shelves.stars.astype(np.float32)).to(self._device)
        optimiser = torch.optim.Adam(rows.values(), FOLD_IN_RATE)
        with torch.enable_grad():
            for _ in range(FOLD_IN_STEPS):
                optimiser.zero_grad()
                error = self.books({name: value[who] for name, value in rows.items()}, books) - stars
                loss = error.square().sum() + sum(self.config.fold_in_l2 * v.square().sum() for v in rows.values())
                grads = torch.autograd.grad(loss, list(rows.values()))
                for value, grad in zip(rows.values(), grads, strict=True):
                    value.grad = grad
                optimiser.step()
        return {name: value.detach().cpu() for name, value in rows.items()}

    @torch.inference_mode()
    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        stars = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            stars[part] = self._predict(readers, rows[part], item_idx[part])
        return self.scale.clip(stars)

    @torch.inference_mode()
    def scores(self, readers: Readers) -> Floats:
        """Unclipped stars over the whole catalogue."""
        scores = np.empty((len(readers), len(self.book_counts)), dtype=np.float32)
        step = max(1, PAIRS_AT_ONCE // max(len(self.book_counts), 1))
        for start in range(0, len(readers), step):
            block = {n: torch.from_numpy(v[start : start + step]).to(self._device) for n, v in readers.arrays.items()}
            scores[start : start + step] = self.books.all_books(block).cpu().numpy()
        return scores

    def _predict(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        """Unclipped stars; a book that is not in the catalogue gets the last layer's bias."""
        states = {name: torch.from_numpy(value[rows]).to(self._device) for name, value in readers.arrays.items()}
        books = torch.from_numpy(np.maximum(item_idx, 0).astype(np.int64)).to(self._device)
        predicted: Floats = self.books(states, books).cpu().numpy()
        unknown = item_idx < 0
        if unknown.any():
            predicted[unknown] = self.books.last.bias.item()
        return predicted

    def book_state(self) -> Arrays:
        state = {f"books.{name}": value.numpy() for name, value in self.books.state_dict().items()}
        return state | {"book_counts": self.book_counts}

    def reader_state(self) -> Arrays:
        return {name: value.numpy() for name, value in self.readers.state_dict().items()}

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        config = NotebookConfig.model_validate(config.model_dump())
        state = {name: torch.from_numpy(np.array(value)) for name, value in book_state.items()}
        counts = book_state["book_counts"]
        books = BookNetwork(config, len(counts), state.get("books.content"))
        books.load_state_dict({k.removeprefix("books."): v for k, v in state.items() if k != "book_counts"})
        readers = ReaderTable(config, len(reader_state["gmf.weight"]))
        readers.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in reader_state.items()})
        return cls(config, scale, books, readers, counts)

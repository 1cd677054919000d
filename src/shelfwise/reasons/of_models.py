"""Explanations of the models that add up: biases, neighbours, co-reading and NeuMF."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch.nn.functional import normalize as unit

from shelfwise.data.shelves import Floats, Indices
from shelfwise.models.bias import Bias
from shelfwise.models.contract import Readers
from shelfwise.models.coreading import Coreading
from shelfwise.models.hybrid import HybridConfig
from shelfwise.models.item_knn import ItemKNN
from shelfwise.models.neumf import NeuMF
from shelfwise.models.profiles import ridge_influence
from shelfwise.reasons.explanation import Explanation, explain, stars_of, without_each


@explain.register
def _(model: Bias, readers: Readers, row: int, books: Indices) -> Explanation:
    shelf = readers.shelves.take([row])
    beyond = shelf.stars - model.mean - model.book_bias[shelf.item_idx]
    level = beyond / np.maximum(len(beyond) + model.config.reader_shrinkage, 1e-9)
    return Explanation(
        books=books,
        shelf=shelf,
        predict=partial(stars_of, model, readers, row, books),
        mean=np.full(len(books), model.mean, dtype=np.float32),
        book=np.where(books >= 0, model.book_bias[books], 0).astype(np.float32),
        contributions=np.tile(level.astype(np.float32), (len(books), 1)),
        links={},
    )


@without_each.register
def _(model: Bias, readers: Readers, row: int, books: Indices) -> Floats:
    shelf = readers.shelves.take([row])
    beyond = shelf.stars - model.mean - model.book_bias[shelf.item_idx]
    level = (beyond.sum() - beyond) / np.maximum(len(beyond) - 1 + model.config.reader_shrinkage, 1e-9)
    book = np.where(books >= 0, model.book_bias[books], 0)
    return model.scale.clip((model.mean + book[:, None] + level).astype(np.float32))


@explain.register
def _(model: ItemKNN, readers: Readers, row: int, books: Indices) -> Explanation:
    one = readers.take([row])
    biases = explain(model.bias, one, 0, books)
    alike = model.weights[np.maximum(books, 0)][:, one.shelves.item_idx].toarray() * (books >= 0)[:, None]
    pull = alike * model.bias.residuals(one) / (alike.sum(axis=1, keepdims=True) + model.config.weight_shrinkage)
    return Explanation(
        books, one.shelves, partial(stars_of, model, readers, row, books), biases.mean, biases.book,
        biases.contributions + pull.astype(np.float32), {"readers": np.sqrt(alike)},
    )  # fmt: skip


@explain.register
def _(model: Coreading, readers: Readers, row: int, books: Indices) -> Explanation:
    """Stars as the bias model's; the list is what each rating adds to the score."""
    biases = explain(model.bias, readers, row, books)
    found = model.matrix[biases.shelf.item_idx][:, np.maximum(books, 0)]
    score = np.asarray(found if isinstance(found, np.ndarray) else found.toarray(), dtype=np.float32).T
    score = score * (books >= 0)[:, None]
    return Explanation(
        books, biases.shelf, biases.predict, biases.mean, biases.book, biases.contributions,
        {}, score,
    )  # fmt: skip


@explain.register
def _(model: NeuMF, readers: Readers, row: int, books: Indices) -> Explanation:
    """The reader's vector and bias are linear in the ratings, and so is the GMF path; the MLP is the remainder."""
    shelf = readers.shelves.take([row])
    side, known = model.books, torch.from_numpy(books >= 0)
    rated, wanted = (torch.from_numpy(i.astype(np.int64)) for i in (shelf.item_idx, np.maximum(books, 0)))
    beyond = torch.from_numpy(shelf.stars.astype(np.float32)) - side.mean - side.bias[rated]
    vector, level = ridge_influence(side.vectors[rated], model.config.ridge)
    theirs = side.vectors[wanted] * known[:, None]
    with torch.no_grad():
        moved = beyond * (level + (theirs * model.network.gmf[side.blocks]) @ vector.T)
    return Explanation(
        books, shelf, partial(stars_of, model, readers, row, books), np.full(len(books), side.mean, dtype=np.float32),
        (side.bias[wanted] * known).numpy(), moved.numpy(), _ties(model, rated, theirs),
    )  # fmt: skip


def _ties(model: NeuMF, rated: torch.Tensor, theirs: torch.Tensor) -> dict[str, Floats]:
    """What rated books and M others have in common, by name."""
    mine, config = model.books.vectors[rated], model.config
    if not isinstance(config, HybridConfig):
        return {"readers": (unit(theirs) @ unit(mine).T).clamp(min=0).numpy()}
    codes = config.author_dim + config.series_dim
    places = {"tags": slice(None, -codes), "author": slice(-codes, -config.series_dim)}
    places["series"] = slice(-config.series_dim, None)
    ties = {}
    for name, place in places.items():
        alike = (unit(theirs[:, place]) @ unit(mine[:, place]).T).clamp(min=0)
        ties[name] = (alike if name == "tags" else alike * (alike > 0.99)).numpy()  # codes of the same name are equal
    return ties

"""Explanations of the shelf model.

With K the kernel of the shelf, k that of the shelf and a book, and y the residuals, the Gaussian process adds
k (K + noise I)^-1 y to the book's own stars: a sum over ratings. The star head is the remainder. Without rating j the
weights a = (K + noise I)^-1 y are a - C_j a_j / C_jj, C = (K + noise I)^-1 (Rasmussen and Williams, 2006, eq. 5.12), so
that what the head would say can be worked out for all ratings at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Model, Readers
from shelfwise.models.evidence import ShelfSide, shelf_evidence
from shelfwise.models.long_shelves import shortened
from shelfwise.models.shelf import OrdinalBias, Shelf
from shelfwise.models.similarity import kernel, similarities, system
from shelfwise.reasons.explanation import Explanation, explain, stars_of, without_each


@dataclass(frozen=True)
class _Posterior:
    """One reader met by M books: which L ratings of the shelf the model looks at, their places [L]; parts of k
    [P, M, L], residuals y [L], the Cholesky factor of K + noise I [L, L]."""

    kept: Indices
    parts: Tensor
    y: Tensor
    factor: Tensor


def _posterior(model: Shelf, shelf: Shelves, books: Indices) -> _Posterior:
    short = shelf if isinstance(model, OrdinalBias) else shortened(shelf, model.config.longest_shelf)
    kept = np.searchsorted(shelf.item_idx, short.item_idx).astype(np.int32)
    items, y = model.residuals(short)
    *_, factor = system(
        model.books.traits, model.config.kernel, items[None], torch.ones(1, len(items), dtype=torch.bool)
    )
    wanted = torch.from_numpy(np.maximum(books, 0).astype(np.int64))
    parts = similarities(model.books.traits, model.config.kernel, wanted[None], items[None])[:, 0]
    return _Posterior(kept, parts * torch.from_numpy(books >= 0)[:, None], y, factor[0])


@explain.register
@torch.inference_mode()
def _(model: Shelf, readers: Readers, row: int, books: Indices) -> Explanation:
    shelf = readers.shelves.take([row])
    met = _posterior(model, shelf, books)
    weights = model.config.kernel
    moved = torch.cholesky_solve(kernel(met.parts, weights).T, met.factor).T * met.y
    contributions = _of_whole_shelf(moved, met.kept, shelf)
    about, close = weights.parts()[:2, None, None] * met.parts[:2]
    tags = (about + close) / max(weights.about + weights.close, 1e-9)
    ties = {"series": met.parts[3], "author": met.parts[2], "tags": tags, "readers": met.parts[4]}
    book = np.where(books >= 0, model.books.bias.numpy()[books], 0).astype(np.float32)
    return Explanation(
        books=books,
        shelf=shelf,
        predict=partial(stars_of, model, readers, row, books),
        mean=np.full(len(books), float(model.books.mean), dtype=np.float32),
        book=book,
        contributions=contributions,
        links={name: _of_whole_shelf(tie, met.kept, shelf) for name, tie in ties.items()},
        pickup=None if isinstance(model, OrdinalBias) else _pickup(model, shelf, books),
    )


def _of_whole_shelf(values: Tensor, kept: Indices, shelf: Shelves) -> Floats:
    """[M, kept] -> float32 [M, L]: 0 for ratings that the model does not look at."""
    whole = np.zeros((len(values), len(shelf.item_idx)), dtype=np.float32)
    whole[:, kept] = values.numpy()
    return whole


def _pickup(model: Shelf, shelf: Shelves, books: Indices) -> Floats:
    """What each rating adds to the score by which candidates are proposed, float32 [M, L]."""
    found = model.pickup[shelf.item_idx][:, np.maximum(books, 0)].toarray().T
    scores: Floats = (found * (books >= 0)[:, None]).astype(np.float32)
    return scores


@without_each.register
@torch.inference_mode()
def _(model: Shelf, readers: Readers, row: int, books: Indices) -> Floats:
    """In closed form, but for a shelf that is cut, where another rating would take the place."""
    shelf = readers.shelves.take([row])
    n = len(shelf.item_idx)
    if n > model.config.longest_shelf:
        return without_each.dispatch(Model)(model, readers, row, books)
    met = _posterior(model, shelf, books)
    inverse = torch.cholesky_inverse(met.factor)
    a = inverse @ met.y
    left = a - inverse * (a / inverse.diagonal())[:, None]  # row j: the weights without rating j
    steps = torch.from_numpy(model.scale.steps(shelf.stars))
    others = 1 - torch.eye(n)
    found = np.empty((len(books), n), dtype=np.float32)
    for place, book in enumerate(books):  # one at a time: evidence takes L x L numbers for each part
        parts = met.parts[:, place, None].expand(-1, n, -1)
        side = ShelfSide(parts, left, met.y.expand(n, -1), steps.expand(n, -1), others)
        numbers = shelf_evidence(side, model.config.kernel, len(model.scale.values))
        base, evidence = model.beside_books(numbers, torch.full((n,), int(book)))
        found[place] = model.star_head(base, evidence).exp().numpy() @ model.scale.values
    return model.scale.clip(found)

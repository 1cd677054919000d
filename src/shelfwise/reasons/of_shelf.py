"""Explanations of the shelf model.

With K the kernel of the shelf, k that of the shelf and a book, and y the residuals, the Gaussian process adds
k (K + noise I)^-1 y to the book's own stars: a sum over ratings. The star head is the remainder. Without rating j the
weights a = (K + noise I)^-1 y are a - C_j a_j / C_jj, C = (K + noise I)^-1 (Rasmussen and Williams, 2006, eq. 5.12), so
that what the head would say can be worked out for all ratings at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Model, Readers
from shelfwise.models.evidence import ShelfSide, shelf_evidence
from shelfwise.models.long_shelves import shortened
from shelfwise.models.ordinal_bias import OrdinalBias
from shelfwise.models.shelf import Shelf
from shelfwise.models.similarity import batches, kernel, padded, similarities, system
from shelfwise.reasons.explanation import Explanation, explain, explain_lists, stars_of, without_each


@dataclass(frozen=True)
class _Posterior:
    """One reader met by M books: which L ratings of the shelf the model looks at, their places [L]; parts of k
    [P, M, L], residuals y [L], the Cholesky factor of K + noise I [L, L], the stars that each rating adds [M, L]."""

    kept: Indices
    parts: Tensor
    y: Tensor
    factor: Tensor
    moved: Tensor


def _posteriors(model: Shelf, readers: Readers, books: Indices) -> Iterator[tuple[int, _Posterior]]:
    """Of U readers and M books each, int32 [U, M], with the reader's row. Shelves of like length are met together."""
    shelves, factors = readers.shelves, readers.arrays.get("factors")
    short = shelves if isinstance(model, OrdinalBias) else shortened(shelves, model.config.longest_shelf)
    traits, weights = model.books.traits, model.config.kernel
    kept = (np.flatnonzero(shelves.among(short)) - np.repeat(shelves.indptr[:-1], short.lengths)).astype(np.int32)
    items, y = model.residuals(short)
    known = torch.from_numpy(books >= 0)
    wanted = torch.from_numpy(np.maximum(books, 0).astype(np.int64))
    empty = padded(short, np.flatnonzero(short.lengths == 0), 0)
    for batch in [*batches(short), *([empty] if len(empty.readers) else [])]:
        here, shelf, beyond = torch.from_numpy(batch.readers), items[batch.places], y[batch.places] * batch.real
        if factors is None:
            *_, factor = system(traits, weights, shelf, batch.real)
        else:
            longest = shelf.shape[1]
            factor = torch.from_numpy(factors[batch.readers, :longest, :longest])
        parts = similarities(traits, weights, wanted[here], shelf) * known[here][..., None]
        moved = torch.cholesky_solve(kernel(parts, weights).mT, factor).mT * beyond[:, None]
        for place, row in enumerate(batch.readers.tolist()):
            n, at = int(short.lengths[row]), slice(*short.indptr[row : row + 2].tolist())
            mine = parts[:, place, :, :n], beyond[place, :n], factor[place, :n, :n], moved[place, :, :n]
            yield row, _Posterior(kept[at], *mine)


@explain_lists.register
@torch.inference_mode()
def _(model: Shelf, readers: Readers, lists: Indices) -> list[Explanation]:
    picked = _pickup(model, readers.shelves, lists)
    found = {  # one after the other, since of long shelves the factors are large
        row: _explanation(model, readers, row, lists[row], met, picked[row])
        for row, met in _posteriors(model, readers, lists)
    }
    return [found[row] for row in range(len(readers))]


@explain.register
@torch.inference_mode()
def _(model: Shelf, readers: Readers, row: int, books: Indices) -> Explanation:
    one = readers.take([row])
    ((_, met),), (picked,) = _posteriors(model, one, books[None]), _pickup(model, one.shelves, books[None])
    return _explanation(model, readers, row, books, met, picked)


def _explanation(
    model: Shelf, readers: Readers, row: int, books: Indices, met: _Posterior, picked: Floats | None
) -> Explanation:
    shelf, weights = readers.shelves.take([row]), model.config.kernel
    about, close = weights.parts()[:2, None, None] * met.parts[:2]
    tags = (about + close) / max(weights.about + weights.close, 1e-9)
    ties = {"series": met.parts[3], "author": met.parts[2], "tags": tags, "readers": met.parts[4]}
    return Explanation(
        books=books,
        shelf=shelf,
        predict=partial(stars_of, model, readers, row, books),
        mean=np.full(len(books), float(model.books.mean), dtype=np.float32),
        book=np.where(books >= 0, model.books.bias.numpy()[books], 0).astype(np.float32),
        contributions=_of_whole_shelf(met.moved, met.kept, shelf),
        links={name: _of_whole_shelf(tie, met.kept, shelf) for name, tie in ties.items()},
        pickup=picked,
    )


def _of_whole_shelf(values: Tensor, kept: Indices, shelf: Shelves) -> Floats:
    """[M, kept] -> float32 [M, L]: 0 for ratings that the model does not look at."""
    if len(kept) == len(shelf.item_idx):
        return values.numpy()
    whole = np.zeros((len(values), len(shelf.item_idx)), dtype=np.float32)
    whole[:, kept] = values.numpy()
    return whole


def _pickup(model: Shelf, shelves: Shelves, books: Indices) -> Sequence[Floats | None]:
    """What each of a reader's ratings adds to the score by which candidates are proposed, float32 [M, L] each."""
    n_readers, n_books = books.shape
    if isinstance(model, OrdinalBias):
        return [None] * n_readers
    rated, wanted = np.repeat(shelves.item_idx, n_books), np.maximum(books, 0)[shelves.rows].ravel()
    found = np.asarray(model.pickup[rated, wanted] if len(rated) else rated, dtype=np.float32)
    found = found.reshape(len(shelves.item_idx), n_books) * (books >= 0)[shelves.rows]
    return [found[slice(*shelves.indptr[row : row + 2])].T for row in range(n_readers)]


@without_each.register
@torch.inference_mode()
def _(model: Shelf, readers: Readers, row: int, books: Indices) -> Floats:
    """In closed form, but for a shelf that is cut, where another rating would take the place."""
    shelf = readers.shelves.take([row])
    n = len(shelf.item_idx)
    if n > model.config.longest_shelf:
        return without_each.dispatch(Model)(model, readers, row, books)
    ((_, met),) = _posteriors(model, readers.take([row]), books[None])
    inverse = torch.cholesky_inverse(met.factor)
    a = inverse @ met.y
    left = a - inverse * (a / inverse.diagonal())[:, None]  # row j: the weights without rating j
    steps = torch.from_numpy(model.scale.steps(shelf.stars))
    of_shelf = [left[:, None], met.y.expand(n, 1, n), steps.expand(n, 1, n), 1 - torch.eye(n)[:, None]]
    found = np.empty((len(books), n), dtype=np.float32)
    for place, book in enumerate(books):  # one at a time: evidence takes L x L numbers for each part
        side = ShelfSide(met.parts[:, place, None, None].expand(-1, n, -1, -1), *of_shelf)
        numbers = shelf_evidence(side, model.config.kernel, len(model.scale.values))
        base, evidence = model.beside_books(numbers, torch.full((n,), int(book)))
        found[place] = model.scale.expected(model.star_head(base, evidence).exp().numpy())
    return found

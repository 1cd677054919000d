"""What readers' other ratings say of each rating, block of readers by block: what the shelf model learns from.

Every function of a block here may run on another machine; nothing in a block depends on another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.evidence import (
    ShelfSide,
    ShelfSums,
    book_evidence,
    level_evidence,
    n_shelf_numbers,
    shelf_evidence,
    sums_of_shelves,
)
from shelfwise.models.shelf import ShelfConfig
from shelfwise.models.shelf_books import ShelfBooks
from shelfwise.models.similarity import PARTS, BookTraits, KernelWeights, batches, system

BLOCK = 4096  # readers
LEARNED_PARTS = [PARTS.index("coreading")]  # which a book has only once it was read
ABOUT_PARTS = [PARTS.index(name) for name in ("about", "close")]

Left = tuple[ShelfSide, Tensor, Tensor, Tensor]


def spans(shelves: Shelves) -> Iterator[tuple[Shelves, slice, slice]]:
    """The readers in blocks, with the places of each block's readers, and of its ratings, among all."""
    for start in range(0, len(shelves), BLOCK):
        block = shelves.span(start, start + BLOCK)
        first = int(shelves.indptr[start])
        yield block, slice(start, start + len(block)), slice(first, first + len(block.item_idx))


@dataclass(frozen=True)
class Sweep:
    """What is known of the books so far: traits, mean and biases [I], and how readers are seen."""

    traits: BookTraits
    config: ShelfConfig
    scale: Scale
    mean: float
    bias: Tensor


@dataclass(frozen=True)
class Asked:
    """A block of U readers, and of which of them each rating is wanted beside the sums, bool [U]."""

    shelves: Shelves
    each_of: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Unexplained:
    """How far ratings lie beyond mean, book bias and what their reader's other ratings say, in stars: the sum of each
    book that was rated (books, int32 [B], and sums, float32 [B]), and each rating of some readers, float32."""

    books: Indices
    sums: Floats
    each: Floats


def unexplained(sweep: Sweep, asked: Asked) -> Unexplained:
    """What a block's readers say of the books."""
    shelves = asked.shelves
    items, stars = _ratings(shelves)
    residuals = stars - sweep.mean - sweep.bias[items]
    if sweep.config.content:
        beyond = np.zeros(len(items), dtype=np.float32)
        for _, at, _, left in leave_one_out(shelves, sweep.traits, sweep.config.kernel, residuals):
            beyond[at.numpy()] = left.numpy()
    else:
        level = level_of_others(shelves, sweep.config.kernel, residuals, sweep.scale)[:, 0]
        beyond = (residuals - level).numpy()
    books, place = np.unique(shelves.item_idx, return_inverse=True)
    sums = np.bincount(place, beyond, len(books)).astype(np.float32)
    return Unexplained(books, sums, beyond[np.repeat(asked.each_of, shelves.lengths)])


@dataclass(frozen=True)
class Shown:
    """The books as they are learned, for rows_shown."""

    books: ShelfBooks
    config: ShelfConfig
    scale: Scale

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        n_values = len(self.scale.values)
        return n_shelf_numbers(n_values) + 3 + n_values + self.books.outside.shape[1]


@dataclass(frozen=True)
class Drawn:
    """A block's readers, and how the book of each rating is shown, [N] each: its bias and prior without the rating,
    whether as a new one, and whether as one of which only author, series and year are known."""

    shelves: Shelves
    bias: Tensor
    prior: Tensor
    new: Tensor
    bare: Tensor


def rows_shown(shown: Shown, drawn: Drawn) -> tuple[Floats, Floats]:
    """Base stars [N] and numbers [N, F] of each rating, as they would be without it; float32."""
    books, kernel, n_values = shown.books, shown.config.kernel, len(shown.scale.values)
    items, stars = _ratings(drawn.shelves)
    steps = torch.from_numpy(shown.scale.steps(drawn.shelves.stars))
    residuals = stars - books.mean - books.bias[items]
    if shown.config.content:
        parts = _evidence(leave_one_out(drawn.shelves, books.traits, kernel, residuals, steps), drawn, kernel, n_values)
    else:
        parts = iter([(torch.arange(len(items)), level_of_others(drawn.shelves, kernel, residuals, shown.scale))])
    base, numbers = torch.empty(len(items)), torch.empty(len(items), shown.width)
    for at, of_shelf in parts:
        fresh, book = drawn.new[at], items[at]
        own = torch.nn.functional.one_hot(steps[at], n_values)
        of_book = book_evidence(
            (drawn.bias[at], drawn.prior[at], torch.where(fresh, 0.0, books.count[book] - 1)),
            (books.histogram[book] - own) * ~fresh[:, None],
            books.usual,
            books.outside[book] * ~fresh[:, None],
        )
        numbers[at] = torch.cat([of_shelf, of_book], 1)
        base[at] = books.mean + drawn.bias[at] + of_shelf[:, 0]
    return base.numpy(), numbers.numpy()


def _evidence(
    sides: Iterator[Left], drawn: Drawn, kernel: KernelWeights, n_values: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Places and shelf_evidence of ratings, without what a shelf cannot say of books that are new or bare."""
    for side, at, _, _ in sides:
        side.parts[LEARNED_PARTS] *= ~drawn.new[at][:, None, None]
        side.parts[ABOUT_PARTS] *= ~drawn.bare[at][:, None, None]
        yield at, shelf_evidence(side, kernel, n_values)


def _ratings(shelves: Shelves) -> tuple[Tensor, Tensor]:
    """Books, int64 [N], and stars, float32 [N]."""
    return torch.from_numpy(shelves.item_idx.astype(np.int64)), torch.from_numpy(shelves.stars.astype(np.float32))


def leave_one_out(
    shelves: Shelves, traits: BookTraits, weights: KernelWeights, residuals: Tensor, steps: Tensor | None = None
) -> Iterator[Left]:
    """For each rating its reader's other ratings, and what these say, in batches of ratings.

    Yields (the shelf without the rating; places of the ratings [R]; books [R]; stars unexplained [R]). The shelf is
    complete only where `steps` is given.
    """
    items = torch.from_numpy(shelves.item_idx.astype(np.int64))
    for batch in batches(shelves):
        real, places = batch.real, batch.places
        parts, pairs, factor = system(traits, weights, items[places], real)
        inverse = torch.cholesky_inverse(factor)
        a = (inverse @ (residuals[places] * real)[..., None])[..., 0]
        beyond = a / inverse.diagonal(dim1=-2, dim2=-1)
        at, longest = places[real], places.shape[1]
        if steps is None:
            empty = torch.empty(0)
            side = ShelfSide(empty, empty, empty, empty, empty)
        else:
            others = pairs - torch.diag_embed(real.float())
            y, s = (values[places][:, None].expand(-1, longest, -1)[real] for values in (residuals, steps))
            left = (a[:, None] - inverse * beyond[:, :, None])[real]
            of_shelf = (values[:, None] for values in (left, y, s, others[real]))
            side = ShelfSide(parts[:, real][:, :, None], *of_shelf)
        yield side, at, items[at], beyond[real]


def level_of_others(shelves: Shelves, kernel: KernelWeights, residuals: Tensor, scale: Scale) -> Tensor:
    """level_evidence of the other ratings of each rating's reader, [N, F]: all that shelves say without content."""
    rows, steps = torch.from_numpy(shelves.rows), torch.from_numpy(scale.steps(shelves.stars))
    n_ratings, n_values = len(rows), len(scale.values)
    whole = sums_of_shelves(rows, len(shelves), residuals, steps, n_values)
    own = sums_of_shelves(torch.arange(n_ratings), n_ratings, residuals, steps, n_values)
    names = [f.name for f in fields(ShelfSums)]
    others = ShelfSums(**{name: getattr(whole, name)[rows] - getattr(own, name) for name in names})
    return level_evidence(others, kernel, torch.ones(n_ratings))

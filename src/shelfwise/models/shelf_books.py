"""What the shelf model knows of books, and how it takes in books that arrive after training, by content alone.

A book that was in the catalogue but unrated when the model was fitted is described the same way, so both get the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shelfwise.data.shelves import Floats
from shelfwise.errors import UsageError
from shelfwise.features.vectors import BookFeatures, sign_codes, unit_rows
from shelfwise.models.similarity import PARTS, BookTraits, KernelWeights, kernel, similarities

NOTHING = KernelWeights(**dict.fromkeys(PARTS, 0.0), constant=0.013, noise=0.013)
# Weights of the Gaussian process over books (training/book_prior.py): of books of which no more than author, series and
# year is known, and of all others.
BARE = NOTHING.model_copy(update={"author": 0.027, "series": 0.027, "era": 0.027})
FULL = BARE.model_copy(update={"about": 0.04, "close": 0.04})
UNKNOWN_YEAR = 2000.0
BOOKS_AT_ONCE = 65_536
BARE_DIM, BARE_LENGTH = 512, 1.5  # of the codes of author and of series from which a ridge guesses a bare book
OLDEST, YEARS_APART, FURTHEST = 1900, 20.0, 3.0  # years are told apart from here on, in this unit, up to so many of it

# Numbers known of the books in a block, float32 [B, D].
Columns = Callable[[slice], Tensor]


@dataclass(frozen=True)
class ContentPrior:
    """What describes and values a book without ratings.

    basis    float32 [F, D], from the content columns of BookFeatures.about_content to what a book is about
    weights  float32 [2, I], of the books that were rated, by FULL and by BARE; 0 where no Gaussian process was fitted
    centres  float32 [2], in stars beyond the mean
    about, bare  float64 [D + 1], coefficients of ridge regressions on about_numbers and bare_numbers, the intercept
                 last; of length 0 where a Gaussian process was fitted
    """

    basis: Tensor
    weights: Tensor
    centres: Tensor
    about: Tensor
    bare: Tensor

    def of(self, old: BookTraits, new: BookTraits, is_described: Tensor) -> Tensor:
        """Expected stars beyond the mean of N new books, float32 [N]; is_described bool [N]."""
        if len(self.bare):
            return self.by_ridge(new, is_described)
        books, others = torch.arange(len(new.author)), torch.arange(len(old.author)) + len(new.author)
        both = BookTraits(**{f.name: torch.cat([getattr(t, f.name) for t in (new, old)]) for f in fields(BookTraits)})
        found = [
            centre + covariance(both, books, others, kind) @ weights
            for kind, weights, centre in zip((FULL, BARE), self.weights, self.centres, strict=True)
        ]
        return torch.where(is_described, found[0], found[1])

    def by_ridge(self, traits: BookTraits, is_described: Tensor) -> Tensor:
        """Expected stars beyond the mean of N books, float32 [N]."""
        n = len(traits.author)
        from_about = valued(partial(about_numbers, traits), self.about, n)
        return torch.where(is_described, from_about, valued(partial(bare_numbers, traits), self.bare, n))


@dataclass(frozen=True)
class ShelfBooks:
    """What was learned about I books: bias and prior [I] (stars), count [I], histogram [I, S], outside [I, O]; and
    of all ratings: mean [1], usual [S]. traits for similarity; content_prior for books that arrive later."""

    traits: BookTraits
    mean: Tensor
    usual: Tensor
    prior: Tensor
    bias: Tensor
    count: Tensor
    histogram: Tensor
    outside: Tensor
    content_prior: ContentPrior

    def with_new(self, features: BookFeatures) -> ShelfBooks:
        """The same with books beyond the I that are known, which come first in `features`. Raises UsageError."""
        n_old, old = len(self.count), self.traits
        if (features.embedding is None) != bool(len(self.content_prior.basis)):
            known_by = "content" if len(self.content_prior.basis) else "an embedding of the user's"
            raise UsageError(
                f"this run knows books by {known_by}", hint="give a vector where it was trained with one, else none"
            )
        about = torch.from_numpy(about_vectors(features, self.content_prior.basis.numpy()))[n_old:]
        if about.shape[1] != old.about.shape[1]:
            raise UsageError(
                f"{about.shape[1]} numbers of a book where the model has {old.about.shape[1]}",
                hint="give a vector of the embedding that the run was trained with",
            )
        n_new = len(about)
        new = BookTraits(
            about=about,
            coreading=torch.zeros(n_new, old.coreading.shape[1]),
            author=name_codes(features.catalogue.first_authors)[n_old:],
            series=name_codes(features.catalogue.books["series"].to_list())[n_old:],
            year=years_of(features, n_old)[n_old:],
        )
        prior = self.content_prior.of(old, new, torch.from_numpy(features.described)[n_old:])
        added = {"prior": prior, "bias": prior, "count": torch.zeros(n_new)}
        added |= {name: torch.zeros(n_new, getattr(self, name).shape[1]) for name in ("histogram", "outside")}
        traits = {f.name: torch.cat([getattr(t, f.name) for t in (old, new)]) for f in fields(BookTraits)}
        weights = torch.nn.functional.pad(self.content_prior.weights, (0, n_new))
        return replace(
            self,
            traits=BookTraits(**traits),
            content_prior=replace(self.content_prior, weights=weights),
            **{name: torch.cat([getattr(self, name), values]) for name, values in added.items()},
        )


OTHERS = tuple(f.name for f in fields(ShelfBooks) if f.name not in ("traits", "content_prior"))


def covariance(traits: BookTraits, books: Tensor, others: Tensor, weights: KernelWeights) -> Tensor:
    """k of B books and O others, float32 [B, O]."""
    return kernel(similarities(traits, weights, books[None], others[None])[:, 0], weights)


def about_numbers(traits: BookTraits, block: slice) -> Tensor:
    """What the books are about, as Columns."""
    return traits.about[block]


def bare_numbers(traits: BookTraits, block: slice) -> Tensor:
    """All that is known of books without tags and subjects, as Columns: codes of author and series, and the year."""
    names = [
        sign_codes([None if code < 0 else str(code) for code in codes[block].tolist()], BARE_DIM)
        for codes in (traits.author, traits.series)
    ]
    year = (traits.year[block, None].clamp(min=OLDEST) - UNKNOWN_YEAR) / YEARS_APART
    return torch.cat([BARE_LENGTH * torch.from_numpy(np.hstack(names)), year.clamp(-FURTHEST, FURTHEST)], 1)


def book_blocks(n_books: int) -> Iterator[slice]:
    """All books, BOOKS_AT_ONCE at a time."""
    return (slice(start, min(start + BOOKS_AT_ONCE, n_books)) for start in range(0, n_books, BOOKS_AT_ONCE))


def with_one(columns: Tensor) -> Tensor:
    """The columns and one more that is 1, [B, D + 1]."""
    return torch.nn.functional.pad(columns, (0, 1), value=1.0)


def valued(columns: Columns, coefficients: Tensor, n_books: int) -> Tensor:
    """The columns of each book times the coefficients, float32 [I]."""
    found = torch.empty(n_books)
    for block in book_blocks(n_books):
        found[block] = (with_one(columns(block)).double() @ coefficients).float()
    return found


def name_codes(names: list[str | None]) -> Tensor:
    """A number for each name in order of appearance, -1 where there is none; int64 [N]."""
    known: dict[str, int] = {}
    codes = [-1 if name is None else known.setdefault(name, len(known)) for name in names]
    return torch.tensor(codes, dtype=torch.int64)


def about_vectors(features: BookFeatures, basis: Floats) -> Floats:
    """What books are about, rows of length 1 or 0, float32 [I, D]: by the basis, or the user's own numbers.

    Beside books with tags, a title's words alone say too little.
    """
    if features.embedding is not None:
        return unit_rows(features.embedding)
    about = unit_rows(np.asarray(features.about_content @ basis, dtype=np.float32))
    if features.described.any():
        about[~features.described] = 0
    return about


def years_of(features: BookFeatures, n_old: int) -> Tensor:
    """First publication, float32 [I]; where it is unknown, the median of the first n_old books."""
    year = torch.from_numpy(features.catalogue.books["year"].to_numpy().astype(np.float32))
    usual = year[:n_old].nanmedian().nan_to_num(UNKNOWN_YEAR)
    return torch.where(year.isnan(), usual, year)

"""What the shelf model knows of books, and how it takes in books that arrive after training, by content alone.

A book that was in the catalogue but unrated when the model was fitted is described the same way, so both get the same.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from shelfwise.data.shelves import Floats
from shelfwise.errors import UsageError
from shelfwise.features.vectors import BookFeatures, unit_rows
from shelfwise.models.similarity import PARTS, BookTraits, KernelWeights, kernel, similarities

NOTHING = KernelWeights(**dict.fromkeys(PARTS, 0.0), constant=0.013, noise=0.013)
# Weights of the Gaussian process over books (training/book_prior.py): of books of which no more than author, series and
# year is known, and of all others.
BARE = NOTHING.model_copy(update={"author": 0.027, "series": 0.027, "era": 0.027})
FULL = BARE.model_copy(update={"about": 0.04, "close": 0.04})
UNKNOWN_YEAR = 2000.0


@dataclass(frozen=True)
class ContentPrior:
    """What describes and values a book without ratings.

    basis    float32 [F, D], from the content columns of BookFeatures.about_content to what a book is about
    weights  float32 [2, I], of the books that were rated, by FULL and by BARE; 0 where no Gaussian process was fitted
    centres  float32 [2], in stars beyond the mean
    """

    basis: Tensor
    weights: Tensor
    centres: Tensor

    def of(self, old: BookTraits, new: BookTraits, is_described: Tensor) -> Tensor:
        """Expected stars beyond the mean of N new books, float32 [N]; is_described bool [N]."""
        books, others = torch.arange(len(new.author)), torch.arange(len(old.author)) + len(new.author)
        both = BookTraits(**{f.name: torch.cat([getattr(t, f.name) for t in (new, old)]) for f in fields(BookTraits)})
        found = [
            centre + covariance(both, books, others, kind) @ weights
            for kind, weights, centre in zip((FULL, BARE), self.weights, self.centres, strict=True)
        ]
        return torch.where(is_described, found[0], found[1])


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

"""The shelf model: a reader is the list of ratings, met by what a book is about. Nothing is learned per reader.

Stars: a Gaussian process over books gives each reader a closed-form expectation (similarity.py). A small network
(StarHead) turns that, and what else the shelf and the book say (evidence.py), into a probability for each star.

Pickup: an item-item matrix learned from who read what, with content as a prior (coreading.ease_weights on
co-reading counts plus content similarity), proposes CANDIDATES books; a second small network orders them
by the probability that this reader picks them up next.

List: log P(picked up) + taste * log P(liked | picked up), where liked is Scale.liked_from up: what a reader is
both likely to read and to like. taste is chosen on validation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.errors import UsageError
from shelfwise.features.vectors import BookFeatures
from shelfwise.models.contract import Arrays, Lists, Model, Readers, Rows
from shelfwise.models.coreading import MAX_DENSE_BOOKS
from shelfwise.models.evidence import (
    ShelfSide,
    book_evidence,
    n_shelf_numbers,
    shelf_evidence,
)
from shelfwise.models.heads import Standardised, StarHead
from shelfwise.models.long_shelves import shortened
from shelfwise.models.shelf_books import OTHERS, ContentPrior, ShelfBooks
from shelfwise.models.similarity import BookTraits, KernelWeights, batches, similarities, system
from shelfwise.models.sparse import from_arrays, to_arrays
from shelfwise.ranking import top_n

CANDIDATES = 64
N_PICK_NUMBERS = 5
BOOKS_AT_ONCE, GROUPS_AT_ONCE = 16, 256
READERS_AT_ONCE = 64
KEPT_FACTORS = 1_000_000  # numbers: 4 MB
BIAS_TRACE = 0.02
MAX_EVIDENCE = 4_000_000  # pairs of a wanted book and one on a shelf at once: about 1 GB
BEHIND = 1e4  # by how much a book that is no candidate comes after all that are
Order = Literal["blend", "stars", "pickup"]
Mask = npt.NDArray[np.bool_]


class ShelfConfig(ModelConfig):
    """about_dim, coreading_dim  numbers of a book's vectors; hidden, pick_hidden  widths of the two networks
    dropout, pick_dropout  of their hidden layers, while they learn
    book_shrinkage     pseudo-ratings that pull a book's bias towards its prior
    new_book_share     share of training rows whose book is shown as if nobody had rated it
    content            whether a book is known by its content and by who reads it, or by its stars alone
    outside_averages   whether means and counts that an outside source states are used
    l2, content_weight of the pickup matrix: ridge in readers, and weight of content similarity
    neighbours         how many entries of the pickup matrix each book keeps, fewer beyond 250,000 books
    dense_books        largest catalogue whose pickup matrix is made whole; beyond it by groups of like books
    company            how many books are set against each other in one group (sparse_ease.py)
    longest_shelf      ratings of one reader that the Gaussian process meets at once (long_shelves.py)
    head_rows          ratings that the star head learns from at most; a twentieth as many validate it
    order, taste       of the list
    """

    loop: ClassVar[dict[str, Any]] = {"epochs": 5, "learning_rate": 4e-3}
    kind: Literal["shelf", "bias-ordinal"] = "shelf"
    content: bool = True
    about_dim: Annotated[int, Field(ge=1)] = 256
    coreading_dim: Annotated[int, Field(ge=1)] = 128
    kernel: KernelWeights = KernelWeights()
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    pick_hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pick_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    book_shrinkage: Annotated[float, Field(ge=0)] = 6.0
    new_book_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    outside_averages: bool = True
    l2: Annotated[float, Field(gt=0)] = 60.0
    content_weight: Annotated[float, Field(ge=0)] = 30.0
    neighbours: Annotated[int, Field(ge=1)] = 400
    dense_books: Annotated[int, Field(ge=0)] = MAX_DENSE_BOOKS
    company: Annotated[int, Field(ge=1)] = 3000
    longest_shelf: Annotated[int, Field(ge=1)] = 1000
    head_rows: Annotated[int, Field(ge=1)] = 2_000_000
    order: Order = "blend"
    taste: Annotated[float, Field(ge=0)] | None = None


@dataclass(frozen=True)
class Proposal:
    """C candidates of R readers: books int32 [R, C], pickup scores of all books float32 [R, I], log-probabilities of
    stars [R * C, S], and numbers for the pick head [R * C, F], the last N_PICK_NUMBERS of which are for it alone."""

    books: Indices
    pickup: Floats
    chances: Tensor
    numbers: Tensor


def _to_width(values: Floats, width: int) -> Tensor:
    """Cut or padded with 0 to so many columns."""
    padding = max(width - values.shape[1], 0)
    return torch.nn.functional.pad(torch.from_numpy(values[:, :width]), (0, padding))


class Shelf(Model):
    """Books, the two heads, and the pickup matrix (sparse float32 [I, I], row: the book on the shelf)."""

    kind: ClassVar[str] = "shelf"
    config_class: ClassVar[type[ShelfConfig]] = ShelfConfig

    def __init__(
        self,
        config: ShelfConfig,
        scale: Scale,
        books: ShelfBooks,
        star_head: StarHead,
        pickup: sp.csr_matrix,
        pick_head: Standardised,
    ) -> None:
        self.config: ShelfConfig = config
        self.scale = scale
        self.books = books
        self.star_head = star_head.eval()
        self.pickup = pickup
        self.pick_head = pick_head.eval()
        self.book_counts = books.count.numpy().astype(np.int32)

    @staticmethod
    def make_heads(config: ShelfConfig, scale: Scale, n_outside: int) -> tuple[StarHead, Standardised]:
        """The two networks before training."""
        n_values = len(scale.values)
        n_numbers = n_shelf_numbers(n_values) + 3 + n_values + n_outside
        star_head = StarHead(n_numbers, config.hidden, config.dropout, scale)
        return star_head, Standardised([n_numbers + N_PICK_NUMBERS, *config.pick_hidden, 1], config.pick_dropout)

    # Readers.

    @torch.inference_mode()
    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """Of each rating: weights, a of the Gaussian process, and residuals, stars beyond mean and book bias.

        float32 [U, longest shelf] each, 0 beyond a shelf's end; of a shelf beyond config.longest_shelf for the
        ratings that `shortened` keeps. Of few readers also the factors of their systems, for reasons.
        """
        short = shortened(shelves, self.config.longest_shelf)
        longest = int(short.lengths.max(initial=0))
        weights, residuals = torch.zeros(2, len(shelves), longest)
        factors = torch.zeros(len(shelves), longest, longest) if weights.numel() * longest <= KEPT_FACTORS else None
        items, y = self.residuals(short)
        for batch in batches(short):
            y_here = y[batch.places] * batch.real
            *_, factor = system(self.books.traits, self.config.kernel, items[batch.places], batch.real)
            found = torch.cholesky_solve(y_here[..., None], factor)[..., 0]
            rows = torch.from_numpy(batch.readers)
            weights[rows, : found.shape[1]] = found * batch.real
            residuals[rows, : found.shape[1]] = y_here
            if factors is not None:
                factors[rows, : found.shape[1], : found.shape[1]] = factor
        kept = {} if factors is None else {"factors": factors.numpy()}
        return Readers(shelves, {"weights": weights.numpy(), "residuals": residuals.numpy(), **kept})

    def residuals(self, shelves: Shelves) -> tuple[Tensor, Tensor]:
        """Books of all ratings on the shelves, int64 [N], and their stars beyond mean and book bias, [N]."""
        items = torch.from_numpy(shelves.item_idx.astype(np.int64))
        return items, torch.from_numpy(shelves.stars.astype(np.float32)) - self.books.mean - self.books.bias[items]

    # Stars.

    @torch.inference_mode()
    def probabilities(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        found = np.empty((len(rows), len(self.scale.values)), dtype=np.float32)
        for numbers, base, pairs in self.evidence_of_pairs(readers, rows, item_idx):
            found[pairs] = self.star_head(base, numbers).exp().numpy()
        return found

    def evidence_of_pairs(
        self, readers: Readers, rows: Rows, item_idx: Indices
    ) -> Iterator[tuple[Tensor, Tensor, Rows]]:
        """Evidence of N pairs in blocks: (numbers [P, F], base stars [P], which pairs these are [P]).

        Pairs of one reader are worked out together, up to BOOKS_AT_ONCE, so that its shelf is looked up once.
        """
        order = np.argsort(rows, kind="stable")
        at = rows[order]
        starts = np.flatnonzero(np.diff(at, prepend=-1))
        slot = np.arange(len(at)) - np.repeat(starts, np.diff(np.append(starts, len(at))))
        group = np.cumsum(slot % BOOKS_AT_ONCE == 0) - 1
        slot %= BOOKS_AT_ONCE
        n_groups = int(group[-1]) + 1 if len(group) else 0
        of_group = at[slot == 0]
        sizes = np.bincount(group, minlength=n_groups)
        first = np.append(np.flatnonzero(slot == 0), len(at))
        alike = np.lexsort((readers.shelves.lengths[of_group], sizes))  # so that there is little padding
        for start in range(0, n_groups, GROUPS_AT_ONCE):
            block = alike[start : start + GROUPS_AT_ONCE]
            width = int(sizes[block].max())
            place = first[block][:, None] + np.arange(width)
            real = np.arange(width) < sizes[block][:, None]
            pairs = order[np.where(real, place, first[block][:, None])]
            base, numbers = self.evidence(readers, of_group[block], item_idx[pairs])
            kept = torch.from_numpy(real.ravel())
            yield numbers[kept], base[kept], pairs[real]

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        return self.scale.expected(self.probabilities(readers, rows, item_idx))

    def evidence(self, readers: Readers, rows: Rows, books: Indices) -> tuple[Tensor, Tensor]:
        """Base stars [R * M] and numbers [R * M, F] for R rows of `readers` and M books each, int32 [R, M]."""
        shelves = shortened(readers.shelves.take(rows), self.config.longest_shelf)
        longest = max(int(shelves.lengths.max(initial=0)), 1)
        if len(rows) > 1 and books.size * longest > MAX_EVIDENCE:
            half = len(rows) // 2
            first, second = (
                self.evidence(readers, rows[:half], books[:half]),
                self.evidence(readers, rows[half:], books[half:]),
            )
            return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
        place = np.arange(longest)[None, :]
        real = place < shelves.lengths[:, None]
        places = torch.from_numpy(np.where(real, shelves.indptr[:-1, None] + place, 0))
        items = torch.from_numpy(np.append(shelves.item_idx, np.int32(0)).astype(np.int64))
        steps = torch.from_numpy(self.scale.steps(np.append(shelves.stars, self.scale.low)))
        weights, residuals = (_to_width(readers.arrays[name][rows], longest) for name in ("weights", "residuals"))
        wanted = torch.from_numpy(books.astype(np.int64))
        parts = similarities(self.books.traits, self.config.kernel, wanted.clamp(min=0), items[places])
        parts *= (wanted >= 0)[..., None]
        of_shelf = (values[:, None] for values in (weights, residuals, steps[places], torch.from_numpy(real).float()))
        numbers = shelf_evidence(ShelfSide(parts, *of_shelf), self.config.kernel, len(self.scale.values))
        return self.beside_books(numbers, wanted.reshape(-1))

    def beside_books(self, of_shelf: Tensor, books: Tensor) -> tuple[Tensor, Tensor]:
        """Base stars [R] and numbers [R, F] of pairs from their shelf_evidence and books, int64 [R], -1 if unknown."""
        b, items, known = self.books, books.clamp(min=0), books >= 0
        simple = (b.bias[items] * known, b.prior[items] * known, b.count[items] * known)
        of_book = book_evidence(simple, b.histogram[items] * known[:, None], b.usual, b.outside[items] * known[:, None])
        return b.mean + simple[0] + of_shelf[:, 0], torch.cat([of_shelf, of_book], 1)

    # Lists.

    def scores(self, readers: Readers) -> Floats:
        """The candidates in the order of the list, all other books BEHIND them in the order of the pickup matrix."""
        return self._scores(readers)

    def scores_among(self, readers: Readers, allowed: Mask) -> Floats:
        """scores() with candidates among the books allowed, bool [U, I]."""
        return self._scores(readers, allowed)

    @torch.inference_mode()
    def _scores(self, readers: Readers, allowed: Mask | None = None) -> Floats:
        scores = np.empty((len(readers), len(self.book_counts)), dtype=np.float32)
        for rows in self.blocks(readers):
            found = self.propose(readers, rows, None if allowed is None else allowed[rows])
            block = found.pickup - found.pickup.max(axis=1, keepdims=True) - BEHIND
            np.put_along_axis(block, found.books, self._order(found).numpy(), axis=1)
            scores[rows] = block
        return scores

    @torch.inference_mode()
    def first_among(self, readers: Readers, allowed: Mask, n: int) -> Lists | None:
        """The candidates, where these are enough."""
        shape = len(readers), min(CANDIDATES, len(self.book_counts))
        if n > shape[1]:
            return None
        books, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        chances = np.empty((*shape, len(self.scale.values)), np.float32)
        for rows in self.blocks(readers):
            found = self.propose(readers, rows, allowed[rows])
            places, scores[rows] = self.first_of(found, shape[1], ~allowed[rows[:, None], found.books])
            books[rows] = np.take_along_axis(found.books, places, axis=1)
            of_all = found.chances.exp().view(len(rows), shape[1], -1).numpy()
            chances[rows] = np.take_along_axis(of_all, places[..., None], axis=1)
        return Lists(np.where(np.isfinite(scores), books, -1), scores, chances)

    @torch.inference_mode()
    def top(self, readers: Readers, n: int, leave_out: Shelves | None = None) -> Lists:
        """As of scores(), from the candidates alone where enough of them are left."""
        shape = len(readers), n
        books, scores = np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32)
        chances = np.zeros((*shape, len(self.scale.values)), np.float32)
        for rows in self.blocks(readers):
            found = self.propose(readers, rows)
            left_out = None if leave_out is None else leave_out.take(rows).holds(found.books)
            places, best = self.first_of(found, n, left_out)
            enough = (places.shape[1] == n) & np.isfinite(best).all(axis=1)
            if len(at := rows[enough]):
                first, scores[at] = places[enough], best[enough]
                of_all = found.chances.exp().view(*found.books.shape, -1).numpy()[enough]
                books[at] = np.take_along_axis(found.books[enough], first, axis=1)
                chances[at] = np.take_along_axis(of_all, first[..., None], axis=1)
            if rest := rows[~enough].tolist():
                few = readers.take(rest)
                left = None if leave_out is None else leave_out.take(rest)
                books[rest], scores[rest] = top_n(self.scores(few), n, left)
                pairs = np.repeat(np.arange(len(rest)), n), books[rest].ravel()
                chances[rest] = self.probabilities(few, *pairs).reshape(len(rest), n, -1)
        return Lists(books, scores, chances)

    def first_of(self, found: Proposal, n: int, left_out: Mask | None) -> tuple[Rows, Floats]:
        """Which of C candidates of R readers are the first n in the order of the list, or as many as there are, and
        their scores, -inf for what is left out (bool [R, C]); [R, n] each."""
        order = self._order(found).numpy()
        if left_out is not None:
            order[left_out] = -np.inf
        first = np.lexsort((found.books, -order), axis=1)[:, :n]
        return first, np.take_along_axis(order, first, axis=1)

    def blocks(self, readers: Readers) -> Iterator[Rows]:
        """Rows of readers with shelves of like length, so that there is little padding."""
        by_length = np.argsort(readers.shelves.lengths, kind="stable")
        for start in range(0, len(readers), READERS_AT_ONCE):
            yield by_length[start : start + READERS_AT_ONCE]

    def _order(self, found: Proposal) -> Tensor:
        """What the list is ordered by, [R, C]."""
        shape = found.books.shape
        if self.config.order == "stars":
            expected: Tensor = found.chances.exp() @ torch.from_numpy(self.scale.values)
            return expected.view(shape)
        picked: Tensor = self.pick_head(found.numbers)[:, 0].view(shape).log_softmax(1)
        if self.config.order == "pickup":
            return picked
        return picked + (self.config.taste or 0.0) * self.log_liked(found.chances).view(shape)

    def log_liked(self, chances: Tensor) -> Tensor:
        """log P(liked) from log-probabilities [..., S]."""
        liked: Tensor = chances[..., torch.from_numpy(self.scale.values >= self.scale.liked_from - 1e-6)].logsumexp(-1)
        return liked

    def pickup_scores(self, shelves: Shelves) -> Floats:
        """The books on the shelf, whatever their stars, times the pickup matrix; [U, I].

        A trace of the book's bias is added, which alone decides where nothing on the shelf says anything.
        """
        n_books, trace = len(self.book_counts), self.trace
        scores = np.empty((len(shelves), n_books), dtype=np.float32)
        of_rated = self.pickup[shelves.item_idx]
        bounds = of_rated.indptr[shelves.indptr].tolist()
        for row, bound in enumerate(itertools.pairwise(bounds)):  # a product of sparse matrices takes 2.5 times as long
            mine = slice(*bound)
            scores[row] = np.bincount(of_rated.indices[mine], of_rated.data[mine], n_books) + trace
        return scores

    @property
    def trace(self) -> Floats:
        """What is added to the pickup score of each book, [I]."""
        return np.asarray(BIAS_TRACE * self.books.bias.numpy(), dtype=np.float32)

    def propose(
        self, readers: Readers, rows: Rows, allowed: Mask | None = None, scores: Floats | None = None
    ) -> Proposal:
        """For R readers the CANDIDATES books of the highest pickup scores that are allowed and not on the shelf.

        scores  float32 [R, I], in place of the model's own pickup scores
        """
        mine = readers.shelves.take(rows)
        scores = self.pickup_scores(mine) if scores is None else scores
        masked = torch.from_numpy(scores.copy())
        masked[torch.from_numpy(mine.rows), torch.from_numpy(mine.item_idx.astype(np.int64))] = -torch.inf
        if allowed is not None:
            masked[torch.from_numpy(~allowed)] = -torch.inf
        n = min(CANDIDATES, masked.shape[1])
        values, found = masked.topk(n, dim=1)
        values = values.clamp(min=-1e3)  # of a reader who has read almost everything
        books = found.numpy().astype(np.int32)
        base, numbers = self.evidence(readers, rows, books)
        chances = self.star_head(base, numbers)
        rank = torch.arange(n).log1p().expand(values.shape)
        pick = torch.stack([values, values / values[:, :1].clamp(min=1e-6), rank], -1).view(-1, 3)
        expected = chances.exp() @ torch.from_numpy(self.scale.values)
        pick = torch.cat([pick, expected[:, None], self.log_liked(chances)[:, None]], 1)
        return Proposal(books, scores, chances, torch.cat([numbers, pick], 1))

    def with_order(self, order: str) -> Shelf:
        if order not in get_args(Order):
            raise UsageError(f"no order {order!r}", hint=f"choose one of {', '.join(get_args(Order))}")
        return self.changed(order=order)

    def changed(self, **settings: Any) -> Shelf:
        """The same model with other settings, which must not need another fit."""
        config = self.config.model_copy(update=settings)
        return type(self)(config, self.scale, self.books, self.star_head, self.pickup, self.pick_head)

    @torch.no_grad()
    def with_new_books(self, features: BookFeatures) -> Model:
        if not self.config.content:
            return super().with_new_books(features)
        old, n_books = self.pickup, len(features.catalogue)
        indptr = np.append(old.indptr, np.full(n_books - len(self.book_counts), old.indptr[-1]))
        pickup = sp.csr_matrix((old.data, old.indices, indptr), shape=(n_books, n_books))
        books = self.books.with_new(features)
        return type(self)(self.config, self.scale, books, self.star_head, pickup, self.pick_head)

    # Storage.

    def book_state(self) -> Arrays:
        traits, books = self.books.traits, self.books
        prior = books.content_prior
        arrays: Arrays = {f"traits.{f.name}": getattr(traits, f.name).numpy() for f in fields(traits)}
        arrays |= {f"new_books.{f.name}": getattr(prior, f.name).numpy() for f in fields(prior)}
        arrays |= {f"books.{name}": getattr(books, name).numpy() for name in OTHERS}
        for name, head in (("stars", self.star_head), ("pick", self.pick_head)):
            arrays |= {f"{name}.{key}": value.numpy() for key, value in head.state_dict().items()}
        return arrays | to_arrays("pickup", self.pickup)

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        config = cls.config_class.model_validate(config.model_dump())
        dense = {name: a for name, a in book_state.items() if not name.startswith("pickup.")}
        tensors = {name: torch.from_numpy(np.array(a)) for name, a in dense.items()}
        traits = BookTraits(**{f.name: tensors[f"traits.{f.name}"] for f in fields(BookTraits)})
        none = torch.zeros(0)  # runs of before 0.2 hold no regression for new books
        prior = ContentPrior(**{f.name: tensors.get(f"new_books.{f.name}", none) for f in fields(ContentPrior)})
        books = ShelfBooks(traits, **{name: tensors[f"books.{name}"] for name in OTHERS}, content_prior=prior)
        star_head, pick_head = cls.make_heads(config, scale, books.outside.shape[1])
        for name, head in (("stars", star_head), ("pick", pick_head)):
            head.load_state_dict({k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(name + ".")})
        return cls(config, scale, books, star_head, from_arrays("pickup", book_state), pick_head)

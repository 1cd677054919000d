"""The shelf model: a reader is the list of ratings, met by what a book is about. Nothing is learned per reader.

Stars: a Gaussian process over books gives each reader a closed-form expectation (similarity.py). A small network
(StarHead) turns that, and what else the shelf and the book say (evidence.py), into a probability for each star.

Pickup: an item-item matrix learned from who read what, with content as a prior (coreading.ease_weights on
co-reading counts plus content similarity), proposes CANDIDATES books; a second small network (PickHead) orders them
by the probability that this reader picks them up next.

List: log P(picked up) + taste * log P(liked | picked up), where liked is Scale.liked_from up: what a reader is
both likely to read and to like. taste is chosen on validation.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal, Self, get_args

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.errors import UsageError
from shelfwise.models.contract import Arrays, Model, Readers, Rows
from shelfwise.models.evidence import ShelfSide, book_evidence, n_shelf_numbers, shelf_evidence
from shelfwise.models.similarity import BookTraits, KernelWeights, batches, similarities, solve
from shelfwise.models.sparse import from_arrays, matrix_of, to_arrays

CANDIDATES = 100
N_PICK_NUMBERS = 5
PAIRS_AT_ONCE = 4096
READERS_AT_ONCE = 128
RESIDUAL_BOUND = 3.0
LEAST_SPREAD = 1e-4
BEHIND = 1e4  # by how much a book that is no candidate comes after all that are
Order = Literal["blend", "stars", "pickup"]


class ShelfConfig(ModelConfig):
    """about_dim, coreading_dim  numbers of a book's vectors; hidden, pick_hidden  widths of the two networks
    book_shrinkage     pseudo-ratings that pull a book's bias towards its prior
    new_book_share     share of training rows whose book is shown as if nobody had rated it
    content            whether a book is known by its content and by who reads it, or by its stars alone
    outside_averages   whether means and counts that an outside source states are used
    residual_weight    how much more a rating counts in pickup for each star beyond what was expected
    l2, content_weight of the pickup matrix: ridge in readers, and weight of content similarity
    neighbours         how many entries of the pickup matrix each book keeps
    order, taste       of the list
    """

    kind: Literal["shelf", "bias-ordinal"] = "shelf"
    content: bool = True
    about_dim: Annotated[int, Field(ge=1)] = 256
    coreading_dim: Annotated[int, Field(ge=1)] = 128
    kernel: KernelWeights = KernelWeights()
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    pick_hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    book_shrinkage: Annotated[float, Field(ge=0)] = 6.0
    new_book_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    outside_averages: bool = True
    residual_weight: Annotated[float, Field(ge=0)] = 0.2
    l2: Annotated[float, Field(gt=0)] = 60.0
    content_weight: Annotated[float, Field(ge=0)] = 30.0
    neighbours: Annotated[int, Field(ge=1)] = 400
    order: Order = "blend"
    taste: Annotated[float, Field(ge=0)] | None = None


class OrdinalBiasConfig(ShelfConfig):
    """The baseline: what naming the most probable star gains without any content."""

    kind: Literal["shelf", "bias-ordinal"] = "bias-ordinal"
    content: bool = False
    outside_averages: bool = False
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 64)
    new_book_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True)
class ShelfBooks:
    """What was learned about I books: bias and prior [I] (stars), count [I], histogram [I, S], outside [I, O]; and
    of all ratings: mean [1], usual [S]. traits for similarity."""

    traits: BookTraits
    mean: Tensor
    usual: Tensor
    prior: Tensor
    bias: Tensor
    count: Tensor
    histogram: Tensor
    outside: Tensor


def layers(widths: list[int], dropout: float) -> nn.Sequential:
    """An MLP whose last layer starts at 0."""
    made: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths[:-1]):
        made += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(dropout)]
    last = nn.Linear(widths[-2], widths[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*made, last)


def steps_of(stars: Floats, scale: Scale) -> Tensor:
    """Stars as steps above the lowest, int64."""
    return torch.from_numpy(np.rint((stars - scale.low) / scale.step).astype(np.int64))


def _to_width(values: Floats, width: int) -> Tensor:
    """Cut or padded with 0 to so many columns."""
    padding = max(width - values.shape[1], 0)
    return torch.nn.functional.pad(torch.from_numpy(values[:, :width]), (0, padding))


class Standardised(nn.Module):
    """An MLP over standardised numbers."""

    centre: Tensor
    spread: Tensor

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(widths[0]))
        self.register_buffer("spread", torch.ones(widths[0]))
        self.mlp = layers(widths, dropout)

    def standardise(self, numbers: Tensor) -> None:
        """Take centre and spread from training numbers [N, F]."""
        self.centre.copy_(numbers.mean(0))
        spread = numbers.std(0, correction=0)
        self.spread.copy_(torch.where(spread > LEAST_SPREAD, spread, 1.0))  # what never varies must not be magnified

    def forward(self, numbers: Tensor) -> Tensor:
        """[N, F] -> [N, outputs]"""
        outputs: Tensor = self.mlp((numbers - self.centre) / self.spread)
        return outputs


class StarHead(nn.Module):
    """Log-probability of each value of the scale: a discretised Gaussian round `base`, bent by an MLP.

    The MLP moves its mean and log-deviation and adds to each logit; at first it does nothing.
    """

    cuts: Tensor

    def __init__(self, n_numbers: int, hidden: tuple[int, ...], dropout: float, scale: Scale) -> None:
        super().__init__()
        values = torch.from_numpy(scale.values)
        self.register_buffer("cuts", (values[1:] + values[:-1]) / 2)
        self.log_deviation = nn.Parameter(torch.tensor(math.log(0.2 * (scale.high - scale.low))))
        self.net = Standardised([n_numbers, *hidden, len(values) + 2], dropout)

    def forward(self, base: Tensor, numbers: Tensor) -> Tensor:
        """base [N] (stars), numbers [N, F] -> [N, S]"""
        out = self.net(numbers)
        centre, deviation = base + out[:, 0], (self.log_deviation + out[:, 1]).clamp(-4, 3).exp()
        below = torch.special.ndtr((self.cuts - centre[:, None]) / deviation[:, None])
        ends = below.new_zeros(len(base), 1), below.new_ones(len(base), 1)
        gaussian = torch.diff(below, dim=1, prepend=ends[0], append=ends[1])
        logits: Tensor = gaussian.clamp(min=1e-6).log() + out[:, 2:]
        return logits.log_softmax(1)


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
        return star_head, Standardised([n_numbers + N_PICK_NUMBERS, *config.pick_hidden, 1], config.dropout)

    # Readers.

    @torch.inference_mode()
    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """Of each rating: weights, a of the Gaussian process, and residuals, stars beyond mean and book bias.

        float32 [U, longest shelf] each, 0 beyond a shelf's end.
        """
        longest = int(shelves.lengths.max(initial=0))
        weights, residuals = torch.zeros(2, len(shelves), longest)
        items, y = self._residuals(shelves)
        for batch in batches(shelves):
            _, _, _, found = solve(
                self.books.traits, self.config.kernel, items[batch.places], batch.real, y[batch.places] * batch.real
            )
            rows = torch.from_numpy(batch.readers)
            weights[rows, : found.shape[1]] = found * batch.real
            residuals[rows, : found.shape[1]] = y[batch.places] * batch.real
        return Readers(shelves, {"weights": weights.numpy(), "residuals": residuals.numpy()})

    def _residuals(self, shelves: Shelves) -> tuple[Tensor, Tensor]:
        items = torch.from_numpy(shelves.item_idx.astype(np.int64))
        return items, torch.from_numpy(shelves.stars.astype(np.float32)) - self.books.mean - self.books.bias[items]

    # Stars.

    @torch.inference_mode()
    def probabilities(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        found = np.empty((len(rows), len(self.scale.values)), dtype=np.float32)
        order = np.argsort(readers.shelves.lengths[rows], kind="stable")
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            at = order[start : start + PAIRS_AT_ONCE]
            base, numbers = self.evidence(readers, rows[at], item_idx[at][:, None])
            found[at] = self.star_head(base, numbers).exp().numpy()
        return found

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        return self.scale.clip(self.probabilities(readers, rows, item_idx) @ self.scale.values)

    def evidence(self, readers: Readers, rows: Rows, books: Indices) -> tuple[Tensor, Tensor]:
        """Base stars [R * M] and numbers [R * M, F] for R rows of `readers` and M books each, int32 [R, M]."""
        shelves, scale = readers.shelves, self.scale
        longest = max(int(shelves.lengths[rows].max(initial=0)), 1)
        place = np.arange(longest)[None, :]
        real = place < shelves.lengths[rows][:, None]
        places = torch.from_numpy(np.where(real, shelves.indptr[rows][:, None] + place, 0))
        items = torch.from_numpy(np.append(shelves.item_idx, np.int32(0)).astype(np.int64))
        steps = steps_of(np.append(shelves.stars, np.float32(scale.low)), scale)
        weights, residuals = (_to_width(readers.arrays[name][rows], longest) for name in ("weights", "residuals"))
        known = torch.from_numpy(books >= 0)
        wanted = torch.from_numpy(np.maximum(books, 0).astype(np.int64))
        parts = similarities(self.books.traits, wanted, items[places]) * known[..., None]
        n_rows, n_books = books.shape
        of_shelf = (weights, residuals, steps[places], torch.from_numpy(real).float())
        beside = [values[:, None].expand(n_rows, n_books, longest).reshape(-1, longest) for values in of_shelf]
        side = ShelfSide(parts.reshape(len(parts), -1, longest), *beside)
        numbers = shelf_evidence(side, self.config.kernel, len(scale.values))
        of_book = self._book_numbers(wanted.reshape(-1), known.reshape(-1))
        bias = (self.books.bias[wanted] * known).reshape(-1)
        return self.books.mean + bias + numbers[:, 0], torch.cat([numbers, of_book], 1)

    def _book_numbers(self, items: Tensor, known: Tensor) -> Tensor:
        b = self.books
        simple = (b.bias[items] * known, b.prior[items] * known, b.count[items] * known)
        return book_evidence(simple, b.histogram[items] * known[:, None], b.usual, b.outside[items] * known[:, None])

    # Lists.

    @torch.inference_mode()
    def scores(self, readers: Readers) -> Floats:
        """The candidates in the order of the list, all other books BEHIND them in the order of the pickup matrix."""
        scores = self.pickup_scores(readers)
        by_length = np.argsort(readers.shelves.lengths, kind="stable")  # so that there is little padding
        for start in range(0, len(readers), READERS_AT_ONCE):
            rows = by_length[start : start + READERS_AT_ONCE]
            candidates, base, numbers = self.candidates(readers, rows, scores[rows])
            chances = self.star_head(base, numbers[:, :-N_PICK_NUMBERS])
            picked = self.pick_head(numbers)[:, 0].view(candidates.shape).log_softmax(1)
            best = self._order(picked, chances.view(*candidates.shape, -1)).numpy()
            at = np.arange(len(rows))[:, None]
            block = scores[rows] - scores[rows].max(axis=1, keepdims=True) - BEHIND
            block[at, candidates] = best
            scores[rows] = block
        return scores

    def _order(self, picked: Tensor, chances: Tensor) -> Tensor:
        values = torch.from_numpy(self.scale.values)
        if self.config.order == "stars":
            return chances.exp() @ values
        if self.config.order == "pickup":
            return picked
        return picked + (self.config.taste or 0.0) * self.log_liked(chances)

    def log_liked(self, chances: Tensor) -> Tensor:
        """log P(liked) from log-probabilities [..., S]."""
        liked: Tensor = chances[..., torch.from_numpy(self.scale.values >= self.scale.liked_from - 1e-6)].logsumexp(-1)
        return liked

    def pickup_scores(self, readers: Readers) -> Floats:
        """The shelf, each rating weighted by how far it lies beyond the biases, times the pickup matrix; [U, I]."""
        shelves = readers.shelves
        place = np.arange(len(shelves.item_idx)) - np.repeat(shelves.indptr[:-1], shelves.lengths)
        y = readers.arrays["residuals"][shelves.rows, place]
        weights: Floats = 1 + self.config.residual_weight * np.clip(y, -RESIDUAL_BOUND, RESIDUAL_BOUND)
        found = matrix_of(readers.shelves, weights, len(self.book_counts)) @ self.pickup
        return np.asarray(found.toarray(), dtype=np.float32)

    def candidates(self, readers: Readers, rows: Rows, scores: Floats) -> tuple[Indices, Tensor, Tensor]:
        """For R readers the books of the highest pickup scores that are not on the shelf, int32 [R, C]; base stars
        [R * C] and numbers [R * C, F], the last N_PICK_NUMBERS of them for the pick head alone."""
        masked = scores.copy()
        mine = readers.shelves.take(rows)
        masked[mine.rows, mine.item_idx] = -np.inf
        n = min(CANDIDATES, masked.shape[1])
        found = np.argpartition(-masked, n - 1, axis=1)[:, :n].astype(np.int32)
        values = np.take_along_axis(scores, found, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found, values = np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)
        base, numbers = self.evidence(readers, rows, found)
        chances = self.star_head(base, numbers)
        top = np.maximum(values[:, :1], 1e-6)
        rank = np.broadcast_to(np.log1p(np.arange(n)), values.shape)
        pick = torch.from_numpy(np.stack([values, values / top, rank], -1).reshape(-1, 3).astype(np.float32))
        expected = chances.exp() @ torch.from_numpy(self.scale.values)
        pick = torch.cat([pick, expected[:, None], self.log_liked(chances)[:, None]], 1)
        return found, base, torch.cat([numbers, pick], 1)

    def with_order(self, order: str) -> Shelf:
        if order not in get_args(Order):
            raise UsageError(f"no order {order!r}", hint=f"choose one of {', '.join(get_args(Order))}")
        config = ShelfConfig.model_validate({**self.config.model_dump(), "order": order})
        return type(self)(config, self.scale, self.books, self.star_head, self.pickup, self.pick_head)

    # Storage.

    def book_state(self) -> Arrays:
        traits, books = self.books.traits, self.books
        arrays: Arrays = {f"traits.{f.name}": getattr(traits, f.name).numpy() for f in fields(traits)}
        arrays |= {f"books.{f.name}": getattr(books, f.name).numpy() for f in fields(books) if f.name != "traits"}
        for name, head in (("stars", self.star_head), ("pick", self.pick_head)):
            arrays |= {f"{name}.{key}": value.numpy() for key, value in head.state_dict().items()}
        return arrays | to_arrays("pickup", self.pickup)

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        config = cls.config_class.model_validate(config.model_dump())
        dense = {name: a for name, a in book_state.items() if not name.startswith("pickup.")}
        tensors = {name: torch.from_numpy(np.array(a)) for name, a in dense.items()}
        traits = BookTraits(**{f.name: tensors[f"traits.{f.name}"] for f in fields(BookTraits)})
        others = {f.name: tensors[f"books.{f.name}"] for f in fields(ShelfBooks) if f.name != "traits"}
        books = ShelfBooks(traits, **others)
        star_head, pick_head = cls.make_heads(config, scale, books.outside.shape[1])
        for name, head in (("stars", star_head), ("pick", pick_head)):
            head.load_state_dict({k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(name + ".")})
        return cls(config, scale, books, star_head, from_arrays("pickup", book_state), pick_head)


class OrdinalBias(Shelf):
    """Biases and the star head, without content: its lists are the bias model's."""

    kind: ClassVar[str] = "bias-ordinal"
    config_class = OrdinalBiasConfig

    def scores(self, readers: Readers) -> Floats:
        """Unclipped stars before the head."""
        level = self.config.kernel.constant * readers.arrays["weights"].sum(axis=1)
        scores: Floats = (self.books.mean + self.books.bias).numpy()[None, :] + level[:, None]
        return scores.astype(np.float32)

    def with_order(self, order: str) -> Shelf:
        raise UsageError(f"the model {self.kind} has one order of lists only", hint="leave out --order")

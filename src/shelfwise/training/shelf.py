"""Fitting the shelf model: books by sums over readers, the star head by the loop, then the pickup side (pickup.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from shelfwise.data.ratings import join_ratings
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.engine import HERE, Engine, in_threads
from shelfwise.errors import FitError
from shelfwise.features.vectors import BookFeatures, svd_basis
from shelfwise.models.bias import Bias, BiasConfig, assert_ratings
from shelfwise.models.contract import FitInputs
from shelfwise.models.long_shelves import in_pieces
from shelfwise.models.mf import coreading_vectors
from shelfwise.models.shelf import Shelf, ShelfConfig
from shelfwise.models.shelf_books import (
    BARE,
    FULL,
    ContentPrior,
    ShelfBooks,
    about_numbers,
    about_vectors,
    bare_numbers,
    name_codes,
    valued,
    years_of,
)
from shelfwise.models.similarity import BookTraits
from shelfwise.training.book_prior import BookPrior, Expected
from shelfwise.training.leave_one_out import BLOCK, Asked, Drawn, Shown, Sweep, rows_shown, spans, unexplained
from shelfwise.training.loop import Task, pick_device, train_network
from shelfwise.training.pickup import fit_lists
from shelfwise.training.pieces import by_pieces
from shelfwise.training.ridge import ridge
from shelfwise.training.settings import Checkpoint, History, LoopSettings

SWEEPS = 2
VALID_ROWS = 65_536
VALID_SHARE = 0.05  # of ShelfConfig.head_rows, so many ratings validate
LEVEL_BOUND = 3.0  # standard deviations
BARE_SHARE = 0.5


def fit_shelf(
    kind: type[Shelf], config: ShelfConfig, loop: LoopSettings, inputs: FitInputs, checkpoint: Checkpoint | None = None
) -> tuple[Shelf, History]:
    """A fitted model and the history of its star head. Raises FitError, StoppedError."""
    assert_ratings(inputs)
    if inputs.features is None:
        raise FitError("shelf needs what is known of the books", hint="fit it through shelfwise.train")
    torch.manual_seed(inputs.seed)
    train, scale = inputs.train, inputs.train.scale
    shelves = in_pieces(train.shelves(), config.longest_shelf)
    start = torch.from_numpy(Bias.fit(BiasConfig(), inputs).book_bias)
    known = known_of_books(inputs.features, inputs, config)
    chosen = some_readers(shelves.lengths, config.head_rows, inputs.seed)
    books, rows = fit_books(shelves, chosen, known, start, config, scale, inputs.engine)
    star_head, pick_head = Shelf.make_heads(config, scale, known.outside.shape[1])
    nothing = sp.csr_matrix(np.zeros((len(start), 0), dtype=np.float32))
    model = kind(config, scale, books, star_head, nothing, pick_head)
    shelves = shelves.take(chosen)
    evidence = training_rows(shelves, books, rows, config, inputs.seed, scale, inputs.engine)
    star_head.net.standardise(evidence[1])
    history = train_star_head(model, loop, inputs, shelves, evidence, checkpoint)
    del evidence
    if config.content:
        fit_lists(model, inputs)
    return model, history


@dataclass(frozen=True)
class Known:
    """What is known of books beside their stars: traits, and the basis [F, D] of what they are about; outside numbers
    [I, O] for the head; which books have tags or subjects (`described`) [I]."""

    traits: BookTraits
    basis: Tensor
    outside: Tensor
    described: Tensor


@dataclass(frozen=True)
class Rows:
    """beyond  of each rating that the head learns from: the stars beyond the mean that its reader's other ratings do
    not explain, float32 [N]; bare_prior  of each book: the prior of its bias from what is bare, float32 [I]"""

    beyond: Tensor
    bare_prior: Tensor


def known_of_books(features: BookFeatures, inputs: FitInputs, config: ShelfConfig) -> Known:
    """What is known of the catalogue's books."""
    books = features.catalogue.books
    if not config.content:
        nothing, none = torch.zeros(len(books), 1), torch.full((len(books),), -1)
        traits = BookTraits(nothing, nothing, none, none, nothing[:, 0])
        return Known(traits, torch.zeros(0, 1), torch.zeros(len(books), 0), torch.ones(len(books), dtype=torch.bool))
    own = features.embedding

    def basis_of_content() -> np.ndarray:
        return svd_basis(features.about_content, config.about_dim) if own is None else np.zeros((0, own.shape[1]), "f4")

    def of_readers() -> np.ndarray:
        return coreading_vectors(inputs.train, config.coreading_dim, 1.0)

    basis, coreading = in_threads(lambda decompose: decompose(), (basis_of_content, of_readers))
    first_authors, series = features.catalogue.first_authors, books["series"].to_list()
    mean, count = (_numbers(books[f"outside_{name}"].to_numpy()) for name in ("mean", "count"))
    if not config.outside_averages:
        mean, count = torch.full_like(mean, torch.nan), torch.full_like(count, torch.nan)
    mean, count = _standardised(mean), _standardised(count.log1p())
    traits = BookTraits(
        about=torch.from_numpy(about_vectors(features, basis)),
        coreading=torch.from_numpy(coreading),
        author=name_codes(first_authors),
        series=name_codes(series),
        year=years_of(features, len(books)),
    )
    outside, described = torch.stack([mean, count], 1), torch.from_numpy(features.described)
    return Known(traits, torch.from_numpy(basis.copy()), outside, described)


def _numbers(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32).copy())


def _standardised(values: Tensor) -> Tensor:
    known = values[~values.isnan()]
    if not len(known):
        return torch.zeros_like(values)
    scaled = (values - known.mean()) / (known.std(correction=0) + 1e-6)
    return scaled.nan_to_num(0.0).clamp(-LEVEL_BOUND, LEVEL_BOUND)


def fit_books(
    shelves: Shelves,
    chosen: np.ndarray,
    known: Known,
    bias: Tensor,
    config: ShelfConfig,
    scale: Scale,
    engine: Engine = HERE,
) -> tuple[ShelfBooks, Rows]:
    """The book side, from sums over readers, and what training goes on with, of the readers `chosen` (ascending).

    A book's bias is the shrunk mean of what is not explained. It is shrunk towards what its content makes one expect,
    so that a new book needs no rule of its own. `bias` [I] is where to start.
    """
    mean, n_books = float(shelves.stars.mean(dtype=np.float64)), len(bias)
    histogram = torch.from_numpy(histograms(shelves, scale, n_books))
    count = histogram.sum(1)
    expect = _expectations(known, count, config)
    is_chosen = np.isin(np.arange(len(shelves)), chosen)
    for number in range(SWEEPS):
        sweep = Sweep(known.traits, config, scale, mean, bias)
        last = number == SWEEPS - 1
        blocks = (Asked(block, is_chosen[rows] & last) for block, rows, _ in spans(shelves))
        sums, each = np.zeros(n_books), []
        for found in engine.map(unexplained, blocks, sweep):
            sums[found.books] += found.sums
            each.append(found.each)
        total = torch.from_numpy(sums.astype(np.float32)) + count * bias
        full, bare = expect(total)
        before = bias
        bias = (total + config.book_shrinkage * full.prior) / (count + config.book_shrinkage).clamp(min=1e-9)
    items = torch.from_numpy(shelves.take(chosen).item_idx.astype(np.int64))
    beyond = torch.from_numpy(np.concatenate(each)) + before[items]
    usual = histogram.sum(0) / histogram.sum()
    of_new = ContentPrior(
        known.basis,
        torch.stack([full.weights, bare.weights]),
        torch.tensor([full.centre, bare.centre]),
        full.coefficients,
        bare.coefficients,
    )
    books = ShelfBooks(
        known.traits, torch.tensor([mean]), usual, full.prior, bias, count, histogram, known.outside, of_new
    )
    return books, Rows(beyond, bare.prior)


def _expectations(known: Known, count: Tensor, config: ShelfConfig) -> Callable[[Tensor], tuple[Expected, Expected]]:
    """From the sums [I] of what ratings are beyond their readers, what books are expected to get: from all that is
    known of them, and from author, series and year alone.

    By a Gaussian process over books; by ridge regressions beyond dense_books, and without content.
    """
    if config.content and len(count) <= config.dense_books:
        full, bare = (BookPrior.fit(known.traits, count, weights) for weights in (FULL, BARE))

        def by_others(total: Tensor) -> tuple[Expected, Expected]:
            means = total / count.clamp(min=1)
            from_all, from_bare = full.expect(means), bare.expect(means)
            prior = torch.where(known.described, from_all.prior, from_bare.prior)
            return replace(from_all, prior=prior), from_bare

        return by_others

    known_by = (about_numbers, bare_numbers if config.content else about_numbers)
    columns = [partial(numbers, known.traits) for numbers in known_by]
    ridges = [ridge(numbers, count, config.book_shrinkage) for numbers in columns]

    def by_ridge(total: Tensor) -> tuple[Expected, Expected]:
        found = []
        for numbers, fit in zip(columns, ridges, strict=True):
            coefficients = fit(total)
            prior = valued(numbers, coefficients, len(count))
            found.append(Expected(prior, torch.zeros_like(prior), float(prior.mean()), coefficients))
        full, bare = found
        return replace(full, prior=torch.where(known.described, full.prior, bare.prior)), bare

    return by_ridge


def some_readers(lengths: np.ndarray, n_ratings: int, seed: int) -> np.ndarray:
    """Readers (ascending) with at most `n_ratings` together, or one: all of them where possible, else at random."""
    if lengths.sum() <= n_ratings:
        return np.arange(len(lengths))
    order = np.random.default_rng(seed).permutation(len(lengths))
    enough = int(np.searchsorted(np.cumsum(lengths[order]), n_ratings, side="right"))
    return np.sort(order[: max(enough, 1)])


def histograms(shelves: Shelves, scale: Scale, n_books: int) -> np.ndarray:
    """How often each book got each of the scale's S values, float32 [I, S]."""
    n_values = len(scale.values)
    counts = np.zeros(n_books * n_values, dtype=np.int64)
    for block, _, _ in spans(shelves):  # so that nothing is as long as all ratings
        places = block.item_idx.astype(np.int64) * n_values + scale.steps(block.stars)
        np.add.at(counts, places, 1)
    return counts.reshape(n_books, n_values).astype(np.float32)


def training_rows(
    shelves: Shelves, books: ShelfBooks, rows: Rows, config: ShelfConfig, seed: int, scale: Scale, engine: Engine = HERE
) -> tuple[Tensor, Tensor]:
    """Base stars [N] and numbers [N, F] of each rating, as they would be without that rating.

    new_book_share of them show their book as if nobody had rated it, half of those as if it had no tags either.
    """
    items = torch.from_numpy(shelves.item_idx.astype(np.int64))
    left = (books.count[items] + config.book_shrinkage - 1).clamp(min=1e-9)
    bias = (books.bias[items] * (left + 1) - rows.beyond) / left
    bias = torch.where(left <= 1e-9, books.prior[items], bias)  # a book with this rating only, unshrunk
    generator = torch.Generator().manual_seed(seed)
    new = torch.rand(len(items), generator=generator) < config.new_book_share
    bare = new & (torch.rand(len(items), generator=generator) < BARE_SHARE)
    prior = torch.where(bare, rows.bare_prior[items], books.prior[items])
    bias = torch.where(new, prior, bias)
    shown = Shown(books, config, scale)
    base, numbers = np.empty(len(items), np.float32), np.empty((len(items), shown.width), np.float32)
    blocks = (Drawn(block, *(part[at].clone() for part in (bias, prior, new, bare))) for block, _, at in spans(shelves))
    for (_, _, at), found in zip(spans(shelves), engine.map(rows_shown, blocks, shown), strict=True):
        base[at], numbers[at] = found
    return torch.from_numpy(base), torch.from_numpy(numbers)


def train_star_head(
    model: Shelf,
    loop: LoopSettings,
    inputs: FitInputs,
    shelves: Shelves,
    evidence: tuple[Tensor, Tensor],
    checkpoint: Checkpoint | None,
) -> History:
    """Fit the star head to cross-entropy plus the squared error of the mean; `evidence` as training_rows gives it."""
    head, device = model.star_head, pick_device(loop)
    head.to(device)
    base, numbers, values = (
        evidence[0].to(device),
        evidence[1].to(device),
        torch.from_numpy(model.scale.values).to(device),
    )
    stars = torch.from_numpy(shelves.stars.astype(np.float32)).to(device)
    steps = torch.from_numpy(model.scale.steps(shelves.stars)).to(device)

    def loss(rows: Tensor) -> Tensor:
        chances: Tensor = head(base[rows], numbers[rows])
        squared: Tensor = (chances.exp() @ values - stars[rows]).square().mean()
        return torch.nn.functional.nll_loss(chances, steps[rows]) + squared

    task = Task(head, by_pieces(head, loss), len(stars), star_head_error(model, inputs))
    return train_network(task, loop, seed=inputs.seed, checkpoint=checkpoint, on_progress=inputs.on_progress)


def star_head_error(model: Shelf, inputs: FitInputs) -> Callable[[], float] | None:
    """As validation_error, with everything but the head worked out once, on a bounded sample of readers."""
    valid = inputs.valid
    if valid is None or not len(valid):
        return None
    counts = np.bincount(valid.user_idx, minlength=valid.n_readers)
    chosen = some_readers(counts, int(VALID_SHARE * model.config.head_rows), inputs.seed)
    valid = valid.where(np.isin(valid.user_idx, chosen))
    shelves = (inputs.train if inputs.given is None else join_ratings([inputs.train, inputs.given])).shelves()
    readers, rows = np.unique(valid.user_idx.astype(np.int64), return_inverse=True)

    @torch.no_grad()
    def of_block(start: int) -> list[tuple[Tensor, Tensor, np.ndarray]]:
        block = readers[start : start + BLOCK]
        at = np.flatnonzero((rows >= start) & (rows < start + BLOCK))
        pairs_of = model.evidence_of_pairs(model.fold_in(shelves.take(block)), rows[at] - start, valid.item_idx[at])
        return [(numbers, base, at[pairs]) for numbers, base, pairs in pairs_of]

    shown = [part for found in in_threads(of_block, range(0, len(readers), BLOCK)) for part in found]
    numbers, base = torch.cat([n for n, _, _ in shown]), torch.cat([b for _, b, _ in shown])
    order = np.concatenate([pairs for _, _, pairs in shown])
    del shown
    device = next(model.star_head.parameters()).device
    base, numbers, values = base.to(device), numbers.to(device), torch.from_numpy(model.scale.values).to(device)
    stars = torch.from_numpy(valid.stars[order]).to(device)

    @torch.no_grad()
    def error() -> float:
        sums = 0.0
        for at in range(0, len(base), VALID_ROWS):
            part = slice(at, at + VALID_ROWS)
            expected = model.star_head(base[part], numbers[part]).exp() @ values
            sums += float((expected - stars[part]).double().square().sum())
        return sums / len(base)

    return error

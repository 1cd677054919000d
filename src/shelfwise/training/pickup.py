"""Fitting what readers pick up: the pickup matrix, the head that orders its candidates, and how much taste counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.engine import HERE, Engine, in_threads
from shelfwise.features.vectors import BookFeatures, VectorSizes, beside_names
from shelfwise.models.contract import FitInputs, Rows
from shelfwise.models.coreading import coreadings, ease_columns, ease_scores_without
from shelfwise.models.inverses import inverted
from shelfwise.models.long_shelves import in_pieces
from shelfwise.models.shelf import CANDIDATES, Shelf, ShelfConfig
from shelfwise.models.similarity import BookTraits
from shelfwise.models.sparse import reading_matrix
from shelfwise.models.sparse_ease import Gram, Groups, GroupWork, sparse_ease
from shelfwise.ranking import ranking_metrics

BOOKS_AT_ONCE = 1000
READERS_AT_ONCE, SCORES_AT_ONCE = 64, 64_000_000
GROUP_BOOKS = 500
MOST_ENTRIES = 100_000_000  # of the pickup matrix, 0.8 GB
HELD_BACK = 0.2  # of training ratings, foretold from the others while the pick head learns
PICK_READERS = 12_000
PICK_EPOCHS, PICK_READERS_AT_ONCE, PICK_RATE = 6, 64, 2e-3
TASTES = (0.0, 0.5, 1.0, 1.5)
TASTE_READERS = 3000
LEAST_SHELF = 2
LIST = 10  # books, whose NDCG decides


@dataclass(frozen=True)
class Pickup:
    """The pickup matrix, sparse float32 [I, I], and where it was made whole (config.dense_books), P of EASE."""

    matrix: sp.csr_matrix
    inverse: npt.NDArray[np.float32] | None


def fit_lists(model: Shelf, inputs: FitInputs) -> None:
    """Fit what orders the lists of a model whose star head is fitted."""
    assert inputs.features is not None
    pickup = fit_pickup(inputs.train.shelves(), inputs.features, model.config, model.books.traits, inputs.engine)
    model.pickup = pickup.matrix
    train_pick_head(model, pickup, inputs)
    del pickup
    if model.config.taste is None:
        model.config = model.config.model_copy(update={"taste": choose_taste(model, inputs)})


def fit_pickup(
    shelves: Shelves, features: BookFeatures, config: ShelfConfig, traits: BookTraits, engine: Engine = HERE
) -> Pickup:
    """EASE on co-reading counts plus content similarity, its strongest entries; row: the book on the shelf.

    Beyond config.dense_books books it is the sparse one, for groups of books that are alike in subject and readers.
    """
    n_books = len(features.catalogue)
    read = reading_matrix(in_pieces(shelves, config.longest_shelf), n_books)
    vectors = beside_names(traits.about.numpy(), features.catalogue, VectorSizes())
    if n_books > config.dense_books:
        groups = Groups.of(torch.cat([traits.about, traits.coreading], 1).numpy(), GROUP_BOOKS)
        vectors *= np.float32(config.content_weight**0.5)
        neighbours = max(min(config.neighbours, MOST_ENTRIES // n_books), 1)
        work = GroupWork(Gram(read, vectors), config.l2, config.company, neighbours)
        return Pickup(sparse_ease(work, groups, engine), None)
    gram = coreadings(read, engine)
    blocks = [slice(start, min(start + BOOKS_AT_ONCE, n_books)) for start in range(0, n_books, BOOKS_AT_ONCE)]
    for books in blocks:
        gram[:, books] += config.content_weight * (vectors @ vectors[books].T)
    np.einsum("ii->i", gram)[:] += np.float32(config.l2)
    inverse = inverted(gram)

    def of_block(books: slice) -> sp.csr_matrix:
        return _strongest(ease_columns(inverse, books), config.neighbours)

    columns = list(in_threads(of_block, blocks))
    return Pickup(sp.csr_matrix(sp.vstack(columns).T), inverse)


def _strongest(block: Floats, n: int) -> sp.csr_matrix:
    """The n entries of each row that are furthest from 0. Changes block."""
    if n < block.shape[1]:
        strength = np.abs(block)
        block[strength < np.partition(strength, -n, axis=1)[:, -n, None]] = 0
    return sp.csr_matrix(block)


def train_pick_head(model: Shelf, pickup: Pickup, inputs: FitInputs) -> None:
    """Fit the pick head: of the candidates, those that a reader did rate are to come first.

    A part of the training ratings is held back. What proposes candidates here has not seen what it is to foretell:
    without P, a pickup matrix fitted on the rest.
    """
    assert inputs.features is not None
    rng = np.random.default_rng(inputs.seed)
    everything = inputs.train.shelves()
    back = rng.random(len(everything.item_idx)) < HELD_BACK
    shelves, wanted = everything.where(~back), everything.where(back)
    whole = everything.lengths <= model.config.longest_shelf  # not counted in pieces
    able = np.flatnonzero((shelves.lengths >= LEAST_SHELF) & (wanted.lengths > 0) & whole)
    if not len(able):
        return
    chosen = np.sort(rng.choice(able, min(PICK_READERS, len(able)), replace=False))
    inner = model
    if pickup.inverse is None:
        rest = fit_pickup(shelves, inputs.features, model.config, model.books.traits, inputs.engine)
        inner = Shelf(model.config, model.scale, model.books, model.star_head, rest.matrix, model.pick_head)
    numbers, picked = _candidates(inner, pickup.inverse, shelves.take(chosen), wanted.take(chosen), inputs)
    some = picked.any(1)
    numbers, picked = numbers[some], picked[some]
    head = model.pick_head
    if not len(numbers):
        return
    head.standardise(numbers.reshape(-1, numbers.shape[-1]))
    head.train()
    optimiser = torch.optim.AdamW(head.parameters(), PICK_RATE, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(inputs.seed)
    n_batches = -(-len(numbers) // PICK_READERS_AT_ONCE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, PICK_EPOCHS * n_batches)
    for epoch in range(PICK_EPOCHS):
        order = torch.randperm(len(numbers), generator=generator)
        for start in range(0, len(order), PICK_READERS_AT_ONCE):
            rows = order[start : start + PICK_READERS_AT_ONCE]
            chances = head(numbers[rows].reshape(-1, numbers.shape[-1])).view(len(rows), -1).log_softmax(1)
            loss = -(chances * picked[rows]).sum() / picked[rows].sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        inputs.on_progress("pickup", epoch + 1, PICK_EPOCHS)
    head.eval()


@torch.no_grad()
def _candidates(
    model: Shelf, inverse: npt.NDArray[np.float32] | None, shelves: Shelves, wanted: Shelves, inputs: FitInputs
) -> tuple[Tensor, Tensor]:
    """Numbers [U, C, F] of each reader's candidates, and which the reader picked up, float32 [U, C]."""
    readers = model.fold_in(shelves)
    size = max(1, min(READERS_AT_ONCE, SCORES_AT_ONCE // len(model.book_counts)))
    blocks = [np.arange(start, min(start + size, len(shelves))) for start in range(0, len(shelves), size)]

    @torch.no_grad()
    def of_block(rows: Rows) -> tuple[Tensor, Tensor]:
        scores = None
        if inverse is not None:
            kept, held = (reading_matrix(some.take(rows), len(inverse)) for some in (shelves, wanted))
            scores = ease_scores_without(inverse, kept, held) + model.trace
        found = model.propose(readers, rows, scores=scores)
        numbers = found.numbers.view(len(rows), found.books.shape[1], -1)
        return numbers, torch.from_numpy(wanted.take(rows).holds(found.books).astype(np.float32))

    picked = torch.empty(len(shelves), min(CANDIDATES, len(model.book_counts)))
    numbers = torch.empty(*picked.shape, len(model.pick_head.centre))
    for rows, found in zip(blocks, in_threads(of_block, blocks), strict=True):
        numbers[rows], picked[rows] = found
        inputs.on_progress("candidates", int(rows[-1]) + 1, len(shelves))
    return numbers, picked


@torch.inference_mode()
def choose_taste(model: Shelf, inputs: FitInputs) -> float:
    """How much taste counts in the list: the best NDCG@10 of liked books on validation; 1 where there is none."""
    valid = inputs.valid
    if valid is None or not len(valid):
        return 1.0
    liked = valid.where(valid.stars >= valid.scale.liked_from - 1e-6).shelves()
    shelves = (inputs.train if inputs.given is None or not len(inputs.given) else inputs.given).shelves()
    able = np.flatnonzero((liked.lengths > 0) & (shelves.lengths > 0))
    if not len(able):
        return 1.0
    rng = np.random.default_rng(inputs.seed)
    chosen = np.sort(rng.choice(able, min(TASTE_READERS, len(able)), replace=False))
    liked, shelves = liked.take(chosen), shelves.take(chosen)
    readers = model.fold_in(shelves)
    trials = [model.changed(taste=taste, order="blend") for taste in TASTES]
    lists = np.full((len(TASTES), len(readers), LIST), -1, dtype=np.int32)
    blocks, n_done = list(model.blocks(readers)), 0

    @torch.inference_mode()
    def of_block(rows: Rows) -> list[Indices]:
        found = model.propose(readers, rows)
        left_out = shelves.take(rows).holds(found.books)
        first = (trial.first_of(found, LIST, left_out)[0] for trial in trials)
        return [np.take_along_axis(found.books, places, axis=1) for places in first]

    for rows, found in zip(blocks, in_threads(of_block, blocks), strict=True):
        for its_lists, first in zip(lists, found, strict=True):
            its_lists[rows, : first.shape[1]] = first
        n_done += len(rows)
        inputs.on_progress("taste", n_done, len(readers))
    return TASTES[int(np.argmax([ranking_metrics(of_taste, liked)["ndcg"].mean() for of_taste in lists]))]

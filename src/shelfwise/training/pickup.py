"""Fitting what readers pick up: the pickup matrix, the head that orders its candidates, and how much taste counts."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from shelfwise.data.shelves import Indices, Shelves
from shelfwise.features.vectors import BookFeatures, VectorSizes, content_vectors
from shelfwise.models.contract import FitInputs
from shelfwise.models.coreading import coreadings, ease_weights
from shelfwise.models.long_shelves import in_pieces
from shelfwise.models.shelf import Shelf, ShelfConfig
from shelfwise.models.similarity import BookTraits
from shelfwise.models.sparse import reading_matrix
from shelfwise.models.sparse_ease import Gram, like_groups, sparse_ease
from shelfwise.ranking import ranking_metrics

BOOKS_AT_ONCE = 1000
GROUP_BOOKS = 500
HELD_BACK = 0.2  # of training ratings, foretold from the others while the pick head learns
PICK_READERS = 12_000
PICK_EPOCHS, PICK_READERS_AT_ONCE, PICK_RATE = 6, 64, 2e-3
TASTES = (0.0, 0.5, 1.0, 1.5)
TASTE_READERS = 3000
LEAST_SHELF = 2


def fit_pickup(shelves: Shelves, features: BookFeatures, config: ShelfConfig, traits: BookTraits) -> sp.csr_matrix:
    """EASE on co-reading counts plus content similarity, its strongest entries; row: the book on the shelf.

    Beyond config.dense_books books it is the sparse one, for groups of books that are alike in subject and readers.
    """
    n_books = len(features.catalogue)
    read = reading_matrix(in_pieces(shelves, config.longest_shelf), n_books)
    vectors = content_vectors(features, VectorSizes(about=config.about_dim))
    if n_books > config.dense_books:
        groups = like_groups(torch.cat([traits.about, traits.coreading], 1).numpy(), GROUP_BOOKS)
        gram_parts = Gram(read, vectors * np.float32(config.content_weight**0.5))
        return sparse_ease(gram_parts, groups, config.l2, config.company, config.neighbours)
    gram = coreadings(read)
    for start in range(0, n_books, BOOKS_AT_ONCE):
        books = slice(start, start + BOOKS_AT_ONCE)
        gram[:, books] += config.content_weight * (vectors @ vectors[books].T)
    weights = ease_weights(gram, config.l2)
    blocks = []
    for start in range(0, n_books, BOOKS_AT_ONCE):  # by column: what foretells a book
        block = weights[:, start : start + BOOKS_AT_ONCE].T.copy()
        if config.neighbours < n_books:
            strength = np.abs(block)
            least = np.partition(strength, -config.neighbours, axis=1)[:, -config.neighbours, None]
            block[strength < least] = 0
        blocks.append(sp.csr_matrix(block))
    return sp.csr_matrix(sp.vstack(blocks).T)


def train_pick_head(model: Shelf, inputs: FitInputs) -> None:
    """Fit the pick head: of the candidates, those that a reader did rate are to come first.

    A part of the training ratings is held back; the pickup matrix that proposes candidates here is fitted on the
    rest, so that it has not seen what it is to foretell.
    """
    assert inputs.features is not None
    rng = np.random.default_rng(inputs.seed)
    everything = inputs.train.shelves()
    back = rng.random(len(everything.item_idx)) < HELD_BACK
    shelves, wanted = everything.where(~back), everything.where(back)
    able = np.flatnonzero((shelves.lengths >= LEAST_SHELF) & (wanted.lengths > 0))
    if not len(able):
        return
    chosen = np.sort(rng.choice(able, min(PICK_READERS, len(able)), replace=False))
    inner = Shelf(
        model.config, model.scale, model.books, model.star_head,
        fit_pickup(shelves, inputs.features, model.config, model.books.traits), model.pick_head,
    )  # fmt: skip
    numbers, picked = _candidates(inner, shelves.take(chosen), wanted.take(chosen), inputs)
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
def _candidates(model: Shelf, shelves: Shelves, wanted: Shelves, inputs: FitInputs) -> tuple[Tensor, Tensor]:
    """Numbers [U, C, F] of each reader's candidates, and which the reader picked up, float32 [U, C]."""
    readers = model.fold_in(shelves)
    numbers: Tensor | None = None
    picked: Tensor | None = None
    size = 256
    for start in range(0, len(shelves), size):
        rows = np.arange(start, min(start + size, len(shelves)))
        found = model.propose(readers, rows)
        if numbers is None or picked is None:
            numbers = torch.empty(len(shelves), found.books.shape[1], found.numbers.shape[1])
            picked = torch.empty(len(shelves), found.books.shape[1])
        numbers[rows] = found.numbers.view(len(rows), found.books.shape[1], -1)
        picked[rows] = torch.from_numpy(wanted.take(rows).holds(found.books).astype(np.float32))
        inputs.on_progress("candidates", int(rows[-1]) + 1, len(shelves))
    assert numbers is not None
    assert picked is not None
    return numbers, picked


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
    best, best_taste = -1.0, 1.0
    for taste in TASTES:
        trial = model.changed(taste=taste, order="blend")
        lists: Indices = trial.top(readers, 10, shelves)[0]
        ndcg = float(ranking_metrics(lists, liked)["ndcg"].mean())
        inputs.on_progress("taste", TASTES.index(taste) + 1, len(TASTES))
        if ndcg > best:
            best, best_taste = ndcg, taste
    return best_taste

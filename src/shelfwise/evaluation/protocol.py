"""How a model is measured: what it may see, what it must predict, which books it may list."""

from __future__ import annotations

import numpy as np

from shelfwise.config import Config
from shelfwise.data.ratings import Ratings
from shelfwise.data.shelves import Indices, Shelves
from shelfwise.data.split import GIVEN_TEST, GIVEN_VALID, TEST, TRAIN, VALID, Parts
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.evaluation.metrics import ranking_metrics, star_metrics
from shelfwise.models.blocks import predict, reader_blocks
from shelfwise.models.contract import BASES, Model, Progress, silent
from shelfwise.ranking import top_n

TOP_K = 10
# At most so many readers get a list when a model is measured; those are drawn at random, always the same.
RANKED_READERS = 10_000
# The share of the scale from which a rating counts as liked: 4 stars of 1-5.
RELEVANT = 0.75


class Measures(Config):
    """Metrics of one model on one part: of stars (see star_metrics), of lists, and of stars by basis."""

    stars: dict[str, float]
    ranking: dict[str, float]
    by_basis: dict[str, dict[str, float]]


def measure(
    model: Model,
    ratings: Ratings,
    parts: Parts,
    part: int = TEST,
    *,
    trained: Vocabulary | None = None,
    rank: bool = True,
    on_progress: Progress = silent,
) -> Measures:
    """Measure `model` on the rows of `part` (VALID or TEST).

    `trained` are the readers in the order of the model's training, if that is not the order of `ratings`.
    A reader's shelf is what the model was trained on, or what is given of a new reader. Lists leave out
    what is in train, validation (when testing) or given; a book counts as relevant from RELEVANT of the scale up.
    """
    given = GIVEN_TEST if part == TEST else GIVEN_VALID
    shelves = ratings.where((parts == TRAIN) | (parts == given)).shelves()
    trained_idx = trained_readers(ratings, parts, trained)
    target = ratings.where(parts == part)
    predicted, basis = predict(
        model, shelves, target.user_idx, target.item_idx, trained_idx=trained_idx, on_progress=on_progress
    )
    by_basis = {
        name: star_metrics(predicted[basis == code], target.stars[basis == code], ratings.scale)
        for code, name in enumerate(BASES)
        if (basis == code).any()
    }
    ranking: dict[str, float] = {}
    if rank:
        seen = ratings.where((parts == TRAIN) | (parts == given) | ((parts == VALID) & (part == TEST))).shelves()
        ranking = measure_lists(model, shelves, seen, target, trained_idx=trained_idx, on_progress=on_progress)
    return Measures(stars=star_metrics(predicted, target.stars, ratings.scale), ranking=ranking, by_basis=by_basis)


def trained_readers(ratings: Ratings, parts: Parts, trained: Vocabulary | None = None) -> Indices:
    """int32 [U]: the index in training of each reader whose shelf is just what was trained on, else -1."""
    in_train = np.bincount(ratings.user_idx[parts == TRAIN], minlength=ratings.n_readers) > 0
    given = (parts == GIVEN_TEST) | (parts == GIVEN_VALID)
    newer = np.bincount(ratings.user_idx[given], minlength=ratings.n_readers) > 0
    index = np.arange(ratings.n_readers) if trained is None else trained.find(ratings.readers.ids)
    return np.where(in_train & ~newer, index, -1).astype(np.int32)


def measure_lists(
    model: Model,
    shelves: Shelves,
    seen: Shelves,
    target: Ratings,
    *,
    trained_idx: Indices | None = None,
    on_progress: Progress = silent,
) -> dict[str, float]:
    """Mean NDCG and recall of the first TOP_K over the full catalogue, over readers with something relevant.

    Of more than RANKED_READERS such readers, so many are drawn.
    """
    scale = target.scale
    threshold = scale.low + RELEVANT * (scale.high - scale.low)
    relevant = target.where(target.stars >= threshold - 1e-6).shelves()
    rows = np.flatnonzero(relevant.lengths)
    if len(rows) > RANKED_READERS:
        rows = np.sort(np.random.default_rng(0).choice(rows, RANKED_READERS, replace=False))
    sums: dict[str, list[np.ndarray]] = {}
    done = 0
    for block, readers in reader_blocks(model, shelves, rows, trained_idx=trained_idx):
        lists, _ = top_n(model.scores(readers), TOP_K, seen.take(block))
        for name, values in ranking_metrics(lists, relevant.take(block)).items():
            sums.setdefault(name, []).append(values)
        done += len(block)
        on_progress("rank", done, len(rows))
    means = {f"{name}@{TOP_K}": float(np.concatenate(values).mean()) for name, values in sums.items()}
    return {**means, "n_readers": len(rows)}

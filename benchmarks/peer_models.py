"""The models of peers.py: how each library is asked, and the settings it is tuned over. Imported only where used.

Each takes indices as we have them and is asked in the way its documentation shows, or in a faster one that gives the
same answer: then a comment says so. Grids start at the library's defaults; all are of the same length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from shelfwise import TrainSettings, load_dataset
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.prepare import Prepared, prepare
from shelfwise.data.ratings import Ratings
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.data.split import TRAIN
from shelfwise.evaluation.protocol import TOP_K, Exam
from shelfwise.features.vectors import BookFeatures
from shelfwise.lab import Lab, fit
from shelfwise.models.blocks import predict, reader_blocks
from shelfwise.ranking import top_n

READERS_AT_ONCE = 512  # whose scores of all books lie in memory at once
SEED = 0

Settings = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What to learn from (`prepared`, its part `train`), and what to answer: the rows and the readers of `exam`."""

    catalogue: Catalogue
    prepared: Prepared
    train: Ratings
    exam: Exam


def make_task(data: str, n_readers: int, part: int) -> Task:
    """The random 70-20-10 split of a data set, or of so many of its readers, to be measured on `part`."""
    loaded = load_dataset(data)
    if n_readers:
        ids = loaded.ratings.frame["user_id"].unique().sort()
        some = np.random.default_rng(SEED).choice(len(ids), min(n_readers, len(ids)), replace=False)
        kept = pl.col("user_id").is_in(ids.gather(np.sort(some)).implode())
        table = replace(loaded.ratings, frame=loaded.ratings.frame.filter(kept))
        loaded = replace(loaded, ratings=table, events=None if loaded.events is None else loaded.events.filter(kept))
    prepared, _ = prepare(loaded, TrainSettings(seed=SEED))
    exam = Exam(prepared.ratings, prepared.parts, BookFeatures.of(loaded.catalogue), part)
    return Task(loaded.catalogue, prepared, prepared.ratings.where(prepared.parts == TRAIN), exam)


# Expected stars of the rows of exam.target, float [N], with the probability of each star or None.
Predicted = tuple[Floats, Floats | None]


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    package  its name on PyPI
    modules  what it consists of, imported outside of any time; nothing is measured where the first is missing
    fit    (task, settings) -> fitted, from indices: what the library builds of them first is part of its time
    stars  (fitted, task) -> Predicted, or why there are none
    lists  (fitted, task) -> the TOP_K books of each of exam.ranked, int32 [U, TOP_K], or why there are none
    grid   the settings that are tried
    chosen_by  the validation metric that chooses: 'mse' or 'ndcg@10'
    """

    package: str
    modules: tuple[str, ...]
    fit: Callable[[Task, Settings], Any]
    stars: Callable[[Any, Task], Predicted] | str
    lists: Callable[[Any, Task], Indices] | str
    grid: tuple[Settings, ...]
    chosen_by: str = "mse"


def lists_of(scores: Callable[[Indices], Floats], exam: Exam) -> Indices:
    """The best books not in exam.seen; `scores` gives those of some readers for all books, float32 [U, I]."""
    found = []
    for start in range(0, len(exam.ranked), READERS_AT_ONCE):
        block = exam.ranked[start : start + READERS_AT_ONCE]
        found.append(top_n(scores(block), TOP_K, exam.seen.take(block))[0])
    return np.concatenate(found)


def factor_lists(users: Floats, items: Floats, item_bias: Floats | None, exam: Exam) -> Indices:
    """lists_of for a dot product: what is the same for all books of a reader changes no list and is left out."""
    transposed = np.ascontiguousarray(items.T, dtype=np.float32)
    bias = np.float32(0) if item_bias is None else item_bias.astype(np.float32)
    return lists_of(lambda block: users[block].astype(np.float32) @ transposed + bias, exam)


def read_matrix(shelves: Shelves, n_books: int) -> sp.csr_matrix:
    """1 where a reader has rated a book, float32 [U, I]."""
    ones = np.ones(len(shelves.item_idx), dtype=np.float32)
    return sp.csr_matrix((ones, shelves.item_idx, shelves.indptr), shape=(len(shelves), n_books))


def train_frame(train: Ratings) -> Any:
    """user_id, item_id, rating as a pandas table, our indices being the ids."""
    import pandas as pd

    return pd.DataFrame({"user_id": train.user_idx, "item_id": train.item_idx, "rating": train.stars})


def ours(model: str, *, content: bool = False) -> Callable[[Task, Settings], Any]:
    """The `fit` of one of our models; if it needs the content of the books, making that is part of the time."""

    def fit_ours(task: Task, settings: Settings) -> Any:
        config, loop = TrainSettings(model=model, settings=settings).parsed()
        features = BookFeatures.of(task.catalogue) if content else task.exam.features
        return fit(config, task.prepared, Lab(features, SEED, loop)).model

    return fit_ours


def our_stars(model: Any, task: Task) -> Predicted:
    exam, target = task.exam, task.exam.target
    answers = predict(model, exam.shelves, target.user_idx, target.item_idx, trained_idx=exam.trained_idx())
    return answers.stars, answers.probabilities


def our_lists(model: Any, task: Task) -> Indices:
    exam = task.exam
    blocks = reader_blocks(model, exam.shelves, exam.ranked, trained_idx=exam.trained_idx())
    return np.concatenate([model.top(readers, TOP_K, exam.seen.take(block)).books for block, readers in blocks])


def surprise_fit(kind: str) -> Callable[[Task, Settings], Any]:
    """Of a class of surprise's matrix factorisations."""

    def fit_surprise(task: Task, settings: Settings) -> Any:
        import surprise

        scale = task.train.scale
        reader = surprise.Reader(rating_scale=(scale.low, scale.high))
        data = surprise.Dataset.load_from_df(train_frame(task.train), reader)
        return getattr(surprise, kind)(**settings, random_state=SEED).fit(data.build_full_trainset())

    return fit_surprise


def surprise_stars(algorithm: Any, task: Task) -> Predicted:
    pairs = zip(task.exam.target.user_idx.tolist(), task.exam.target.item_idx.tolist(), strict=True)
    return np.array([algorithm.predict(user, item).est for user, item in pairs], dtype=np.float32), None


def surprise_lists(algorithm: Any, task: Task) -> Indices:
    """From the factors, as surprise's own answer for every pair takes an hour. Who is unknown has zeros, as there."""
    trainset, train = algorithm.trainset, task.train

    def by_index(values: Floats, raw_id: Callable[[int], Any], n: int) -> Floats:
        table = np.zeros((n, *values.shape[1:]), dtype=np.float32)
        table[[int(raw_id(inner)) for inner in range(len(values))]] = values
        return table

    users = by_index(algorithm.pu, trainset.to_raw_uid, train.n_readers)
    items = by_index(algorithm.qi, trainset.to_raw_iid, train.n_books)
    if hasattr(algorithm, "yj"):  # SVD++: what was read counts too
        read = read_matrix(train.shelves(), train.n_books)
        lengths = np.maximum(train.shelves().lengths, 1).astype(np.float32)
        users += (read @ by_index(algorithm.yj, trainset.to_raw_iid, train.n_books)) / np.sqrt(lengths)[:, None]
    return factor_lists(users, items, by_index(algorithm.bi, trainset.to_raw_iid, train.n_books), task.exam)


def one_hot(rows: Ratings) -> sp.csr_matrix:
    """A column for each reader and each book, float64 [N, U + I]."""
    columns = np.column_stack([rows.user_idx, rows.n_readers + rows.item_idx]).ravel()
    offsets = np.arange(0, len(columns) + 1, 2)
    return sp.csr_matrix((np.ones(len(columns)), columns, offsets), shape=(len(rows), rows.n_readers + rows.n_books))


def myfm_fit(task: Task, settings: Settings) -> Any:
    """Readers and books are groups of columns of their own, as myFM's documentation advises."""
    import myfm

    train = task.train
    machine = myfm.MyFMRegressor(rank=settings["rank"], random_seed=SEED)
    groups = [train.n_readers, train.n_books]
    return machine.fit(one_hot(train), train.stars, n_iter=settings["n_iter"], group_shapes=groups)


def myfm_stars(machine: Any, task: Task) -> Predicted:
    return machine.predict(one_hot(task.exam.target)), None


def myfm_lists(machine: Any, task: Task) -> Indices:
    """The mean over posterior samples is one dot product, of the samples' factors laid side by side."""
    n_readers, ranked, samples = task.train.n_readers, task.exam.ranked, machine.predictor_.samples
    users = np.zeros((n_readers, len(samples) * machine.rank), dtype=np.float32)
    items = np.zeros((task.train.n_books, users.shape[1]), dtype=np.float32)
    bias = np.zeros(task.train.n_books, dtype=np.float64)
    for place, sample in enumerate(samples):
        at = slice(place * machine.rank, (place + 1) * machine.rank)
        factors = np.asarray(sample.V)
        users[ranked, at], items[:, at] = factors[ranked], factors[n_readers:]
        bias += np.asarray(sample.w)[n_readers:]
    return factor_lists(users / len(samples), items, bias / len(samples), task.exam)


def lenskit_fit(kind: str, *, stars: bool = True, **fixed: Any) -> Callable[[Task, Settings], Any]:
    """Of a scorer of LensKit, in a pipeline that knows the history; with stars also its fallback to biases."""

    def fit_lenskit(task: Task, settings: Settings) -> Any:
        import lenskit.als
        import lenskit.knn
        from lenskit.data import from_interactions_df
        from lenskit.pipeline import predict_pipeline
        from lenskit.training import TrainingOptions

        scorer = getattr(lenskit.als if hasattr(lenskit.als, kind) else lenskit.knn, kind)(**settings, **fixed)
        pipeline = predict_pipeline(scorer, fallback=stars)
        pipeline.train(from_interactions_df(train_frame(task.train)), TrainingOptions(rng=SEED))
        return pipeline

    return fit_lenskit


def lenskit_stars(pipeline: Any, task: Task) -> Predicted:
    """In this process: more of them are no faster on 2 cores, and their memory would not be counted."""
    from lenskit.batch import predict as batch_predict
    from lenskit.data import ItemListCollection, UserIDKey

    pairs = train_frame(task.exam.target)[["user_id", "item_id"]]
    found = batch_predict(pipeline, ItemListCollection.from_df(pairs, UserIDKey), n_jobs=1).to_df()
    return pairs.merge(found, how="left", on=["user_id", "item_id"])["score"].to_numpy(), None


def lenskit_lists(pipeline: Any, task: Task) -> Indices:
    """A book without a score is not listed."""
    from lenskit.data import ItemList

    n_books = task.train.n_books
    every = ItemList(item_ids=np.arange(n_books))

    def scores(block: Indices) -> Floats:
        rows = [pipeline.run(query=int(user), items=every).scores() for user in block]
        return np.nan_to_num(np.stack(rows).astype(np.float32), nan=-np.inf, neginf=-np.inf)

    return lists_of(scores, task.exam)


def lenskit_ease_lists(pipeline: Any, task: Task) -> Indices:
    """Shelves times the scorer's weights: its own call reads the whole matrix for each reader, 4 minutes in all."""
    scorer = pipeline.component("scorer")
    items = np.asarray(scorer.items.ids())
    read = read_matrix(task.train.shelves(), task.train.n_books)[:, items]

    def scores(block: Indices) -> Floats:
        table = np.full((len(block), task.train.n_books), -np.inf, dtype=np.float32)
        table[:, items] = read[block] @ scorer.weights
        return table

    return lists_of(scores, task.exam)


def implicit_fit(task: Task, settings: Settings) -> Any:
    """On what was read, whatever the stars: a weight of 1, times alpha. One thread of BLAS, as its warning asks."""
    from implicit.als import AlternatingLeastSquares

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(**settings, random_state=SEED, use_gpu=False)
        model.fit(read_matrix(task.train.shelves(), task.train.n_books), show_progress=False)
    return model


def implicit_lists(model: Any, task: Task) -> Indices:
    """By its own filter."""
    exam = task.exam
    seen = read_matrix(exam.seen.take(exam.ranked), task.train.n_books)
    books, _ = model.recommend(exam.ranked, seen, N=TOP_K, filter_already_liked_items=True)
    return books.astype(np.int32)


def cornac_fit(task: Task, settings: Settings) -> Any:
    """Without a seed, since with one it uses one thread only."""
    from cornac.data import Dataset
    from cornac.models import MF

    train = task.train
    rows = (train.user_idx.astype(np.int64), train.item_idx.astype(np.int64), train.stars.astype(np.float64))
    ids = ({index: index for index in range(n)} for n in (train.n_readers, train.n_books))
    return MF(**settings, verbose=False).fit(Dataset(train.n_readers, train.n_books, *ids, rows))


def cornac_stars(model: Any, task: Task) -> Predicted:
    pairs = zip(task.exam.target.user_idx.tolist(), task.exam.target.item_idx.tolist(), strict=True)
    return np.array([model.rate(user, item) for user, item in pairs], dtype=np.float32), None


def cornac_lists(model: Any, task: Task) -> Indices:
    return factor_lists(model.u_factors, model.i_factors, model.i_biases, task.exam)


def grid(names: str, *rows: tuple[Any, ...]) -> tuple[Settings, ...]:
    """A dict for each row, from the names of its columns."""
    return tuple(dict(zip(names.split(), row, strict=True)) for row in rows)


SHELFWISE = ("shelfwise", "shelfwise.training.shelf")
SURPRISE = ("surprise", "pandas")
LENSKIT = ("lenskit", "lenskit.als", "lenskit.knn", "lenskit.pipeline", "lenskit.batch", "pandas")
PEERS: dict[str, Peer] = {
    "shelf": Peer(
        "shelfwise", SHELFWISE, ours("shelf", content=True), our_stars, our_lists,
        grid(
            "learning_rate epochs dropout book_shrinkage",
            (4e-3, 5, 0.0, 6.0), (2e-3, 5, 0.0, 6.0), (8e-3, 5, 0.0, 6.0),
            (4e-3, 8, 0.0, 6.0), (4e-3, 5, 0.1, 6.0), (4e-3, 5, 0.0, 3.0),
        ),
    ),
    "bias": Peer(
        "shelfwise", SHELFWISE, ours("bias"), our_stars, our_lists,
        grid(
            "reader_shrinkage book_shrinkage",
            (3.0, 6.0), (2.0, 6.0), (5.0, 6.0), (3.0, 3.0), (3.0, 12.0), (5.0, 12.0),
        ),
    ),
    "ease": Peer(
        "shelfwise", SHELFWISE, ours("ease"), "no stars of its own", our_lists,
        grid("l2", (100.0,), (25.0,), (50.0,), (200.0,), (400.0,), (800.0,)), "ndcg@10",
    ),
    "surprise-svd": Peer(
        "scikit-surprise", SURPRISE, surprise_fit("SVD"), surprise_stars, surprise_lists,
        grid(
            "n_factors n_epochs lr_all reg_all",
            (100, 20, 0.005, 0.02), (10, 20, 0.005, 0.05), (10, 20, 0.005, 0.1),
            (5, 20, 0.005, 0.05), (20, 30, 0.005, 0.1), (100, 40, 0.005, 0.1),
        ),
    ),
    "surprise-svdpp": Peer(
        "scikit-surprise", SURPRISE, surprise_fit("SVDpp"), surprise_stars, surprise_lists,
        grid(  # the cache changes nothing but speed and memory
            "n_factors n_epochs lr_all reg_all cache_ratings",
            (20, 20, 0.007, 0.02, True), (10, 20, 0.007, 0.05, True), (10, 20, 0.007, 0.1, True),
            (5, 20, 0.007, 0.05, True), (20, 20, 0.007, 0.1, True), (20, 40, 0.005, 0.1, True),
        ),
    ),
    "myfm": Peer(
        "myfm", ("myfm",), myfm_fit, myfm_stars, myfm_lists,
        grid("rank n_iter", (8, 100), (4, 100), (8, 200), (4, 200), (2, 200), (16, 100)),
    ),
    "lenskit-biased-mf": Peer(
        "lenskit", LENSKIT, lenskit_fit("BiasedMFScorer"), lenskit_stars, lenskit_lists,
        grid(
            "embedding_size epochs regularization damping",
            (50, 10, 0.1, 5.0), (50, 10, 0.5, 5.0), (50, 10, 1.0, 5.0),
            (50, 10, 2.0, 5.0), (16, 10, 1.0, 5.0), (50, 20, 1.0, 10.0),
        ),
    ),
    "lenskit-item-knn": Peer(
        "lenskit", LENSKIT, lenskit_fit("ItemKNNScorer", feedback="explicit"), lenskit_stars, lenskit_lists,
        grid("max_nbrs min_nbrs", (20, 1), (20, 2), (20, 5), (40, 2), (40, 5), (80, 3)),
    ),
    "lenskit-item-knn-implicit": Peer(
        "lenskit", LENSKIT, lenskit_fit("ItemKNNScorer", stars=False, feedback="implicit"), "no stars", lenskit_lists,
        grid(
            "max_nbrs min_nbrs save_nbrs",
            (20, 1, None), (50, 1, None), (10, 1, None), (5, 1, None), (20, 2, None), (50, 1, 500),
        ),
        "ndcg@10",
    ),
    "lenskit-ease": Peer(
        "lenskit", LENSKIT, lenskit_fit("EASEScorer", stars=False), "no stars", lenskit_ease_lists,
        grid("regularization", (1.0,), (100.0,), (50.0,), (200.0,), (400.0,), (800.0,)), "ndcg@10",
    ),
    "implicit-als": Peer(
        "implicit", ("implicit", "implicit.als"), implicit_fit, "no stars", implicit_lists,
        grid(
            "factors regularization alpha iterations",
            (100, 0.01, 1.0, 15), (256, 0.01, 10.0, 15), (256, 1.0, 20.0, 15),
            (256, 1.0, 40.0, 15), (512, 1.0, 10.0, 15), (512, 1.0, 20.0, 15),
        ),
        "ndcg@10",
    ),
    "cornac-mf": Peer(
        "cornac", ("cornac",), cornac_fit, cornac_stars, cornac_lists,
        grid(
            "k max_iter learning_rate lambda_reg",
            (10, 20, 0.01, 0.02), (10, 20, 0.005, 0.05), (10, 20, 0.01, 0.1),
            (10, 40, 0.0025, 0.05), (50, 20, 0.005, 0.05), (50, 50, 0.005, 0.1),
        ),
    ),
}  # fmt: skip
TRIALS = 6

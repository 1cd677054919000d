"""How a model is measured: what it may see, what it must predict, which books it may list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from shelfwise.config import Config
from shelfwise.data.ratings import Ratings
from shelfwise.data.shelves import Indices, Shelves
from shelfwise.data.split import GIVEN_TEST, GIVEN_VALID, TEST, TRAIN, VALID, Parts
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.engine import HERE, Engine
from shelfwise.evaluation.intervals import ratio_intervals
from shelfwise.evaluation.metrics import LOSSES, list_metrics, star_losses, star_metrics
from shelfwise.evaluation.segments import Segments, segments
from shelfwise.features.vectors import BookFeatures
from shelfwise.models.blocks import predict, rank_block
from shelfwise.models.contract import BASES, Model, Progress, silent
from shelfwise.ranking import ranking_metrics
from shelfwise.rules import CatalogueFacts, Histories, Plan, Rules, make_plan, ruled_lists
from shelfwise.rules.plan import allowed

TOP_K = 10
# At most so many readers get a list when a model is measured; those are drawn at random, always the same.
RANKED_READERS = 10_000
CALIBRATION_BINS = 10
SIMULATIONS = 2000  # of a perfect forecaster
RANKING = {"ndcg": f"ndcg@{TOP_K}", "recall": f"recall@{TOP_K}", "reciprocal_rank": f"mrr@{TOP_K}"}


class Measures(Config):
    """Metrics of one model on one part.

    stars        see metrics.star_losses; and n
    ranking      means over readers who liked something, see ranking_metrics and list_metrics; n_readers;
                 hit_stars, mean true stars of listed books that the reader did rate; of lists by rules also listed,
                 mean books of a list, and reachable, the share of liked books that the rules let through
    segments     star metrics by kind of rating: by what is on the shelf, history, ratings of the book, basis
    intervals    of stars and ranking: 95 % bootstrap over readers
    calibration  bins of equal count by predicted stars: mean predicted, mean true stars, n
    histogram    share of each star: true, and as the model names it
    reliability  for models with probabilities: bins by the stated probability of k stars or more, for each k
    miscalibration  mean of |stated - true| over those bins, for each k; of all ratings and by history
    chance_miscalibration  what that would stay below in 95 of 100 cases if what is stated were the truth (simulated)
    """

    stars: dict[str, float]
    ranking: dict[str, float]
    segments: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    calibration: list[dict[str, float]] = Field(default_factory=list)
    histogram: dict[str, dict[str, float]] = Field(default_factory=dict)
    reliability: dict[str, list[dict[str, float]]] = Field(default_factory=dict)
    miscalibration: dict[str, dict[str, float]] = Field(default_factory=dict)
    chance_miscalibration: dict[str, dict[str, float]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Measures, and the same by reader: user_id, shelf, n, the sum of each star loss, ndcg@10, recall@10, mrr@10."""

    measures: Measures
    readers: pl.DataFrame


@dataclass(frozen=True)
class Exam:
    """What every model of one report is measured on: the rows of `part` (TEST or VALID).

    A reader's shelf is what models were trained on, or what is given of a new reader. Lists leave out what is in
    train, validation (when testing) or given, in any edition; a book counts as relevant from Scale.liked_from up,
    unless it is an edition of one that is left out.
    """

    ratings: Ratings
    parts: Parts
    features: BookFeatures
    part: int = TEST

    @cached_property
    def shelves(self) -> Shelves:
        """What is known of each reader."""
        given = GIVEN_TEST if self.part == TEST else GIVEN_VALID
        return self.ratings.where((self.parts == TRAIN) | (self.parts == given)).shelves()

    @cached_property
    def facts(self) -> CatalogueFacts:
        """What rules need of the catalogue, and of the ratings that models may know."""
        train = self.ratings.where(self.parts == TRAIN)
        counts = np.bincount(train.item_idx, minlength=train.n_books).astype(np.int32)
        return CatalogueFacts(self.features.catalogue, self.features.content, train.shelves(), counts)

    @cached_property
    def seen(self) -> Shelves:
        """What must not be listed: what was read, in any edition."""
        known = (self.parts == VALID) & (self.part == TEST)
        given = GIVEN_TEST if self.part == TEST else GIVEN_VALID
        read = self.ratings.where((self.parts == TRAIN) | (self.parts == given) | known).shelves()
        return self.facts.editions(read)

    @cached_property
    def target(self) -> Ratings:
        """What is to be predicted."""
        return self.ratings.where(self.parts == self.part)

    @cached_property
    def segments(self) -> dict[str, Segments]:
        """The kinds of the ratings to predict."""
        counts = np.bincount(self.ratings.item_idx[self.parts == TRAIN], minlength=self.ratings.n_books)
        return segments(self.target, self.shelves, self.features.catalogue, counts.astype(np.int32))

    @cached_property
    def relevant(self) -> Shelves:
        """The liked books among those to predict, by reader."""
        liked = self.target.where(self.target.stars >= self.target.scale.liked_from - 1e-6).shelves()
        return liked.where(~liked.among(self.seen))

    @cached_property
    def ranked(self) -> npt.NDArray[np.int64]:
        """The readers who get a list: those with something relevant, at most RANKED_READERS."""
        rows = np.flatnonzero(self.relevant.lengths)
        if len(rows) > RANKED_READERS:
            rows = np.sort(np.random.default_rng(0).choice(rows, RANKED_READERS, replace=False))
        return rows

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is to be predicted from what, hex: two runs compare only where it is the same."""
        state = hashlib.sha256(f"{self.part} {self.ratings.scale}".encode())
        for rows in (self.target.shelves(), self.shelves, self.seen):
            for array in (rows.indptr, rows.item_idx, rows.stars):
                state.update(np.ascontiguousarray(array).tobytes())
        for ids in (self.ratings.readers.ids, self.ratings.books.ids):
            state.update("\n".join(map(str, ids.to_list())).encode())
        return state.hexdigest()

    def trained_idx(self, trained: Vocabulary | None = None) -> Indices:
        """int32 [U]: the index in training of each reader whose shelf is just what was trained on, else -1.

        trained  readers in the order of the model's training, if that is not the order of `ratings`
        """
        ratings, parts = self.ratings, self.parts
        in_train = np.bincount(ratings.user_idx[parts == TRAIN], minlength=ratings.n_readers) > 0
        given = (parts == GIVEN_TEST) | (parts == GIVEN_VALID)
        newer = np.bincount(ratings.user_idx[given], minlength=ratings.n_readers) > 0
        index = np.arange(ratings.n_readers) if trained is None else trained.find(ratings.readers.ids)
        return np.where(in_train & ~newer, index, -1).astype(np.int32)


def measure(
    model: Model,
    exam: Exam,
    *,
    trained: Vocabulary | None = None,
    rank: bool = True,
    on_progress: Progress = silent,
    engine: Engine = HERE,
) -> Measured:
    """All measures of a model; `trained` as in Exam.trained_idx."""
    trained_idx, target = exam.trained_idx(trained), exam.target
    answers = predict(
        model,
        exam.shelves,
        target.user_idx,
        target.item_idx,
        trained_idx=trained_idx,
        on_progress=on_progress,
        engine=engine,
    )
    losses = star_losses(answers.stars, target.stars, target.scale, answers.probabilities)
    readers = _by_reader(exam, losses)
    ranking: dict[str, float] = {}
    if rank:
        values, ranking = measure_lists(model, exam, trained_idx, on_progress, engine=engine)
        columns = [pl.Series(RANKING[name], value, nan_to_null=True) for name, value in values.items()]
        readers = readers.with_columns(columns)
    kinds = exam.segments | {"basis": Segments(BASES, answers.basis)}
    measures = Measures(
        stars=star_metrics(losses),
        ranking=ranking,
        segments={name: _by_segment(losses, kind) for name, kind in kinds.items()},
        intervals=_intervals(readers),
        calibration=_bins(answers.stars, target.stars, CALIBRATION_BINS),
        histogram=_histogram(answers.stars if answers.probabilities is None else answers.likely(target.scale), target),
        reliability={} if answers.probabilities is None else _reliability(answers.probabilities, target),
        miscalibration={} if answers.probabilities is None else _miscalibration(answers.probabilities, exam),
        chance_miscalibration=(
            {} if answers.probabilities is None else _chance_miscalibration(answers.probabilities, exam)
        ),
    )
    return Measured(measures, readers.filter((pl.col("n") > 0) | pl.any_horizontal(pl.col("^.*@.*$").is_not_null())))


def measure_stars(model: Model, exam: Exam) -> float:
    """The mean squared error alone, stars squared."""
    target = exam.target
    answers = predict(model, exam.shelves, target.user_idx, target.item_idx, trained_idx=exam.trained_idx())
    return float(star_losses(answers.stars, target.stars, target.scale)["mse"].mean())


def measure_with_rules(
    own: Measured, model: Model, exam: Exam, rules: Rules, trained: Vocabulary | None, engine: Engine = HERE
) -> Measured:
    """`own`, the measures of a model, with its lists by rules: the same stars, other ranking metrics."""
    plan = make_plan(rules, exam.facts, exam.ratings.scale.liked_from)
    values, ranking = measure_lists(model, exam, exam.trained_idx(trained), plan=plan, engine=engine)
    columns = [pl.Series(RANKING[name], value, nan_to_null=True) for name, value in values.items()]
    users = pl.DataFrame({"user_id": exam.ratings.readers.ids}).with_columns(columns)
    readers = own.readers.drop(RANKING.values(), strict=False).join(users, on="user_id", how="left")
    intervals = _intervals(readers)
    return Measured(own.measures.model_copy(update={"ranking": ranking, "intervals": intervals}), readers)


def measure_lists(
    model: Model,
    exam: Exam,
    trained_idx: Indices,
    on_progress: Progress = silent,
    *,
    plan: Plan | None = None,
    engine: Engine = HERE,
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, float]]:
    """Ranking metrics by reader (float64 [U], NaN for readers without a list) and their means, with list_metrics.

    Over the full catalogue, without sampled candidates.
    plan  rules that the lists keep; None for none but that what was read is left out
    """
    ranked, histories = exam.ranked, Histories.of(exam.shelves, exam.seen)
    by_reader = {name: np.full(len(exam.shelves), np.nan) for name in RANKING}
    lists = np.full((len(ranked), TOP_K), -1, dtype=np.int32)
    size = rank_block(model)
    blocks = [ranked[start : start + size] for start in range(0, len(ranked), size)]
    asked = ((trained_idx[block], histories.take(block)) for block in blocks)
    done = 0
    for block, found in zip(blocks, engine.map(_list, asked, (model, plan)), strict=True):
        lists[done : done + len(block)] = found
        for name, values in ranking_metrics(found, exam.relevant.take(block)).items():
            by_reader[name][block] = values
        done += len(block)
        on_progress("rank", done, len(ranked))
    means = {RANKING[name]: float(values[exam.ranked].mean()) for name, values in by_reader.items() if done}
    if done:
        counts = np.bincount(exam.ratings.item_idx[exam.parts == TRAIN], minlength=exam.ratings.n_books)
        means["hit_stars"] = _stars_of(lists, exam.target.shelves().take(exam.ranked))
        means |= list_metrics(lists, counts.astype(np.int32), exam.shelves.take(exam.ranked), exam.features.content)
    if done and plan is not None:
        means["listed"] = float((lists >= 0).sum(axis=1).mean())
        means["reachable"] = _reachable(exam, histories, plan, size)
    known = {name: value for name, value in means.items() if np.isfinite(value)}
    return by_reader, {**known, "n_readers": len(exam.ranked)}


def _list(shared: tuple[Model, Plan | None], asked: tuple[Indices, Histories]) -> Indices:
    """The lists of a block of readers, int32 [R, TOP_K]."""
    (model, plan), (trained_idx, histories) = shared, asked
    readers = model.fold_in(histories.rated, trained_idx)
    if plan is None:
        return model.top(readers, TOP_K, histories.read).books
    return ruled_lists(model, readers, histories, plan, TOP_K).books


def _reachable(exam: Exam, histories: Histories, plan: Plan, size: int) -> float:
    """The share of the liked books of readers who get a list that the rules let through; by `size` readers at once."""
    let_through = []
    for start in range(0, len(exam.ranked), size):
        block = exam.ranked[start : start + size]
        relevant = exam.relevant.take(block)
        let_through.append(allowed(plan, histories.take(block))[relevant.rows, relevant.item_idx])
    return float(np.concatenate(let_through).mean())


def _stars_of(lists: Indices, rated: Shelves) -> float:
    """Mean true stars of the listed books that their readers did rate, liked or not; NaN if there is none."""
    n_books = int(max(lists.max(initial=0), rated.item_idx.max(initial=0))) + 1
    wanted = (np.arange(len(lists))[:, None] * n_books + lists)[lists >= 0]
    found = np.isin(rated.rows * n_books + rated.item_idx, wanted)
    return float(rated.stars[found].mean()) if found.any() else float("nan")


def _by_reader(exam: Exam, losses: dict[str, npt.NDArray[np.float64]]) -> pl.DataFrame:
    rows, n_readers = exam.target.user_idx, exam.ratings.n_readers
    sums = {name: np.bincount(rows, values, n_readers) for name, values in losses.items()}
    counts = {"shelf": exam.shelves.lengths, "n": np.bincount(rows, minlength=n_readers)}
    return pl.DataFrame({"user_id": exam.ratings.readers.ids, **counts, **sums})


def _by_segment(losses: dict[str, npt.NDArray[np.float64]], kind: Segments) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for code, label in enumerate(kind.labels):
        at = kind.codes == code
        if at.any():
            found[label] = star_metrics({name: values[at] for name, values in losses.items()})
    return found


def _intervals(readers: pl.DataFrame) -> dict[str, tuple[float, float]]:
    names = [name for name in readers.columns if name in LOSSES or name in RANKING.values()]
    values = readers.select(names).to_numpy().astype(np.float64)
    counts = np.where(np.isnan(values), 0, 1.0)
    for place, name in enumerate(names):
        if name in LOSSES:
            counts[:, place] = readers["n"].to_numpy()
    low, high = ratio_intervals(np.nan_to_num(values), counts)
    return {
        name: (float(low[place]), float(high[place])) for place, name in enumerate(names) if np.isfinite(low[place])
    }


def _bins(stated: npt.NDArray[Any], true: npt.NDArray[Any], n_bins: int) -> list[dict[str, float]]:
    """Bins of (nearly) equal count by what is stated: its mean, the mean of what is true, n."""
    order = np.argsort(stated, kind="stable")
    parts = np.array_split(order, min(n_bins, len(order))) if len(order) else []
    return [{"stated": float(stated[at].mean()), "true": float(true[at].mean()), "n": float(len(at))} for at in parts]


def _reliability(probabilities: npt.NDArray[Any], target: Ratings) -> dict[str, list[dict[str, float]]]:
    values = target.scale.values
    return {
        f"{value:g}": _bins(probabilities[:, k:].sum(axis=1), target.stars >= value - 1e-6, CALIBRATION_BINS)
        for k, value in enumerate(values)
        if k
    }


def _by_history(exam: Exam) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """All ratings, then those of each length of history, bool [N]; none that is empty."""
    history = exam.segments["history"]
    yield "all", np.ones(len(exam.target), dtype=bool)
    for code, label in enumerate(history.labels):
        if (history.codes == code).any():
            yield label, history.codes == code


def _miscalibration(probabilities: npt.NDArray[Any], exam: Exam) -> dict[str, dict[str, float]]:
    return {
        kind: {
            star: float(np.mean([abs(entry["stated"] - entry["true"]) for entry in bins]))
            for star, bins in _reliability(probabilities[at], exam.target.where(at)).items()
        }
        for kind, at in _by_history(exam)
    }


def _chance_miscalibration(probabilities: npt.NDArray[Any], exam: Exam) -> dict[str, dict[str, float]]:
    """Simulated: shares of Bernoulli draws in a bin are all but normal, with the variance that the stated ones give."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, float]] = {}
    for kind, at in _by_history(exam):
        found[kind] = {}
        for k, value in enumerate(exam.target.scale.values[1:], start=1):
            bins = np.array_split(
                np.sort(probabilities[at, k:].sum(axis=1).clip(0, 1)), min(CALIBRATION_BINS, at.sum())
            )
            deviations = np.array([np.sqrt((p * (1 - p)).sum()) / len(p) for p in bins])
            misses = np.abs(rng.normal(0, deviations, (SIMULATIONS, len(bins)))).mean(axis=1)
            found[kind][f"{value:g}"] = float(np.quantile(misses, 0.95))
    return found


def _histogram(named: npt.NDArray[Any], target: Ratings) -> dict[str, dict[str, float]]:
    rounded, n = target.scale.round(named), max(len(target), 1)
    return {
        "true": {f"{v:g}": float((target.stars == v).sum() / n) for v in target.scale.values},
        "named": {f"{v:g}": float((rounded == v).sum() / n) for v in target.scale.values},
    }

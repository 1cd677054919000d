"""The bench of an experiment: choose settings on validation, fit, and measure beside the baselines."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from shelfwise.config import ModelConfig
from shelfwise.data.audit import Audit
from shelfwise.data.prepare import Prepared
from shelfwise.data.split import GIVEN_VALID, TEST, TRAIN, VALID
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.engine import HERE, Engine
from shelfwise.errors import FitError
from shelfwise.evaluation.cache import BaselineCache
from shelfwise.evaluation.examples import examples
from shelfwise.evaluation.protocol import Exam, Measured, measure, measure_lists, measure_stars, measure_with_rules
from shelfwise.evaluation.report import Report, Result
from shelfwise.features.vectors import BookFeatures
from shelfwise.memory import give_back_memory
from shelfwise.models.contract import FitInputs, Model, Progress, silent
from shelfwise.models.registry import model_class, model_config
from shelfwise.rules import Rules
from shelfwise.training.recipes import fit_model, loop_settings
from shelfwise.training.settings import Checkpoint, History, LoopSettings

BASELINES = ("global-mean", "popularity", "bias", "bias-ordinal", "item-knn", "coreading-knn", "ease")


@dataclass(frozen=True)
class Lab:
    """What every fit of one experiment shares."""

    features: BookFeatures
    seed: int
    loop: LoopSettings
    on_progress: Progress = silent
    engine: Engine = HERE


@dataclass(frozen=True)
class Fitted:
    """A model, its history where it was trained by the loop, and how long that took (of models fitted at once: all)."""

    model: Model
    history: History
    seconds: float


@dataclass(frozen=True)
class Chosen:
    """The settings that did best on validation, what was tried, and the model fitted with them if it is at hand."""

    config: ModelConfig
    tried: list[dict[str, Any]]
    fitted: Fitted | None = None


def choose(config: ModelConfig, prepared: Prepared, lab: Lab) -> Chosen:
    """The best candidate on validation, by the metric that its config class names.

    Without a validation part: `config` as it is.
    """
    candidates = config.candidates()
    if len(candidates) == 1 or not (prepared.parts == VALID).any():
        return Chosen(config, [])
    exam = Exam(prepared.ratings, prepared.parts, lab.features, VALID)
    best, best_loss, tried = Chosen(config, []), np.inf, []
    fits = _fit_each(candidates, prepared, replace(lab, on_progress=silent))
    for done, (candidate, fitted) in enumerate(zip(candidates, fits, strict=True), start=1):
        if config.chosen_by == "mse":
            error = loss = measure_stars(fitted.model, exam)
        else:
            error = measure_lists(fitted.model, exam, exam.trained_idx())[1].get(config.chosen_by, 0.0)
            loss = -error
        tried.append({"settings": candidate.model_dump(mode="json"), f"valid_{config.chosen_by}": error})
        if loss < best_loss:
            best, best_loss = Chosen(candidate, [], fitted), loss
        lab.on_progress(f"choose {config.kind}", done, len(candidates))
    return replace(best, tried=tried)


def fit(config: ModelConfig, prepared: Prepared, lab: Lab, checkpoint: Checkpoint | None = None) -> Fitted:
    """A model fitted on the train part, and on events that foretell no held-out rating."""
    start = time.perf_counter()
    model, history = fit_model(config, lab.loop, _inputs(prepared, lab), checkpoint)
    return Fitted(model, history, time.perf_counter() - start)


def _fit_each(configs: Sequence[ModelConfig], prepared: Prepared, lab: Lab) -> Iterator[Fitted]:
    """A model with each of the settings of one kind, in turn; at once where its class can share work among them."""
    kind = model_class(configs[0])
    if not hasattr(kind, "fit_each"):
        for config in configs:
            yield fit(config, prepared, lab)
        return
    start = time.perf_counter()
    models = kind.fit_each(configs, _inputs(prepared, lab))
    seconds = time.perf_counter() - start
    for model in models:
        yield Fitted(model, [], seconds)


def _inputs(prepared: Prepared, lab: Lab) -> FitInputs:
    ratings, parts, events = prepared.ratings, prepared.parts, None
    if len(prepared.events.item_idx):
        users, books = prepared.events.rows, prepared.events.item_idx
        held_out = ratings.where(parts != TRAIN)
        secret = held_out.user_idx.astype(np.int64) * ratings.n_books + held_out.item_idx
        known = ~np.isin(users * ratings.n_books + books, secret)
        events = (users[known].astype(np.int32), books[known])
    return FitInputs(
        train=ratings.where(parts == TRAIN),
        valid=ratings.where(parts == VALID),
        given=ratings.where(parts == GIVEN_VALID),
        features=lab.features,
        events=events,
        seed=lab.seed,
        on_progress=lab.on_progress,
        engine=lab.engine,
    )


@dataclass(frozen=True)
class MeasuredBeside:
    """Results of a model (first) and of the baselines, and the measures of each by reader, by name of the model."""

    results: list[Result] = field(default_factory=list)
    readers: dict[str, pl.DataFrame] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    examples: list[Any] = field(default_factory=list)
    digest: str = ""

    def report(self, audit: Audit, tried: list[dict[str, Any]]) -> Report:
        """The report of these results."""
        # ru_maxrss counts KiB, on macOS bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return Report(
            audit=audit,
            results=self.results,
            tried=tried,
            skipped=self.skipped,
            examples=self.examples,
            digest=self.digest,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        )


def measure_beside_baselines(
    fitted: Fitted,
    prepared: Prepared,
    lab: Lab,
    *,
    trained: Vocabulary | None = None,
    rules: Rules | None = None,
    beside: Sequence[str] = BASELINES,
) -> MeasuredBeside:
    """The model's result on the test part (else on validation, else nothing), and each baseline's on the same rows.

    trained  readers in the order of the model's training, if that is not the order of `prepared`
    rules    that lists of the model keep in one more result, which comes second
    beside   names of the baselines
    """
    part = next((p for p in (TEST, VALID) if (prepared.parts == p).any()), None)
    if part is None:
        return MeasuredBeside()
    exam = Exam(prepared.ratings, prepared.parts, lab.features, part)
    give_back_memory()  # of the fit: two EASE at once need it
    kind = fitted.model.kind
    result, readers = _measured(fitted, exam, lab, trained)
    results, by_reader, skipped = [result], {kind: readers}, {}
    if rules is not None:
        start = time.perf_counter()
        ruled = measure_with_rules(Measured(result.measures, readers), fitted.model, exam, rules, trained, lab.engine)
        results.append(
            result.model_copy(
                update={
                    "model": f"{kind} + rules",
                    "settings": result.settings | {"rules": rules.model_dump(mode="json", exclude_defaults=True)},
                    "measures": ruled.measures,
                    "measure_seconds": time.perf_counter() - start,
                }
            )
        )
        by_reader[f"{kind} + rules"] = ruled.readers
    for name, found in baselines(prepared, exam, lab, [name for name in beside if name != kind]):
        if isinstance(found, FitError):
            skipped[name] = found.message
        else:
            results.append(found[0])
            by_reader[name] = found[1]
    shown = examples(fitted.model, exam, readers, exam.trained_idx(trained))
    return MeasuredBeside(results, by_reader, skipped, shown, exam.digest)


def baselines(
    prepared: Prepared, exam: Exam, lab: Lab, names: Sequence[str] = BASELINES
) -> Iterator[tuple[str, tuple[Result, pl.DataFrame] | FitError]]:
    """Each baseline's result and measures by reader, from the cache or fitted anew and cached; or why there is none."""
    cache = BaselineCache(prepared, exam)
    for name in names:
        found = cache.get(name)
        if found is None:
            try:
                found = _baseline(name, prepared, exam, lab)
            except FitError as error:
                yield name, error
                continue
            cache.put(name, *found)
        yield name, found


def _baseline(name: str, prepared: Prepared, exam: Exam, lab: Lab) -> tuple[Result, pl.DataFrame]:
    """A baseline chosen, fitted and measured; no model outlives this. Raises FitError."""
    config = model_config(name)
    plain = replace(lab, seed=0, loop=loop_settings(config, {}))  # so that a baseline is the same beside every model
    chosen = choose(config, prepared, plain)
    return _measured(chosen.fitted or fit(chosen.config, prepared, plain), exam, lab)


def _measured(fitted: Fitted, exam: Exam, lab: Lab, trained: Vocabulary | None = None) -> tuple[Result, pl.DataFrame]:
    start = time.perf_counter()
    measured = measure(fitted.model, exam, trained=trained, on_progress=lab.on_progress, engine=lab.engine)
    seconds = time.perf_counter() - start
    result = Result.of(fitted.model, exam.part, measured.measures, fit_seconds=fitted.seconds, measure_seconds=seconds)
    return result, measured.readers

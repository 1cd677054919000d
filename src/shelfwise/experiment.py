"""The whole flow on one screen: data -> prepared -> chosen on validation -> fitted -> report -> run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from shelfwise.artifact import Run
from shelfwise.config import ModelConfig
from shelfwise.data.ids import IdSpace
from shelfwise.data.prepare import DataSettings, Prepared, prepare
from shelfwise.data.ratings import Ratings, clean, read_ratings
from shelfwise.data.sources import DataSet
from shelfwise.data.split import GIVEN_TEST, TEST, TRAIN, VALID, OwnFiles
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import MissingDataError
from shelfwise.evaluation.protocol import measure
from shelfwise.evaluation.report import Report, Result
from shelfwise.features.content import ContentSpace
from shelfwise.models.contract import FitInputs, Model, Progress, silent
from shelfwise.models.registry import DEFAULT_MODEL, model_class, model_config

BASELINES = ("global-mean", "popularity", "bias")


class TrainSettings(DataSettings):
    """All that a run was asked for; kept in its manifest."""

    model: str = DEFAULT_MODEL
    recipe: Literal["default"] = "default"
    model_settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    final: bool = False


def train(
    data: DataSet,
    settings: TrainSettings,
    *,
    valid_ratings: Path | None = None,
    test_ratings: Path | None = None,
    on_progress: Progress = silent,
) -> Run:
    """Prepare, choose, fit, report, and pack a run. Raises DataError, ConfigError, FitError."""
    prepared, audit = prepare(data, settings, valid_ratings=valid_ratings, test_ratings=test_ratings)
    config = model_config(settings.model, settings.model_settings)
    config, tried = choose(config, prepared, settings.seed, on_progress)
    if isinstance(settings.split, OwnFiles) and settings.split.valid_from_train is not None:
        # What was chosen on a part of the training file is fitted on all of it.
        prepared = prepared.with_parts(np.where(prepared.parts == VALID, TRAIN, prepared.parts))
    model, seconds = fit(config, prepared, settings.seed, on_progress)
    results = measure_beside_baselines(model, prepared, settings.seed, fit_seconds=seconds, on_progress=on_progress)
    report = Report(audit=audit, results=results, tried=tried)
    if settings.final:
        prepared = prepared.with_parts(np.full_like(prepared.parts, TRAIN))
        model, _ = fit(config, prepared, settings.seed, on_progress)
    return pack(model, data, prepared, settings, report)


def choose(
    config: ModelConfig, prepared: Prepared, seed: int, on_progress: Progress = silent
) -> tuple[ModelConfig, list[dict[str, Any]]]:
    """The candidate with the least squared error on validation, and every candidate with its error.

    Without a validation part: `config` as it is.
    """
    candidates = config.candidates()
    if len(candidates) == 1 or not (prepared.parts == VALID).any():
        return config, []
    tried: list[dict[str, Any]] = []
    for done, candidate in enumerate(candidates, start=1):
        model, _ = fit(candidate, prepared, seed)
        mse = measure(model, prepared.ratings, prepared.parts, VALID, rank=False).stars["mse"]
        tried.append({"settings": candidate.model_dump(mode="json"), "valid_mse": mse})
        on_progress(f"choose {config.kind}", done, len(candidates))
    best = int(np.argmin([entry["valid_mse"] for entry in tried]))
    return candidates[best], tried


def fit(config: ModelConfig, prepared: Prepared, seed: int, on_progress: Progress = silent) -> tuple[Model, float]:
    """A model fitted on the train part, and on events that foretell no held-out rating; and the seconds it took."""
    start = time.perf_counter()
    ratings, events = prepared.ratings, None
    if len(prepared.events.item_idx):
        users, books = prepared.events.rows, prepared.events.item_idx
        held_out = ratings.where(prepared.parts != TRAIN)
        secret = held_out.user_idx.astype(np.int64) * ratings.n_books + held_out.item_idx
        known = ~np.isin(users * ratings.n_books + books, secret)
        events = (users[known].astype(np.int32), books[known])
    inputs = FitInputs(ratings.where(prepared.parts == TRAIN), events, seed, on_progress)
    model = model_class(config.kind).fit(config, inputs)
    return model, time.perf_counter() - start


def measure_beside_baselines(
    model: Model,
    prepared: Prepared,
    seed: int,
    *,
    fit_seconds: float,
    trained: Vocabulary | None = None,
    on_progress: Progress = silent,
) -> list[Result]:
    """The model's result on the test part (else on validation, else nothing), then each baseline's on the same."""
    part = next((p for p in (TEST, VALID) if (prepared.parts == p).any()), None)
    if part is None:
        return []
    results = [_measured(model, prepared, part, fit_seconds, trained, on_progress)]
    for kind in BASELINES:
        if kind != model.kind:
            config, _ = choose(model_config(kind), prepared, seed, on_progress)
            baseline, seconds = fit(config, prepared, seed, on_progress)
            results.append(_measured(baseline, prepared, part, seconds, None, on_progress))
    return results


def _measured(
    model: Model,
    prepared: Prepared,
    part: int,
    fit_seconds: float,
    trained: Vocabulary | None,
    on_progress: Progress,
) -> Result:
    start = time.perf_counter()
    measures = measure(model, prepared.ratings, prepared.parts, part, trained=trained, on_progress=on_progress)
    seconds = time.perf_counter() - start
    return Result.of(model, part, measures, fit_seconds=fit_seconds, measure_seconds=seconds)


def evaluate(
    run: Run,
    *,
    test_ratings: Path | None = None,
    shelf: Path | None = None,
    ids: IdSpace | None = None,
    on_progress: Progress = silent,
) -> list[Result]:
    """Measure a run again beside the baselines: on its own test part, or on the ratings in a file.

    shelf  ratings given of readers that the run was not trained on, or newer ones of known readers
    Only train (and what is given) is a reader's shelf, whatever else the run knows.
    Raises DataError; MissingDataError where there is nothing to test on.
    """
    prepared = prepared_of(run)
    if shelf is not None:
        prepared = prepared.add(_read(run, shelf, ids), GIVEN_TEST, over=(TRAIN, VALID, TEST, GIVEN_TEST))
    if test_ratings is not None:
        others = prepared.parts != TEST
        prepared = replace(prepared, ratings=prepared.ratings.where(others), parts=prepared.parts[others])
        prepared = prepared.add(_read(run, test_ratings, ids), TEST, over=(VALID,))
    if not (prepared.parts == TEST).any():
        raise MissingDataError(
            "this run holds no test ratings that it was not trained on", hint="give some with --test-ratings"
        )
    return measure_beside_baselines(
        run.model,
        prepared,
        run.settings["seed"],
        fit_seconds=0.0,
        trained=run.readers,
        on_progress=on_progress,
    )


def prepared_of(run: Run) -> Prepared:
    """The ratings and parts that a run holds."""
    shelves, parts = run.shelves, np.asarray(run.parts)
    item_idx, stars = np.asarray(shelves.item_idx), np.asarray(shelves.stars)
    rows = shelves.rows.astype(np.int32)
    ratings = Ratings(rows, item_idx, stars, run.readers, run.catalogue.vocabulary, run.model.scale)
    return Prepared(ratings, parts, run.events)


def _read(run: Run, path: Path, ids: IdSpace | None) -> Ratings:
    """The ratings in a file, cleaned by the rules of the run."""
    table = read_ratings(path, run.catalogue, scale=run.model.scale, ids=ids)
    ratings, _ = clean(table, run.catalogue, duplicates=run.settings["duplicates"])
    return ratings


def pack(model: Model, data: DataSet, prepared: Prepared, settings: TrainSettings, report: Report) -> Run:
    """Everything that a run holds."""
    ratings = prepared.ratings
    space = ContentSpace.fit(data.catalogue)
    return Run(
        model=model,
        catalogue=data.catalogue,
        space=space,
        content=space.transform(data.catalogue),
        readers=ratings.readers,
        shelves=ratings.shelves(),
        parts=prepared.parts[np.lexsort((ratings.item_idx, ratings.user_idx))],  # the order of shelves
        events=prepared.events,
        settings=settings.model_dump(mode="json"),
        data={
            "name": data.name,
            "edition": data.edition,
            "fingerprint": data.fingerprint,
            "scale": str(ratings.scale),
            "ids": data.ratings.ids,
        },
        report=report.model_dump(mode="json"),
    )

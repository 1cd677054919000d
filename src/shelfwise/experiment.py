"""The whole flow on one screen: data -> prepared -> chosen on validation -> fitted -> report -> run."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from shelfwise.artifact import Run
from shelfwise.config import ModelConfig
from shelfwise.data.ids import IdSpace
from shelfwise.data.prepare import DataSettings, Prepared, prepare
from shelfwise.data.ratings import Ratings, clean, read_ratings
from shelfwise.data.sources import DataSet
from shelfwise.data.split import GIVEN_TEST, GIVEN_VALID, TEST, TRAIN, VALID, OwnFiles
from shelfwise.data.tables import content_digest
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import MissingDataError
from shelfwise.evaluation.plots import loss_curves
from shelfwise.evaluation.protocol import measure
from shelfwise.evaluation.report import Report, Result
from shelfwise.features.embedding import read_embedding
from shelfwise.features.vectors import BookFeatures
from shelfwise.models.contract import FitInputs, Model, Progress, silent
from shelfwise.models.registry import DEFAULT_MODEL, model_config
from shelfwise.training.recipes import Recipe, best_epoch, fit_model, loop_settings
from shelfwise.training.settings import Checkpoint, History, LoopSettings

BASELINES = ("global-mean", "popularity", "bias")


@dataclass(frozen=True)
class OtherFiles:
    """The user's files beside the data set: ratings that select and test, and an embedding of the books."""

    valid_ratings: Path | None = None
    test_ratings: Path | None = None
    embedding: Path | None = None
    embedding_ids: IdSpace | None = None

    def digests(self) -> dict[str, str]:
        """SHA-256 of the unpacked content of each file that is given, hex. Raises MissingDataError, FormatError."""
        files = {
            "valid_ratings": self.valid_ratings,
            "test_ratings": self.test_ratings,
            "embedding": self.embedding,
        }
        return {name: content_digest(path) for name, path in files.items() if path is not None}


class TrainSettings(DataSettings):
    """All that a run was asked for; kept in its manifest.

    settings  of the model (its config class) and of the training loop (training.settings), by name
    """

    model: str = DEFAULT_MODEL
    recipe: Recipe = "default"
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    final: bool = False

    def parsed(self) -> tuple[ModelConfig, LoopSettings]:
        """The model's config and the loop's settings. Raises UsageError, ConfigError."""
        loop = {name: value for name, value in self.settings.items() if name in LoopSettings.model_fields}
        others = {name: value for name, value in self.settings.items() if name not in loop}
        return model_config(self.model, self.recipe, others), loop_settings(self.recipe, loop)


def provenance(data: DataSet, settings: TrainSettings, files: OtherFiles) -> dict[str, Any]:
    """What a run is made from, for its manifest. `signature` is a hash of all that decides the run, hex.

    Raises MissingDataError, FormatError.
    """
    origin = {
        "name": data.name,
        "edition": data.edition,
        "fingerprint": data.fingerprint,
        "scale": str(data.ratings.scale),
        "ids": data.ratings.ids,
        "other_files": files.digests(),
    }
    decisive = {**origin, "name": None, "settings": settings.model_dump(mode="json"), "ids_too": files.embedding_ids}
    return {**origin, "signature": hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()}


def train(
    data: DataSet,
    settings: TrainSettings,
    *,
    files: OtherFiles | None = None,
    checkpoint: Path | None = None,
    on_progress: Progress = silent,
) -> Run:
    """Prepare, choose, fit, report, and pack a run.

    checkpoint  a file to go on from if it is there, written while a network trains
    Raises DataError, ConfigError, FitError, StoppedError.
    """
    files = files or OtherFiles()
    config, loop = settings.parsed()
    origin = provenance(data, settings, files)
    embedding = (
        None if files.embedding is None else read_embedding(files.embedding, data.catalogue, files.embedding_ids)
    )
    features = BookFeatures.of(data.catalogue, embedding)
    prepared, audit = prepare(data, settings, valid_ratings=files.valid_ratings, test_ratings=files.test_ratings)
    lab = Lab(features, settings.seed, loop, on_progress)
    config, tried = choose(config, prepared, lab)
    model, history, seconds = fit(
        config, prepared, lab, None if checkpoint is None else Checkpoint(checkpoint, origin["signature"])
    )
    if history:
        lab = replace(lab, loop=loop.model_copy(update={"stop_after": best_epoch(history)}))
    if isinstance(settings.split, OwnFiles) and settings.split.valid_from_train is not None:
        # What was chosen on a part of the training file is fitted on all of it.
        prepared = prepared.with_parts(np.where(prepared.parts == VALID, TRAIN, prepared.parts))
        model, _, seconds = fit(config, prepared, lab)
    results = measure_beside_baselines(model, prepared, lab, fit_seconds=seconds)
    report = Report(audit=audit, results=results, tried=tried)
    if settings.final:
        prepared = prepared.with_parts(np.full_like(prepared.parts, TRAIN))
        model, _, _ = fit(config, prepared, lab)
    return pack(model, origin, features, prepared, settings, report, history)


@dataclass(frozen=True)
class Lab:
    """What every fit of one experiment shares."""

    features: BookFeatures
    seed: int
    loop: LoopSettings
    on_progress: Progress = silent


def choose(config: ModelConfig, prepared: Prepared, lab: Lab) -> tuple[ModelConfig, list[dict[str, Any]]]:
    """The candidate with the least squared error on validation, and every candidate with its error.

    Without a validation part: `config` as it is.
    """
    candidates = config.candidates()
    if len(candidates) == 1 or not (prepared.parts == VALID).any():
        return config, []
    tried: list[dict[str, Any]] = []
    for done, candidate in enumerate(candidates, start=1):
        model, _, _ = fit(candidate, prepared, replace(lab, on_progress=silent))
        mse = measure(model, prepared.ratings, prepared.parts, VALID, rank=False).stars["mse"]
        tried.append({"settings": candidate.model_dump(mode="json"), "valid_mse": mse})
        lab.on_progress(f"choose {config.kind}", done, len(candidates))
    best = int(np.argmin([entry["valid_mse"] for entry in tried]))
    return candidates[best], tried


def fit(
    config: ModelConfig, prepared: Prepared, lab: Lab, checkpoint: Checkpoint | None = None
) -> tuple[Model, History, float]:
    """A model fitted on the train part, and on events that foretell no held-out rating; its history, and seconds."""
    start = time.perf_counter()
    ratings, parts, events = prepared.ratings, prepared.parts, None
    if len(prepared.events.item_idx):
        users, books = prepared.events.rows, prepared.events.item_idx
        held_out = ratings.where(parts != TRAIN)
        secret = held_out.user_idx.astype(np.int64) * ratings.n_books + held_out.item_idx
        known = ~np.isin(users * ratings.n_books + books, secret)
        events = (users[known].astype(np.int32), books[known])
    inputs = FitInputs(
        train=ratings.where(parts == TRAIN),
        valid=ratings.where(parts == VALID),
        given=ratings.where(parts == GIVEN_VALID),
        features=lab.features,
        events=events,
        seed=lab.seed,
        on_progress=lab.on_progress,
    )
    model, history = fit_model(config, lab.loop, inputs, checkpoint)
    return model, history, time.perf_counter() - start


def measure_beside_baselines(
    model: Model, prepared: Prepared, lab: Lab, *, fit_seconds: float, trained: Vocabulary | None = None
) -> list[Result]:
    """The model's result on the test part (else on validation, else nothing), then each baseline's on the same.

    trained  readers in the order of the model's training, if that is not the order of `prepared`
    """
    part = next((p for p in (TEST, VALID) if (prepared.parts == p).any()), None)
    if part is None:
        return []
    results = [_measured(model, prepared, lab, part, fit_seconds, trained)]
    for kind in BASELINES:
        if kind != model.kind:
            config, _ = choose(model_config(kind), prepared, lab)
            baseline, _, seconds = fit(config, prepared, lab)
            results.append(_measured(baseline, prepared, lab, part, seconds))
    return results


def _measured(
    model: Model, prepared: Prepared, lab: Lab, part: int, fit_seconds: float, trained: Vocabulary | None = None
) -> Result:
    start = time.perf_counter()
    measures = measure(model, prepared.ratings, prepared.parts, part, trained=trained, on_progress=lab.on_progress)
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
    features = BookFeatures(run.catalogue, run.space, run.content)
    lab = Lab(features, run.settings["seed"], LoopSettings(), on_progress)
    return measure_beside_baselines(run.model, prepared, lab, fit_seconds=0.0, trained=run.readers)


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


def pack(
    model: Model,
    origin: dict[str, Any],
    features: BookFeatures,
    prepared: Prepared,
    settings: TrainSettings,
    report: Report,
    history: History,
) -> Run:
    """Everything that a run holds; `origin` as provenance() gives it."""
    ratings = prepared.ratings
    documents = {}
    if history:
        epochs = [{name: value if math.isfinite(value) else None for name, value in e.items()} for e in history]
        documents = {"history.json": json.dumps(epochs, indent=2).encode(), "loss.png": loss_curves(history)}
    return Run(
        model=model,
        catalogue=features.catalogue,
        space=features.space,
        content=features.content,
        readers=ratings.readers,
        shelves=ratings.shelves(),
        parts=prepared.parts[np.lexsort((ratings.item_idx, ratings.user_idx))],  # the order of shelves
        events=prepared.events,
        settings=settings.model_dump(mode="json"),
        data=origin,
        report=report.model_dump(mode="json"),
        documents=documents,
    )

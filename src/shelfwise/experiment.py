"""The whole flow on one screen: data -> prepared -> chosen on validation -> fitted -> report -> run."""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from shelfwise.artifact import Run, load_document, read_manifest
from shelfwise.config import ModelConfig
from shelfwise.data.audit import Audit
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ids import IdSpace
from shelfwise.data.prepare import DataSettings, Prepared, prepare
from shelfwise.data.ratings import Ratings, clean, read_ratings
from shelfwise.data.shelves import Floats
from shelfwise.data.sources import DataSet
from shelfwise.data.split import GIVEN_TEST, TEST, TRAIN, VALID, NewBooks, OwnFiles, SplitConfig
from shelfwise.data.tables import content_digest
from shelfwise.engine import HERE, Engine
from shelfwise.errors import MissingDataError, UsageError
from shelfwise.evaluation.compare import Comparison, compare
from shelfwise.evaluation.page import report_page
from shelfwise.evaluation.plots import loss_curves
from shelfwise.evaluation.report import Repeat, Report, Result
from shelfwise.features.embedding import read_embedding
from shelfwise.features.vectors import BookFeatures
from shelfwise.lab import Fitted, Lab, MeasuredBeside, choose, fit, measure_beside_baselines
from shelfwise.models.contract import Model, Progress, silent
from shelfwise.models.registry import DEFAULT_MODEL, Recipe, model_config
from shelfwise.rules import Rules
from shelfwise.training.recipes import best_epoch, loop_settings
from shelfwise.training.settings import Checkpoint, History, LoopSettings

MEASURES = "measures.parquet"  # of a run: its measures by reader


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
    seeds     the report is on so many seeds, from `seed` on; the run is the first one's
    """

    model: str = DEFAULT_MODEL
    recipe: Recipe = "default"
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=1, ge=1)
    final: bool = False

    @property
    def others(self) -> range:
        """The seeds of the report beside `seed`."""
        return range(self.seed + 1, self.seed + self.seeds)

    def parsed(self) -> tuple[ModelConfig, LoopSettings]:
        """The model's config and the loop's settings. Raises UsageError, ConfigError."""
        loop = {name: value for name, value in self.settings.items() if name in LoopSettings.model_fields}
        others = {name: value for name, value in self.settings.items() if name not in loop}
        config = model_config(self.model, self.recipe, others)
        return config, loop_settings(config, loop)


def _results(data: DataSet, settings: TrainSettings, seed: int, embedding: Floats | None, lab: Lab) -> list[Result]:
    """The results with another seed of split and model."""
    split = settings.split.model_copy(update={"seed": seed})
    settings = settings.model_copy(update={"seed": seed, "split": split})
    config, loop = settings.parsed()
    prepared, _ = prepare(data, settings)
    features = BookFeatures.of(known_before(data.catalogue, prepared, split), embedding)
    lab = replace(lab, features=features, seed=seed, loop=loop)
    chosen = choose(config, prepared, lab)
    return measure_beside_baselines(chosen.fitted or fit(chosen.config, prepared, lab), prepared, lab).results


def known_before(catalogue: Catalogue, prepared: Prepared, split: SplitConfig) -> Catalogue:
    """The catalogue as it would be before anybody has read the new books that are held out.

    Outside averages and counts of those are blanked, and without `split.tags` what readers and shops wrote of them.
    """
    if not isinstance(split, NewBooks):
        return catalogue
    new = np.unique(prepared.ratings.item_idx[prepared.parts != TRAIN])
    return catalogue.blanked(new, tags=not split.tags)


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
    command: str = "",
    on_progress: Progress = silent,
    engine: Engine = HERE,
) -> Run:
    """Prepare, choose, fit, report, and pack a run.

    command     what to say in the report of how it was made
    checkpoint  a file to go on from if it is there, written while a network trains
    Raises DataError, ConfigError, FitError, StoppedError, EngineError.
    """
    files = files or OtherFiles()
    config, loop = settings.parsed()
    origin = provenance(data, settings, files)
    embedding = (
        None if files.embedding is None else read_embedding(files.embedding, data.catalogue, files.embedding_ids)
    )
    prepared, audit = prepare(data, settings, valid_ratings=files.valid_ratings, test_ratings=files.test_ratings)
    features = BookFeatures.of(known_before(data.catalogue, prepared, settings.split), embedding)
    lab = Lab(features, settings.seed, loop, on_progress, engine)
    chosen = choose(config, prepared, lab)
    fitted = chosen.fitted or fit(
        chosen.config, prepared, lab, None if checkpoint is None else Checkpoint(checkpoint, origin["signature"])
    )
    history = fitted.history
    if history:
        lab = replace(lab, loop=loop.model_copy(update={"stop_after": best_epoch(history)}))
    if isinstance(settings.split, OwnFiles) and settings.split.valid_from_train is not None:
        # What was chosen on a part of the training file is fitted on all of it.
        prepared = prepared.with_parts(np.where(prepared.parts == VALID, TRAIN, prepared.parts))
        fitted = fit(fitted.model.config, prepared, lab)
    measured = measure_beside_baselines(fitted, prepared, lab)
    report = measured.report(audit, chosen.tried)
    if settings.seeds > 1:
        others = [Repeat(seed=seed, results=_results(data, settings, seed, embedding, lab)) for seed in settings.others]
        report = report.model_copy(update={"repeats": [Repeat(seed=settings.seed, results=report.results), *others]})
    if settings.final:
        prepared = prepared.with_parts(np.full_like(prepared.parts, TRAIN))
        fitted = fit(fitted.model.config, prepared, lab)
    run = pack(fitted.model, origin, features, prepared, settings, report)
    return replace(run, documents=documents_of(measured, report, settings, command, history))


def evaluate(
    run: Run,
    *,
    test_ratings: Path | None = None,
    shelf: Path | None = None,
    ids: IdSpace | None = None,
    rules: Rules | None = None,
    on_progress: Progress = silent,
    engine: Engine = HERE,
) -> Report:
    """Measure a run again beside the baselines: on its own test part, or on the ratings in a file.

    rules  that the run's lists keep in one more result
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
    lab = Lab(features, run.settings["seed"], LoopSettings(), on_progress, engine)
    measured = measure_beside_baselines(Fitted(run.model, [], 0.0), prepared, lab, trained=run.readers, rules=rules)
    return measured.report(Audit.model_validate(run.report["audit"]), run.report["tried"])


def compare_runs(paths: list[Path]) -> Comparison:
    """Compare runs by what they measured on their test parts.

    Raises UsageError for fewer than two, or where the runs were not measured on the same rows.
    """
    if len(set(paths)) < 2:
        raise UsageError("one run alone cannot be compared", hint="give two or more different runs")
    manifests = {path: read_manifest(path) for path in paths}
    digests = {path: manifest.report.get("digest") for path, manifest in manifests.items()}
    for path, digest in digests.items():
        if not digest:
            raise UsageError(f"{path} was not measured", hint="train it with a test part")
        if digest != digests[paths[0]]:
            raise UsageError(
                f"{paths[0]} and {path} were measured on different rows, or knew different ratings of their readers",
                hint="train them with the same data, split and seed",
            )
    kinds = [manifest.model["kind"] for manifest in manifests.values()]
    names = kinds if len(set(kinds)) == len(kinds) else [str(path) for path in paths]
    frames = [pl.read_parquet(io.BytesIO(load_document(path, MEASURES))) for path in paths]
    return compare(dict(zip(names, frames, strict=True)))


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
) -> Run:
    """Everything that a run holds but its documents; `origin` as provenance() gives it."""
    ratings = prepared.ratings
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
    )


def documents_of(
    measured: MeasuredBeside, report: Report, settings: TrainSettings, command: str, history: History
) -> dict[str, bytes]:
    """What a run holds for people: report.html, measures by reader, and of a network its history and loss curves."""
    documents: dict[str, bytes] = {}
    if history:
        epochs = [{name: value if math.isfinite(value) else None for name, value in e.items()} for e in history]
        documents = {"history.json": json.dumps(epochs, indent=2).encode(), "loss.png": loss_curves(history)}
    if measured.results:
        name = f"{settings.model}, {report.audit.name}, split {settings.split.kind}, seed {settings.seed}"
        documents["report.html"] = report_page(report, title=name, command=command, history=history).encode()
        documents[MEASURES] = _parquet(measured.readers[measured.results[0].model])
    return documents


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()

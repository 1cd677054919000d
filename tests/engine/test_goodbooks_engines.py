"""shelf on goodbooks-10k: what it learns of books, and its measures, by 1, 2 and 4 workers of a cluster as here."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from shelfwise.data.prepare import DataSettings, prepare
from shelfwise.data.sources import load_dataset
from shelfwise.engine import HERE, Engine, open_engine
from shelfwise.evaluation.protocol import Exam, measure
from shelfwise.features.vectors import BookFeatures
from shelfwise.models.contract import FitInputs
from shelfwise.models.shelf import Shelf, ShelfConfig
from shelfwise.training.leave_one_out import Asked, Sweep, spans, unexplained
from shelfwise.training.recipes import fit_model, loop_settings

pytestmark = [pytest.mark.scale, pytest.mark.real_data]


def test_the_same_answers_by_1_2_and_4_workers(goodbooks: Path) -> None:
    """One epoch of the star head is enough of a model."""
    data = load_dataset(goodbooks)
    prepared, _ = prepare(data, DataSettings())
    features = BookFeatures.of(data.catalogue, None)
    exam = Exam(prepared.ratings, prepared.parts, features)
    train = prepared.ratings.where(prepared.parts == 0)
    config = ShelfConfig(taste=1.0)
    model, _ = fit_model(config, loop_settings(config, {"epochs": 1}), FitInputs(train, features=features))
    assert isinstance(model, Shelf)
    sweep = Sweep(model.books.traits, model.config, model.scale, float(model.books.mean), model.books.bias)

    def swept(engine: Engine) -> np.ndarray:
        blocks = (Asked(block, np.ones(len(block), dtype=bool)) for block, _, _ in spans(train.shelves()))
        return np.concatenate([found.each for found in engine.map(unexplained, blocks, sweep)])

    def measured(engine: Engine) -> dict[str, float]:
        found = measure(model, exam, engine=engine).measures
        return {**found.stars, **found.ranking}

    def shown(found: dict[str, float]) -> str:
        return ", ".join(f"{name} {found[name]:.6f}" for name in ("mse", "hit", "ndcg@10"))

    beyond, expected = swept(HERE), measured(HERE)
    print(f"\nhere: {shown(expected)}")
    for n_workers in (1, 2, 4):
        start = time.monotonic()
        with open_engine("ray", n_workers) as engine:
            np.testing.assert_allclose(swept(engine), beyond, atol=2e-4)
            found = measured(engine)
        print(f"ray, {n_workers} workers: {shown(found)}; {time.monotonic() - start:.0f} s")
        assert found == pytest.approx(expected, rel=1e-4)

"""Stated probabilities against what happens, and what chance alone does to that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from worlds import STARS, make_ratings

from shelfwise.evaluation.protocol import Exam, _chance_miscalibration, _miscalibration
from shelfwise.evaluation.segments import Segments


def exam_of(probabilities: np.ndarray, seed: int) -> Exam:
    """Stars drawn from the probabilities, of readers with short and long histories."""
    rng = np.random.default_rng(seed)
    steps = (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    rows = [(i, 0, float(STARS.values[min(step, 4)])) for i, step in enumerate(steps.tolist())]
    history = Segments(("short", "long"), (np.arange(len(rows)) % 10 > 0).astype(np.int8))
    target = make_ratings(rows, len(rows), 1)
    return cast(Exam, SimpleNamespace(target=target, segments={"history": history}))


def shares_below(stated: np.ndarray, true: np.ndarray, n: int = 60) -> dict[str, float]:
    """How often miscalibration lies below what chance allows, over `n` draws; by kind of history."""
    below: dict[str, list[bool]] = {}
    for seed in range(n):
        exam: Any = exam_of(true, seed)
        found, allowed = _miscalibration(stated, exam), _chance_miscalibration(stated, exam)
        for kind, by_star in found.items():
            below.setdefault(kind, []).extend(by_star[star] <= allowed[kind][star] for star in by_star)
    return {kind: float(np.mean(values)) for kind, values in below.items()}


def test_a_perfect_forecaster_stays_within_what_chance_allows_19_times_in_20() -> None:
    true = np.random.default_rng(0).dirichlet([2, 2, 3, 5, 4], 800)
    assert all(0.9 < share < 0.99 for share in shares_below(true, true).values())


def test_a_forecaster_that_is_too_sure_does_not() -> None:
    true = np.random.default_rng(0).dirichlet([2, 2, 3, 5, 4], 800)
    stated = true**1.5 / (true**1.5).sum(axis=1, keepdims=True)
    assert shares_below(stated, true)["all"] < 0.6

"""Two or more models on the same rows: differences over readers, how sure they are, and how large."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.config import Config
from shelfwise.evaluation.intervals import holm, paired_test
from shelfwise.evaluation.metrics import LOSSES
from shelfwise.evaluation.report import BETTER_IS_MORE

ALPHA = 0.05
NOT_SHOWN = "no difference shown"


class Difference(Config):
    """First minus second on one metric, with its 95 % interval over readers, and p corrected for all tests made.

    effect  the mean difference between a reader's two values over its standard deviation (Cohen's d of pairs)
    """

    metric: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    effect: float
    p: float
    finding: str


class Comparison(Config):
    """Values of each metric by run, and the differences of each pair of runs."""

    runs: list[str]
    n_ratings: int
    n_readers: int
    values: dict[str, list[float]]
    differences: list[Difference]


def compare(measures: dict[str, pl.DataFrame]) -> Comparison:
    """Compare runs by their measures by reader (protocol.Measured.readers), which must be of the same rows."""
    names = list(measures)
    frames = {name: frame.sort("user_id") for name, frame in measures.items()}
    first = frames[names[0]]
    metrics = [m for m in BETTER_IS_MORE if all(m in frame.columns for frame in frames.values())]
    values: dict[str, list[float]] = {}
    found: list[Difference] = []
    for metric in metrics:
        sums = {name: frame[metric].fill_null(0.0).to_numpy().astype(np.float64) for name, frame in frames.items()}
        counts = _counts(first, metric)
        if (counts > 0).sum() < 2:  # nothing to test over
            continue
        values[metric] = [float(sums[name].sum() / max(counts.sum(), 1)) for name in names]
        for one, other in combinations(names, 2):
            delta = sums[one] - sums[other]
            difference, low, high, p = paired_test(delta, counts)
            found.append(
                Difference(
                    metric=metric, first=one, second=other, difference=difference, low=low, high=high,
                    effect=_effect(delta, counts), p=p, finding="",
                )
            )  # fmt: skip
    corrected = holm([difference.p for difference in found])
    judged = [
        difference.model_copy(update={"p": p, "finding": _finding(difference, p)})
        for difference, p in zip(found, corrected, strict=True)
    ]
    return Comparison(
        runs=names, n_ratings=int(first["n"].sum()), n_readers=len(first), values=values, differences=judged
    )


def _counts(frame: pl.DataFrame, metric: str) -> npt.NDArray[np.float64]:
    if metric in LOSSES:
        return frame["n"].to_numpy().astype(np.float64)
    return frame[metric].is_not_null().to_numpy().astype(np.float64)


def _effect(delta: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> float:
    means = delta[counts > 0] / counts[counts > 0]
    deviation = float(means.std(ddof=1)) if len(means) > 1 else 0.0
    return float(means.mean() / deviation) if deviation else 0.0


def _finding(difference: Difference, p: float) -> str:
    if not p < ALPHA:
        return NOT_SHOWN
    better = difference.first if (difference.difference > 0) == BETTER_IS_MORE[difference.metric] else difference.second
    return f"{better} is better"

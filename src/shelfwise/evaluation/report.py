"""The report of a run: the model's results beside the baselines', on the same rows."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shelfwise.config import Config
from shelfwise.data.audit import Audit
from shelfwise.data.split import PARTS
from shelfwise.evaluation.protocol import Measures
from shelfwise.models.contract import Model

# Metrics on which models are compared, in this order; True where more is better.
BETTER_IS_MORE = {
    "mse": False,
    "mae": False,
    "hit": True,
    "log_loss": False,
    "ndcg@10": True,
    "recall@10": True,
    "mrr@10": True,
}


class Result(Config):
    """One model on one part: its settings, its measures, seconds to fit and to measure."""

    model: str
    settings: dict[str, Any]
    part: str
    measures: Measures
    fit_seconds: float
    measure_seconds: float

    @classmethod
    def of(cls, model: Model, part: int, measures: Measures, *, fit_seconds: float, measure_seconds: float) -> Result:
        return cls(
            model=model.kind,
            settings=model.config.model_dump(mode="json"),
            part=PARTS[part],
            measures=measures,
            fit_seconds=fit_seconds,
            measure_seconds=measure_seconds,
        )

    def value(self, metric: str) -> float | None:
        """A metric of stars or ranking, or None where this model has none."""
        return self.measures.stars.get(metric, self.measures.ranking.get(metric))


class Example(Config):
    """One reader's shelf and list, by title: books liked and disliked, the list, and which of it the reader liked."""

    user_id: str
    ndcg: float
    liked: list[str]
    disliked: list[str]
    listed: list[str]
    found: list[bool]


class Repeat(Config):
    """The results with another seed of split and model."""

    seed: int
    results: list[Result]


class Report(Config):
    """What a run measured.

    results  the model's own first, then the baselines'
    tried    settings tried on validation, each with its error
    skipped  baselines that could not be fitted, and why
    digest   of the rows measured on (evaluation.protocol.Exam)
    peak_memory_bytes  of the process, up to the end of the report
    """

    audit: Audit
    results: list[Result]
    tried: list[dict[str, Any]]
    skipped: dict[str, str] = Field(default_factory=dict)
    examples: list[Example] = Field(default_factory=list)
    repeats: list[Repeat] = Field(default_factory=list)
    digest: str = ""
    peak_memory_bytes: int = 0


def lost_to(results: list[Result]) -> dict[str, list[str]]:
    """For each metric on which a baseline does better than the first result: those baselines."""
    lost: dict[str, list[str]] = {}
    for metric, more in BETTER_IS_MORE.items():
        own = results[0].value(metric)
        for other in results[1:]:
            value = other.value(metric)
            if own is not None and value is not None and (value > own if more else value < own):
                lost.setdefault(metric, []).append(other.model)
    return lost


def spread(repeats: list[Repeat]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and sample standard deviation over seeds of each model's metrics, and of its MSE over the bias model's."""
    found: dict[str, dict[str, list[float]]] = {}
    for repeat in repeats:
        reference = next((r.value("mse") for r in repeat.results if r.model == "bias"), None)
        for result in repeat.results:
            metrics = found.setdefault(result.model, {})
            for metric in BETTER_IS_MORE:
                if (value := result.value(metric)) is not None:
                    metrics.setdefault(metric, []).append(value)
            if reference:
                metrics.setdefault("mse / bias", []).append(result.measures.stars["mse"] / reference)
    return {
        model: {metric: _mean_and_sd(values) for metric, values in metrics.items()} for model, metrics in found.items()
    }


def _mean_and_sd(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    sd = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0
    return mean, sd

"""The report of a run: the model's results beside the baselines', on the same rows."""

from __future__ import annotations

from typing import Any

from shelfwise.config import Config
from shelfwise.data.audit import Audit
from shelfwise.data.split import PARTS
from shelfwise.evaluation.protocol import Measures
from shelfwise.models.contract import Model


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


class Report(Config):
    """The model's own result first, then the baselines'; what was tried on validation; the audit."""

    audit: Audit
    results: list[Result]
    tried: list[dict[str, Any]]

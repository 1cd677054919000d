"""The report of a run as one HTML page that needs nothing else: no script, no request, plots inside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfwise.evaluation.plots import (
    Picture,
    calibration_picture,
    error_picture,
    loss_picture,
    reliability_picture,
    stars_picture,
)
from shelfwise.evaluation.report import BETTER_IS_MORE, Example, Report, Result, lost_to, spread

if TYPE_CHECKING:
    from jinja2 import Template

REFERENCE = "bias"
DASH = "–"
# Of a shelf or a group of books so many titles are shown.
TITLES = 12
METRICS = {
    "mse": "MSE",
    "mae": "MAE",
    "hit": "hit %",
    "log_loss": "log-loss",
    "ndcg@10": "NDCG@10",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
}


def report_page(report: Report, *, title: str, command: str, history: list[dict[str, float]]) -> str:
    """The page as HTML text.

    title    of the page; command  that made the run, shown to be repeated, if it was one
    history  of training by epoch, as training.settings.History; empty for models without epochs
    """
    results = report.results
    model = results[0] if results else None
    reference = next((r for r in results if r.model == REFERENCE), None)
    lost = lost_to(results) if results else {}
    return _template().render(
        title=title,
        command=command,
        report=report,
        model=model,
        reference=reference,
        metrics={name: label for name, label in METRICS.items() if any(r.value(name) is not None for r in results)},
        lost=lost,
        verdict=verdict(results, lost),
        segments={}
        if model is None
        else {name: segment_rows(model, reference, name) for name in model.measures.segments},
        gains=gains(model, reference),
        pictures=_pictures(model, reference, history),
        examples=_examples(report.examples, model),
        repeats=spread(report.repeats),
        history=history,
    )


def verdict(results: list[Result], lost: dict[str, list[str]]) -> str:
    """One sentence: on what the first result loses, and to whom."""
    if not results:
        return "Nothing was measured."
    model = results[0].model
    if len(results) == 1:
        return f"No baseline was measured, so there is nothing that {model} could lose to."
    if not lost:
        return f"{model} loses to no baseline on any metric of this table."
    by_winners: dict[tuple[str, ...], list[str]] = {}
    for name, winners in lost.items():
        by_winners.setdefault(tuple(winners), []).append(METRICS[name].removesuffix(" %"))
    parts = [f"on {_joined(labels)} to {_joined(winners)}" for winners, labels in by_winners.items()]
    rest = " On everything else no baseline does better." if len(lost) < len(_compared(results)) else ""
    return f"{model} loses {'; '.join(parts)}.{rest}"


@dataclass(frozen=True)
class SegmentRow:
    """One kind of ratings: how many, their share of all, the model's MSE and the bias model's on the same."""

    label: str
    n: int
    share: float
    mse: float
    reference: float | None

    @property
    def ratio(self) -> float | None:
        """MSE over the bias model's."""
        return ratio(self.mse, self.reference)


def segment_rows(model: Result, reference: Result | None, name: str) -> list[SegmentRow]:
    """The kinds of one division of the ratings."""
    kinds = model.measures.segments.get(name, {})
    others = {} if reference is None else reference.measures.segments.get(name, {})
    total = sum(kind["n"] for kind in kinds.values())
    return [
        SegmentRow(label, int(kind["n"]), kind["n"] / max(total, 1), kind["mse"], others.get(label, {}).get("mse"))
        for label, kind in kinds.items()
    ]


def gains(model: Result | None, reference: Result | None) -> dict[str, float]:
    """Of all squared error that the model saves over the bias model: the share saved in each kind, by shelf.

    Empty where it saves nothing, or where a kind costs instead of saving: shares would mislead there.
    """
    if model is None or reference is None or model is reference:
        return {}
    rows = segment_rows(model, reference, "shelf")
    saved = {row.label: row.n * (row.reference - row.mse) for row in rows if row.reference is not None}
    total = sum(saved.values())
    return {label: value / total for label, value in saved.items()} if total > 0 and min(saved.values()) >= 0 else {}


def ratio(value: float | None, reference: float | None) -> float | None:
    """A value over the bias model's, None where there is no such thing."""
    return None if value is None or not reference else value / reference


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash for None and NaN."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as percent; a dash for None and NaN."""
    return DASH if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def metric(value: float | None, name: str) -> str:
    """A metric as its column shows it: hits in percent, the rest with four digits."""
    return number(value, 4) if name != "hit" or value is None else number(100 * value, 2)


def size(n_bytes: int) -> str:
    """Bytes as MiB or GiB."""
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"


def _compared(results: list[Result]) -> list[str]:
    """The metrics that the first result has and a baseline too."""
    return [
        name
        for name in BETTER_IS_MORE
        if results[0].value(name) is not None and any(r.value(name) is not None for r in results[1:])
    ]


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _pictures(model: Result | None, reference: Result | None, history: list[dict[str, float]]) -> dict[str, Picture]:
    """The plots for which there is something to show."""
    found: dict[str, Picture] = {}
    if history:
        found["loss"] = loss_picture(history)
    if model is None:
        return found
    for name, axis in (("history", "ratings on the reader's shelf"), ("book ratings", "ratings of the book")):
        if rows := segment_rows(model, reference, name):
            errors = {model.model: [row.mse for row in rows]}
            if reference is not None and reference is not model:
                nan = float("nan")
                errors[reference.model] = [nan if row.reference is None else row.reference for row in rows]
            found[name] = error_picture([row.label for row in rows], [row.share for row in rows], errors, axis)
    both = [model] if reference is None or reference is model else [model, reference]
    if bins := {r.model: r.measures.calibration for r in both if r.measures.calibration}:
        found["calibration"] = calibration_picture(bins)
    if model.measures.reliability and all(model.measures.reliability.values()):
        found["reliability"] = reliability_picture(model.measures.reliability)
    if (true := model.measures.histogram.get("true")) and model.measures.stars.get("n"):
        named = {f"named by {r.model}": r.measures.histogram["named"] for r in both if "named" in r.measures.histogram}
        found["stars"] = stars_picture({"true": true, **named})
    return found


def _examples(examples: list[Example], model: Result | None) -> dict[str, list[Example]]:
    """The examples by how well the list did, beside the mean over readers, best first."""
    usual = 0.0 if model is None else model.value("ndcg@10") or 0.0
    ordered = sorted(examples, key=lambda example: -example.ndcg)
    groups = {
        "Lists that did better than the average": [e for e in ordered if e.ndcg >= usual and e.ndcg > 0],
        "Lists that did worse than the average": [e for e in ordered if e.ndcg < usual or e.ndcg <= 0],
    }
    return {heading: group for heading, group in groups.items() if group}


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"number": number, "percent": percent, "metric": metric, "size": size}
    environment.filters |= filters | {"setting": lambda value: json.dumps(value, ensure_ascii=False)}
    environment.globals |= {"ratio": ratio, "TITLES": TITLES, "METRICS": METRICS}
    return environment.get_template("page.html.j2")

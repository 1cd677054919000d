"""Audits and reports as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shelfwise.cli.console import print_note, print_table, say
from shelfwise.data.audit import Audit
from shelfwise.evaluation.compare import Comparison
from shelfwise.evaluation.report import Repeat, Report, Result, lost_to, spread


def show_audit(audit: Audit) -> None:
    """The audit as a table of what was counted."""
    print_table(f"Audit of {audit.name} ({audit.edition})", ("what", "value"), _audit_rows(audit))


def _audit_rows(a: Audit) -> Iterator[tuple[str, Any]]:
    yield "fingerprint", a.fingerprint[:16]
    yield "rows", a.n_rows
    yield "stars outside the scale " + a.scale, a.n_out_of_scale
    yield "exact duplicate rows", a.n_exact_duplicates
    yield "rows that repeat a reader-book pair", a.n_repeated
    yield "pairs with conflicting stars", a.n_conflicting_pairs
    yield "rows of books not in the catalogue", a.n_unknown_book_rows
    yield f"ratings in all parts (of repeated pairs: {a.duplicates})", a.n_ratings
    yield "readers", a.n_readers
    yield "books in the catalogue / rated", f"{a.n_books:,} / {a.n_books_rated:,}"
    yield "density", f"{a.density:.4%}"
    yield "mean stars", a.mean_stars
    total = sum(a.stars.values())
    yield "stars", ", ".join(f"{value}: {count / total:.1%}" for value, count in a.stars.items())
    for name, quantiles in (("reader", a.ratings_per_reader), ("book", a.ratings_per_book)):
        yield f"ratings per {name}", ", ".join(f"{key} {value:g}" for key, value in _rounded(quantiles))
    yield "readers with a single rating", a.n_single_rating_readers
    if a.cap is not None:
        yield f"books cut off at {a.cap} ratings", a.n_capped_books
    yield "ratings with a book of the same series on the shelf", f"{a.series_overlap:.1%}"
    yield "ratings with a book of the same author on the shelf", f"{a.author_overlap:.1%}"
    yield "books without", ", ".join(f"{name} {count:,}" for name, count in a.holes.items() if count) or "nothing"
    if a.n_events:
        counts = (a.n_events, a.n_event_readers, a.n_unknown_event_rows)
        yield "events / their readers / of unknown books", " / ".join(f"{n:,}" for n in counts)
    if a.parts:
        yield "parts", ", ".join(f"{name} {count:,}" for name, count in a.parts.items())
    if a.test_reader_unseen is not None and a.test_book_unseen is not None:
        yield "test rows whose reader / book is not in train", f"{a.test_reader_unseen:.2%} / {a.test_book_unseen:.2%}"


def _rounded(quantiles: dict[str, float]) -> list[tuple[str, float]]:
    return [(key, round(value, 1)) for key, value in quantiles.items()]


def show_report(report: Report) -> None:
    """Results, segments and what is to be known about them."""
    show_results(report.results)
    if report.repeats:
        show_repeats(report.repeats)
    for name, why in report.skipped.items():
        say(f"baseline {name} left out: {why}")


def show_results(results: list[Result]) -> None:
    """The results beside each other, the model's own first; and the same by what is on the reader's shelf."""
    if not results:
        print_table("Report", ("no test or validation ratings: nothing was measured",), [])
        return
    part = results[0].part
    stars, lists = results[0].measures.stars, results[0].measures.ranking
    lost, n_lists = lost_to(results), int(lists.get("n_readers", 0))
    shown = {"mse": "MSE", "hit": "hit %", "log_loss": "log-loss", "ndcg@10": "NDCG@10"}
    shown |= {"recall@10": "recall@10", "mrr@10": "MRR@10"}
    shown = {metric: name for metric, name in shown.items() if any(r.value(metric) is not None for r in results)}
    reference = next((r.measures.stars["mse"] for r in results if r.model == "bias"), None)
    print_table(
        f"Report on {part}: {int(stars['n']):,} ratings; lists of {n_lists:,} readers who liked one",
        ("model", *shown.values(), "/ bias", "coverage", "fit s"),
        [
            (
                result.model,
                *(_metric(result, metric) + ("▼" if not i and metric in lost else "") for metric in shown),
                _measure(result.measures.stars["mse"] / reference if reference else None),
                _measure(result.measures.ranking.get("coverage")),
                f"{result.fit_seconds:.1f}",
            )
            for i, result in enumerate(results)
        ],
    )
    for model in [result.model for result in results[1:]]:
        if metrics := [shown.get(metric, metric.upper()) for metric, models in lost.items() if model in models]:
            print_note(f"▼ {results[0].model} loses to {model} on {', '.join(metrics)}")
    _show_segments(results)


def _show_segments(results: list[Result]) -> None:
    rows = []
    own = results[0].measures
    reference = next((r.measures for r in results if r.model == "bias"), None)
    for kind, segments in own.segments.items():
        for label, metrics in segments.items():
            there = None if reference is None else reference.segments.get(kind, {}).get(label)
            ratio = metrics["mse"] / there["mse"] if there and there["mse"] else None
            share = metrics["n"] / max(own.stars["n"], 1)
            rows.append(
                (kind, label, f"{share:.1%}", f"{metrics['mse']:.4f}", _measure(ratio), f"{100 * metrics['hit']:.2f}")
            )
    print_table(f"{results[0].model} by kind of rating", ("by", "kind", "share", "MSE", "MSE / bias", "hit %"), rows)


def show_repeats(repeats: list[Repeat]) -> None:
    """Mean and sample standard deviation over seeds."""
    models = spread(repeats)
    metrics = list(dict.fromkeys(name for values in models.values() for name in values))
    print_table(
        f"Over seeds {', '.join(str(repeat.seed) for repeat in repeats)}: mean ± standard deviation",
        ("model", *metrics),
        [
            (model, *(f"{values[m][0]:.4f} ± {values[m][1]:.4f}" if m in values else "–" for m in metrics))
            for model, values in models.items()
        ],
    )


def show_comparison(comparison: Comparison) -> None:
    """Each pair of models on each metric."""
    print_table(
        f"Same {comparison.n_ratings:,} ratings of {comparison.n_readers:,} readers",
        ("metric", *comparison.runs),
        [(metric, *(f"{v:.4f}" for v in values)) for metric, values in comparison.values.items()],
    )
    print_table(
        "Differences (first minus second), 95 % interval, p corrected by Holm",
        ("metric", "first", "second", "difference", "interval", "effect", "p", "finding"),
        [
            (
                d.metric,
                d.first,
                d.second,
                f"{d.difference:+.4f}",
                f"{d.low:+.4f} to {d.high:+.4f}",
                f"{d.effect:+.2f}",
                f"{d.p:.2g}",
                d.finding,
            )
            for d in comparison.differences
        ],
    )


def _metric(result: Result, metric: str) -> str:
    value = result.value(metric)
    return _measure(None if value is None else 100 * value if metric == "hit" else value, 2 if metric == "hit" else 4)


def _measure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

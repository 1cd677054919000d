"""Audits and reports as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shelfwise.cli.console import print_table
from shelfwise.data.audit import Audit
from shelfwise.evaluation.report import Result


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


def show_results(results: list[Result]) -> None:
    """The results beside each other; the first is the model's own."""
    if not results:
        print_table("Report", ("no test or validation ratings: nothing was measured",), [])
        return
    part = results[0].part
    stars, lists = results[0].measures.stars, results[0].measures.ranking
    print_table(
        f"Report on {part}: {int(stars['n']):,} ratings; lists of {int(lists['n_readers']):,} readers who liked one",
        ("model", "MSE", "RMSE", "MAE", "hit %", "NDCG@10", "recall@10", "fit s", "measure s"),
        [
            (
                result.model,
                f"{result.measures.stars['mse']:.4f}",
                f"{result.measures.stars['rmse']:.4f}",
                f"{result.measures.stars['mae']:.4f}",
                f"{100 * result.measures.stars['hit']:.2f}",
                *(_measure(result.measures.ranking.get(name)) for name in ("ndcg@10", "recall@10")),
                f"{result.fit_seconds:.1f}",
                f"{result.measure_seconds:.1f}",
            )
            for result in results
        ],
    )


def _measure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"

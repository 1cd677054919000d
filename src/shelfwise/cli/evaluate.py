"""shelfwise evaluate"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from shelfwise.artifact import load_run
from shelfwise.cli import options, rule_options
from shelfwise.cli.console import command_line, print_json, progress, say
from shelfwise.cli.tables import show_report
from shelfwise.data.files import atomic_write
from shelfwise.engine import open_engine
from shelfwise.evaluation.page import report_page
from shelfwise.experiment import evaluate as evaluate_run
from shelfwise.rules import Rules


@rule_options.takes_rules
def evaluate(
    context: typer.Context,
    run: options.RunFolder,
    test_ratings: Annotated[
        Path | None,
        typer.Option("--test-ratings", metavar="F", help="Measure on these ratings. [default: the run's test part]"),
    ] = None,
    shelf: options.Shelf = None,
    ids: options.Ids = None,
    order: options.ListOrder = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="F", help="Write the report as one page.")] = None,
    as_json: options.AsJson = False,
    engine: options.OnEngine = "local",
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Measure a run beside the baselines, on its own test part or on other ratings.

    A reader's shelf is what the run was trained on, and what --shelf gives. With rules, the run's lists are measured
    without them and once more with them.
    """
    loaded = load_run(run)
    if order is not None:
        loaded = replace(loaded, model=loaded.model.with_order(order))
    rules = rule_options.read_rules(context.params, loaded.catalogue, ids)
    with open_engine(engine, workers, address) as at_work, progress() as on_progress:
        report = evaluate_run(
            loaded,
            test_ratings=test_ratings,
            shelf=shelf,
            ids=ids,
            rules=None if rules == Rules() else rules,
            on_progress=on_progress,
            engine=at_work,
        )
    if html is not None:
        with atomic_write(html) as file:
            file.write_text(report_page(report, title=f"{run}", command=command_line(), history=[]), encoding="utf-8")
        say(f"wrote {html}")
    if as_json:
        print_json([result.model_dump(mode="json") for result in report.results])
    else:
        show_report(report)

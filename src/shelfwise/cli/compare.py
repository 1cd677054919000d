"""shelfwise compare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_json, say
from shelfwise.cli.tables import show_comparison
from shelfwise.data.files import atomic_write
from shelfwise.evaluation.difference_plot import differences
from shelfwise.experiment import compare_runs


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of runs of the same split.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Draw the differences with their intervals.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare runs on the same test rows: paired over readers, with intervals and corrected p-values.

    Refused where the rows, or what is known of the readers, differ.
    """
    comparison = compare_runs(runs)
    if plot is not None:
        with atomic_write(plot) as file:
            file.write_bytes(differences(comparison))
        say(f"wrote {plot}")
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        show_comparison(comparison)

"""shelfwise train"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shelfwise.artifact import Manifest, check_place, has_run, read_manifest, save_run
from shelfwise.cli import options
from shelfwise.cli.console import print_json, progress, say
from shelfwise.cli.tables import show_audit, show_results
from shelfwise.config import read_toml
from shelfwise.data.scale import parse_scale
from shelfwise.data.sources import DataSet, load_dataset
from shelfwise.errors import RunExistsError, UsageError
from shelfwise.evaluation.report import Report
from shelfwise.experiment import TrainSettings
from shelfwise.experiment import train as train_run
from shelfwise.models.registry import DEFAULT_MODEL

SplitKind = Literal["random", "leave-k-out", "new-readers", "new-books", "time", "row-order"]
OWN_VALID_SHARE = 0.2  # of the training file, where no validation file is given


def train(
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the new run.")],
    model: Annotated[str, typer.Option("--model", help="Name of the model.")] = DEFAULT_MODEL,
    recipe: Annotated[Literal["default"], typer.Option("--recipe", help="Named settings of the model.")] = "default",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split and of the model.")] = 0,
    split: Annotated[
        SplitKind, typer.Option("--split", help="How ratings fall into train, validation, test.")
    ] = "random",
    k: Annotated[int, typer.Option("--k", min=1, help="leave-k-out: k; new-readers: given ratings.")] = 10,
    train_ratings: Annotated[
        Path | None, typer.Option("--train-ratings", metavar="F", help="Train on this file; DATA gives the catalogue.")
    ] = None,
    valid_ratings: Annotated[
        Path | None,
        typer.Option("--valid-ratings", metavar="F", help="Choose settings on this file. [default: 20 % of F]"),
    ] = None,
    test_ratings: Annotated[
        Path | None, typer.Option("--test-ratings", metavar="F", help="Report on this file.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="TOML", help="Settings of the model.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting of the model; may be repeated.")
    ] = None,
    catalogue: options.Catalogue = None,
    scale: options.Scale = None,
    ids: options.Ids = None,
    columns: options.ColumnNames = None,
    duplicates: options.DuplicateRule = "first",
    unknown_books: options.UnknownBookRule = "keep-out",
    final: Annotated[bool, typer.Option("--final", help="After the report, fit again on all ratings.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Audit, split, choose settings on validation, fit, report on test, and save the run."""
    if (valid_ratings or test_ratings) and not train_ratings:
        raise UsageError("--valid-ratings and --test-ratings go with --train-ratings", hint="add --train-ratings F")
    check_place(out, overwrite=overwrite or resume)
    loaded = load_dataset(
        data,
        catalogue=catalogue,
        ratings=train_ratings,
        columns=options.parse_columns(columns),
        scale=parse_scale(scale) if scale else None,
        ids=ids,
    )
    say(f"read {loaded.edition} from {loaded.folder}")
    say(f"ratings from {loaded.ratings.path}, whose book ids are the {loaded.ratings.ids}'s")
    settings = TrainSettings.parse(
        {
            "model": model,
            "recipe": recipe,
            "model_settings": (read_toml(config) if config else {}) | _parse_settings(setting or []),
            "split": _split_settings(split, k, seed, own_files=bool(train_ratings), carve=valid_ratings is None),
            "duplicates": duplicates,
            "unknown_books": unknown_books,
            "ids": ids,
            "seed": seed,
            "final": final,
        }
    )
    if resume and has_run(out):
        _check_same(read_manifest(out), settings, loaded, out)
        say(f"{out} is complete: nothing to resume")
        report = Report.model_validate(read_manifest(out).report)
    else:
        with progress() as on_progress:
            run = train_run(
                loaded, settings, valid_ratings=valid_ratings, test_ratings=test_ratings, on_progress=on_progress
            )
        save_run(run, out, overwrite=overwrite)
        report = Report.model_validate(run.report)
        say(f"saved {out}")
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        show_audit(report.audit)
        show_results(report.results)


def _split_settings(kind: SplitKind, k: int, seed: int, *, own_files: bool, carve: bool) -> dict[str, Any]:
    if own_files:
        return {"kind": "files", "seed": seed, "valid_from_train": OWN_VALID_SHARE if carve else None}
    extra = {"leave-k-out": {"k": k}, "new-readers": {"given": k}}
    return {"kind": kind, "seed": seed, **extra.get(kind, {})}


def _parse_settings(pairs: list[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"--set {pair!r}", hint="write --set NAME=VALUE")
        settings[name.strip().replace("-", "_")] = value.strip()
    return settings


def _check_same(manifest: Manifest, settings: TrainSettings, data: DataSet, out: Path) -> None:
    """Raise RunExistsError where the run that is there was asked for something else."""
    if manifest.settings != settings.model_dump(mode="json") or manifest.data["fingerprint"] != data.fingerprint:
        raise RunExistsError(
            f"{out} holds a run of other settings or data", hint="choose another folder, or give --overwrite"
        )

"""shelfwise train"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shelfwise.artifact import CHECKPOINT, broken_off, check_place, forget_training, has_run, read_manifest, save_run
from shelfwise.cli import options
from shelfwise.cli.console import command_line, print_json, progress, say
from shelfwise.cli.tables import show_audit, show_report
from shelfwise.config import read_toml
from shelfwise.data.ids import IdSpace
from shelfwise.data.scale import parse_scale
from shelfwise.data.sources import DataSet, load_dataset
from shelfwise.engine import Engine, open_engine
from shelfwise.errors import RunExistsError, UsageError
from shelfwise.evaluation.report import Report
from shelfwise.experiment import OtherFiles, TrainSettings, provenance
from shelfwise.experiment import train as train_run
from shelfwise.models.registry import DEFAULT_MODEL, Recipe

SplitKind = Literal["random", "leave-k-out", "new-readers", "new-books", "time", "row-order"]
OWN_VALID_SHARE = 0.2  # of the training file, where no validation file is given


def train(
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the new run.")],
    model: Annotated[str, typer.Option("--model", help="Name of the model.")] = DEFAULT_MODEL,
    recipe: Annotated[Recipe, typer.Option("--recipe", help="Named settings of the model.")] = "default",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split and of the model.")] = 0,
    split: Annotated[
        SplitKind | None,
        typer.Option("--split", help="How ratings fall into train, validation, test. [default: random]"),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k", min=1, help="Ratings held out (leave-k-out, [default: 1]) or given (new-readers, [default: 10])."
        ),
    ] = None,
    no_tags: Annotated[
        bool, typer.Option("--no-tags", help="With --split new-books: tags and subjects of those are unknown too.")
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Report on so many seeds, from --seed on; the run is the first's.")
    ] = 1,
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
    embedding: Annotated[
        Path | None,
        typer.Option("--embedding", metavar="F", help="Numbers for each book, for hybrid: CSV, Parquet or npz."),
    ] = None,
    embedding_ids: Annotated[
        IdSpace | None,
        typer.Option("--embedding-ids", help="The id space of the embedding's ids. [default: found out, or refused]"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="TOML", help="Settings of model and training.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One setting of model or training; may be repeated."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Short for --set epochs=N.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Short for --set batch_size=N.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Short for --set learning_rate=X.")
    ] = None,
    embedding_dim: Annotated[
        int | None, typer.Option("--embedding-dim", help="Short for --set embedding_dim=N.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Short for --set device=NAME.")] = None,
    no_outside_averages: Annotated[
        bool, typer.Option("--no-outside-averages", help="Short for --set outside_averages=false.")
    ] = False,
    catalogue: options.Catalogue = None,
    scale: options.Scale = None,
    ids: options.Ids = None,
    columns: options.ColumnNames = None,
    duplicates: options.DuplicateRule = "first",
    unknown_books: options.UnknownBookRule = "keep-out",
    final: Annotated[bool, typer.Option("--final", help="After the report, fit again on all ratings.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was broken off.")] = False,
    as_json: options.AsJson = False,
    engine: options.OnEngine = "local",
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Audit, split, choose settings on validation, fit, report on test, and save the run."""
    if seeds > 1 and train_ratings:
        raise UsageError("--seeds does not go with --train-ratings", hint="the files are one split")
    if (valid_ratings or test_ratings) and not train_ratings:
        raise UsageError("--valid-ratings and --test-ratings go with --train-ratings", hint="add --train-ratings F")
    check_place(out, overwrite=overwrite or resume)
    if broken_off(out) and not (overwrite or resume):
        raise RunExistsError(
            f"{out} holds a training that was broken off", hint="go on with --resume, or begin again with --overwrite"
        )
    named = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "embedding_dim": embedding_dim,
        "device": device,
        "outside_averages": False if no_outside_averages else None,
    }
    settings = TrainSettings.parse(
        {
            "model": model,
            "recipe": recipe,
            "settings": (read_toml(config) if config else {})
            | _parse_settings(setting or [])
            | {name: value for name, value in named.items() if value is not None},
            "split": _own_files(split, k, seed, carve=valid_ratings is None)
            if train_ratings
            else _split_settings(split or "random", k, seed, tags=not no_tags),
            "duplicates": duplicates,
            "unknown_books": unknown_books,
            "ids": ids,
            "seed": seed,
            "seeds": seeds,
            "final": final,
        }
    )
    settings.parsed()  # so that a wrong setting is told before the data is read
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
    files = OtherFiles(valid_ratings, test_ratings, embedding, embedding_ids)
    on_engine = partial(open_engine, engine, workers, address, out.resolve().parent)
    report = _train_or_resume(loaded, settings, files, out, on_engine, resume=resume, overwrite=overwrite)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        show_audit(report.audit)
        show_report(report)


def _train_or_resume(
    data: DataSet,
    settings: TrainSettings,
    files: OtherFiles,
    out: Path,
    on_engine: Callable[[], AbstractContextManager[Engine]],
    *,
    resume: bool,
    overwrite: bool,
) -> Report:
    """The report of the new run, or of the one that is there already complete."""
    checkpoint = out / CHECKPOINT
    if resume and has_run(out) and not broken_off(out):
        manifest = read_manifest(out)
        if manifest.data.get("signature") != provenance(data, settings, files)["signature"]:
            raise RunExistsError(
                f"{out} holds a run of other settings or data", hint="choose another folder, or give --overwrite"
            )
        say(f"{out} is complete: nothing to resume")
        return Report.model_validate(manifest.report)
    with on_engine() as engine, progress() as on_progress:
        if not resume:
            forget_training(out)
        run = train_run(
            data,
            settings,
            files=files,
            checkpoint=checkpoint,
            command=command_line(),
            on_progress=on_progress,
            engine=engine,
        )
    save_run(run, out, overwrite=overwrite or resume)
    say(f"saved {out}")
    return Report.model_validate(run.report)


def _own_files(kind: SplitKind | None, k: int | None, seed: int, *, carve: bool) -> dict[str, Any]:
    if kind is not None or k is not None:
        raise UsageError(
            "--split and --k do not go with --train-ratings", hint="the files are the split: leave them out"
        )
    return {"kind": "files", "seed": seed, "valid_from_train": OWN_VALID_SHARE if carve else None}


def _split_settings(kind: SplitKind, k: int | None, seed: int, *, tags: bool) -> dict[str, Any]:
    counted = {"leave-k-out": "k", "new-readers": "given"}
    if not tags:
        if kind != "new-books":
            raise UsageError("--no-tags goes with --split new-books", hint="add --split new-books")
        return {"kind": kind, "seed": seed, "tags": False}
    if k is None:
        return {"kind": kind, "seed": seed}
    if kind not in counted:
        raise UsageError(f"--k does not go with --split {kind}", hint=f"it is for {' and '.join(counted)}")
    return {"kind": kind, "seed": seed, counted[kind]: k}


def _parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Values as TOML has them (0.5, [64, 32]), else as text."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"--set {pair!r}", hint="write --set NAME=VALUE")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()
        settings[name.strip().replace("-", "_")] = parsed
    return settings

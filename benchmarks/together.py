"""A model that one process trains beside the same trained by workers of a Ray cluster: errors on test, seconds.

    python benchmarks/together.py DATA --out FOLDER [--models mf ncf] [--workers 1 2 4] [--seeds 0 1 2] [--set epochs=3]

Needs the extra `ray`. Every seed is trained in this process, whose spread is what the others are held against; seed 0
by the workers too, of a cluster that is started here for each number of them. Prints a table, writes together.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidebyside import keep

from shelfwise.data.prepare import prepare
from shelfwise.data.sources import load_dataset
from shelfwise.data.split import TEST
from shelfwise.engine import HERE, open_engine
from shelfwise.evaluation.protocol import Exam, measure_stars
from shelfwise.experiment import TrainSettings
from shelfwise.features.vectors import BookFeatures
from shelfwise.lab import Lab, fit


def measured(data: str, model: str, settings: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a training."""
    parsed = TrainSettings.parse({"model": model, "settings": settings, "split": {"kind": "random", "seed": 0}})
    loaded = load_dataset(data)
    prepared, _ = prepare(loaded, parsed)
    features = BookFeatures.of(loaded.catalogue)
    config, loop = parsed.parsed()
    exam = Exam(prepared.ratings, prepared.parts, features, TEST)
    found = []

    def train(lab: Lab, **what: Any) -> None:
        start = time.perf_counter()
        fitted = fit(config, prepared, lab)
        found.append({"model": model, **what, "mse": measure_stars(fitted.model, exam)})
        found[-1] |= {"valid_mse": min(e["valid_mse"] for e in fitted.history), "epochs": len(fitted.history)}
        found[-1] |= {
            "fit_seconds": time.perf_counter() - start,
            "loop_seconds": sum(e["seconds"] for e in fitted.history),
        }
        print(row(found[-1]), flush=True)

    lab = Lab(features, 0, loop)
    for seed in options.seeds:
        train(replace(lab, seed=seed, engine=HERE), engine="local", workers=1, seed=seed)
    for workers in options.workers:
        with open_engine("ray", workers) as engine:
            train(replace(lab, engine=engine), engine="ray", workers=workers, seed=0)
    return found


def row(one: dict[str, Any]) -> str:
    """Markdown."""
    return (
        f"| {one['model']} | {one['engine']} | {one['workers']} | {one['seed']} | {one['epochs']} | {one['mse']:.4f} "
        f"| {one['valid_mse']:.4f} | {one['fit_seconds']:.0f} | {one['loop_seconds']:.0f} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", nargs="+", default=["mf", "ncf"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=JSON", help="a setting of model or training"
    )
    options = parser.parse_args()
    settings = {name: json.loads(value) for name, value in (text.split("=", 1) for text in options.set)}
    print("| model | engine | workers | seed | epochs | test MSE | valid MSE | fit, s | of it in the loop, s |")
    print("|" + " --- |" * 9)
    keep(
        options.out,
        "together",
        [one for model in options.models for one in measured(options.data, model, settings, options)],
    )


if __name__ == "__main__":
    main()

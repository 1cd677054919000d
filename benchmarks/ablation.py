"""Does each part of the shelf model earn its place? Each is left out in turn, and all else fitted anew.

    python benchmarks/ablation.py [DATA] --out FOLDER [--seeds 0 1 2] [--only NAME ...] [--refit]

Measured on the validation part of `--split random`, which nothing here was chosen on but the number of epochs and the
weight of taste. Prints a table of differences from the whole model, mean over seeds and standard deviation between
them, and writes ablation.json, from which a second call goes on. With --refit: test MSE and NDCG@10 of shelf, bias and
ease fitted on train and validation together, with the settings and epochs chosen before.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shelfwise import TrainSettings, load_dataset
from shelfwise.data.prepare import Prepared, prepare
from shelfwise.data.split import TEST, TRAIN, VALID
from shelfwise.evaluation.metrics import star_losses
from shelfwise.evaluation.protocol import Exam, measure
from shelfwise.features.vectors import BookFeatures
from shelfwise.lab import Lab, choose, fit
from shelfwise.models.blocks import reader_blocks
from shelfwise.models.registry import model_config
from shelfwise.models.shelf import Shelf
from shelfwise.models.similarity import KernelWeights
from shelfwise.ranking import ranking_metrics, top_n
from shelfwise.training.recipes import best_epoch

WHOLE = "the whole model"


def without(*parts: str) -> dict[str, Any]:
    """Settings of a kernel without some of its parts, which no head sees then either; the others keep their weights."""
    return {"kernel": KernelWeights(**dict.fromkeys(parts, 0.0)).model_dump()}


ABLATIONS: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "without subject (about, close)": without("about", "close"),
    "... broad likeness only": without("close"),
    "... close likeness only": without("about"),
    "without author": without("author"),
    "without series": without("series"),
    "without co-reading": without("coreading"),
    "without era": without("era"),
    "without outside averages": {"outside_averages": False},
    "no row shown as of a new book": {"new_book_share": 0.0},
    "pickup matrix without content": {"content_weight": 0.0},
    "star head of 32 and 16": {"hidden": (32, 16)},
}
METRICS = ("mse", "hit", "log_loss", "ndcg@10")


def measured(name: str, prepared: Prepared, lab: Lab) -> dict[str, dict[str, float]]:
    """Metrics of the model by row of the table; the whole one is also measured without its heads and without taste."""
    config = model_config("shelf", settings=ABLATIONS[name])
    model = fit(config, prepared, lab).model
    assert isinstance(model, Shelf)
    exam = Exam(prepared.ratings, prepared.parts, lab.features, VALID)
    found = {name: metrics_of(model, exam)}
    if name == WHOLE:
        found["without star head"] = {"mse": base_error(model, exam)}
        found["without pick head"] = {"ndcg@10": matrix_alone(model, exam)}
        by_pickup = measure(model.with_order("pickup"), exam).measures.ranking
        found["without taste"] = {"ndcg@10": by_pickup["ndcg@10"]}
    return found


def metrics_of(model: Any, exam: Exam) -> dict[str, float]:
    """METRICS, those that the model has."""
    measures = measure(model, exam).measures
    values = measures.stars | measures.ranking
    return {name: values[name] for name in METRICS if name in values}


def base_error(model: Shelf, exam: Exam) -> float:
    """The mean squared error of what the head starts from: mean, bias and kernel."""
    target = exam.target
    predicted = np.zeros(len(target), dtype=np.float32)
    order = np.argsort(target.user_idx, kind="stable")
    for block, readers in reader_blocks(model, exam.shelves, np.unique(target.user_idx), size=2048):
        at = order[np.isin(target.user_idx[order], block)]
        rows = np.searchsorted(block, target.user_idx[at])
        for _, base, pairs in model.evidence_of_pairs(readers, rows, target.item_idx[at]):
            predicted[at[pairs]] = base.numpy()
    losses = star_losses(target.scale.clip(predicted), target.stars, target.scale)
    return float(losses["mse"].mean())


def matrix_alone(model: Shelf, exam: Exam) -> float:
    """NDCG@10 of lists in the order of the pickup matrix."""
    values = []
    for start in range(0, len(exam.ranked), 512):
        block = exam.ranked[start : start + 512]
        lists, _ = top_n(model.pickup_scores(exam.shelves.take(block)), 10, exam.seen.take(block))
        values.append(ranking_metrics(lists, exam.relevant.take(block))["ndcg"])
    return float(np.concatenate(values).mean())


def refitted(prepared: Prepared, lab: Lab) -> dict[str, dict[str, float]]:
    """Test metrics of models that were chosen on validation and fitted on train and validation."""
    both = prepared.with_parts(np.where(prepared.parts == VALID, TRAIN, prepared.parts))
    exam = Exam(both.ratings, both.parts, lab.features, TEST)
    found = {}
    for kind in ("shelf", "bias", "ease"):
        chosen = choose(model_config(kind), prepared, lab)
        first = chosen.fitted or fit(chosen.config, prepared, lab)
        loop = lab.loop.model_copy(update={"stop_after": best_epoch(first.history)}) if first.history else lab.loop
        config = first.model.config
        del chosen, first
        found[kind] = metrics_of(fit(config, both, replace(lab, loop=loop)).model, exam)
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown; found[seed][name] as metrics."""
    names = [name for name in next(iter(found.values())) if name != WHOLE]
    lines = ["| | " + " | ".join(METRICS) + " |", "| --- |" + " --- |" * len(METRICS)]
    whole = {m: np.mean([by_name[WHOLE][m] for by_name in found.values()]) for m in METRICS}
    lines.append(f"| {WHOLE} | " + " | ".join(f"{whole[m]:.4f}" for m in METRICS) + " |")
    for name in names:
        cells = []
        for metric in METRICS:
            differences = [
                by_name[name][metric] - by_name[WHOLE][metric]
                for by_name in found.values()
                if metric in by_name.get(name, {})
            ]
            spread = f" ± {np.std(differences, ddof=1):.4f}" if len(differences) > 1 else ""
            cells.append(f"{np.mean(differences):+.4f}{spread}" if differences else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="goodbooks-10k")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(ABLATIONS), help="beside the whole model")
    parser.add_argument("--refit", action="store_true", help="the refit instead of the ablation")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / ("refit.json" if arguments.refit else "ablation.json")
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    data = load_dataset(arguments.data)
    for seed in arguments.seeds:
        settings = TrainSettings(seed=seed, split={"kind": "random", "seed": seed})
        prepared, _ = prepare(data, settings)
        lab = Lab(BookFeatures.of(data.catalogue), seed, settings.parsed()[1])
        here = found.setdefault(str(seed), {})
        if arguments.refit:
            here |= {} if here else refitted(prepared, lab)
        for name in [] if arguments.refit else [WHOLE, *(arguments.only or [n for n in ABLATIONS if n != WHOLE])]:
            if name not in here:
                here |= measured(name, prepared, lab)
                print(seed, name, here[name], flush=True)
                file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if arguments.refit:
        for kind in ("shelf", "bias", "ease"):
            means = {m: [r[kind][m] for r in found.values() if m in r[kind]] for m in METRICS}
            print(kind, {m: f"{np.mean(v):.4f} over {len(v)} seeds" for m, v in means.items() if v})
    else:
        print(table(found))


if __name__ == "__main__":
    main()

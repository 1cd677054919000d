"""Are stated removal effects those of removing the rating? And what an explanation costs.

    python benchmarks/reasons.py RUN [--predictions 1000] [--out FOLDER]

For random readers of a run and random books: the largest and mean difference between what the closed form says a
prediction would be without a rating, and the prediction for the reader who never gave it; milliseconds for the reasons
of a list of ten. Prints a table, and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from shelfwise.artifact import load_run
from shelfwise.reasons import Speaker, explain, without_each

BOOKS_EACH = 10


def measure(run_folder: Path, n_predictions: int) -> dict[str, float]:
    """Differences in stars over `n_predictions` of random pairs, and milliseconds."""
    run = load_run(run_folder)
    rng = np.random.default_rng(0)
    model, speaker = run.model, Speaker(run.catalogue, run.space, run.content)
    able = np.flatnonzero(run.shelves.lengths > 0)
    differences, seconds = [], []
    for reader in rng.choice(able, n_predictions // BOOKS_EACH):
        shelf = run.shelves.take([reader])
        books = rng.choice(len(run.catalogue), BOOKS_EACH, replace=False).astype(np.int32)
        start = time.perf_counter()
        readers = model.fold_in(shelf)
        found = explain(model, readers, 0, books)
        for place in range(len(books)):
            speaker.reasons(found, place)
        seconds.append(time.perf_counter() - start)
        stated = without_each(model, readers, 0, books)
        for place in rng.permutation(len(shelf.item_idx))[:3]:
            rest = model.fold_in(shelf.where(np.arange(len(shelf.item_idx)) != place))
            real = model.stars(rest, np.zeros(len(books), dtype=np.int64), books)
            differences.append(np.abs(stated[:, place] - real))
    return {
        "predictions": n_predictions,
        "removals": int(np.size(differences)),
        "largest difference, stars": float(np.max(differences)),
        "mean difference, stars": float(np.mean(differences)),
        "reasons of ten books, median ms": 1000 * float(np.median(seconds)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--predictions", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.run, arguments.predictions)
    for name, value in found.items():
        print(f"{name:34} {value:.3g}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "reasons.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Growth: lists and a sweep of shelf's training over 1, 10 and 50 million generated ratings, by 1 and 2 workers.

    python benchmarks/cluster.py RUN --out FOLDER [--ratings 1 10 50] [--alone 10]

RUN is a run of shelf: its books and its model. Readers are drawn in the worker, a block at a time by a seed of their
own, so that no machine ever holds all ratings; what a sweep says of each book comes back, as in training. Of each
size: seconds, ratings (lists) a second, the largest memory of a worker, and how much of perfect two workers are; the
start of the engine and of its workers stands apart. Lists are made for as many readers as 1/10 of the ratings have; one
worker is measured up to --alone million ratings.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sidebyside import keep

from shelfwise import load_run
from shelfwise.data.shelves import Shelves
from shelfwise.engine import Engine, open_engine
from shelfwise.training.leave_one_out import Asked, Sweep, unexplained

BLOCKS = {"sweep": 2048, "lists": 256}  # readers
MEAN_SHELF = 80
LIST_SHARE = 10


def drawn(seed: int, counts: np.ndarray, n_readers: int) -> Shelves:
    """Readers of some 20 to 140 books each, which are drawn as often as they were rated; stars at random."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(MEAN_SHELF // 4, 2 * MEAN_SHELF - MEAN_SHELF // 4, n_readers)
    rows = np.repeat(np.arange(n_readers), lengths)
    books = np.searchsorted(np.cumsum(counts) / counts.sum(), rng.random(len(rows))).clip(max=len(counts) - 1)
    return Shelves.build(rows, books, rng.integers(1, 6, len(rows)), n_readers)


def memory() -> float:
    """GiB of this process alone, without what it shares with others."""
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    return private / 2**20


@lru_cache(maxsize=1)
def model_of(run: str) -> Any:
    """The run's model, read once by each worker."""
    return load_run(run).model


def sweep(run: str, seed: int) -> tuple[Any, int, float]:
    """What the others of each reader say of each rating, by book, ratings, GiB."""
    model = model_of(run)
    shelves = drawn(seed, model.book_counts, BLOCKS["sweep"])
    known = Sweep(model.books.traits, model.config, model.scale, float(model.books.mean), model.books.bias)
    nobody = np.zeros(len(shelves), dtype=bool)
    return unexplained(known, Asked(shelves, nobody)), len(shelves.item_idx), memory()


def lists(run: str, seed: int) -> tuple[Any, int, float]:
    """Ten books for each reader, readers, GiB."""
    model = model_of(run)
    shelves = drawn(seed, model.book_counts, BLOCKS["lists"])
    return model.top(model.fold_in(shelves), 10, shelves), len(shelves), memory()


def warm(run: str, seed: int) -> int:
    """Reads the model."""
    time.sleep(0.2)
    return len(model_of(run).book_counts)


def measured(engine: Engine, kind: str, run: str, n_blocks: int) -> dict[str, float]:
    """Seconds, units a second and GiB of one size."""
    start, done, largest = time.perf_counter(), 0, 0.0
    for _, n, gib in engine.map({"sweep": sweep, "lists": lists}[kind], range(n_blocks), run):
        done, largest = done + n, max(largest, gib)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "units": done, "per_second": done / seconds, "GiB": largest}


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each number of workers, kind and size."""
    run = str(options.run.resolve())
    for n_workers in (1, 2):
        start = time.perf_counter()
        with open_engine("ray", n_workers) as engine:
            list(engine.map(warm, range(4 * n_workers), run))
            started = time.perf_counter() - start
            for kind, block in BLOCKS.items():
                for millions in (
                    options.ratings if n_workers > 1 else [m for m in options.ratings if m <= options.alone]
                ):
                    n_readers = millions * 1e6 / MEAN_SHELF / (LIST_SHARE if kind == "lists" else 1)
                    found = measured(engine, kind, run, max(round(n_readers / block), 4))
                    yield {"workers": n_workers, "kind": kind, "millions": millions, "start_s": started, **found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ratings", type=float, nargs="+", default=[1, 10, 50], help="in millions")
    parser.add_argument(
        "--alone", type=float, default=10, help="up to so many million ratings one worker is measured too"
    )
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find this file
    found: list[dict[str, Any]] = []
    print("| workers | what | millions of ratings | start s | seconds | a second | GiB of a worker | of perfect |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows(options):
        alone = [r for r in found if r["workers"] == 1 and (r["kind"], r["millions"]) == (row["kind"], row["millions"])]
        share = f"{row['per_second'] / alone[0]['per_second'] / row['workers']:.2f}" if alone else ""
        found.append(row)
        print(
            f"| {row['workers']} | {row['kind']} | {row['millions']:g} | {row['start_s']:.1f} | {row['seconds']:.1f} "
            f"| {row['per_second']:,.0f} | {row['GiB']:.2f} | {share} |",
            flush=True,
        )
    keep(options.out, "cluster", {"rows": found})


if __name__ == "__main__":
    import cluster  # by its name, so that workers find what they are to call

    cluster.main()

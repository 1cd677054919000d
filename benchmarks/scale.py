"""How the shelf model's cost grows: fit it on simulated ratings of several sizes, each in a process of its own.

    python benchmarks/scale.py --out FOLDER [--sizes 1000000:10000 5000000:10000 ...] [--threads 1] [--runs FOLDER]

With --runs each model is saved there too, and opened again in a process of its own, which answers requests of unknown
readers with 20 ratings.

Prints a table and writes scale.json and scale.png. Readers are simulated (shelfwise.data.simulate) with tails so heavy
that some rate half of the books they may: at most 5,000. What is measured is cost, never quality.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sidebyside import in_own_process, keep, peak_memory, print_result

SIZES = ("1000000:10000", "5000000:10000", "20000000:10000", "1000000:100000", "5000000:100000", "20000000:100000")
MEAN_SHELF = 50
ACTIVITY = 1.3  # spread of the logarithm of shelf lengths
LONGEST = 5000
VALID_SHARE = 0.1
LISTED_READERS = 1000
REQUESTS, WARM_UP, SHELF = 100, 10, 20
NO_RUN = "-"


@dataclass(frozen=True)
class Measured:
    """One size. Seconds are wall time, cpu_seconds those of the process; memory in GiB at its highest."""

    ratings: int
    books: int
    readers: int
    longest_shelf: int
    fit_seconds: float
    fit_cpu_seconds: float
    cpu_seconds_per_million: float
    data_memory: float
    memory: float
    list_seconds: float
    stages: dict[str, float]


def simulated(n_ratings: int, n_books: int, seed: int) -> tuple[Any, Any]:
    """The train part and the validation part of simulated ratings, with features of the books: (FitInputs, shelves)."""
    import numpy as np
    import polars as pl

    from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
    from shelfwise.data.invent import simulate_catalogue
    from shelfwise.data.ratings import Ratings
    from shelfwise.data.scale import Scale
    from shelfwise.data.simulate import Strengths, iter_ratings_blocks
    from shelfwise.data.vocabulary import Vocabulary
    from shelfwise.features.vectors import BookFeatures
    from shelfwise.models.contract import FitInputs

    books = simulate_catalogue(n_books, seed=seed)
    n_readers = max(n_ratings // MEAN_SHELF, 1)
    blocks = iter_ratings_blocks(books, n_readers, n_ratings, seed=seed, strengths=Strengths(activity=ACTIVITY))
    columns: list[list[Any]] = [[], [], []]
    for block in blocks:
        for column, name, kind in zip(
            columns, ("user_id", "book_id", "rating"), (np.int32, np.int32, np.float32), strict=True
        ):
            column.append(block[name].to_numpy().astype(kind) - (name != "rating"))
    users, items, stars = (np.concatenate(column).astype(column[0].dtype) for column in columns)
    del columns
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(users))  # so that a shelf is cut at LONGEST at random
    place = np.empty(len(users), dtype=np.int64)
    lengths = np.bincount(users)
    by_reader = order[np.argsort(users[order], kind="stable")]
    place[by_reader] = np.arange(len(users)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = place < LONGEST
    valid = rng.random(len(users)) < VALID_SHARE
    readers, vocabulary = Vocabulary(range(n_readers)), Vocabulary(range(n_books))

    def part(rows: Any) -> Ratings:
        return Ratings(users[rows], items[rows], stars[rows], readers, vocabulary, Scale(1, 5))

    catalogue = Catalogue(build_catalogue(books.cast(pl.String), Path("books.csv")), empty_tags())
    features = BookFeatures.of(catalogue)
    return FitInputs(part(kept & ~valid), valid=part(kept & valid), features=features, seed=seed), lengths


def measure(n_ratings: int, n_books: int, seed: int, settings: dict[str, Any], run: Path | None) -> Measured:
    """Simulate, fit and list in this process, and save the run."""
    import numpy as np

    from shelfwise.models.registry import model_config
    from shelfwise.training.recipes import fit_model, loop_settings

    stages: dict[str, float] = {}
    clock = {"stage": "books", "since": time.perf_counter()}

    def watch(stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        stages[clock["stage"]] = stages.get(clock["stage"], 0.0) + now - clock["since"]
        clock.update(stage=f"after {stage}" if done == total else stage, since=now)

    inputs, lengths = simulated(n_ratings, n_books, seed)
    inputs = type(inputs)(inputs.train, inputs.valid, features=inputs.features, seed=seed, on_progress=watch)
    data_memory, wall, cpu = peak_memory(), time.perf_counter(), time.process_time()
    clock["since"] = wall
    config = model_config("shelf", settings=settings)
    model, _ = fit_model(config, loop_settings(config, {}), inputs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    watch("end", 1, 1)
    shelves = inputs.train.shelves()
    chosen = np.random.default_rng(seed).choice(len(shelves), min(LISTED_READERS, len(shelves)), replace=False)
    shelves = shelves.take(chosen)
    start = time.perf_counter()
    model.top(model.fold_in(shelves), 10, shelves)
    listed = (time.perf_counter() - start) * LISTED_READERS / len(shelves)
    if run is not None:
        saved(model, inputs, run)
    n = len(inputs.train) + len(inputs.valid)
    return Measured(
        n, n_books, int((lengths > 0).sum()), int(min(lengths.max(), LONGEST)), wall, cpu,
        cpu / n * 1e6, data_memory, peak_memory(), listed, stages,
    )  # fmt: skip


def saved(model: Any, inputs: Any, folder: Path) -> None:
    """Save a run of the model with its training ratings."""
    import numpy as np

    from shelfwise.artifact import Run, save_run
    from shelfwise.data.shelves import Shelves

    features, shelves = inputs.features, inputs.train.shelves()
    run = Run(
        model=model, catalogue=features.catalogue, space=features.space, content=features.content,
        readers=inputs.train.readers, shelves=shelves, parts=np.zeros(len(shelves.item_idx), dtype=np.int8),
        events=Shelves.empty(len(shelves)), settings={"split": {"kind": "random"}, "duplicates": "first"},
        data={"scale": str(inputs.train.scale)}, report={},
    )  # fmt: skip
    save_run(run, folder, overwrite=True)


def opened(folder: Path, seed: int) -> dict[str, Any]:
    """Seconds until a saved run answers, milliseconds of a request, GiB on disk and in memory."""
    import numpy as np
    import torch

    from shelfwise import Recommender

    torch.set_num_threads(1)
    start = time.perf_counter()
    recommender = Recommender.load(folder)
    loaded = time.perf_counter() - start
    rng, n_books, taken = np.random.default_rng(seed), len(recommender.run.catalogue), []
    for _ in range(WARM_UP + REQUESTS):
        books, stars = 1 + rng.choice(n_books, SHELF, replace=False), rng.integers(1, 6, SHELF)
        start = time.perf_counter()
        assert len(recommender.recommend(ratings=list(zip(books.tolist(), stars.tolist(), strict=True)), n=10)) == 10
        taken.append(1000 * (time.perf_counter() - start))
    p50, p99 = np.percentile(taken[WARM_UP:], [50, 99])
    disk = sum(file.stat().st_size for file in folder.iterdir()) / 2**30
    return {
        "disk": disk, "load_seconds": loaded, "first_ms": taken[0], "p50": float(p50), "p99": float(p99),
        "memory": peak_memory(),
    }  # fmt: skip


def table(found: list[Measured]) -> str:
    """Markdown, one row a size."""
    head = (
        "| ratings | books | readers | longest shelf | fit, s | CPU s | CPU s per million | peak GiB | 1,000 lists, s |"
    )
    rows = [
        f"| {m.ratings:,} | {m.books:,} | {m.readers:,} | {m.longest_shelf:,} | {m.fit_seconds:,.0f} "
        f"| {m.fit_cpu_seconds:,.0f} | {m.cpu_seconds_per_million:,.0f} | {m.memory:.1f} | {m.list_seconds:.1f} |"
        for m in found
    ]
    return "\n".join([head, "|" + " --- |" * 9, *rows])


def table_of_answers(found: list[dict[str, Any]]) -> str:
    """Markdown, one row a run that was opened."""
    head = "| books | run on disk, GiB | opened in, s | first list, ms | p50, ms | p99, ms | peak GiB |"
    rows = [
        f"| {a['books']:,} | {a['disk']:.2f} | {a['load_seconds']:.1f} | {a['first_ms']:,.0f} | {a['p50']:.1f} "
        f"| {a['p99']:.1f} | {a['memory']:.1f} |"
        for a in found
    ]
    return "\n".join([head, "|" + " --- |" * 7, *rows])


def slopes(found: list[Measured]) -> dict[int, dict[str, float]]:
    """Of cost by ratings on log axes, between the smallest and the largest size of each catalogue: 1 is linear."""
    by_books: dict[int, dict[str, float]] = {}
    for n_books in sorted({m.books for m in found}):
        sizes = sorted((m for m in found if m.books == n_books), key=lambda m: m.ratings)
        if sizes[-1].ratings > sizes[0].ratings:
            by_books[n_books] = {
                name: math.log(getattr(sizes[-1], name) / getattr(sizes[0], name))
                / math.log(sizes[-1].ratings / sizes[0].ratings)
                for name in ("fit_cpu_seconds", "memory")
            }
    return by_books


def draw(found: list[Measured], path: Path) -> None:
    """Seconds and memory by ratings, one line for each number of books."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, name, label in zip(
        panels, ("fit_cpu_seconds", "memory"), ("fit, CPU s", "peak memory, GiB"), strict=True
    ):
        for n_books in sorted({m.books for m in found}):
            line = sorted((m.ratings / 1e6, getattr(m, name)) for m in found if m.books == n_books)
            panel.plot(*zip(*line, strict=True), "o-", label=f"{n_books:,} books")
        panel.set(xlabel="ratings, million", ylabel=label, xlim=(0, None), ylim=(0, None))
        panel.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="RATINGS:BOOKS")
    parser.add_argument("--out", type=Path, help="folder of scale.json and scale.png")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a setting of the model")
    parser.add_argument("--runs", type=Path, help="folder in which to save the runs, to open them again")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one and options.one[0] == "open":
        return print_result(opened(Path(options.one[1]), options.seed))
    if options.one:
        size, seed, run, *pairs = options.one
        n_ratings, n_books = map(int, size.split(":"))
        settings = {name: json.loads(value) for name, value in (text.split("=", 1) for text in pairs)}
        place = None if run == NO_RUN else Path(run)
        return print_result(asdict(measure(n_ratings, n_books, int(seed), settings, place)))
    found: list[Measured] = []
    answers: list[dict[str, Any]] = []
    for size in options.sizes:
        run = options.runs / size.replace(":", "-") if options.runs else NO_RUN
        one = in_own_process(__file__, size, options.seed, run, *options.set, threads=options.threads)
        found.append(Measured(**one))
        print(table(found[-1:]).splitlines()[-1], flush=True)
        keep(options.out, "scale", [asdict(m) for m in found])
        if options.runs:
            answers.append({"books": found[-1].books} | in_own_process(__file__, "open", run, threads=1))
            print(table_of_answers(answers[-1:]).splitlines()[-1], flush=True)
            keep(options.out, "scale_answers", answers)
    if options.out:
        draw(found, options.out / "scale.png")
    if answers:
        print(table_of_answers(answers))
    print(table(found))
    for n_books, by_name in slopes(found).items():
        print(f"slope on log-log axes, {n_books:,} books: " + ", ".join(f"{n} {v:.2f}" for n, v in by_name.items()))
    return None


if __name__ == "__main__":
    main()

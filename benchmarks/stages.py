"""Where the time and memory of `shelf` go, from files to a saved and evaluated run, and how that grows with ratings.

    python benchmarks/stages.py [DATA or RATINGS ...] --out FOLDER [--rounds 5] [--books 10000] [--alone]

DATA is a data set (goodbooks-10k where nothing is named); RATINGS a number, for a simulated data set of that size,
written as CSV first. Each is measured ROUNDS times, in a process of its own; medians, smallest and largest.

read      files to indexed, split ratings     features  what books are about, to vectors
fit       settings chosen on validation, early stopping, the model       predict   stars of the test part
rank      ten books for the readers whose lists are measured
baselines all that a report puts beside a model, fitted anew (none with --alone); later runs find them cached
report    predict and rank again, segments, intervals, the page
save      the run on disk

One sum is of `shelf` alone, one with the baselines; predict and rank are in neither, since report does both again.
Memory is the process's highest until then, GiB.
Seconds of processors, all threads together, change less than wall seconds where other work goes on.
Prints a table and, with several numbers of ratings, the slope of each stage on log-log axes between the smallest and
the largest (1 is linear); writes stages.json and stages.png.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from sidebyside import in_own_process, in_turn, keep, peak_memory, print_result, shown

from shelfwise.lab import BASELINES

STAGES = ("read", "features", "fit", "predict", "rank", "baselines", "report", "save")
SHELF = ("read", "features", "fit", "report", "save")  # without what report does again
SUMS = {"shelf": SHELF, "shelf and baselines": (*SHELF, "baselines")}
PER_READER = 20  # of simulated ratings


def simulate(n_ratings: int, n_books: int, folder: Path) -> None:
    """Write a data set in our own layout."""
    import polars as pl

    from shelfwise.data.invent import simulate_catalogue
    from shelfwise.data.simulate import iter_ratings_blocks

    folder.mkdir(parents=True)
    books = simulate_catalogue(n_books, seed=0)
    flat = [name for name, kind in books.schema.items() if isinstance(kind, pl.List)]
    books.with_columns(pl.col(name).list.join("; ") for name in flat).write_csv(folder / "books.csv")
    with (folder / "ratings.csv").open("wb") as file:
        for place, block in enumerate(iter_ratings_blocks(books, n_ratings // PER_READER, n_ratings, seed=0)):
            block.write_csv(file, include_header=place == 0)


def measure(data: str, *names: str) -> dict[str, float]:
    """Seconds and memory of each stage, in this process; names of baselines."""
    from shelfwise import TrainSettings, load_dataset
    from shelfwise.artifact import save_run
    from shelfwise.data.prepare import prepare
    from shelfwise.data.split import TEST
    from shelfwise.evaluation.protocol import Exam, measure_lists, measure_stars
    from shelfwise.experiment import OtherFiles, documents_of, pack, provenance
    from shelfwise.features.vectors import BookFeatures
    from shelfwise.lab import Lab, baselines, choose, fit, measure_beside_baselines
    from shelfwise.memory import give_back_memory, keep_memory

    keep_memory()
    found: dict[str, float] = {"imports, GiB": peak_memory()}
    cache = tempfile.TemporaryDirectory()  # so that baselines are fitted anew, and once
    os.environ["SHELFWISE_CACHE"] = cache.name

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start, used = time.perf_counter(), time.process_time()
        yield
        found[f"{name}, s"], found[f"{name}, CPU s"] = time.perf_counter() - start, time.process_time() - used
        found[f"{name}, GiB"] = peak_memory()

    settings = TrainSettings()
    with stage("read"):
        loaded = load_dataset(data)
        prepared, audit = prepare(loaded, settings)
    with stage("features"):
        features = BookFeatures.of(loaded.catalogue)
    config, loop = settings.parsed()
    lab = Lab(features, settings.seed, loop)
    with stage("fit"):
        chosen = choose(config, prepared, lab)
        fitted = chosen.fitted or fit(chosen.config, prepared, lab)
    exam = Exam(prepared.ratings, prepared.parts, features, TEST)
    with stage("predict"):
        found["MSE"] = measure_stars(fitted.model, exam)
    with stage("rank"):
        found["NDCG@10"] = measure_lists(fitted.model, exam, exam.trained_idx())[1]["ndcg@10"]
    if names:
        with stage("baselines"):
            give_back_memory()
            for _ in baselines(prepared, exam, lab, names):
                pass
    with stage("report"):
        measured = measure_beside_baselines(fitted, prepared, lab, beside=names)
        report = measured.report(audit, chosen.tried)
        documents = documents_of(measured, report, settings, "benchmarks/stages.py", fitted.history)
    with stage("save"), tempfile.TemporaryDirectory() as folder:
        origin = provenance(loaded, settings, OtherFiles())
        run = pack(fitted.model, origin, features, prepared, settings, report)
        save_run(replace(run, documents=documents), Path(folder) / "run")
    found["ratings"] = float(len(prepared.ratings))
    for unit in ("s", "CPU s"):
        for name, stages in SUMS.items():
            if f"{stages[-1]}, {unit}" in found:
                found[f"{name}, {unit}"] = sum(found[f"{one}, {unit}"] for one in stages)
    return found


def measured(data: str, n_books: int, rounds: int, names: Sequence[str]) -> dict[str, list[float]]:
    """One value a round of each measurement; a number is simulated first."""
    with tempfile.TemporaryDirectory() as place:
        if data.isdigit():
            in_own_process(__file__, "simulate", data, n_books, f"{place}/{data}")
        name = f"{place}/{data}" if data.isdigit() else data
        return in_turn({data: lambda: in_own_process(__file__, "measure", name, *names)}, rounds)[data]


def names_in(values: dict[str, list[float]]) -> list[str]:
    """The stages and sums that were measured."""
    return [name for name in (*STAGES, *SUMS) if f"{name}, s" in values]


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Markdown, one row a stage."""
    lines = []
    for data, values in found.items():
        lines.append(f"\n| {data}: {values['ratings'][0]:,.0f} ratings | seconds | of processors | peak GiB |")
        lines.append("| --- | --- | --- | --- |")
        for name in names_in(values):
            memory = values["save, GiB" if name in SUMS else f"{name}, GiB"]
            cells = (values[f"{name}, s"], values[f"{name}, CPU s"], memory)
            lines.append(f"| {name} | {' | '.join(map(shown, cells))} |")
        lines.append(
            f"\nMSE {shown(values['MSE'])}, NDCG@10 {shown(values['NDCG@10'])}; "
            f"imports alone {median(values['imports, GiB']):.2f} GiB"
        )
    return "\n".join(lines)


def slopes(found: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Of cost by ratings on log axes, between the smallest and the largest simulated size."""
    sizes = sorted((values for data, values in found.items() if data.isdigit()), key=lambda v: v["ratings"][0])
    if len(sizes) < 2:
        return {}
    names = [*(f"{name}, {unit}" for name in names_in(sizes[0]) for unit in ("s", "CPU s")), "save, GiB"]
    more = math.log(sizes[-1]["ratings"][0] / sizes[0]["ratings"][0])
    return {name: math.log(median(sizes[-1][name]) / median(sizes[0][name])) / more for name in names}


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Seconds by stage of each data set; of simulated ones also by their size."""
    from matplotlib.figure import Figure

    sizes = sorted((values["ratings"][0], values) for data, values in found.items() if data.isdigit())
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    data, values = next(iter(found.items()))
    stages = [name for name in names_in(values) if name in STAGES]
    bars.barh(stages[::-1], [median(values[f"{name}, s"]) for name in stages[::-1]])
    bars.set(xlabel="seconds", title=data if not data.isdigit() else f"{int(data):,} simulated ratings")
    for name in stages if len(sizes) > 1 else ():
        lines.loglog([n for n, _ in sizes], [median(one[f"{name}, s"]) for _, one in sizes], "o-", label=name)
    if len(sizes) > 1:
        lines.set(xlabel="ratings, simulated", ylabel="seconds")
        lines.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        lines.barh(stages[::-1], [median(values[f"{name}, GiB"]) for name in stages[::-1]])
        lines.set(xlabel="peak memory until then, GiB")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["goodbooks-10k"], metavar="DATA or RATINGS")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--books", type=int, default=10_000, help="of simulated data")
    parser.add_argument("--alone", action="store_true", help="without baselines")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, *words = options.one
        if kind == "measure":
            return print_result(measure(*words))
        simulate(int(words[0]), int(words[1]), Path(words[2]))
        return print_result({})
    found: dict[str, dict[str, list[float]]] = {}
    for data in options.data:
        found[data] = measured(data, options.books, options.rounds, () if options.alone else BASELINES)
        print(table({data: found[data]}), flush=True)
        keep(options.out, "stages", {"found": found, "slopes": slopes(found)})
    for name, slope in slopes(found).items():
        print(f"slope on log-log axes: {name} {slope:.2f}")
    if options.out:
        draw(found, options.out / "stages.png")
    return None


if __name__ == "__main__":
    main()

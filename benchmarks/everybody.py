"""Ten books for everybody: seconds and memory of `recommend --all`, rules off and on, and for ten times the readers.

    python benchmarks/everybody.py RUN --out FOLDER [--rounds 5] [--readers 500000] [--implicit]

All in turn, ROUNDS times, each in a process of its own; median, smallest and largest; READERS once, simulated: known
readers again and again, as others, in a run that is saved for a while. With --implicit also implicit's batch recommend
(ALS, 64 factors, fitted on the same ratings outside the clock), for as many readers and books; it gives books without
stars.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sidebyside import in_own_process, in_turn, keep, peak_memory, print_result, ratios, shown

from shelfwise import load_run
from shelfwise.artifact import save_run
from shelfwise.data.tables import read_table
from shelfwise.data.vocabulary import Vocabulary

RULES = ("--first-unread", "--per-author", "1")


def command(run: Path, *rules: str) -> dict[str, float]:
    """The command as a user gives it: seconds from start to written file, and the most memory of it and its processes
    together, GiB, looked at ten times a second; what they share is counted once. Linux alone tells that."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["recommend", str(run), "--all", *rules, "--out", f"{folder}/lists.parquet"]
        program = "from shelfwise.cli import main; main()"
        start, most = time.perf_counter(), 0
        with subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.DEVNULL) as running:
            while running.poll() is None:
                most = max(most, sum(map(proportional, (running.pid, *children(running.pid)))))
                time.sleep(0.1)
        seconds = time.perf_counter() - start
        if running.returncode:
            raise SystemExit(f"shelfwise {' '.join(words)} failed: {running.returncode}")
        rows = len(read_table(Path(folder) / "lists.parquet"))
    return {"seconds": seconds, "GiB": most / 2**20, "rows": rows}


def children(process: int) -> list[int]:
    """Its processes, not theirs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # gone meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(stat.parent.name))
    return found


def proportional(process: int) -> int:
    """Its part of the memory, KiB: of what n processes share each is counted an n-th."""
    with suppress(OSError):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return 0


def save_simulated(run_folder: Path, n_readers: int, folder: Path) -> dict[str, float]:
    """The run with that many readers in the place of its own."""
    run = load_run(run_folder)
    who = np.random.default_rng(0).integers(0, len(run.readers), n_readers)
    places = np.arange(len(run.shelves.item_idx), dtype=np.int64)
    indptr, lengths = run.shelves.indptr, run.shelves.lengths[who]
    starts = np.repeat(indptr[:-1][who] - np.append(0, np.cumsum(lengths)[:-1]), lengths)
    parts = np.asarray(run.parts)[places[starts + np.arange(lengths.sum())]]
    readers = Vocabulary(pl.Series(range(n_readers), dtype=pl.Int64))
    run = replace(run, readers=readers, shelves=run.shelves.take(who), events=run.events.take(who), parts=parts)
    save_run(run, folder)
    return {"readers": n_readers}


def implicit_lists(run_folder: Path) -> dict[str, float]:
    """The same lists by implicit: seconds of recommend alone."""
    from implicit.als import AlternatingLeastSquares

    from shelfwise.models.sparse import reading_matrix

    run = load_run(run_folder)
    read = reading_matrix(run.shelves, len(run.catalogue))
    model = AlternatingLeastSquares(factors=64, iterations=5, random_state=0)
    model.fit(read, show_progress=False)
    start = time.perf_counter()
    books, _ = model.recommend(np.arange(read.shape[0]), read, N=10)
    return {"seconds": time.perf_counter() - start, "GiB": peak_memory(), "rows": float(books.size)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--readers", type=int, default=500_000)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, run, *more = options.one
        if kind == "save":
            return print_result(save_simulated(Path(run), int(more[0]), Path(more[1])))
        return print_result(implicit_lists(Path(run)))
    kinds: dict[str, Any] = {
        "rules off": lambda: command(options.run),
        "rules on": lambda: command(options.run, *RULES),
    }
    if options.implicit:
        kinds["implicit"] = lambda: in_own_process(__file__, "implicit", options.run)
    found = in_turn(kinds, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder) / "many"
        in_own_process(__file__, "save", options.run, options.readers, many)
        found |= in_turn({f"{options.readers:,} readers": lambda: command(many)}, 1)
    print("| lists | seconds | GiB | rows |\n| --- | --- | --- | --- |")
    for kind, values in found.items():
        print(f"| {kind} | {shown(values['seconds'])} | {shown(values['GiB'])} | {int(values['rows'][0]):,} |")
    if options.implicit:
        print("seconds over implicit's:", shown(ratios(found["rules off"]["seconds"], found["implicit"]["seconds"])))
    keep(options.out, "everybody", found)
    if options.out:
        draw(found, options.out / "everybody.png")
    return None


def draw(found: dict[str, Any], path: Path) -> None:
    """Seconds and memory of each as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for panel, name in zip(figure.subplots(1, 2), ("seconds", "GiB"), strict=True):
        panel.barh(list(found), [float(np.median(values[name])) for values in found.values()])
        panel.set(xlabel=name, xlim=(0, None))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()

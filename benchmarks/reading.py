"""From a file of ratings to indexed arrays, beside pandas and LabelEncoder as in the source notebook.

    python benchmarks/reading.py --out FOLDER [--ratings 1000000 6000000 60000000] [--rounds 5] [--formats csv parquet]

Generated ratings, 18 of each reader, of 10,000 books. Both read the file, keep the first of each repeated pair, index
readers and books; in turn, ROUNDS times, each in a process of its own. Seconds without imports; memory beyond that of
the imports, and as a multiple of the arrays that come out (12 bytes a rating).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from sidebyside import in_own_process, in_turn, keep, peak_memory, print_result, ratios, shown

PER_READER, N_BOOKS = 18, 10_000
BYTES = 12  # of a rating: two int32 indices and float32 stars


def generate(n_ratings: int, path: Path) -> None:
    """Write ratings; some books are read far more than others, and a few pairs are there twice."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(1, n_ratings // PER_READER + 2, n_ratings, dtype=np.int32),
            "book_id": (N_BOOKS * rng.random(n_ratings, dtype=np.float32) ** 2).astype(np.int32) + 1,
            "rating": rng.integers(1, 6, n_ratings, dtype=np.int8),
        }
    )
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


def ours(path: Path) -> dict[str, float]:
    """Our way: seconds, GiB beyond the imports, ratings kept."""
    from shelfwise.data.catalogue import catalogue_of_ids
    from shelfwise.data.ratings import clean, read_ratings

    before, start = peak_memory(), time.perf_counter()
    table = read_ratings(path, None)
    ratings, _ = clean(table, catalogue_of_ids(table.frame["book_id"]))
    return {"seconds": time.perf_counter() - start, "GiB": peak_memory() - before, "kept": len(ratings)}


def notebooks(path: Path) -> dict[str, float]:
    """The notebook's way: the same."""
    import pandas as pd
    from sklearn.preprocessing import LabelEncoder

    before, start = peak_memory(), time.perf_counter()
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    frame = frame.drop_duplicates(["user_id", "book_id"])
    arrays = [LabelEncoder().fit_transform(frame[name]) for name in ("user_id", "book_id")]
    arrays.append(frame["rating"].to_numpy())
    return {"seconds": time.perf_counter() - start, "GiB": peak_memory() - before, "kept": len(arrays[0])}


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Seconds by ratings, on logarithmic axes."""
    from statistics import median

    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    for kind in ("shelfwise", "pandas"):
        for form in sorted({one["format"] for one in found}):
            line = [(one["ratings"], median(one[kind]["seconds"])) for one in found if one["format"] == form]
            panel.plot(*zip(*line, strict=True), "o-", label=f"{kind}, {form}")
    panel.set(xlabel="ratings", ylabel="seconds", xscale="log", yscale="log")
    panel.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, nargs="+", default=[1_000_000, 6_000_000, 60_000_000])
    parser.add_argument("--formats", nargs="+", choices=("csv", "parquet"), default=["csv", "parquet"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, path = options.one
        return print_result((ours if kind == "shelfwise" else notebooks)(Path(path)))
    print(
        "| ratings | file | shelfwise, s | pandas, s | pandas / shelfwise | GiB | pandas, GiB | GiB over the arrays' |"
    )
    print("| --- |" + " --- |" * 7)
    found = []
    for n_ratings in options.ratings:
        for form in options.formats:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"ratings.{form}"
                generate(n_ratings, path)
                kinds = {k: lambda k=k, path=path: in_own_process(__file__, k, path) for k in ("shelfwise", "pandas")}
                one: dict[str, Any] = in_turn(kinds, options.rounds)
            here, there = one["shelfwise"], one["pandas"]
            assert here["kept"] == there["kept"], one
            times = ratios(there["seconds"], here["seconds"])
            arrays = [gib * 2**30 / (BYTES * n_ratings) for gib in here["GiB"]]
            cells = [here["seconds"], there["seconds"], times, here["GiB"], there["GiB"], arrays]
            print(f"| {n_ratings:,} | {form} | " + " | ".join(map(shown, cells)) + " |", flush=True)
            found.append({"ratings": n_ratings, "format": form, **one})
    keep(options.out, "reading", found)
    if options.out:
        draw(found, options.out / "reading.png")
    return None


if __name__ == "__main__":
    main()

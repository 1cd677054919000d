"""How long a list of ten takes for a reader that the run has never seen: shelves and catalogues of several sizes.

    python benchmarks/request.py RUN --out FOLDER [--times 1 10 100] [--shelves 5 20 200 1000] [--requests 200]

RUN is a run of `shelf`. Its catalogue is repeated TIMES over, for 100 of them a million books: copies with titles and
authors of their own, what they are about moved a little, co-read as the originals are. Shelves are of random books and
stars. What is timed is Recommender.recommend(ratings=...), ids in and books, stars and titles out, in one thread,
model loaded. Prints median and 99th percentile in milliseconds, writes request.json and request.png.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from sidebyside import in_own_process, keep, peak_memory, print_result

from shelfwise import Recommender, Run, load_run
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.shelves import Shelves
from shelfwise.models.shelf import Shelf
from shelfwise.models.similarity import BookTraits
from shelfwise.models.sparse import strongest
from shelfwise.training.pickup import MOST_ENTRIES

WARM_UP = 20
MOVED = 0.02  # standard deviation of what is added to each number of a copy


def repeated(run: Run, times: int) -> Run:
    """The run with its catalogue so many times over, and nobody known."""
    model = run.model
    assert isinstance(model, Shelf)
    generator = torch.Generator().manual_seed(0)

    def moved(vectors: torch.Tensor) -> torch.Tensor:
        many = vectors.repeat(times, 1)
        many[len(vectors) :] += MOVED * torch.randn(len(many) - len(vectors), many.shape[1], generator=generator)
        return torch.nn.functional.normalize(many, dim=1)

    def own_codes(codes: torch.Tensor) -> torch.Tensor:
        n = int(codes.max()) + 1
        return torch.cat([torch.where(codes >= 0, codes + copy * n, -1) for copy in range(times)])

    old, books = model.books.traits, model.books
    traits = BookTraits(
        moved(old.about), moved(old.coreading), own_codes(old.author), own_codes(old.series),
        old.year.repeat(times),
    )  # fmt: skip
    per_book = {name: getattr(books, name) for name in ("prior", "bias", "count", "histogram", "outside")}
    many = {name: values.repeat(times, *[1] * (values.ndim - 1)) for name, values in per_book.items()}
    pickup = side_by_side(model.pickup, times)
    larger = Shelf(
        model.config, model.scale, replace(books, traits=traits, **many), model.star_head, pickup, model.pick_head
    )
    frame = run.catalogue.books.with_columns(book_id=pl.int_range(1, len(run.catalogue) + 1, dtype=pl.Int64))
    copies = [
        frame.with_columns(
            pl.col("book_id") + copy * len(frame),
            title=pl.concat_str(pl.col("title"), pl.lit(f" copy {copy}")),
            authors=pl.col("authors").list.eval(pl.element() + f" {copy}"),
            work_key=pl.concat_str(pl.col("work_key"), pl.lit(f" {copy}")),
            work_id=pl.col("work_id") * times + copy,
        )
        for copy in range(times)
    ]
    catalogue = Catalogue(pl.concat(copies), run.catalogue.tags.clear())
    content = sp.vstack([run.content] * times, format="csr")
    nobody = Shelves.build([], [], [], len(run.readers))
    return replace(
        run, model=larger, catalogue=catalogue, content=content, shelves=nobody,
        parts=np.zeros(0, dtype=np.int8), events=nobody,
    )  # fmt: skip


def side_by_side(matrix: sp.csr_matrix, times: int) -> sp.csr_matrix:
    """The matrix so many times along the diagonal, with as many entries a column as a model of so many books keeps."""
    n = matrix.shape[0]
    kept = strongest(abs(matrix.T).toarray(), max(MOST_ENTRIES // (n * times), 1)).T if times > 1 else matrix
    one = sp.csr_matrix(matrix.multiply(kept != 0)) if times > 1 else matrix
    indices = np.concatenate([one.indices + np.int32(copy * n) for copy in range(times)])
    indptr = np.append(0, np.concatenate([one.indptr[1:].astype(np.int64) + copy * one.nnz for copy in range(times)]))
    return sp.csr_matrix((np.tile(one.data, times), indices, indptr), shape=(n * times, n * times))


def milliseconds(run_folder: Path, times: int, lengths: list[int], n_requests: int) -> dict[str, Any]:
    """Of each shelf length: the median and the 99th percentile."""
    torch.set_num_threads(1)
    recommender = Recommender(repeated(load_run(run_folder), times))
    n_books = len(recommender.run.catalogue)
    rng = np.random.default_rng(0)
    stars = recommender.run.model.scale.values
    found: dict[str, Any] = {"books": n_books, "ms": {}}
    for length in lengths:
        taken = []
        for _ in range(WARM_UP + n_requests):
            books = 1 + rng.choice(n_books, min(length, n_books), replace=False)
            ratings = [(int(book), float(value)) for book, value in zip(books, rng.choice(stars, length), strict=True)]
            start = time.perf_counter()
            answer = recommender.recommend(ratings=ratings, n=10)
            taken.append(1000 * (time.perf_counter() - start))
            assert len(answer) == 10
        p50, p99 = np.percentile(taken[WARM_UP:], [50, 99])
        found["ms"][str(length)] = {"p50": float(p50), "p99": float(p99)}
    return found | {"memory": peak_memory()}


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Medians by shelf length, one line for each catalogue."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    for one in found:
        lengths = [int(length) for length in one["ms"]]
        panel.plot(lengths, [ms["p50"] for ms in one["ms"].values()], "o-", label=f"{one['books']:,} books")
    panel.set(xlabel="ratings on the shelf", ylabel="ms for ten books, median", xscale="log", ylim=(0, None))
    panel.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--shelves", type=int, nargs="+", default=[5, 20, 200, 1000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, times, n_requests, *lengths = options.one
        return print_result(milliseconds(Path(folder), int(times), [int(n) for n in lengths], int(n_requests)))
    print("| books | ratings on the shelf | p50, ms | p99, ms | peak GiB |\n| --- | --- | --- | --- | --- |")
    found = []
    for times in options.times:
        one = in_own_process(__file__, options.run, times, options.requests, *options.shelves)
        found.append(one)
        for length, ms in one["ms"].items():
            print(
                f"| {one['books']:,} | {length} | {ms['p50']:.1f} | {ms['p99']:.1f} | {one['memory']:.1f} |", flush=True
            )
    keep(options.out, "request", found)
    if options.out:
        draw(found, options.out / "request.png")
    return None


if __name__ == "__main__":
    main()

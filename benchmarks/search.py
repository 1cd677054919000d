"""Search: milliseconds of a fixed mix of queries, in SQLite and, where a URL is given, PostgreSQL.

    python benchmarks/search.py RUN [--postgresql URL] [--books 1000000] [--repeats 20] [--out FOLDER]

The catalogue of a run; with --books an invented one of that size, with invented counts of readers. Each query is asked
REPEATS times in a shuffled order, ten books each, after one round that is not counted. URL: an empty database. CPU: of
the thread that asks, which with SQLite is all there is; on a busy machine it says more than the clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sidebyside import keep

from shelfwise import Recommender
from shelfwise.data.catalogue import build_catalogue
from shelfwise.data.invent import simulate_catalogue
from shelfwise.service.search import Search
from shelfwise.service.store import Store

KINDS = {
    "prefix": "h|ha|har|harry|harry p|harry pot|the|the g|the great g|stephen k|lord of|a|t|game of thr",
    "exact": "it|the hobbit|jane eyre|to kill a mockingbird|emma|1984|pride and prejudice|the great gatsby",
    "slip": "tolkein|hary poter|mockingbrid|wuthering hights|jane austin|dostoievsky|neitzche|steven kign|tolkei",
    "accents": "bronte|Brontë|garcia marquez|García Márquez|les miserables|Достоевский|bjorn|Zoë",
    "ISBN": "0439023483|9780439023481|978-0-439-02348-1|978043902|0-618-00223-5",
}
INVENTED = {
    "prefix": "t|th|the|the w|the white har|s|si|silver h|ada b|zen|lost le|a",
    "exact": "silver harbour|white mirror|the lost letter|sleeping island|the broken clock",
    "slip": "sylver harbor|seltrodale|whit miror|brokn clok|adda belcordale|rosquinmroe|harbuor",
    "accents": "silvér harbour|brokën clock|Йорхололфорд|ada bélcordale",
}


def catalogue_of(options: argparse.Namespace) -> tuple[pl.DataFrame, Any]:
    """Books, and how often each is read."""
    if options.books:
        raw = simulate_catalogue(options.books, seed=0)
        texts = [pl.col(name).cast(pl.String) for name, kind in raw.schema.items() if kind != pl.List(pl.String)]
        return build_catalogue(raw.with_columns(texts), Path("books")), np.random.default_rng(0).pareto(1, len(raw))
    recommender = Recommender.load(options.run)
    return recommender.run.catalogue.books, recommender.facts.popularity


def measure(search: Search, kinds: dict[str, str], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds by the clock and of CPU, by kind."""
    asked = [(kind, query) for kind, queries in kinds.items() for query in queries.split("|")]
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    rng = np.random.default_rng(0)
    for turn in range(repeats + 1):
        for place in rng.permutation(len(asked)):
            kind, query = asked[place]
            start, cpu = time.perf_counter(), time.thread_time()
            search.ask("bench", query, 10)
            if turn:
                taken[kind].append((1000 * (time.perf_counter() - start), 1000 * (time.thread_time() - cpu)))
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--books", type=int)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    books, reads = catalogue_of(options)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        urls = {"SQLite": f"sqlite:///{folder}/bench.db"}
        if options.postgresql:
            urls["PostgreSQL"] = options.postgresql
        for name, url in urls.items():
            store = Store(url)
            search = Search(store)
            start = time.perf_counter()
            search.index("bench", books, reads)
            print(f"\n{name}: {len(books):,} books indexed in {time.perf_counter() - start:.1f} s")
            taken = measure(search, INVENTED if options.books else KINDS, options.repeats)
            taken["all"] = [one for many in taken.values() for one in many]
            print("| queries | p50, ms | p95, ms | p99, ms | CPU p50, ms | CPU p95, ms |\n| --- |" + " --- |" * 5)
            for kind, many in taken.items():
                clock, cpu = np.array(many).T
                cells = [*np.percentile(clock, (50, 95, 99)).tolist(), *np.percentile(cpu, (50, 95)).tolist()]
                found[f"{name}, {kind}"] = cells
                print(f"| {kind} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)
            search.close()
            store.close()
    keep(options.out, "search", found)


if __name__ == "__main__":
    main()

"""What an import costs: python benchmarks/imports.py RUN [--rows N] [--megabytes M]

Time for N rows of a made-up export (half of them as the catalogue has them, the others misspelt, of another edition, or
of books it has not), and time and peak memory of a process that imports a file of M megabytes, with long reviews and
with short rows, beside that of a process that imports ten rows.
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shelfwise.artifact import load_run
from shelfwise.data.scale import Scale
from shelfwise.errors import TooLargeError
from shelfwise.imports import BookIndex, Limits, import_file

HEADER = ["Book Id", "Title", "Author", "Additional Authors", "ISBN", "ISBN13", "My Rating", "Date Read", "Date Added",
          "Bookshelves", "Exclusive Shelf", "My Review"]  # fmt: skip


def rows_of(index: BookIndex, n: int, review: str = "") -> Iterator[list[str]]:
    """Rows of an export of Goodreads."""
    rng = random.Random(0)
    isbns = index.catalogue.books["isbn13"].to_list()
    for number in range(n):
        idx = rng.randrange(len(index))
        title, authors, isbn = index.shown_titles[idx], index.shown_authors[idx] or [""], isbns[idx] or ""
        kind = number % 4
        if kind == 2:
            place = rng.randrange(len(title))
            title, isbn = title[:place] + "x" + title[place + 1 :], ""
        elif kind == 3:
            title, authors, isbn = f"{title[::-1]} {number}", [authors[0][::-1]], ""
        yield [str(10**9 + number), title, authors[0], ", ".join(authors[1:]), "", f'="{isbn}"', str(number % 6),
               "2020/01/02", "2019/01/02", "", "read", review]  # fmt: skip


def write(path: Path, rows: Iterator[list[str]], n_bytes: float = float("inf")) -> int:
    """Rows up to a size; how many."""
    n = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(HEADER)
        for row in rows:
            table.writerow(row)
            n += 1
            if n % 100 == 0 and stream.tell() > n_bytes - 700_000:
                break
    return n


def peak(run: Path, file: Path, most: int) -> tuple[float, float, str]:
    """Megabytes at most, and seconds of one core, of a process that imports a file."""
    words = [sys.executable, __file__, str(run), "--child", str(file), "--most", str(most)]
    done = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(done[0]), float(done[1]), done[2]


def child(index: BookIndex, file: Path, most: int) -> None:
    start = time.process_time()
    try:
        result = import_file(file, index, Scale(1, 5), limits=Limits(max_rows=most))
        said = f"{result.counts['rows']:,}"
    except TooLargeError:
        said = "refused"
    seconds = time.process_time() - start
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds, said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--most", type=int, default=Limits().max_rows, help="rows that are read of a file")
    parser.add_argument("--child", type=Path)
    asked = parser.parse_args()
    start = time.perf_counter()
    index = BookIndex(load_run(asked.run).catalogue)
    if asked.child:
        child(index, asked.child, asked.most)
        return
    print(f"{len(index):,} books: index made in {time.perf_counter() - start:.2f} s (with the run's loading)")
    with tempfile.TemporaryDirectory() as folder:
        few, rows, reviews, short, many = (Path(folder) / name for name in ("few", "rows", "reviews", "short", "many"))
        write(rows, rows_of(index, asked.rows))
        start, cpu = time.perf_counter(), time.process_time()
        counts = import_file(rows, index, Scale(1, 5)).counts
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(f"{counts['rows']:,} rows: {seconds:.2f} s, of one core {cpu:.2f} s ({counts})")
        write(few, rows_of(index, 10))
        n_bytes = asked.megabytes * 1e6
        write(reviews, rows_of(index, 10**7, review="A review of some length. " * 200), n_bytes)
        write(short, rows_of(index, asked.most))
        write(many, rows_of(index, 10**7), n_bytes)
        too_large = Path(folder) / "too large"
        with too_large.open("wb") as stream:
            stream.truncate(10**10)
        names = ("ten rows", "long reviews", "as many rows as are read", "more rows", "10 GB")
        for name, file in zip(names, (few, reviews, short, many, too_large), strict=True):
            memory, seconds, said = peak(asked.run, file, asked.most)
            size = file.stat().st_size / 1e6
            print(f"{name} ({size:,.1f} MB): {said}, at most {memory:.0f} MB of memory, {seconds:.1f} s of one core")


if __name__ == "__main__":
    main()

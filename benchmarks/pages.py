"""The readers' page at the server: from an export of 1,000 books to the first list, and each change after that.

    python benchmarks/pages.py RUN --out FOLDER [--books 1000] [--changes 100]

The export is a Goodreads file of BOOKS books of the run's catalogue, with titles, authors and ISBNs, stars drawn at
random. Measured from outside, as a browser would wait: taking the file in, putting it on the shelf with the first list,
then CHANGES times one more rating with the list anew, and the other pages. Also the weight of each page with its files,
before covers. Service and measurement share the cores.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serve import served
from sidebyside import keep, shown

from shelfwise import load_run

FILES = re.compile(r'(?:src|href)="(/static/[^"]+)"')


def export_of(run: Path, n_books: int) -> bytes:
    """A Goodreads export."""
    books = load_run(run).catalogue.books
    rng = np.random.default_rng(0)
    text = io.StringIO()
    out = csv.writer(text)
    header = (
        "Book Id,Title,Author,Additional Authors,ISBN,ISBN13,My Rating,Date Read,Date Added,Bookshelves,Exclusive Shelf"
    )
    out.writerow(header.split(","))
    for row in books[rng.permutation(len(books))[:n_books]].iter_rows(named=True):
        authors = row["authors"] or [""]
        isbns = [f'="{row[name] or ""}"' for name in ("isbn10", "isbn13")]
        stars = int(rng.integers(1, 6))
        out.writerow(
            ["", row["title"], authors[0], ", ".join(authors[1:]), *isbns, stars, "", "2024/01/01", "", "read"]
        )
    return text.getvalue().encode()


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    found = re.findall(r'type="hidden" name="([\w.]+)" value="([^"]*)"', page[page.index('<form id="said"') :])
    return {name: html.unescape(value) for name, value in found}


def measured(run: Path, n_books: int, n_changes: int) -> dict[str, Any]:
    """Seconds of each answer, and bytes of each page with its files."""
    export = export_of(run, n_books)
    found: dict[str, Any] = {"books": n_books, "seconds": {}, "bytes": {}}

    def timed(name: str, ask: Any) -> str:
        start = time.perf_counter()
        answer = ask()
        found["seconds"].setdefault(name, []).append(time.perf_counter() - start)
        answer.raise_for_status()
        return str(answer.text)

    with (
        tempfile.TemporaryDirectory() as folder,
        served(run, folder=Path(folder)) as (port, _),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        part = {"HX-Request": "true"}
        review = timed("take the file in", lambda: client.post("/import", files={"file": ("goodreads.csv", export)}))
        form = hidden(review) | {"do": "take"}
        page = timed("first list", lambda: client.post("/next", data=form))
        found["on the shelf"] = len(ratings_of(hidden(page)["shelf"]))
        for _ in range(n_changes):
            book = re.search(r'id="listed-([^"]+)"', page)
            assert book is not None
            data = hidden(page) | {"do": f"rate:4:{book[1]}"}
            page = timed("each change", lambda data=data: client.post("/next", data=data, headers=part))
        dials = {"look": "1", "variety": "2", "fame": "-2", "first_unread": "on", "one_author": "on"}
        for _ in range(max(n_changes // 5, 1)):
            data = hidden(page) | dials
            timed("each turn of a dial", lambda data=data: client.post("/next", data=data, headers=part))
        shelf = hidden(page)["shelf"]
        for path in ("/", "/next", "/book/1", "/shelf"):
            whole = timed(f"page {path}", lambda path=path: client.post(path, data={"shelf": shelf}))
            weight = sum(len(client.get(file).content) for file in set(FILES.findall(whole)))
            few = client.post(path, data={"shelf": '[{"1":5,"2":4,"3":2},[]]'}).text
            covers = sum(map(len, re.findall(r"<svg.*?</svg>", few)))
            found["bytes"][path] = len(few.encode()) - covers + weight
    return found


def print_pages(found: dict[str, Any]) -> None:
    """What measured() found."""
    first = found["seconds"]["take the file in"][0] + found["seconds"]["first list"][0]
    print("| the readers' page | milliseconds |\n| --- | --- |")
    for name, values in found["seconds"].items():
        print(f"| {name} | {shown([1000 * value for value in values])} |")
    print(f"\nfrom {found['books']:,} books to the first list: {first:.2f} s; on the shelf: {found['on the shelf']}")
    print("kB with style and scripts, before covers:", {p: round(n / 1000) for p, n in found["bytes"].items()})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--books", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100)
    options = parser.parse_args()
    found = measured(options.run, options.books, options.changes)
    print_pages(found)
    keep(options.out, "pages", found)


def ratings_of(text: str) -> dict[str, float]:
    """The ratings of a shelf as the form holds them."""
    from shelfwise.service.pages.visit import Visit

    return dict(Visit.read(text).ratings)


if __name__ == "__main__":
    main()

"""The service under load: requests a second, latencies at fixed rates, and memory, with the load on the same cores.

    python benchmarks/serve.py RUN --out FOLDER [--seconds 20] [--requests 50000] [--ratings 20] [-n 10] [--changes 100]

Each request holds the ratings of a reader of the run, as anybody's, and asks for a list with reasons. At most: 32
connections that each send as soon as they have an answer. At a rate: requests are sent when they are due, whatever is
unanswered, and latency counts from then on. Memory: resident, of the service, before and after REQUESTS requests. Then
what the readers' page takes for an export of 1,000 books and for CHANGES changes of its list (pages.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sidebyside import keep

from shelfwise import load_run

CONNECTIONS = 32
RATES = (10, 100)


def requests_of(run: Path, n_ratings: int, n_books: int, port: int) -> list[bytes]:
    """Whole requests, of readers with at least so many ratings, cut to that."""
    loaded = load_run(run)
    ids = loaded.catalogue.vocabulary.ids
    rows = np.flatnonzero(loaded.shelves.lengths >= n_ratings)[:2000]
    found = []
    for row in rows:
        shelf = loaded.shelves.take([row])
        some = np.random.default_rng(int(row)).permutation(len(shelf.item_idx))[:n_ratings]
        ratings = [{"book_id": ids[int(shelf.item_idx[i])], "stars": float(shelf.stars[i])} for i in some]
        body = json.dumps({"ratings": ratings, "n": n_books, "explain": True}).encode()
        head = f"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        found.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return found


class Connection:
    """One kept-alive connection; only what this load needs of HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the answer."""
        if self.streams is None or self.streams[0].at_eof():  # an idle one is closed after a while
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return int(head.split(b" ")[1])


async def at_most(port: int, requests: list[bytes], seconds: float, total: int | None = None) -> dict[str, float]:
    """Answers a second with all connections busy, for so many seconds or requests."""
    sent, failed, start = 0, 0, time.perf_counter()
    taken: list[float] = []

    async def go() -> None:
        nonlocal sent, failed
        connection = Connection(port)
        while (sent < total) if total is not None else (time.perf_counter() - start < seconds):
            sent += 1
            begun = time.perf_counter()
            failed += await connection.ask(requests[sent % len(requests)]) != 200
            taken.append(time.perf_counter() - begun)

    await asyncio.gather(*(go() for _ in range(CONNECTIONS)))
    return {"per_second": sent / (time.perf_counter() - start), "failed": failed, **quantiles(taken)}


async def at_rate(port: int, requests: list[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Latencies of requests that are sent `rate` times a second, evenly."""
    free: list[Connection] = []
    taken: list[float] = []
    failed = 0
    start = time.perf_counter() + 0.1

    async def one(number: int) -> None:
        nonlocal failed
        due = start + number / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        connection = free.pop() if free else Connection(port)
        failed += await connection.ask(requests[number % len(requests)]) != 200
        taken.append(time.perf_counter() - due)
        free.append(connection)

    await asyncio.gather(*(one(number) for number in range(int(rate * seconds))))
    return {"per_second": rate, "failed": failed, **quantiles(taken)}


def quantiles(taken: list[float]) -> dict[str, float]:
    """Milliseconds."""
    return {f"p{q}": float(np.percentile(taken, q)) * 1000 for q in (50, 95, 99)}


def resident(process: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 2**20


@contextmanager
def served(*runs: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """The port and the process of a service without limits that is ready, its database in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", *map(str, runs), "--port", str(port), "--data-folder", str(folder)]
    command = [sys.executable, "-c", "from shelfwise.cli import main; main()", *words]
    environment = {**os.environ, "SHELFWISE_SERVE_RATE": "0"}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(600):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise SystemExit("the service did not start")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--ratings", type=int, default=20)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--changes", type=int, default=100)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, served(options.run, folder=Path(folder)) as (port, process):
        requests = requests_of(options.run, options.ratings, options.n, port)
        asyncio.run(at_most(port, requests, 3))
        print("| load | requests/s | p50, ms | p95, ms | p99, ms | failed |\n| --- |" + " --- |" * 5)
        found["at most"] = asyncio.run(at_most(port, requests, options.seconds))
        _print(f"{CONNECTIONS} connections", found["at most"])
        for rate in RATES:
            found[str(rate)] = asyncio.run(at_rate(port, requests, rate, options.seconds))
            _print(f"{rate} a second", found[str(rate)])
        before = resident(process)
        asyncio.run(at_most(port, requests, 0, options.requests))
        found["MiB"] = [before, resident(process)]
        print(f"\nresident MiB before and after {options.requests:,} more: {before:.0f}, {found['MiB'][1]:.0f}\n")
    if options.changes:
        from pages import measured, print_pages  # which asks what is served here

        found["pages"] = measured(options.run, 1000, options.changes)
        print_pages(found["pages"])
    keep(options.out, "serve", found)


def _print(name: str, one: dict[str, float]) -> None:
    cells = [f"{one['per_second']:.0f}", *(f"{one[q]:.1f}" for q in ("p50", "p95", "p99")), f"{one['failed']:.0f}"]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

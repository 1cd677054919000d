"""The service for a long time at a fixed rate: whether memory, open files, threads and the write-ahead log stay flat.

    python benchmarks/soak.py RUN --out FOLDER [--seconds 60] [--rate 20] [--exchange-every 40]

Two copies of RUN are served from SQLite. Requests go round over eight connections: lists for ratings that nobody keeps
and for stored readers, readers made, rated, marked, exported and erased, predictions, books, metrics; every so many
rounds (of ten) the other copy is activated.
Counted once a second. After the first quarter, the median of the last third is held against the first's: resident
memory may be 4 % larger and 8 MiB, open files 2 and threads 5 more. Files of the database are apart: the pool opens
connections when requests happen to meet, keeps them, and never has more than fit it. The log may never be larger than
8 MiB. The exit status is 1 where one of these does not hold, or a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from serve import Connection, quantiles, resident, served
from sidebyside import keep

from shelfwise import load_run
from shelfwise.service.keys import make_key
from shelfwise.service.schema import upgrade
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store

CONNECTIONS, READERS = 8, 24  # a reader is always one connection's
WORSE = {"MiB": (1.04, 8), "files": (1, 2), "threads": (1, 5)}  # times and plus what was
LOG_BYTES = 8 * 2**20
DATABASE_FILES = 3 * 30  # the database, its log and the log's index, of as many connections as the pool may have
COPIES = ("other", "one")
Asked = tuple[str, str, Any]  # method, path, body


def round_of(number: int, ids: list[Any], exchange_every: int) -> list[Asked]:
    """The requests of one round, in order."""
    rng = np.random.default_rng(number)
    some = [ids[int(i)] for i in rng.choice(len(ids), size=min(20, len(ids) // 2), replace=False)]
    ratings = [{"book_id": book, "stars": int(rng.integers(1, 6))} for book in some]
    reader = f"soak-{number % READERS}"
    asked: list[Asked] = [
        ("POST", "/v1/recommendations", {"ratings": ratings, "explain": True}),
        ("POST", "/v1/readers", {"reader_id": reader}),
        ("PUT", f"/v1/readers/{reader}/ratings", {"ratings": ratings}),
        ("PUT", f"/v1/readers/{reader}/marks", {"marks": [{"action": "dismiss", "subject": some[0]}]}),
        ("POST", "/v1/recommendations", {"reader": reader, "explain": True, "rules": {"per_author": 1}}),
        ("POST", "/v1/predictions", {"ratings": ratings, "books": some}),
        ("GET", f"/v1/books/{some[0]}/similar", None),
        ("GET", f"/v1/readers/{reader}/export", None),
        ("GET", "/metrics", None),
        ("GET", "/readyz", None),
    ]
    if number // READERS % 4 == 3:
        asked.append(("DELETE", f"/v1/readers/{reader}", None))
    if number % exchange_every == 0:
        asked.append(("POST", f"/v1/models/{COPIES[number // exchange_every % 2]}/activate", None))
    return asked


def as_bytes(asked: Asked, token: str) -> bytes:
    """The request as it goes over the wire."""
    method, path, content = asked
    body = b"" if content is None else json.dumps(content).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {token}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body


async def load(port: int, token: str, rounds: list[list[Asked]], rate: float) -> tuple[list[float], list[str]]:
    """Send all, so many a second, round after round; milliseconds of each, and those that failed."""
    taken, failed, start = [], [], time.perf_counter()
    first = np.cumsum([0, *map(len, rounds)]).tolist()  # the place of each round's first request

    async def go(mine: int) -> None:
        connection = Connection(port)
        for number in range(mine, len(rounds), CONNECTIONS):
            for place, asked in enumerate(rounds[number], start=first[number]):
                await asyncio.sleep(max(start + place / rate - time.perf_counter(), 0))
                begun = time.perf_counter()
                status = await connection.ask(as_bytes(asked, token))
                taken.append(time.perf_counter() - begun)
                failed.extend([] if status in (200, 201) else [f"{asked[0]} {asked[1]}: {status}"])

    await asyncio.gather(*(go(mine) for mine in range(CONNECTIONS)))
    return taken, failed


async def watch(process: int, log: Path, every: float, found: list[dict[str, float]]) -> None:
    """Count what the process holds until cancelled."""
    start = time.perf_counter()
    database = str(log).removesuffix("-wal")
    while True:
        size = log.stat().st_size if log.exists() else 0
        files, threads = open_files(process), len(list(Path(f"/proc/{process}/task").iterdir()))
        of_database = sum(file.startswith(database) for file in files)
        counts = {"files": len(files) - of_database, "database": of_database, "threads": threads, "log": size}
        found.append({"s": time.perf_counter() - start, "MiB": resident(process), **counts})
        await asyncio.sleep(every)


def open_files(process: int) -> list[str]:
    """What a process has open, sockets and pipes included."""
    found = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(descriptor.readlink()))
    return found


def verdict(samples: list[dict[str, float]]) -> dict[str, tuple[float, float, bool]]:
    """Of each count the medians of the first and the last third after the first quarter, and whether it is flat; of
    what has a bound, the log and the files of the database, the first and the most."""
    after = samples[len(samples) // 4 :]
    third = max(len(after) // 3, 1)
    found = {}
    for name, (times, plus) in WORSE.items():
        first, last = (float(np.median([one[name] for one in part])) for part in (after[:third], after[-third:]))
        found[name] = (first, last, last <= first * times + plus)
    for name, bound in {"database": DATABASE_FILES, "log": LOG_BYTES}.items():
        values = [one[name] for one in samples]
        found[name] = (float(values[0]), float(max(values)), max(values) <= bound)
    return found


async def soak(port: int, process: int, token: str, log: Path, options: Any) -> tuple[int, list[float], list[str], Any]:
    """Rounds, latencies, failures and samples of the whole time."""
    run = load_run(options.run)
    ids = run.catalogue.vocabulary.ids.to_list()
    rounds, n = [], 0
    while n < options.rate * options.seconds:
        rounds.append(round_of(len(rounds), ids, options.exchange_every))
        n += len(rounds[-1])
    samples: list[dict[str, float]] = []
    watching = asyncio.create_task(watch(process, log, max(1.0, options.seconds / 1000), samples))
    taken, failed = await load(port, token, rounds, options.rate)
    watching.cancel()
    return len(rounds), taken, failed, samples


def main() -> None:
    """Soak, print, and exit with 1 where something grew or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--exchange-every", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copies = [Path(shutil.copytree(options.run, folder / name)) for name in reversed(COPIES)]
        with closing(Store(ServiceSettings(data_folder=folder).database_url)) as store:
            upgrade(store)
            token = make_key(store, "soak", "admin")
        with served(*copies, folder=folder) as (port, process):
            done = asyncio.run(soak(port, process, token, folder / "shelfwise.db-wal", options))
    rounds, taken, failed, samples = done
    flat = verdict(samples)
    quick = quantiles(taken)
    exchanges = -(-rounds // options.exchange_every)
    print(f"{len(taken):,} requests and {exchanges} exchanges in {samples[-1]['s']:,.0f} s, {len(failed)} failed")
    print(*sorted(set(failed))[:10], sep="\n")
    print(" ".join(f"{name} {ms:.1f} ms" for name, ms in quick.items()))
    print("\n| | before | after | flat |\n| --- | --- | --- | --- |")
    for name, (before, after, is_flat) in flat.items():
        print(f"| {name} | {before:,.0f} | {after:,.0f} | {'yes' if is_flat else 'NO'} |")
    keep(options.out, "soak", {"requests": len(taken), "failed": failed, **quick, "flat": flat, "samples": samples})
    raise SystemExit(0 if not failed and all(is_flat for _, _, is_flat in flat.values()) else 1)


if __name__ == "__main__":
    main()

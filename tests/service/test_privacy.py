"""What is deleted is nowhere, logs name nobody, and the service asks nothing of anybody."""

from __future__ import annotations

import ast
import gzip
import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest
import sqlalchemy as sa
from conftest import SMALL, serving
from tiny_world import rows_of_a_world, train_on, write_world

import shelfwise.service
from shelfwise.artifact import load_run, save_run
from shelfwise.service import store as store_module
from shelfwise.service.backup import back_up
from shelfwise.service.guards import JsonLines, log
from shelfwise.service.keys import make_key
from shelfwise.service.schema import upgrade
from shelfwise.service.settings import ServiceSettings

WHO = "zebra-reader"  # no other text holds it


@pytest.fixture(scope="module")
def knows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained with WHO, and with a report that shows examples."""
    folder = tmp_path_factory.mktemp("knows")
    rows = [(WHO if row[0] == 3 else f"r{row[0]}", *row[1:]) for row in rows_of_a_world()]
    run = train_on(write_world(folder / "world", rows), model="shelf", settings=SMALL)
    run.report["examples"] = [*run.report.get("examples", []), {**run.report["examples"][0], "user_id": WHO}]
    save_run(run, folder / "one")
    return folder / "one"


@contextmanager
def lines_of_the_log() -> Iterator[list[str]]:
    """What is logged meanwhile, as it goes to stderr."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(JsonLines().format(record))  # type: ignore[method-assign]
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def holds(file: Path, text: str) -> bool:
    """Whether a file holds a text, as it lies there or as the table that it is."""
    if text.encode() in file.read_bytes():
        return True
    if file.suffix != ".parquet":
        return False
    return any(text in str(row) for row in pl.read_parquet(file).iter_rows())


def test_a_deleted_reader_is_in_no_run_database_log_export_or_backup(knows: Path, url: str, tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(knows, tmp_path / "runs" / name)) for name in ("one", "two", "three")]
    assert any(holds(file, WHO) for file in runs[0].glob("*.parquet"))
    assert holds(runs[0] / "manifest.json", WHO)
    with lines_of_the_log() as lines, serving(ServiceSettings(database=url), *runs) as client:
        store = client.app.state.service.store  # type: ignore[attr-defined]
        client.headers["X-API-Key"] = make_key(store, "test", "admin")
        for name in ("two", "one"):  # one answers, two would after a roll-back, three is on disk alone
            assert client.post(f"/v1/models/{name}/activate").status_code == 200
        client.post("/v1/readers", json={"reader_id": WHO})
        client.put(f"/v1/readers/{WHO}/ratings", json={"ratings": [{"book_id": 1, "stars": 3}]})
        client.put(f"/v1/readers/{WHO}/marks", json={"marks": [{"action": "dismiss", "subject": 2}]})
        known = client.get(f"/v1/readers/{WHO}/export").json()
        assert set(known["training"]) == {"one", "two", "three"}
        assert all(known["training"].values())
        assert client.delete(f"/v1/readers/{WHO}").json() == {"stored": True, "runs": ["one", "two", "three"]}
        assert client.get(f"/v1/readers/{WHO}/export").status_code == 404
        client.post("/v1/readers", json={"reader_id": WHO})  # the same name again begins with nothing
        again = client.get(f"/v1/readers/{WHO}/export").json()
        assert (again["ratings"], again["marks"], again["training"]) == ([], [], {})
        client.delete(f"/v1/readers/{WHO}")
        assert client.post("/v1/models/rollback").status_code == 200
        served = client.app.state.service.models  # type: ignore[attr-defined]
        for one in (served.active, served.previous):
            assert one.recommender.run.readers.find([WHO])[0] < 0
        back_up(store, tmp_path / "later.gz")
        shutil.copytree(tmp_path / "runs", tmp_path / "seen")
        for file in tmp_path.glob("*.db*"):
            assert not holds(file, WHO)
    assert json.loads(lines[0])["event"] == "request"
    assert not [line for line in lines if WHO in line]
    assert WHO.encode() not in gzip.decompress((tmp_path / "later.gz").read_bytes())
    for path in runs:
        assert len(load_run(path).readers) == len(load_run(knows).readers) - 1  # every file as the manifest says
        assert not [file.name for file in path.iterdir() if holds(file, WHO)]


def test_one_who_reads_meanwhile_does_not_keep_what_is_deleted(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "BUSY_MS", 100)
        client.headers["X-API-Key"] = make_key(client.app.state.service.store, "test", "admin")  # type: ignore[attr-defined]
        client.app.state.service.store.engine.dispose()  # type: ignore[attr-defined]
        client.post("/v1/readers", json={"reader_id": WHO})
        other = sqlite3.connect(tmp_path / "shelfwise.db", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT * FROM readers").fetchall()
        refused = client.delete(f"/v1/readers/{WHO}")
        assert (refused.status_code, refused.json()["code"]) == (503, "store")
        assert "still read by another" in refused.json()["detail"]
        other.execute("ROLLBACK")
        other.close()
        assert client.delete(f"/v1/readers/{WHO}").status_code == 404  # nothing but the log was left
        assert not [file for file in tmp_path.glob("shelfwise.db*") if holds(file, WHO)]


def test_those_who_write_meanwhile_are_not_in_the_way_of_deleting(tmp_path: Path) -> None:
    with closing(store_module.Store(f"sqlite:///{tmp_path / 'shelfwise.db'}")) as store:
        sa.event.listen(store.engine, "connect", lambda db, _: db.execute("PRAGMA wal_autocheckpoint=1"))
        upgrade(store)
        names = [f"reader-{n}" for n in range(60)]
        for name in ("ann", "bob", *names):
            store.add_reader(name)
        ended = threading.Event()

        def write(name: str) -> None:
            while not ended.is_set():
                store.rate(name, [(str(book), 3.0) for book in range(40)])

        with ThreadPoolExecutor() as pool:
            for name in ("ann", "bob"):
                pool.submit(write, name)
            try:
                assert all(store.erase(name) for name in names)
            finally:
                ended.set()


@pytest.mark.parametrize("named", [False, True])
def test_logs_name_readers_and_books_only_if_told_to(trained: Path, tmp_path: Path, named: bool) -> None:
    with (
        lines_of_the_log() as lines,  # until the service has ended: a line follows its answer
        serving(ServiceSettings(data_folder=tmp_path, rate=0, log_ids=named), trained) as client,
    ):
        token = make_key(client.app.state.service.store, "test", "admin")  # type: ignore[attr-defined]
        client.headers["X-API-Key"] = token
        title = client.get("/v1/books/1").json()["title"]
        client.post("/v1/readers", json={"reader_id": WHO})
        client.get(f"/v1/readers/{WHO}")
        client.get(f"/v1/readers/{WHO}/nothing?of={WHO}")
        client.put(f"/v1/readers/{WHO}/ratings", json={"ratings": [{"book_id": 1, "stars": 99}]})
        client.post("/v1/recommendations", json={"reader": "nobody of that name"})
        answer: httpx.Response = client.get("/healthz", headers={"X-API-Key": token[:-1]})
    said = [json.loads(line) for line in lines]
    assert len(said) == 7
    assert said[-1]["request_id"] == answer.headers["x-request-id"]
    assert {"time", "level", "method", "route", "status", "ms"} <= set(said[-1])
    everything = "\n".join(lines)
    assert (WHO in everything) == named
    for secret in (title, token, token.split("_", 2)[2], "nobody of that name"):
        assert secret not in everything


def test_metrics_name_nobody(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client:
        client.get(f"/v1/books/{WHO}")
        client.get(f"/{WHO}")
        client.post(f"/{WHO}", headers={"Sec-Fetch-Site": "cross-site"})  # refused before there is a route
        time.sleep(0.2)  # counted once the answer is out
        text = client.get("/metrics").text
    assert 'route="/v1/books/{book_id}"' in text
    assert 'route="/{path:path}"' in text
    assert 'route="other"' in text
    assert WHO not in text


def test_the_service_asks_nothing_of_other_machines() -> None:
    """No module of it imports what could, but for the database; so no address in a request can be fetched."""
    forbidden = {"httpx", "requests", "urllib.request", "http.client", "ftplib", "smtplib", "socket", "aiohttp"}
    files = list(Path(shelfwise.service.__file__).parent.rglob("*.py"))
    assert len(files) > 15
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & {*names, *(name.split(".")[0] for name in names)}, file
            assert "shelfwise.data.fetch" not in names, file

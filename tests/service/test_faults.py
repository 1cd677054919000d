"""The whole service while what it stands on fails: a full disk, a database that goes away, a kill in a migration."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from conftest import Cluster, serving

from shelfwise.service import schema
from shelfwise.service.keys import make_key
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store

RATINGS = [{"book_id": 1, "stars": 5}, {"book_id": 4, "stars": 2}]
MANY = 400  # ratings of one request on a disk that fills up


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a disk that is full needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def as_admin(client: httpx.Client) -> httpx.Client:
    client.headers["X-API-Key"] = make_key(client.app.state.service.store, "test", "admin")  # type: ignore[attr-defined]
    return client


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    kind = answer.headers["content-type"]
    return (answer.status_code, answer.json()["code"], kind) == (status, code, "application/problem+json")


def test_on_a_full_disk_it_stays_up_and_readable_and_recovers(small_disk: Path, trained: Path) -> None:
    with serving(ServiceSettings(data_folder=small_disk, rate=0), trained) as client:
        as_admin(client).post("/v1/readers", json={"reader_id": "ann"})
        kept: dict[object, float] = {}
        for turn in range(1000):
            batch = [{"book_id": f"{turn}-{place}", "stars": 3} for place in range(MANY)]
            answer = client.put("/v1/readers/ann/ratings", json={"ratings": batch})
            if answer.status_code != 200:
                break
            kept |= {one["book_id"]: one["stars"] for one in batch}
        assert is_problem(answer, 507, "store-full")
        assert kept
        for _ in range(3):  # and goes on like that
            assert is_problem(client.put("/v1/readers/ann/ratings", json={"ratings": batch}), 507, "store-full")
        with pytest.raises(OSError, match="No space"):
            (small_disk / "rest").write_bytes(b"0" * 2**20)
        with closing(sqlite3.connect(small_disk / "shelfwise.db", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM readers").fetchall()  # what it reads must stay: no space is used again
            assert 507 in (client.get("/readyz").status_code for _ in range(1000))
            assert is_problem(client.get("/readyz"), 507, "store-full")
        assert client.get("/healthz").status_code == 200
        assert {one["book_id"]: one["stars"] for one in client.get("/v1/readers/ann").json()["ratings"]} == kept
        assert client.post("/v1/recommendations", json={"ratings": RATINGS}).json()["books"]
        assert client.post("/v1/recommendations", json={"reader": "ann"}).json()["books"]
        subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
        assert client.get("/readyz").status_code == 200
        assert client.put("/v1/readers/ann/ratings", json={"ratings": batch}).status_code == 200
        assert len(client.get("/v1/readers/ann").json()["ratings"]) == len(kept) + MANY
    with sa.create_engine(ServiceSettings(data_folder=small_disk).database_url).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        connection.engine.dispose()


def test_a_database_that_goes_away_and_comes_back(cluster: Cluster, trained: Path) -> None:
    with serving(ServiceSettings(database=cluster("comesback"), rate=0), trained) as client:
        as_admin(client).post("/v1/readers", json={"reader_id": "ann"})
        rate = lambda: client.put("/v1/readers/ann/ratings", json={"ratings": RATINGS})  # noqa: E731
        assert rate().status_code == 200
        cluster.stop()
        try:
            for answer in (rate(), rate(), client.get("/v1/readers/ann"), client.get("/readyz")):
                assert is_problem(answer, 503, "store")
                assert answer.headers["retry-after"] == "1"
            assert client.get("/healthz").status_code == 200
        finally:
            cluster.start()
        assert client.get("/readyz").status_code == 200
        assert [one["book_id"] for one in client.get("/v1/readers/ann").json()["ratings"]] == [1, 4]
        assert rate().status_code == 200
        cluster.stop()
        cluster.start()
        assert rate().status_code == 200  # though every connection at hand is dead


# A kill in the middle of a migration.

_SCRIPTS = ScriptDirectory.from_config(schema._config())
HEAD = _SCRIPTS.get_current_head()
OLD = [None, *(one.revision for one in _SCRIPTS.walk_revisions() if one.revision != HEAD)]


def _tables(url: str) -> dict[str, list[str]]:
    store = Store(url)
    inspector = sa.inspect(store.engine)
    found = {name: sorted(c["name"] for c in inspector.get_columns(name)) for name in inspector.get_table_names()}
    with store.reading() as connection:
        found["revision"] = [str(schema.revision_of(connection))]
    store.close()
    return found


def _upgrade_until(url: str, statement: int) -> bool:
    """Upgrade in a child that is killed as it begins its so manieth statement; whether it came to that."""
    child = os.fork()
    if not child:
        try:
            store, seen = Store(url), []

            def count(*_: object) -> None:
                seen.append(1)
                if len(seen) == statement:
                    os.kill(os.getpid(), signal.SIGKILL)

            sa.event.listen(store.engine, "before_cursor_execute", count)
            schema.upgrade(store)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("old", OLD)
def test_a_migration_killed_at_any_statement_leaves_the_old_schema(url: str, old: str | None) -> None:
    if old is not None:
        store, config = Store(url), schema._config()
        with store.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, old)
        store.close()
    before, statement = _tables(url), 1
    while _upgrade_until(url, statement):
        assert _tables(url) == before
        statement += 1
    assert statement > 5
    assert _tables(url)["revision"] == [HEAD]


# Requests that are too much before they have a body, and bodies that never end.


def test_a_huge_head_is_refused_and_no_more_of_it_taken_in(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client:
        for headers in ({"X-Much": "a" * 40_000}, [("X-Much", "a" * 100)] * 400):
            assert is_problem(client.get("/healthz", headers=headers), 413, "too-large")
        assert is_problem(client.get("/healthz", params={"q": "a" * 40_000}), 413, "too-large")
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address) as endless:  # a line that never ends
            endless.settimeout(30)
            with pytest.raises(OSError, match=r"reset|pipe"):
                endless.sendall(b"a" * 50_000_000)
        assert client.get("/healthz").status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path, body_seconds=0.2), trained) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address) as slow:
            slow.settimeout(30)
            slow.sendall(b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            answer = b""
            while block := slow.recv(10_000):
                answer += block
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"application/problem+json" in answer
        assert b"did not arrive within 0.2 seconds" in answer

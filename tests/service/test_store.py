"""The database: nothing acknowledged is lost, nothing is half written, and what is erased is gone."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.ddl import impl

from shelfwise.errors import (
    FormatError,
    KeyMissingError,
    KeyRoleError,
    MissingDataError,
    NotFoundError,
    StoreError,
    StoreFullError,
    UsageError,
)
from shelfwise.service import schema
from shelfwise.service.backup import back_up, restore
from shelfwise.service.keys import demand, list_keys, make_key, revoke_key, role_of
from shelfwise.service.store import Store, keys, metadata


def test_what_is_said_is_kept_and_saying_it_again_changes_nothing(store: Store) -> None:
    assert store.add_reader("ann")
    assert not store.add_reader("ann")
    for _ in range(2):
        store.rate("ann", [("1", 5.0), ("2", 3.0), ("1", 4.0)])
        store.mark("ann", [("dismiss", "7"), ("dismiss", "7"), ("hide-author", "Ann Other")])
    assert store.said("ann").ratings == {"1": 4.0, "2": 3.0}
    assert store.said("ann").marks == (("dismiss", "7"), ("hide-author", "Ann Other"))
    assert store.unrate("ann", "2")
    assert not store.unrate("ann", "2")
    assert store.unmark("ann", "dismiss", "7")
    assert store.counts()["ratings"] == 1
    assert [row["book_id"] for row in store.export("ann")["ratings"]] == ["1"]
    assert store.erase("ann")
    assert not store.erase("ann")
    assert set(store.counts().values()) == {0}
    with pytest.raises(NotFoundError, match="no reader 'ann'"):
        store.rate("ann", [("1", 1.0)])


def test_the_schema_is_what_the_tables_say(store: Store) -> None:
    schema.upgrade(store)
    inspector = sa.inspect(store.engine)
    assert set(inspector.get_table_names()) == {*metadata.tables, "alembic_version"}
    for name, table in metadata.tables.items():
        assert {c["name"]: c["nullable"] for c in inspector.get_columns(name)} == {c.name: c.nullable for c in table.c}
        assert inspector.get_pk_constraint(name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_a_migration_that_breaks_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(url)
    whole, done = impl.DefaultImpl.create_table, []

    def breaks_at_the_third(self: impl.DefaultImpl, table: sa.Table, **options: object) -> None:
        done.append(table.name)
        if len([name for name in done if name != "alembic_version"]) == 3:
            raise RuntimeError("power cut")
        whole(self, table, **options)

    monkeypatch.setattr(impl.DefaultImpl, "create_table", breaks_at_the_third)
    with pytest.raises(RuntimeError, match="power cut"):
        schema.upgrade(store)
    assert sa.inspect(store.engine).get_table_names() == []
    monkeypatch.undo()
    schema.upgrade(store)
    assert set(store.counts().values()) == {0}
    store.close()


def test_a_newer_schema_is_refused(store: Store) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="schema '9999'"):
        schema.upgrade(store)


def _write_for_ever(url: str, pipe: int) -> None:
    store = Store(url)
    n = int(time.time_ns() % 10**9) * 1000
    while True:
        store.rate("ann", [(str(n), 3.0), (f"{n}b", 4.0)])
        os.write(pipe, n.to_bytes(8, "little"))
        n += 1


KILLS = 200


def test_no_acknowledged_rating_is_lost_by_kill_9(store: Store, url: str) -> None:
    """A child tells of each batch that was written, and is killed somewhere, many times."""
    store.add_reader("ann")
    store.engine.dispose()  # no connection goes over into the children
    told: set[int] = set()
    rng = random.Random(0)
    for _ in range(KILLS):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                _write_for_ever(url, writing)
            finally:
                os._exit(1)
        os.close(writing)
        acknowledged = os.read(reading, 8)
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while block := os.read(reading, 8):
            acknowledged += block
        os.close(reading)
        told |= {int.from_bytes(acknowledged[i : i + 8], "little") for i in range(0, len(acknowledged) // 8 * 8, 8)}
    there = set(store.said("ann").ratings)
    assert len(told) >= KILLS
    assert {str(n) for n in told} <= there
    assert all((f"{n}b" in there) for n in there if not n.endswith("b"))  # no batch is half there
    if not store.is_postgresql:
        with sqlite3.connect(store.url.database or "") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _rate_many(url: str, reader: str, first: int, n: int) -> None:
    store = Store(url)
    for place in range(n):
        store.rate(reader, [(str(first + place), 3.0), ("shared", float(1 + place % 5))])
    store.close()


def test_eight_writers_at_once_lose_nothing(store: Store, url: str) -> None:
    store.add_reader("ann")
    store.engine.dispose()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_rate_many, args=(url, "ann", 1000 * w, 500)) for w in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert len(store.said("ann").ratings) == 8 * 500 + 1


def test_a_full_disk_is_said_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"sqlite:///{tmp_path / 'small.db'}")
    schema.upgrade(store)
    store.add_reader("ann")
    limit = lambda connection, _: connection.execute("PRAGMA max_page_count=40")  # noqa: E731
    store.engine.dispose()
    sa.event.listen(store.engine, "connect", limit)
    fill = lambda n: store.rate("ann", [(f"{n}-{place}", 3.0) for place in range(50)])  # noqa: E731
    with pytest.raises(StoreFullError, match="disk of the database is full"):
        all(fill(n) is None for n in range(10_000))
    kept = len(store.said("ann").ratings)
    assert kept
    assert kept % 50 == 0
    sa.event.remove(store.engine, "connect", limit)
    store.engine.dispose()
    store.rate("ann", [("after", 3.0)])
    assert len(store.said("ann").ratings) == kept + 1


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="does not answer"):
        Store(f"sqlite:///{tmp_path / 'file' / 'a.db'}")
    with pytest.raises(StoreError, match="does not answer"):
        Store(f"postgresql://nobody@/x?host={tmp_path}").check()


# Keys.


def test_a_key_is_kept_as_a_digest_and_ends_when_revoked_or_expired(store: Store) -> None:
    token = make_key(store, "library", "write")
    key_id, role = role_of(store, token)
    assert role == "write"
    secret = token.split("_", 2)[2]
    with store.reading() as connection:
        row = connection.execute(sa.select(keys)).mappings().one()
    assert secret not in str(dict(row))
    for wrong in ("", "sw_", token + "x", token[:-1], token.replace("sw_", "xx_"), f"sw_{key_id}_", "sw_zz_" + secret):
        with pytest.raises(KeyMissingError):
            role_of(store, wrong)
    revoke_key(store, key_id)
    with pytest.raises(KeyMissingError):
        role_of(store, token)
    with pytest.raises(NotFoundError, match="no key"):
        revoke_key(store, key_id)
    short = make_key(store, "short", "read", days=1e-9)
    time.sleep(0.01)
    with pytest.raises(KeyMissingError):
        role_of(store, short)
    assert [key.name for key in list_keys(store)] == ["library", "short"]
    with pytest.raises(UsageError, match="no role 'king'"):
        make_key(store, "x", "king")
    with pytest.raises(UsageError, match="valid for -1 days"):
        make_key(store, "x", "read", days=-1)
    demand("admin", "read")
    with pytest.raises(KeyRoleError):
        demand("read", "write")


# Backups.


def test_a_backup_taken_while_others_write_restores_to_one_moment(store: Store, url: str, tmp_path: Path) -> None:
    store.add_reader("ann")
    make_key(store, "x", "read")
    store.engine.dispose()
    worker = multiprocessing.get_context("fork").Process(target=_rate_many, args=(url, "ann", 0, 400))
    worker.start()
    while len(store.said("ann").ratings) < 20:
        time.sleep(0.01)
    counts = back_up(store, tmp_path / "b.gz")
    worker.join()
    assert 20 <= counts["ratings"] <= 401
    assert (counts["readers"], counts["keys"]) == (1, 1)
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    assert restore(other, tmp_path / "b.gz") == counts
    there, here = other.said("ann").ratings, store.said("ann").ratings
    assert there.keys() <= here.keys()
    assert all(stars == here[book] for book, stars in there.items() if book != "shared")
    assert [key.key_id for key in list_keys(other)] == [key.key_id for key in list_keys(store)]
    with pytest.raises(StoreError, match="not empty"):
        restore(other, tmp_path / "b.gz")
    other.close()


def test_a_backup_is_of_one_moment_whatever_is_written_between_two_tables(
    store: Store, url: str, tmp_path: Path
) -> None:
    store.add_reader("ann")
    store.rate("ann", [("1", 5.0)])
    other, written = Store(url), []

    def write_meanwhile(_: object, __: object, statement: str, *___: object) -> None:
        if "FROM ratings" in statement and not written:
            written.append(other.add_reader("bob"))
            other.rate("bob", [("1", 4.0), ("2", 4.0)])

    sa.event.listen(store.engine, "before_cursor_execute", write_meanwhile)
    counts = back_up(store, tmp_path / "b.gz")
    assert written == [True]
    assert counts == {"readers": 1, "ratings": 1, "marks": 0, "keys": 0, "lists": 0, "responses": 0}
    other.close()


@pytest.mark.parametrize("damage", ["cut", "short", "other", "text", "missing"])
def test_a_damaged_backup_restores_nothing(tmp_path: Path, damage: str) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    schema.upgrade(store)
    store.add_reader("ann")
    file = tmp_path / "b.gz"
    back_up(store, file)
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-12])
    elif damage == "short":
        file.write_bytes(gzip.compress("\n".join(lines[:-1]).encode()))
    elif damage == "other":
        head = json.dumps({"shelfwise": "backup", "schema": "0"})
        file.write_bytes(gzip.compress("\n".join([head, *lines[1:]]).encode()))
    elif damage == "text":
        file.write_text("hello")
    else:
        file.unlink()
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises((FormatError, MissingDataError)):
        restore(other, file)
    assert set(other.counts().values()) == {0}
    other.close()
    store.close()

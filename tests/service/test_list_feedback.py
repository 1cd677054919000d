"""Feedback on lists: what is kept and what is not, counts that add up, and the way back into training."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from conftest import serving
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import N_BOOKS, rows_of_a_world, write_world
from typer.testing import CliRunner

from shelfwise import Recommender
from shelfwise.cli.app import app
from shelfwise.data.sources import load_dataset
from shelfwise.errors import NotFoundError, StoreError
from shelfwise.evaluation.intervals import share_interval
from shelfwise.experiment import TrainSettings, train
from shelfwise.service.backup import back_up, restore
from shelfwise.service.collect import write_collected
from shelfwise.service.feedback import ListKeeper, Response, ShownList, drop_lists, keep_lists, respond
from shelfwise.service.report import feedback_report
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store, lists, responses

SHELF = [{"book_id": 1, "stars": 5}, {"book_id": 4, "stars": 2}]


def shown(list_id: str, n: int = 3, reader: str | None = None, *, created: float = 0.0, model: str = "m") -> ShownList:
    return ShownList(list_id, created, model, "v", "all/blend", reader, tuple(str(book) for book in range(1, n + 1)))


def rows(store: Store, table: sa.Table) -> list[dict]:
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(*table.c[:3]))]


def test_of_anybody_a_list_is_kept_and_nothing_else(client: httpx.Client) -> None:
    answer = client.post("/v1/recommendations", json={"ratings": SHELF, "n": 3, "order": "stars"}).json()
    service = client.app.state.service  # type: ignore[attr-defined]
    service.lists.flush()
    (row,) = rows(service.store, lists)
    assert 0 <= time.time() - row.pop("created") < 60
    assert row == {
        "list_id": answer["recommendation_id"], "model": "run", "version": answer["model"]["version"],
        "kind": "all/stars", "reader_id": None, "n_books": 3,
        "books": json.dumps([str(book["book_id"]) for book in answer["books"]]),
    }  # fmt: skip
    assert service.store.counts()["ratings"] == 0


def test_events_are_counted_once_and_refused_whole(client: httpx.Client) -> None:
    answer = client.post("/v1/recommendations", json={"ratings": SHELF, "n": 3}).json()
    books = [book["book_id"] for book in answer["books"]]
    path = f"/v1/recommendations/{answer['recommendation_id']}/events"
    given = [{"book_id": books[1], "event": "opened"}, {"book_id": books[1], "event": "rated", "stars": 4}]
    for _ in range(2):  # at once, and again: the read role is enough
        said = client.post(path, json={"events": given}).json()
        assert said["recommendation_id"] == answer["recommendation_id"]
        assert said["events"] == [{"stars": None, **one} for one in given]
    store = client.app.state.service.store  # type: ignore[attr-defined]
    assert [row["position"] for row in rows(store, responses)] == [2, 2]
    changed = [{"book_id": books[1], "event": "rated", "stars": 2}]
    assert client.post(path, json={"events": changed}).json()["events"][1]["stars"] == 2
    other = next(book for book in range(1, N_BOOKS + 1) if book not in books)
    good = {"book_id": books[0], "event": "saved"}
    for where, wrong, status, code in (
        (path, {"book_id": other, "event": "opened"}, 422, "data-value"),
        (path, {"book_id": books[0], "event": "rated"}, 422, "data-value"),
        (path, {"book_id": books[0], "event": "rated", "stars": 9}, 422, "data-value"),
        (path, {"book_id": books[0], "event": "opened", "stars": 4}, 422, "data-value"),
        (path, {"book_id": books[0], "event": "eaten"}, 422, "request"),
        (path.replace(answer["recommendation_id"], "0" * 32), good, 404, "not-found"),
        (path.replace(answer["recommendation_id"], "x;y"), good, 422, "request"),
    ):
        refused = client.post(where, json={"events": [good, wrong]})
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert refused.headers["content-type"] == "application/problem+json"
    assert len(rows(store, responses)) == 2
    assert client.post(path, json={"events": []}).status_code == 200


def test_a_readers_lists_are_exported_and_erased_with_them(admin: httpx.Client) -> None:
    admin.post("/v1/readers", json={"reader_id": "ann"})
    store = admin.app.state.service.store  # type: ignore[attr-defined]
    anybody = admin.post("/v1/recommendations", json={"ratings": SHELF, "n": 2}).json()["recommendation_id"]
    answer = admin.post("/v1/recommendations", json={"reader": "ann", "n": 2}).json()
    saved = {"book_id": answer["books"][0]["book_id"], "event": "saved"}
    admin.post(f"/v1/recommendations/{answer['recommendation_id']}/events", json={"events": [saved]})
    kept = admin.get("/v1/readers/ann/export").json()
    assert [one["list_id"] for one in kept["lists"]] == [answer["recommendation_id"]]
    assert [(one["action"], one["position"]) for one in kept["responses"]] == [("saved", 1)]
    admin.post("/v1/recommendations", json={"reader": "ann", "n": 2})  # still waits to be written
    assert admin.delete("/v1/readers/ann").status_code == 200
    admin.app.state.service.lists.flush()  # type: ignore[attr-defined]
    assert [row["list_id"] for row in rows(store, lists)] == [anybody]
    assert rows(store, responses) == []


def test_a_list_of_a_reader_who_is_gone_is_not_written(store: Store) -> None:
    store.add_reader("ann")
    store.erase("ann")
    keep_lists(store, [shown("a", reader="ann"), shown("b")])
    assert [row["list_id"] for row in rows(store, lists)] == ["b"]


def test_lists_are_dropped_after_their_days_and_none_is_kept_at_0(store: Store) -> None:
    now = time.time()
    keep_lists(store, [shown("old", created=now - 91 * 86_400), shown("new", created=now)])
    respond(store, "old", [Response("1", "opened")])
    keeper = ListKeeper(store, 90)
    keeper.close()
    assert [row["list_id"] for row in rows(store, lists)] == ["new"]
    assert rows(store, responses) == []
    off = ListKeeper(store, 0)
    off.keep(shown("x", created=now))
    with pytest.raises(NotFoundError, match="not kept here"):
        off.respond("x", [])
    off.close()
    assert rows(store, lists) == []
    assert drop_lists(store, now) == 0


def test_what_waits_is_written_at_the_end_and_after_a_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [True]
    writing = store.writing

    def breaks():
        if fails[0]:
            raise StoreError("the database does not answer: away")
        return writing()

    monkeypatch.setattr(store, "writing", breaks)
    keeper = ListKeeper(store, 90)
    keeper.keep(shown("a", created=time.time()))
    with pytest.raises(StoreError):
        keeper.flush()
    fails[0] = False
    keeper.keep(shown("b", created=time.time()))
    keeper.close()
    assert [row["list_id"] for row in rows(store, lists)] == ["a", "b"]


def _respond_for_ever(url: str, pipe: int) -> None:
    store, n = Store(url), int(time.time_ns() % 10**9) * 1000
    while True:
        keep_lists(store, [shown(f"{n:x}")])
        respond(store, f"{n:x}", [Response("1", "opened"), Response("3", "saved")])
        os.write(pipe, n.to_bytes(8, "little"))
        n += 1


def test_no_acknowledged_event_is_lost_by_kill_9(store: Store, url: str) -> None:
    store.engine.dispose()  # no connection goes over into the children
    told: set[int] = set()
    for turn in range(40):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                _respond_for_ever(url, writing)
            finally:
                os._exit(1)
        os.close(writing)
        acknowledged = os.read(reading, 8)
        time.sleep(turn % 7 / 400)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while block := os.read(reading, 8):
            acknowledged += block
        os.close(reading)
        told |= {int.from_bytes(acknowledged[i : i + 8], "little") for i in range(0, len(acknowledged) // 8 * 8, 8)}
    kept: dict[str, set[str]] = {}
    for row in rows(store, responses):
        kept.setdefault(row["list_id"], set()).add(row["action"])
    assert len(told) >= 40
    assert {f"{n:x}" for n in told} <= set(kept)
    assert all(actions == {"opened", "saved"} for actions in kept.values())


def _respond_many(url: str, who: int) -> None:
    store = Store(url)
    for n in range(50):
        keep_lists(store, [shown(f"{who}-{n}")])
        respond(store, "shared", [Response(str(1 + n % 3), "opened"), Response("1", "rated", 1.0 + n % 5)])
    store.close()


def test_eight_at_once_lose_nothing(store: Store, url: str) -> None:
    keep_lists(store, [shown("shared")])
    store.engine.dispose()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_respond_many, args=(url, who)) for who in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert store.counts()["lists"] == 401
    assert [(row["book_id"], row["action"]) for row in rows(store, responses)] == [
        ("1", "opened"), ("1", "rated"), ("2", "opened"), ("3", "opened"),
    ]  # fmt: skip


def test_a_backup_holds_lists_and_events(store: Store, tmp_path: Path) -> None:
    store.add_reader("ann")
    keep_lists(store, [shown("a", reader="ann")])
    respond(store, "a", [Response("2", "rated", 4.0)])
    back_up(store, tmp_path / "b.gz")
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    restore(other, tmp_path / "b.gz")
    assert (rows(other, lists), rows(other, responses)) == (rows(store, lists), rows(store, responses))
    other.close()


# The report.


def test_the_report_counts_by_model_list_and_position(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no list is kept yet"):
        feedback_report(store)
    keep_lists(store, [shown("a", 3), shown("b", 2), shown("c", 4, model="other"), shown("d", 0)])
    assert feedback_report(store)["by_model"][0]["opened"]["n"] == 0
    respond(store, "a", [Response("1", "opened"), Response("1", "rated", 5.0), Response("3", "opened")])
    respond(store, "b", [Response("1", "opened"), Response("2", "rated", 2.0), Response("2", "dismissed")])
    respond(store, "c", [Response("1", "saved")])
    found = feedback_report(store)
    assert found["lists"] == 4
    first, other = found["by_model"]
    assert (first["model"], first["lists"], first["shown"]) == ("m v", 2, 5)
    assert (first["opened"]["n"], first["opened"]["share"], first["dismissed"]["n"]) == (3, 0.6, 1)
    assert (first["stars"]["n"], first["stars"]["mean"]) == (2, 3.5)
    assert first["stars"]["low"] == 2.0
    assert first["stars"]["high"] == 5.0
    assert (other["model"], other["saved"]["n"], other["stars"]["mean"]) == ("other v", 1, None)
    assert [(one["position"], one["shown"], one["opened"]["n"]) for one in found["by_position"]] == [
        (1, 3, 2), (2, 3, 0), (3, 2, 1), (4, 1, 0),
    ]  # fmt: skip


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)).map(lambda p: (min(p), p[1])), min_size=1, max_size=30))
def test_a_share_lies_in_its_interval(units: list[tuple[int, int]]) -> None:
    hits, counts = np.array(units, dtype=np.float64).T
    low, high = share_interval(hits, counts)
    assert 0 <= low <= hits.sum() / counts.sum() + 1e-9
    assert hits.sum() / counts.sum() - 1e-9 <= high <= 1
    assert high > low


def test_shares_are_wilsons_where_units_are_alone_and_wider_where_they_hang_together() -> None:
    hits, ones = np.repeat([1.0, 0.0], [10, 90]), np.ones(100)
    assert share_interval(hits, ones) == pytest.approx((0.0552, 0.1744), abs=1e-3)  # Wilson of 10 in 100
    together = share_interval(np.array([10.0, *[0.0] * 9]), np.full(10, 10.0))
    assert together[1] - together[0] > 2 * (0.1744 - 0.0552)


# The way back into training.


def test_full_circle_serve_rate_collect_train_recommend(url: str, run: Path, tmp_path: Path) -> None:
    from shelfwise.service.keys import make_key

    with serving(ServiceSettings(database=url, rate=0), run) as client:
        store = client.app.state.service.store  # type: ignore[attr-defined]
        with pytest.raises(NotFoundError, match="no stored reader has rated"):
            write_collected(store, tmp_path / "new")
        client.headers["X-API-Key"] = make_key(store, "x", "admin")
        said: dict[str, dict[str, float]] = {}
        for reader, book, stars in rows_of_a_world(seed=1):
            said.setdefault(f"r{reader}", {})[str(book)] = float(str(stars))
        for reader, ratings in said.items():
            client.post("/v1/readers", json={"reader_id": reader})
            given = [{"book_id": int(book), "stars": stars} for book, stars in ratings.items()]
            assert client.put(f"/v1/readers/{reader}/ratings", json={"ratings": given}).status_code == 200
        answer = client.post("/v1/recommendations", json={"reader": "r1", "n": 2}).json()
        saved = answer["books"][0]["book_id"]
        events = [{"book_id": saved, "event": "saved"}, {"book_id": answer["books"][1]["book_id"], "event": "opened"}]
        client.post(f"/v1/recommendations/{answer['recommendation_id']}/events", json={"events": events})
        gone = client.post("/v1/recommendations", json={"reader": "r2", "n": 1}).json()
        event = {"book_id": gone["books"][0]["book_id"], "event": "saved"}
        client.post(f"/v1/recommendations/{gone['recommendation_id']}/events", json={"events": [event]})
        client.delete("/v1/readers/r2")
        assert write_collected(store, tmp_path / "new")[1] == 1
    text = (tmp_path / "new/ratings.csv").read_text() + (tmp_path / "new/events.csv").read_text()
    assert text.startswith("user_id,book_id,rating,timestamp\n")
    assert "r2," not in text
    data = load_dataset(tmp_path / "new", catalogue=write_world(tmp_path / "world"))
    assert len(data.ratings.frame) == sum(len(mine) for reader, mine in said.items() if reader != "r2")
    again = train(data, TrainSettings.parse({"model": "bias"}))
    listed = Recommender(again).recommend("r1", n=N_BOOKS)["book_id"].to_list()
    assert listed
    assert saved not in listed  # it is in hand
    assert not set(listed) & {int(book) for book in said["r1"]}
    assert "r2" not in again.readers.ids.to_list()


def test_report_and_collect_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFWISE_SERVE_DATA_FOLDER", str(tmp_path))
    command = lambda *words: CliRunner().invoke(app, words)  # noqa: E731
    assert "no list is kept yet" in str(command("report").exception)
    assert "no stored reader has rated" in str(command("data", "collect", "--to", str(tmp_path / "new")).exception)
    store = Store(f"sqlite:///{tmp_path / 'shelfwise.db'}")
    store.add_reader("ann")
    store.rate("ann", [("1", 4.0)])
    keep_lists(store, [shown("a", 12, reader="ann")])
    respond(store, "a", [Response("1", "opened"), Response("2", "saved"), Response("2", "rated", 4.0)])
    store.close()
    assert json.loads(command("report", "--json").stdout)["by_position"][1]["saved"]["n"] == 1
    text = command("report").stdout
    assert "8.3 [" in text  # 1 of 12
    assert "1 lists; shares are of books shown" in text
    assert command("data", "collect", "--to", str(tmp_path / "new")).exit_code == 0
    assert (tmp_path / "new/events.csv").read_text().startswith("user_id,book_id,timestamp\nann,2,")

"""Imports over HTTP: look, decide, store; all or nothing, and again changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import httpx
import pytest
from conftest import serving
from tiny_world import N_BOOKS

from shelfwise import Recommender
from shelfwise.service.keys import make_key
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store

# Titles and authors of tiny_world; the scale of its run is 1-5.
EXPORT = """Title,Authors,Contributors,ISBN/UID,Read Status,Star Rating
The dragons of 1,Author 0,,,read,4.25
The harbour of 2,"Author 1",,,to-read,
The detective of 3,Author 2,,,did-not-finish,
The orchard of 4,Author 3,,,read,
The dragons of 5,Nobody Else,,,read,3
A book that nobody has,Author 1,,,read,5
,,,,read,2
"""


@pytest.fixture(scope="module")
def open_client(trained: Path, tmp_path_factory: pytest.TempPathFactory):
    """On SQLite, nothing made: what needs no store of its own."""
    settings = ServiceSettings(data_folder=tmp_path_factory.mktemp("data"), max_upload=5000, max_body=1024, max_rows=50)
    with serving(settings, trained) as client:
        yield client


def test_a_look_stores_nothing_and_is_that_of_the_python_api(open_client: httpx.Client, trained: Path) -> None:
    answer = open_client.post("/v1/imports", content=EXPORT.encode()).json()
    expected = Recommender.load(trained).import_file(EXPORT.encode())
    assert answer["source"] == "StoryGraph (since 2022)"
    assert answer["counts"] == expected.counts
    counts = answer["counts"]
    assert counts["rows"] == 7 == len(answer["rows"])
    assert (counts["matched"], counts["review"], counts["not-in-catalogue"], counts["unreadable"]) == (4, 0, 2, 1)
    assert answer["ratings"] == [{"book_id": 1, "stars": 4.0}]
    assert answer["marks"] == [
        {"action": "to-read", "subject": 2},
        {"action": "did-not-finish", "subject": 3},
        {"action": "read", "subject": 4},
    ]
    assert answer["rows"][0]["rounded"]
    assert answer["notes"] == ["ratings finer than the run's scale 1-5, which were rounded: 1"]
    assert answer["stored"] is None
    waiting = open_client.post("/v1/imports?rows=open", content=EXPORT.encode()).json()["rows"]
    assert [row["row"] for row in waiting] == [6, 7, 8]


def test_choices_come_with_the_file_in_a_form(open_client: httpx.Client) -> None:
    form = {"files": {"file": ("x.csv", EXPORT.encode())}, "data": {"choices": json.dumps({"6": 5, "2": None})}}
    answer = open_client.post("/v1/imports", **form).json()
    assert {one["book_id"]: one["stars"] for one in answer["ratings"]} == {5: 3.0}
    assert [row["how"] for row in answer["rows"] if row["row"] in (2, 6)] == ["choice", "choice"]


@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        ({"content": b""}, 422, "data-format", "is empty"),
        ({"content": b"a,b\n1,2\n"}, 422, "data-column", "neither a column 'Title'"),
        ({"content": b"PK\x03\x04rest"}, 422, "data-format", "zip archive"),
        ({"content": b"title\n" + b"x\n" * 51}, 413, "too-large", "more than 50 rows"),
        ({"content": b"title\n" + b"x" * 5000}, 413, "too-large", "more than 5,000 bytes"),
        ({"content": iter([b"title\n"] + [b"x" * 1000] * 6)}, 413, "too-large", "more than 5,000 bytes"),
        ({"files": {"other": b"title\nx\n"}}, 422, "usage", "without a file"),
        ({"files": {"file": b"title\nx\n"}, "data": {"choices": "[1]"}}, 422, "data-value", "choices"),
        ({"files": {"file": b"title\nx\n"}, "data": {"choices": '{"2": 99}'}}, 404, "data-unknown-book", "no book 99"),
        ({"files": {"file": b"title\nx\n"}, "data": {"choices": '{"9": 1}'}}, 422, "data-value", "has no row 9"),
        ({"files": [("file", b"title\nx\n"), ("file", b"title\n")]}, 400, "request", "Too many files"),
        ({"files": {"file": b"title\nx\n"}, "data": {"a": "1", "b": "2"}}, 400, "request", "Too many fields"),
        ({"content": b"rubbish", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "request", ""),
        ({"content": b"rubbish", "headers": {"content-type": "multipart/form-data"}}, 400, "request", "boundary"),
    ],
)
def test_what_cannot_be_imported_is_a_problem(
    open_client: httpx.Client, asked: dict, status: int, code: str, words: str
) -> None:
    answer = open_client.post("/v1/imports", **asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_other_routes_keep_their_own_limit(open_client: httpx.Client) -> None:
    assert open_client.post("/v1/recommendations", content=b"x" * 1025).status_code == 413
    assert open_client.post("/v1/imports", content=b"title\n" + b"x\n" * 49 + b"y" * 2000).status_code == 200


def test_storing_again_changes_nothing_and_a_later_file_wins(admin: httpx.Client) -> None:
    assert admin.post("/v1/imports/ann", content=EXPORT.encode()).status_code == 404
    admin.post("/v1/readers", json={"reader_id": "ann"})
    admin.put("/v1/readers/ann/ratings", json={"ratings": [{"book_id": 20, "stars": 1}]})
    said = [{"action": "dismiss", "subject": 2}, {"action": "to-read", "subject": 9}]
    admin.put("/v1/readers/ann/marks", json={"marks": said})
    assert admin.post("/v1/imports/ann", content=EXPORT.encode()).json()["stored"] == "ann"
    kept = admin.get("/v1/readers/ann/export").json()
    assert {row["book_id"]: row["stars"] for row in kept["ratings"]} == {"1": 4.0, "20": 1.0}
    expected = {("dismiss", "2"), ("to-read", "9"), ("to-read", "2"), ("did-not-finish", "3"), ("read", "4")}
    assert {(row["action"], row["subject"]) for row in kept["marks"]} == expected
    assert admin.post("/v1/imports/ann", content=EXPORT.encode()).status_code == 200
    assert admin.get("/v1/readers/ann/export").json() == kept  # with the times of every row
    later = EXPORT.replace("to-read,", "read,2")
    admin.post("/v1/imports/ann", content=later.encode())
    said = admin.get("/v1/readers/ann").json()
    assert {"book_id": 2, "stars": 2.0} in said["ratings"]
    assert {"action": "to-read", "subject": 2} not in said["marks"]
    assert {"action": "dismiss", "subject": 2} in said["marks"]


def test_what_was_imported_does_not_come_back(admin: httpx.Client) -> None:
    admin.post("/v1/readers", json={"reader_id": "ann"})
    admin.post("/v1/imports/ann", content=EXPORT.encode())
    listed = admin.post("/v1/recommendations", json={"reader": "ann", "n": N_BOOKS}).json()["books"]
    assert len(listed) == N_BOOKS - 4
    assert not {1, 2, 3, 4} & {book["book_id"] for book in listed}


def test_looking_needs_to_read_and_storing_to_write(admin: httpx.Client) -> None:
    store = admin.app.state.service.store  # type: ignore[attr-defined]
    admin.post("/v1/readers", json={"reader_id": "ann"})
    ask = lambda path, headers: httpx.post(f"{admin.base_url}{path}", content=EXPORT.encode(), headers=headers)  # noqa: E731
    reads, writes = ({"X-API-Key": make_key(store, role, role)} for role in ("read", "write"))
    assert [ask("/v1/imports", headers).status_code for headers in ({}, reads, writes)] == [401, 200, 200]
    assert [ask("/v1/imports/ann", headers).status_code for headers in ({}, reads, writes)] == [401, 403, 200]


# The database.

ROWS, KILLS = 5000, 40
STARS = {str(n): 3.0 for n in range(ROWS)}
MARKS = [("to-read" if n % 2 else "read", f"{n}b") for n in range(ROWS // 10)]


def _import_for_ever(url: str, pipe: int) -> None:
    store = Store(url)
    reader = time.time_ns()
    while True:
        reader += 1
        store.add_reader(str(reader))
        os.write(pipe, reader.to_bytes(8, "little"))
        store.take_in(str(reader), STARS, MARKS)


def test_an_import_that_is_killed_is_there_or_not(store: Store, url: str) -> None:
    """A child tells of each import that it begins, and is killed somewhere in one, many times."""
    store.add_reader("ann")
    start = time.perf_counter()
    store.take_in("ann", STARS, MARKS)
    takes = time.perf_counter() - start
    store.engine.dispose()  # no connection goes over into the children
    rng = random.Random(0)
    begun: list[str] = []
    n_killed = n_finished = 0
    while n_killed < KILLS or not n_finished:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                _import_for_ever(url, writing)
            finally:
                os._exit(1)
        os.close(writing)
        told = os.read(reading, 8)
        time.sleep(rng.random() * 2 * takes)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while block := os.read(reading, 8):
            told += block
        os.close(reading)
        begun += [str(int.from_bytes(told[i : i + 8], "little")) for i in range(0, len(told) // 8 * 8, 8)]
        n_killed, n_finished = n_killed + 1, n_finished + len(told) // 8 - 1
        if not n_finished:  # busier than when it was measured
            takes *= 1.1
    sizes = [(len(said.ratings), len(said.marks)) for said in map(store.said, begun)]
    assert len(begun) >= KILLS
    assert set(sizes) == {(0, 0), (ROWS, len(MARKS))}
    half = begun[sizes.index((0, 0))]
    for _ in range(2):
        store.take_in(half, STARS, MARKS)
        said = store.said(half)
        assert (said.ratings, set(said.marks)) == (STARS, set(MARKS))

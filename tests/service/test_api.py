"""The API: the same answers as the Python API, memory for readers, and who may do what."""

from __future__ import annotations

import gc
import json
import re
import shutil
import threading
import time
import weakref
from pathlib import Path

import httpx
import pytest
from conftest import serving
from tiny_world import N_BOOKS, TAGS

from shelfwise import Recommender, Rules
from shelfwise.artifact import load_run
from shelfwise.errors import UsageError
from shelfwise.service import models as models_module
from shelfwise.service.guards import JsonLines
from shelfwise.service.keys import make_key, revoke_key
from shelfwise.service.models import Models
from shelfwise.service.settings import ServiceSettings

SHELF = [{"book_id": 1, "stars": 5}, {"book_id": 4, "stars": 2}, {"book_id": 9, "stars": 4}]
PAIRS = [(one["book_id"], float(one["stars"])) for one in SHELF]


@pytest.fixture(scope="module")
def open_client(trained: Path, tmp_path_factory: pytest.TempPathFactory):
    """On SQLite, nothing made: what needs no store of its own."""
    with serving(ServiceSettings(data_folder=tmp_path_factory.mktemp("data")), trained) as client:
        yield client


@pytest.fixture(scope="module")
def recommender(trained: Path) -> Recommender:
    return Recommender.load(trained)


# Lists and predictions.


@pytest.mark.parametrize("order", [None, "stars", "pickup"])
def test_a_list_is_that_of_the_python_api(
    open_client: httpx.Client, recommender: Recommender, order: str | None
) -> None:
    rules = {"per_author": 1, "diversity": 0.2}
    asked = {
        "ratings": SHELF,
        "n": 5,
        "order": order,
        "rules": rules,
        "filters": {"not_tag": [TAGS[1]]},
        "explain": True,
    }
    answer = open_client.post("/v1/recommendations", json=asked).json()
    mine = recommender if order is None else recommender.ordered(order)
    expected = mine.recommend(ratings=PAIRS, n=5, rules=Rules(**rules, not_tag=(TAGS[1],)), why=True)
    assert [book["book_id"] for book in answer["books"]] == expected["book_id"].to_list()
    assert [book["stars"] for book in answer["books"]] == pytest.approx(expected["stars"].to_list(), abs=1e-5)
    assert [book["score"] for book in answer["books"]] == pytest.approx(expected["score"].to_list(), abs=1e-4)
    said = [[reason["text"] for reason in reasons] for reasons in expected["reasons"].to_list()]
    assert [[reason["text"] for reason in book["reasons"]] for book in answer["books"]] == said
    assert all(book["low"] <= book["stars"] <= book["high"] for book in answer["books"])
    assert all(book["authors"] for book in answer["books"])


def test_predictions_are_those_of_the_python_api_in_the_order_asked(
    open_client: httpx.Client, recommender: Recommender
) -> None:
    books = [7, 3, 10**6, 1]
    found = open_client.post("/v1/predictions", json={"ratings": SHELF, "books": books}).json()["predictions"]
    assert [one["book_id"] for one in found] == books
    listed = recommender.recommend(ratings=PAIRS, n=N_BOOKS)
    stars = dict(zip(listed["book_id"], listed["stars"], strict=True))
    assert found[0]["stars"] == pytest.approx(stars[7], abs=1e-5)
    assert [one["basis"] for one in found] == ["reader+book", "reader+book", "reader", "reader+book"]


def test_many_at_once_get_what_each_would_get_alone(open_client: httpx.Client) -> None:
    shelves = [[{"book_id": 1 + n % N_BOOKS, "stars": 1 + n % 5}, {"book_id": 2, "stars": 3}] for n in range(24)]
    ask = lambda shelf: open_client.post("/v1/recommendations", json={"ratings": shelf, "n": 5}).json()["books"]  # noqa: E731
    alone = [ask(shelf) for shelf in shelves]
    together: list[list[dict]] = [[] for _ in shelves]

    def fill(place: int) -> None:
        together[place] = ask(shelves[place])

    threads = [threading.Thread(target=fill, args=(place,)) for place in range(len(shelves))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for here, there in zip(alone, together, strict=True):
        assert [book["book_id"] for book in here] == [book["book_id"] for book in there]
        assert [book["stars"] for book in here] == pytest.approx([book["stars"] for book in there], abs=1e-4)


def test_one_bad_request_in_a_batch_fails_alone(open_client: httpx.Client) -> None:
    answers: list[httpx.Response] = []
    shelves = [[{"book_id": 1, "stars": 5 if n % 2 else 7}] for n in range(12)]
    ask = lambda shelf: answers.append(open_client.post("/v1/recommendations", json={"ratings": shelf}))  # noqa: E731
    threads = [threading.Thread(target=ask, args=(shelf,)) for shelf in shelves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [422] * 6


def test_what_is_not_known_or_too_little_is_said(open_client: httpx.Client) -> None:
    asked = {"ratings": [*SHELF, {"book_id": 999, "stars": 3}], "n": 100}
    answer = open_client.post("/v1/recommendations", json=asked).json()
    assert answer["unknown_books"] == ["999"]
    assert len(answer["books"]) == N_BOOKS - len(SHELF)
    assert answer["short"].startswith(f"{N_BOOKS - len(SHELF)} of 100 books")
    assert (
        len(
            {
                answer["recommendation_id"],
                open_client.post("/v1/recommendations", json=asked).json()["recommendation_id"],
            }
        )
        == 2
    )


@pytest.mark.parametrize(
    ("path", "asked", "status", "code", "words"),
    [
        ("/v1/recommendations", {"ratings": [{"book_id": 1, "stars": 6}]}, 422, "data-value", "not on the scale 1-5"),
        ("/v1/recommendations", {"ratings": [{"book_id": 1, "stars": "x"}]}, 422, "request", "ratings.0.stars = 'x'"),
        ("/v1/recommendations", {}, 422, "usage", "for whom?"),
        ("/v1/recommendations", {"ratings": [], "reader": "ann"}, 422, "usage", "for whom?"),
        ("/v1/recommendations", {"reader": "nobody"}, 404, "not-found", "no reader 'nobody'"),
        ("/v1/recommendations", {"ratings": [], "n": 0}, 422, "request", "n = '0'"),
        ("/v1/recommendations", {"ratings": [], "n": 10**6}, 413, "too-large", "1,000,000 books"),
        ("/v1/recommendations", {"ratings": [], "order": "best"}, 422, "request", "order = 'best'"),
        ("/v1/recommendations", {"ratings": [], "rules": {"tag": ["x"]}}, 422, "request", "rules.tag"),
        ("/v1/recommendations", {"ratings": [], "surprise": 1}, 422, "request", "surprise"),
        ("/v1/predictions", {"ratings": [], "books": []}, 422, "request", "books"),
        ("/v1/books", {"title": "x", "vector": [1, 2]}, 422, "usage", "knows books by content"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(
    open_client: httpx.Client, path: str, asked: dict, status: int, code: str, words: str
) -> None:
    answer = open_client.post(path, json=asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert answer.json()["hint"]


# Books.


def test_books_and_their_like(open_client: httpx.Client, recommender: Recommender) -> None:
    book = open_client.get("/v1/books/3").json()
    assert (book["book_id"], book["title"]) == (3, recommender.run.catalogue.books["title"][2])
    assert book["ratings"] == recommender.run.model.book_counts[2]
    similar = open_client.get("/v1/books/3/similar", params={"n": 4}).json()["books"]
    assert [one["book_id"] for one in similar] == recommender.similar(3, 4)["book_id"].to_list()
    assert open_client.get("/v1/books/999").json()["code"] == "data-unknown-book"


def test_a_new_book_is_scored_at_once(open_client: httpx.Client, recommender: Recommender) -> None:
    about = {"title": "The one to come", "authors": ["Author 2"], "tags": [TAGS[2]], "year": 1950}
    answer = open_client.post("/v1/books", json={**about, "ratings": SHELF}).json()
    grown, new = recommender.with_book({k: about[k] for k in ("title", "authors", "year")}, tags=about["tags"])
    expected = grown.explain(new, ratings=PAIRS)
    assert answer["prediction"]["stars"] == pytest.approx(expected.stars, abs=1e-5)
    assert answer["known_tags"] == [TAGS[2]]
    assert answer["similar"]
    assert open_client.get("/v1/books/999").status_code == 404


# Readers.


def test_a_reader_is_remembered_and_every_change_counts_at_once(admin: httpx.Client) -> None:
    assert admin.post("/v1/readers", json={"reader_id": "ann"}).status_code == 201
    assert admin.post("/v1/readers", json={"reader_id": "ann"}).status_code == 200
    ask = lambda: admin.post("/v1/recommendations", json={"reader": "ann", "n": N_BOOKS}).json()["books"]  # noqa: E731
    nothing = ask()
    said = admin.put("/v1/readers/ann/ratings", json={"ratings": SHELF}).json()
    assert said["ratings"] == [{"book_id": b, "stars": s} for b, s in sorted(PAIRS)]
    assert admin.put("/v1/readers/ann/ratings", json={"ratings": SHELF}).json() == said
    rated = ask()
    same = admin.post("/v1/recommendations", json={"ratings": SHELF, "n": N_BOOKS}).json()["books"]
    assert [(b["book_id"], round(b["stars"], 4)) for b in rated] == [(b["book_id"], round(b["stars"], 4)) for b in same]
    assert len(rated) == len(nothing) - len(SHELF)
    first = rated[0]["book_id"]
    admin.put("/v1/readers/ann/marks", json={"marks": [{"action": "dismiss", "subject": first}]})
    assert first not in [book["book_id"] for book in ask()]
    admin.delete(f"/v1/readers/ann/marks/dismiss/{first}")
    assert ask()[0]["book_id"] == first
    assert admin.delete("/v1/readers/ann/ratings/4").json()["ratings"] == [
        {"book_id": 1, "stars": 5},
        {"book_id": 9, "stars": 4},
    ]
    assert admin.delete("/v1/readers/ann/ratings/4").json()["code"] == "not-found"
    assert 4 in [book["book_id"] for book in ask()]


def test_ratings_are_set_all_or_none(admin: httpx.Client) -> None:
    admin.post("/v1/readers", json={"reader_id": "ann"})
    bad = [*SHELF, {"book_id": 5, "stars": 7}]
    assert admin.put("/v1/readers/ann/ratings", json={"ratings": bad}).json()["code"] == "data-value"
    assert admin.get("/v1/readers/ann").json()["ratings"] == []
    assert admin.put("/v1/readers/bob/ratings", json={"ratings": SHELF}).json()["code"] == "not-found"


def test_an_erased_reader_is_nowhere(admin: httpx.Client, run: Path, tmp_path: Path) -> None:
    reader = "3"  # whom the run was trained with
    before = load_run(run)
    row = int(before.readers.find([reader])[0])
    assert row >= 0
    admin.post("/v1/readers", json={"reader_id": reader})
    admin.put(f"/v1/readers/{reader}/ratings", json={"ratings": [{"book_id": 17, "stars": 3}]})
    kept = admin.get(f"/v1/readers/{reader}/export").json()
    assert [one["book_id"] for one in kept["ratings"]] == ["17"]
    assert len(kept["training"][run.name]) == before.shelves.lengths[row]
    assert admin.delete(f"/v1/readers/{reader}").json() == {"stored": True, "runs": [run.name]}
    after = load_run(run)  # with every checksum
    assert len(after.readers) == len(before.readers) - 1
    assert after.readers.find([reader])[0] < 0
    assert len(after.shelves.item_idx) == len(before.shelves.item_idx) - before.shelves.lengths[row]
    assert len(after.parts) == len(after.shelves.item_idx)
    assert admin.get(f"/v1/readers/{reader}/export").status_code == 404
    assert admin.delete(f"/v1/readers/{reader}").status_code == 404
    here = admin.app.state.service.models.active.recommender.run  # type: ignore[attr-defined]
    assert here.readers.find([reader])[0] < 0
    for file in tmp_path.glob("shelfwise.db*"):
        assert b'"17"' not in file.read_bytes()


# Models.


def test_models_are_exchanged_as_one_and_a_bad_one_is_refused(url: str, run: Path, tmp_path: Path) -> None:
    other, bad = (Path(shutil.copytree(run, tmp_path / name)) for name in ("other", "bad"))
    weights = bytearray((bad / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (bad / "model.safetensors").write_bytes(weights)
    with serving(ServiceSettings(database=url), run, other, bad) as client:
        client.headers["X-API-Key"] = make_key(client.app.state.service.store, "test", "admin")  # type: ignore[attr-defined]
        ask = lambda: client.post("/v1/recommendations", json={"ratings": SHELF}).json()["model"]["name"]  # noqa: E731
        assert ask() == "run"
        assert client.post("/v1/models/rollback").json()["code"] == "not-found"
        assert client.post("/v1/models/other/activate").json()["previous"] == "run"
        assert ask() == "other"
        refused = client.post("/v1/models/bad/activate")
        assert (refused.status_code, refused.json()["code"]) == (409, "run-corrupt")
        assert "SHA-256" in refused.json()["detail"]
        assert ask() == "other"
        client.post("/v1/models/rollback")
        assert ask() == "run"
        assert [m["name"] for m in client.get("/v1/models").json()["models"]] == ["run", "other", "bad"]
        for name in ("..", "%2e%2e%2fetc", "nothing"):
            assert client.post(f"/v1/models/{name}/activate").status_code in (404, 405)


def test_a_model_that_neither_answers_nor_is_kept_for_a_roll_back_is_let_go(trained: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    with serving(ServiceSettings(data_folder=tmp_path), trained, other) as client:
        client.headers["X-API-Key"] = make_key(client.app.state.service.store, "test", "admin")  # type: ignore[attr-defined]
        models = client.app.state.service.models  # type: ignore[attr-defined]
        first = weakref.ref(models.active)
        for name in ("other", trained.name):
            assert client.post("/v1/recommendations", json={"ratings": SHELF}).status_code == 200
            assert client.get("/next").status_code == 200
            assert client.post(f"/v1/models/{name}/activate").status_code == 200
        gc.collect()
        assert models.active.name == trained.name
        assert first() is None


def test_runs_of_the_same_books_share_the_index_for_imports_and_others_do_not(
    trained: Path, smaller: Path, tmp_path: Path
) -> None:
    models = Models([trained, Path(shutil.copytree(trained, tmp_path / "other")), smaller])
    index = models.active.recommender.book_index
    assert models.activate("other").recommender.book_index is index
    fewer = models.activate(smaller.name).recommender.book_index
    assert fewer is not index
    assert fewer.ids == models.active.recommender.run.catalogue.vocabulary.ids.to_list()


def test_memory_is_given_back_by_one_thread_until_no_run_was_let_go_for_a_while(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set(threading.enumerate())  # of services that tests before this one started
    models = Models([trained, Path(shutil.copytree(trained, tmp_path / "other"))])
    exchanges, given = 0, []

    def at_it() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "memory" and thread not in others]

    monkeypatch.setattr(models_module, "UNDER_WAY", 1.0)
    monkeypatch.setattr(models_module, "give_back_memory", lambda: given.append(exchanges))
    for name in ("other", trained.name) * 3:
        exchanges += 1
        models.activate(name)
        assert len(at_it()) <= 2  # one that is about to end, at most
    while at_it():
        time.sleep(0.01)
    assert given[-1] == exchanges


def test_what_nobody_foresaw_is_answered_like_all_else_and_logged_by_its_id(
    admin: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With all headers, on a connection that stays: else the client's next request might get no answer."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nobody")

    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "similar", fail)
        answers = [admin.get("/v1/books/1/similar") for _ in range(20)]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert admin.get("/v1/books/1/similar").status_code == 200
    [failed] = [
        record
        for record in caplog.records
        if getattr(record, "fields", {}) == {"request_id": answers[0].headers["x-request-id"]}
    ]
    assert "by nobody" in JsonLines().format(failed)


def test_while_models_are_exchanged_each_answer_is_wholly_of_one(trained: Path, smaller: Path, tmp_path: Path) -> None:
    """Their catalogues differ: a model with the other's vocabulary would name other books, or none."""
    expected = {}
    for path in (trained, smaller):
        frame = Recommender.load(path).recommend(ratings=PAIRS, n=N_BOOKS)
        expected[path.name] = [frame["book_id"].to_list(), frame["title"].to_list()]
    found: list[tuple[int, dict]] = []
    done = threading.Event()
    with serving(ServiceSettings(data_folder=tmp_path, rate=0), trained, smaller) as client:
        client.headers["X-API-Key"] = make_key(client.app.state.service.store, "x", "admin")  # type: ignore[attr-defined]

        def ask() -> None:
            while not done.is_set():
                answer = client.post("/v1/recommendations", json={"ratings": SHELF, "n": N_BOOKS})
                found.append((answer.status_code, answer.json()))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(20):
            name = (smaller, trained)[turn % 2].name
            assert client.post(f"/v1/models/{name}/activate").status_code == 200
        done.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in found} == {200}
    assert {answer["model"]["name"] for _, answer in found} == set(expected)
    for _, answer in found:
        listed = [[book[field] for book in answer["books"]] for field in ("book_id", "title")]
        assert listed == expected[answer["model"]["name"]]


# Who may do what.

ROUTES = [
    ("POST", "/v1/recommendations", "read"),
    ("POST", "/v1/recommendations/0a1b/events", "read"),
    ("POST", "/v1/predictions", "read"),
    ("GET", "/v1/books?q=x", "read"),
    ("GET", "/v1/books/1", "read"),
    ("GET", "/v1/books/1/similar", "read"),
    ("POST", "/v1/books", "read"),
    ("POST", "/v1/readers", "write"),
    ("GET", "/v1/readers/ann", "read"),
    ("PUT", "/v1/readers/ann/ratings", "write"),
    ("DELETE", "/v1/readers/ann/ratings/1", "write"),
    ("PUT", "/v1/readers/ann/marks", "write"),
    ("DELETE", "/v1/readers/ann/marks/dismiss/1", "write"),
    ("GET", "/v1/readers/ann/export", "read"),
    ("DELETE", "/v1/readers/ann", "admin"),
    ("POST", "/v1/imports", "read"),
    ("POST", "/v1/imports/ann", "write"),
    ("GET", "/v1/models", "read"),
    ("POST", "/v1/models/x/activate", "admin"),
    ("POST", "/v1/models/rollback", "admin"),
    ("GET", "/metrics", "read"),
]
ROLES = ("read", "write", "admin")


def test_every_route_is_in_the_table(open_client: httpx.Client) -> None:
    """By the description, in which a route that nobody has put into the table is found."""
    paths = open_client.get("/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    fits = lambda path, asked: re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked)  # noqa: E731
    found = []
    for method, asked, _ in [*ROUTES, ("GET", "/healthz", None), ("GET", "/readyz", None)]:
        mine = [(m, path) for m, path in there if m == method and fits(path, asked.partition("?")[0])]
        found.append(min(mine, key=lambda one: one[1].count("{"), default=(method, f"no route: {asked}")))
    assert sorted(found) == sorted(there)


def test_keys_open_what_their_role_may_and_nothing_else(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path, rate=0), trained) as client:
        store = client.app.state.service.store  # type: ignore[attr-defined]
        keys = {role: make_key(store, role, role) for role in ROLES}
        revoked = make_key(store, "revoked", "admin")
        revoke_key(store, revoked.split("_")[1])
        wrong = keys["admin"][:-1] + ("a" if keys["admin"][-1] != "a" else "b")
        none = {"wrong": wrong, "expired": make_key(store, "x", "admin", days=1e-9), "revoked": revoked, "empty": ""}
        client.app.state.service._private = (0.0, False)  # type: ignore[attr-defined]
        for method, path, needed in ROUTES:
            assert client.request(method, path).status_code == 401, path
            for name, key in none.items():
                answer = client.request(method, path, json={}, headers={"X-API-Key": key})
                assert (answer.status_code, answer.json()["code"]) == (401, "key-missing"), (method, path, name)
                assert answer.headers["www-authenticate"] == "Bearer"
            for role in ROLES:
                status = client.request(
                    method, path, json={}, headers={"Authorization": f"Bearer {keys[role]}"}
                ).status_code
                enough = ROLES.index(role) >= ROLES.index(needed)
                assert (status not in (401, 403)) == enough, (method, path, role, status)
                assert (status == 403) != enough
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json()["status"] == "ready"


def test_keys_are_not_guessed_at_will(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path, rate=0.001, burst=3), trained) as client:
        key = make_key(client.app.state.service.store, "x", "read")  # type: ignore[attr-defined]
        found = [client.get("/v1/models", headers={"X-API-Key": f"{key}{n}"}).status_code for n in range(5)]
        assert found == [401, 401, 401, 429, 429]
        assert client.get("/v1/models", headers={"X-API-Key": key}).status_code == 200


def test_without_a_key_reading_is_open_on_this_machine_alone(open_client: httpx.Client) -> None:
    assert open_client.post("/v1/recommendations", json={"ratings": SHELF}).status_code == 200
    assert open_client.post("/v1/readers", json={"reader_id": "ann"}).status_code == 401


def test_asked_to_be_open_it_stays_so_with_keys_and_is_limited(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path, allow_open=True, rate=0.001, burst=2), trained) as client:
        make_key(client.app.state.service.store, "x", "write")  # type: ignore[attr-defined]
        client.app.state.service._private = (0.0, False)  # type: ignore[attr-defined]
        assert client.post("/v1/readers", json={"reader_id": "ann"}).status_code == 401
        assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]


def test_two_runs_of_one_name_are_refused(trained: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained, tmp_path / trained.name))
    with pytest.raises(UsageError, match="two runs are called 'run'"):
        Models([trained, other])


# Guards.


def test_every_answer_has_its_headers(open_client: httpx.Client) -> None:
    for path in ("/healthz", "/nothing", "/v1/books/999"):
        headers = open_client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert len(headers["x-request-id"]) == 32
        assert "server" not in headers or "uvicorn" in headers["server"]


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}])
def test_posts_from_other_sites_are_refused(open_client: httpx.Client, headers: dict[str, str]) -> None:
    answer = open_client.post("/v1/recommendations", json={"ratings": SHELF}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "key-role")


def test_another_name_for_this_machine_is_refused(open_client: httpx.Client) -> None:
    assert open_client.get("/healthz", headers={"Host": "rebound.example"}).status_code == 403


def test_a_large_body_is_refused_before_it_is_kept(open_client: httpx.Client) -> None:
    def endless():
        for _ in range(100):
            yield b" " * 100_000

    for content in (b" " * 3_000_000, endless()):
        answer = open_client.post("/v1/recommendations", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    deep = "[" * 200_000
    answer = open_client.post("/v1/recommendations", content=deep, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "request")


def test_too_many_requests_are_told_to_wait(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path, rate=0.001, burst=3), trained) as client:
        client.headers["X-API-Key"] = make_key(client.app.state.service.store, "x", "read")  # type: ignore[attr-defined]
        client.app.state.service._private = (0.0, False)  # type: ignore[attr-defined]
        found = [client.get("/v1/models") for _ in range(5)]
        assert [answer.status_code for answer in found] == [200, 200, 200, 429, 429]
        assert found[-1].headers["retry-after"] == "1"


def test_metrics_tell_latencies_model_and_shelves(open_client: httpx.Client) -> None:
    open_client.post("/v1/recommendations", json={"ratings": SHELF})
    text = open_client.get("/metrics").text
    assert 'shelfwise_request_seconds_count{method="POST",route="/v1/recommendations",status="200"}' in text
    assert "shelfwise_model_age_seconds" in text
    assert 'shelfwise_model_info{name="run",version="' in text
    assert "shelfwise_shelf_ratings_count" in text


def test_nothing_in_the_description_leads_elsewhere(open_client: httpx.Client) -> None:
    description = open_client.get("/openapi.json").json()
    assert open_client.get("/docs").status_code == 404
    assert "http://" not in json.dumps(description)
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            assert about["description"], (method, path)

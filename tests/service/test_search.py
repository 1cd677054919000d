"""Search: what a query finds, the same in SQLite and PostgreSQL, whatever is typed; and indexes that fit the model."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from conftest import serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_world import BOOKS, READS, catalogue, index_for_ever, index_some
from tiny_world import N_BOOKS

from shelfwise.service.keys import make_key
from shelfwise.service.search import KEPT, Search, indexes
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store
from shelfwise.service.words import Vocabulary, book_words, initials_joined, query_isbns, query_words, words_of


@pytest.fixture
def search(url: str) -> Iterator[Search]:
    store = Store(url)
    search = Search(store)
    search.index("books", catalogue(), READS)
    yield search
    search.close()
    store.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """An index that is not changed."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path_factory.mktemp('known') / 'a.db'}")
    else:
        store = Store(request.getfixturevalue("cluster")(f"known{time.time_ns()}"))
    search = Search(store)
    search.index("books", catalogue(), READS)
    yield search
    search.close()
    store.close()


@pytest.fixture(scope="module")
def both(cluster: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Search]]:
    folder = tmp_path_factory.mktemp("both")
    stores = [Store(f"sqlite:///{folder / 'a.db'}"), Store(cluster(f"both{time.time_ns()}"))]
    searches = [Search(store) for store in stores]
    for one in searches:
        one.index("books", catalogue(), READS)
    yield searches
    for one, store in zip(searches, stores, strict=True):
        one.close()
        store.close()


def ids(search: Search, query: str, n: int = 10) -> list[int]:
    found = search.ask("books", query, n)
    assert found is not None
    return [BOOKS[row][0] for row in found]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("it", [1, 2, 3]),  # the title itself, titles that begin so, the word anywhere
        ("harry pot", [8, 9]),  # as it is typed; the one that is read more first
        ("har", [8, 9]),
        ("rowling harry", [8, 9]),  # any order, of any field
        ("grandpre", [8]),
        ("harry potter 6", [9]),
        ("hary poter", [8, 9]),  # slips
        ("harry pottre", [8, 9]),
        ("rowlign", [8, 9]),
        ("bronte", [7, 6]),
        ("brönte", [7, 6]),
        ("Bronte\u0308", [7, 6]),
        ("wuthering hights", [6]),
        ("hights bronte", [6]),
        ("garcia marquez", [10]),
        ("García Márquez", [10]),
        ("cien anos", [10]),
        ("dostoevskiy", [11]),
        ("Достоевский", [11]),
        ("dostoyevsky", [11]),
        ("prestuplenie", [11]),
        ("tolkien", [12, 4, 5]),
        ("tolkein", [4, 5, 12]),
        ("tolkei", [4, 5, 12]),  # a slip in a word that is still typed
        ("jrr tolkien", [4, 5]),
        ("j.r.r. tolkien", [4, 5]),
        ("j r", [4, 5]),
        ("hobbit", [4]),
        ("the hobbit", [4]),
        ("lord of the rings", [5]),
        ("thehobbit", [4]),
        ("wutheringheights", [6]),
        ("1984", [13]),
        ("emma", [15, 14]),
        ("emma austen", [14]),
        ("dont look", [16]),
        ("don’t look", [16]),
        ("0450411435", [1]),
        ("978-0-450-41143-4", [1]),
        ("9780450411434", [1]),
        ('="0450411435"', [1]),
        ("450411435", [1]),  # as a spreadsheet leaves it
        ("978045041", [1]),
        ("978-0450", [1]),
        ("0-618-00223-5", [5]),
    ],
)
def test_what_is_meant_comes_first(known: Search, query: str, first: list[int]) -> None:
    assert ids(known, query)[: len(first)] == first
    assert ids(known, query, 1) == first[:1]


@pytest.mark.parametrize("query", ["", " ", "!?", "xqzzvw", "9780000000002", "harry xqzzvw", "\0", "_hobbit_x"])
def test_what_is_not_there_is_not_found(known: Search, query: str) -> None:
    assert ids(known, query) == []


HOSTILE = [
    '"',
    "'",
    '""harry',
    "harry*",
    "NEAR(harry potter, 2)",
    "harry AND",
    "OR",
    "NOT harry",
    "title:harry",
    "^harry",
]
HOSTILE += [
    "harry & ! potter",
    "harry:*",
    "harry <-> potter",
    "(((",
    "\\",
    "%_%",
    "'; DROP TABLE readers; --",
    "\0harry",
]
HOSTILE += ["😀", "harry 😀", "\ud800", "a " * 5000, "x" * 100_000, "potter " * 300, "\u202eharry", "ﬁ", "٣", "½"]


def test_nothing_that_is_typed_is_taken_for_a_command(both: list[Search]) -> None:
    for query in HOSTILE:
        sqlite, postgresql = (ids(one, query) for one in both)
        assert sqlite == postgresql
    assert ids(both[0], "'; DROP TABLE readers; --") == []
    assert ids(both[0], "harry*") == ids(both[0], "\0harry") == ids(both[0], "^harry") == [8, 9]


TYPED = st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE), st.text("harypoten j.1_*\"'", max_size=20))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(query=TYPED, n=st.integers(1, 20))
def test_both_databases_answer_the_same_whatever_is_typed(both: list[Search], query: str, n: int) -> None:
    sqlite, postgresql = (one.ask("books", query, n) for one in both)
    assert sqlite is not None
    assert sqlite == postgresql
    assert len(sqlite) == len(set(sqlite)) <= n


@settings(max_examples=100, deadline=None, database=None)
@given(data=st.data())
def test_any_one_slip_in_a_word_is_seen_through(data: st.DataObject) -> None:
    words = Vocabulary.of(list(book_words(catalogue())))
    word = data.draw(st.sampled_from([w for w in words if len(w) >= 5]))
    place = data.draw(st.integers(0, len(word) - 2))
    letter = data.draw(st.sampled_from("abcxyz"))
    slip = data.draw(
        st.sampled_from(
            [
                word[:place] + word[place + 1 :],
                word[:place] + letter + word[place:],
                word[:place] + letter + word[place + 1 :],
                word[:place] + word[place + 1] + word[place] + word[place + 2 :],
            ]
        )
    )
    for last in (True, False):
        assert Vocabulary(words).alike(slip, last=last).get((word, False), 0) <= 1
        assert (word, False) in Vocabulary(words).alike(slip, last=last) or slip == word


def test_words_are_folded() -> None:
    assert words_of("L'Étranger, Straße & O’Brien") == ["letranger", "strasse", "obrien"]
    assert initials_joined(words_of("J. R. R. Tolkien, j.k. Rowling a")) == ["jrr", "tolkien", "jk", "rowling", "a"]
    assert ("__9780450411434", False) in query_isbns("0450411435")
    assert ("__9780450411434", False) in query_isbns("978 0 450 41143 4")
    assert query_isbns("catch 22") == query_isbns("1984") == {}
    assert len(query_words("a1 " * 1000)) == 12


# Indexes.


def tables(search: Search) -> set[str]:
    with search._store.reading() as connection:
        names = sa.inspect(connection).get_table_names()
    return {name for name in names if name.startswith("search_") and name.count("_") == 1} - {"search_indexes"}


def test_an_index_not_used_for_a_week_goes_and_is_made_again_when_asked_for(search: Search, url: str) -> None:
    store = Store(url)
    other = Search(store)  # another process
    with search._store.writing() as connection:
        connection.execute(sa.update(indexes).values(used=time.time() - KEPT - 1))
    other.index("new", catalogue(), None)
    assert tables(search) == {"search_new"}
    assert search.ask("books", "it", 3) is None
    search.index("books", catalogue(), READS)
    assert ids(search, "it") == [1, 2, 3]
    with search._store.writing() as connection:
        connection.execute(sa.update(indexes).values(used=time.time() - KEPT - 1))
    search.index("newer", catalogue(), None)
    assert tables(search) == {"search_books", "search_newer"}  # one's own stay
    other.close()
    store.close()


processes = multiprocessing.get_context("spawn")  # polars' threads do not outlive a fork


KILLS = 6


def test_kill_9_leaves_whole_indexes_and_none_else(search: Search, url: str) -> None:
    rng = random.Random(0)
    for _ in range(KILLS):
        here, there = processes.Pipe(duplex=False)
        child = processes.Process(target=index_for_ever, args=(url, there))
        child.start()
        there.close()  # so that a child that ends before it has told anything is noticed
        assert here.recv() == 0
        time.sleep(rng.random() * 0.05)
        child.kill()
        child.join()
        here.close()
    with search._store.reading() as connection:
        names = set(connection.execute(sa.select(indexes.c.name)).scalars())
    assert len(names) > KILLS
    assert {f"search_{name}" for name in names} == tables(search)
    for name in names:
        assert search.ask(name, "tolkein", 3) == search.ask("books", "tolkein", 3)


def test_processes_that_start_together_make_an_index_once(url: str) -> None:
    workers = [processes.Process(target=index_some, args=(url,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    store = Store(url)
    search = Search(store)
    assert tables(search) == {f"search_shared{n}" for n in range(5)}
    search.close()
    store.close()


# Over HTTP.


def test_books_are_found_over_http(client: httpx.Client) -> None:
    answer = client.get("/v1/books", params={"q": "dragons OF 1", "n": 3}).json()
    assert [book["book_id"] for book in answer["books"]] in ([1, 13, 17], [1, 17, 13])
    assert answer["books"][0] == {
        "book_id": 1, "title": "The dragons of 1", "authors": ["Author 0"], "series": None, "series_number": None,
        "year": 1900,
    }  # fmt: skip
    assert answer["model"]["name"] == "run"
    for query in HOSTILE[:-10]:
        assert client.get("/v1/books", params={"q": query}).status_code == 200
    for wrong in ({}, {"q": "x", "n": 0}, {"q": "x", "n": 201}, {"q": "x", "n": "y"}):
        assert client.get("/v1/books", params=wrong).json()["code"] == "request"


def test_search_changes_with_the_model_and_back(url: str, trained: Path, smaller: Path) -> None:
    gone = f"of {N_BOOKS}"
    with serving(ServiceSettings(database=url, rate=0), trained, smaller) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        client.headers["X-API-Key"] = make_key(service.store, "x", "admin")
        ask = lambda: client.get("/v1/books", params={"q": gone, "n": 1}).json()  # noqa: E731
        assert ask()["books"][0]["book_id"] == N_BOOKS
        client.post("/v1/models/smaller/activate")
        assert (ask()["model"]["name"], [b["book_id"] for b in ask()["books"]]) == ("smaller", [])
        client.post("/v1/models/rollback")
        assert (ask()["model"]["name"], ask()["books"][0]["book_id"]) == ("run", N_BOOKS)
        with service.search._store.writing() as connection:  # as another process that sweeps would
            connection.execute(sa.delete(indexes))
            for name in tables(service.search) | {f"search_1_{service.models.active.version}"}:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
        assert ask()["books"][0]["book_id"] == N_BOOKS

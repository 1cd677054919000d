"""The readers' page as a browser without scripts has it: forms, and nothing kept that was not asked for."""

from __future__ import annotations

import contextlib
import html
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import sqlalchemy as sa
from conftest import serving
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import N_BOOKS, write_world

from shelfwise import Recommender, Rules
from shelfwise.errors import ShelfwiseError, StoreError, UsageError
from shelfwise.rules.feedback import ACTIONS
from shelfwise.service.keys import make_key
from shelfwise.service.pages.look import Look
from shelfwise.service.pages.memory import forget_absent
from shelfwise.service.pages.render import STATIC, static_path
from shelfwise.service.pages.texts import TEXTS
from shelfwise.service.pages.visit import Visit, after, moved
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import lists, responses

RATINGS = {"1": 5.0, "4": 2.0, "9": 4.0}
SHELF = Visit(RATINGS).text()
PAIRS = [(int(book), stars) for book, stars in RATINGS.items()]
PAGES = ("/", "/next", "/book/3", "/shelf")


@pytest.fixture(scope="module")
def client(trained: Path, tmp_path_factory: pytest.TempPathFactory):
    with serving(ServiceSettings(data_folder=tmp_path_factory.mktemp("data")), trained) as client:
        yield client


@pytest.fixture(scope="module")
def recommender(trained: Path) -> Recommender:
    return Recommender.load(trained)


def fields(page: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    form = page[page.index('<form id="said"') :]
    return {
        name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    }


def visit_of(page: str) -> Visit:
    return Visit.read(fields(page)["shelf"])


def listed(page: str) -> list[str]:
    return re.findall(r'id="listed-([^"]+)"', page)


def press(client: httpx.Client, path: str, do: str, shelf: str = SHELF, **more: str) -> str:
    """The page after a button is pressed on it."""
    answer = client.post(path, data={"shelf": shelf, "do": do, **more})
    assert answer.status_code == 200, answer.text
    return answer.text


@given(
    st.dictionaries(st.text(min_size=1, max_size=20), st.floats(0.5, 5)),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.text(max_size=20))),
)
def test_a_visit_is_read_as_it_was_written(ratings: dict[str, float], marks: list[tuple[str, str]]) -> None:
    visit = Visit(ratings, tuple(dict.fromkeys(marks)))
    assert Visit.read(visit.text()) == visit


@given(st.text(), st.text())
def test_whatever_comes_as_a_shelf_or_a_button_is_taken_or_refused(shelf: str, do: str) -> None:
    for attempt in (lambda: Visit.read(shelf), lambda: after(Visit(), do)):
        with contextlib.suppress(ShelfwiseError):
            assert isinstance(attempt(), Visit)


@given(st.dictionaries(st.sampled_from(["look", "language", "year_from", "variety", "fame", "tag"]), st.text()))
def test_controls_that_make_no_sense_stop_no_list(form: dict[str, str]) -> None:
    look = Look.read(form)
    assert isinstance(look.rules("all"), Rules)
    assert look.query() == "" or look.query().startswith("?look=1")


def test_what_undoes_undoes() -> None:
    visit = Visit(RATINGS)
    for action in ACTIONS:
        marked = after(visit, f"{action}:7")
        assert marked.marks == ((action, "7"),)
        assert after(marked, f"un-{action}:7") == visit
    assert after(visit, "rate:3:1").ratings["1"] == 3
    assert "1" not in after(visit, "unrate:1").ratings


RATED = st.dictionaries(st.sampled_from("123"), st.sampled_from([1.0, 5.0]))


@given(RATED, RATED)
def test_undo_leaves_what_another_tab_has_said(old: dict[str, float], new: dict[str, float]) -> None:
    marks = (("dismiss", "8"),)
    assert moved(Visit(new, marks), Visit(new, marks), Visit(old)) == Visit(old)
    with_more = Visit({**new, "9": 4.0}, (*marks, ("dismiss", "7")))
    assert moved(with_more, Visit(new, marks), Visit(old)) == Visit({**old, "9": 4.0}, (("dismiss", "7"),))


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_there_with_a_shelf_and_without(client: httpx.Client, path: str) -> None:
    without = client.get(path)
    with_shelf = client.post(path, data={"shelf": SHELF})
    for answer in (without, with_shelf):
        assert answer.status_code == 200
        policy = answer.headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert "script-src 'self'" in policy[0]
        assert "unsafe" not in policy[0]
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text)
        assert "style=" not in answer.text
        assert not re.search(r"<script(?! src=)", answer.text)
    assert visit_of(with_shelf.text) == Visit(RATINGS)
    assert visit_of(without.text) == Visit()


def test_a_part_is_what_changes_of_a_page(client: httpx.Client) -> None:
    part = client.post("/next?x=1", data={"shelf": SHELF, "look": "1", "variety": "2"}, headers={"HX-Request": "true"})
    assert "<html" not in part.text
    assert part.text.count("<main ") == 1
    assert part.headers["hx-push-url"] == "/next?look=1&variety=2"
    assert client.get(part.headers["hx-push-url"]).text.count('value="2"')


def test_the_list_is_that_of_the_python_api(client: httpx.Client, recommender: Recommender) -> None:
    page = client.post("/next", data={"shelf": SHELF}).text
    rules = Rules(first_unread=True, per_author=1)
    expected = recommender.recommend(ratings=PAIRS, n=12, rules=rules, why=True)
    books = listed(page)
    assert books[: len(expected)] == [str(book) for book in expected["book_id"]]
    assert len(books) == len(set(books))
    for reasons in expected["reasons"].to_list():
        for reason in reasons:
            assert html.escape(reason["text"], quote=False).replace("'", "&#39;") in page


def test_controls_change_the_list(client: httpx.Client, recommender: Recommender) -> None:
    page = client.post("/next", data={"shelf": SHELF, "look": "1", "year_from": "1910"}).text
    years = dict(zip(recommender.run.catalogue.books["book_id"], recommender.run.catalogue.books["year"], strict=True))
    assert listed(page)
    assert all(years[int(book)] >= 1910 for book in listed(page))
    assert TEXTS["list none"] in client.post("/next", data={"shelf": SHELF, "look": "1", "year_from": "2500"}).text


MESSAGES = [
    ("rate:4:3", "You gave "),
    ("unrate:1", "Your rating of "),
    ("dismiss:3", "will not come again"),
    ("to-read:3", "is on your list to read"),
    ("ignore:1", "is not used any more"),
    ("did-not-finish:3", "not finished"),
    ("read:3", "counts as read"),
    ("hide-author:Author 3", "No more books by Author 3"),
    ("un-dismiss:3", "Taken back"),
    ("clear", "Your shelf is empty"),
]


@pytest.mark.parametrize(("do", "said"), MESSAGES)
@pytest.mark.parametrize("path", ["/next", "/shelf"])
def test_each_button_says_what_it_did_and_can_be_undone(client: httpx.Client, path: str, do: str, said: str) -> None:
    page = press(client, path, do)
    assert said in html.unescape(page)
    undone = press(client, path, "undo", fields(page)["shelf"], undo=fields(page)["undo"])
    assert visit_of(undone) == Visit(RATINGS)
    assert TEXTS["undone"] in undone


def test_whatever_was_said_stands_on_the_shelf_and_can_be_taken_back(client: httpx.Client) -> None:
    marks = tuple((action, "Author 3" if action == "hide-author" else "3") for action in ACTIONS)
    page = html.unescape(client.post("/shelf", data={"shelf": Visit(RATINGS, marks).text()}).text)
    for action, subject in marks:
        assert TEXTS[f"mark {action}"] in page
        assert f'value="un-{action}:{subject}"' in page


def test_what_is_said_changes_the_list(client: httpx.Client) -> None:
    first = listed(client.post("/next", data={"shelf": SHELF}).text)[0]
    for do in (f"rate:5:{first}", f"dismiss:{first}", f"to-read:{first}"):
        assert first not in listed(press(client, "/next", do))
    page = client.post("/next", data={"shelf": SHELF}).text
    author = re.search(r'value="hide-author:([^"]+)"', page)
    assert author is not None
    assert f'hide-author:{author[1]}"' not in press(client, "/next", f"hide-author:{author[1]}")


def test_several_books_can_be_rated_at_once_and_stay_in_place(client: httpx.Client) -> None:
    page = client.get("/").text
    shown = json.loads(fields(page)["shown"])
    after_it = press(client, "/", f"rate:4:{shown[1]}", "", shown=json.dumps(shown))
    assert json.loads(fields(after_it)["shown"]) == shown
    assert visit_of(after_it).ratings == {shown[1]: 4.0}
    assert 'aria-pressed="true"' in after_it


def test_one_book(client: httpx.Client) -> None:
    page = client.post("/book/3", data={"shelf": SHELF}).text
    assert TEXTS["why"] in page
    assert TEXTS["similar"] in page
    assert TEXTS["like you"] in page
    assert "stars on average" in page
    assert TEXTS["why"] not in client.get("/book/3").text
    assert TEXTS["did rate"].split("{")[0] in press(client, "/book/3", "rate:5:3")


def test_the_shelf_tells_guesses_that_do_not_know_the_answer(client: httpx.Client, recommender: Recommender) -> None:
    page = client.post("/shelf", data={"shelf": SHELF}).text
    guessed = re.findall(r"we would have guessed (\d(?:\.\d)?)", page)
    expected = []
    for book in RATINGS:
        others = [pair for pair in PAIRS if pair[0] != int(book)]
        listed_all = recommender.recommend(ratings=others, n=N_BOOKS)
        expected.append(listed_all.filter(listed_all["book_id"] == int(book))["stars"][0])
    assert [float(one) for one in guessed] == pytest.approx(expected[::-1], abs=0.051)
    assert "You usually give 3.7 stars" in page


def test_ratings_come_back_as_a_file(client: httpx.Client, recommender: Recommender, tmp_path: Path) -> None:
    answer = client.post("/shelf.csv", data={"shelf": SHELF})
    assert "attachment" in answer.headers["content-disposition"]
    (tmp_path / "mine.csv").write_bytes(answer.content)
    assert recommender.read_shelf(tmp_path / "mine.csv", "catalogue").shelves.lengths.tolist() == [3]


def test_a_shared_list_says_nothing_of_the_shelf(client: httpx.Client) -> None:
    page = client.post("/next", data={"shelf": SHELF}).text
    link = re.search(r'href="(/shared\?[^"]+)"', page)
    assert link is not None
    shared = client.get(html.unescape(link[1])).text
    assert re.findall(r'id="small-([^"]+)"', shared) == re.findall(r"b=(\d+)", link[1])
    assert "Because you gave" not in shared
    assert visit_of(shared) == Visit()
    assert client.get("/shared?b=nothing&b=here").status_code == 404


@pytest.mark.parametrize(
    ("path", "data", "status", "words"),
    [
        ("/next", {"shelf": "{broken"}, 422, "cannot be read"),
        ("/next", {"shelf": SHELF, "do": "rate:9:3"}, 422, "not on the scale"),
        ("/next", {"shelf": SHELF, "do": "explode:3"}, 422, "nothing is called"),
        ("/next", {"shelf": SHELF, "do": "take:3"}, 422, "nothing is called"),
        ("/next", {"shelf": Visit({str(n): 4.0 for n in range(10_001)}).text()}, 413, "a shelf of 10,001 books"),
        ("/book/nothing", {"shelf": SHELF}, 404, "there is no book"),
    ],
)
def test_faults_are_told_in_words(
    client: httpx.Client, path: str, data: dict[str, str], status: int, words: str
) -> None:
    answer = client.post(path, data=data)
    assert answer.status_code == status
    assert words in answer.text
    assert "text/html" in answer.headers["content-type"]
    part = client.post(path, data=data, headers={"HX-Request": "true"})
    assert part.status_code == 200  # a part with another status would not be shown
    assert words in part.text


def test_a_page_that_is_not_there(client: httpx.Client) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert TEXTS["sorry not-found"] in answer.text
    assert client.get("/v1/nowhere").headers["content-type"] == "application/problem+json"
    assert client.get("/static/..%2Frender.py").status_code == 404


def test_ratings_of_books_that_are_not_here_are_kept_but_not_used(client: httpx.Client) -> None:
    strange = Visit({**RATINGS, "no such book": 4.0, "2": 4.4}).text()
    page = client.post("/next", data={"shelf": strange}).text
    assert listed(page) == listed(client.post("/next", data={"shelf": SHELF}).text) or "2" in listed(page)
    assert visit_of(page).ratings["no such book"] == 4


def test_titles_are_text_and_nothing_else(tmp_path: Path) -> None:
    from tiny_world import train_on

    from shelfwise.artifact import save_run

    world = write_world(tmp_path / "world")
    nasty = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7 * 7 }}'
    text = (world / "books.csv").read_text()
    rows = text.splitlines()
    rows[3] = f'3,"{nasty.replace(chr(34), chr(34) * 2)}","Author <b>2</b>",1902'
    (world / "books.csv").write_text("\n".join(rows) + "\n")
    save_run(train_on(world), tmp_path / "run")
    with serving(ServiceSettings(data_folder=tmp_path / "data"), tmp_path / "run") as client:
        shelf = Visit({"3": 5.0}, (("hide-author", nasty),)).text()
        for path in ("/", "/next", "/book/3", "/shelf", "/shared?b=3"):
            page = client.get(path).text if "?" in path else client.post(path, data={"shelf": shelf}).text
            assert "<script>alert" not in page
            assert "<img src=x" not in page
            assert "<b>2" not in page
            assert "49" not in re.findall(r"onerror=alert\(2\)&gt;(\d*)", page)


def test_pages_are_light_whatever_is_on_the_shelf(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, run: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("shelfwise.service.routes.pages.ROWS", 6)  # of the 20 books; elsewhere 25 of many
    marks = tuple(("dismiss", f"book {n}") for n in range(300))
    shelf = Visit({str(n): 1.0 + n % 5 for n in range(1, 1001)}, marks).text()
    files = sum((STATIC / name).stat().st_size for name in ("page.css", "page.js", "htmx-2.0.11.min.js"))
    for path in PAGES:
        page = client.post(path, data={"shelf": shelf}).text
        without_covers = re.sub(r"<svg.*?</svg>", "", page)
        assert len(without_covers.encode()) + files < 150_000, path


def test_a_long_shelf_comes_in_parts(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfwise.service.routes.pages.ROWS", 6)
    shelf = Visit({str(n): 4.0 for n in range(1, 15)}, tuple(("dismiss", str(n)) for n in range(15, 21))).text()
    rows = [
        re.findall(r'id="row-(\d+)"', client.post("/shelf", data={"shelf": shelf, "to_row": row}).text)
        for row in ("0", "6", "12", "-6", "999")
    ]
    assert [book for part in rows[:3] for book in part] == [str(n) for n in range(14, 0, -1)]
    assert rows[3:] == [rows[0], rows[2]]
    after_it = press(client, "/shelf", "unrate:2", shelf, row="12")
    assert re.findall(r'id="row-(\d+)"', after_it) == ["1"]  # it stays where it was
    marks = Visit({}, tuple(("dismiss", str(n)) for n in range(1, 10))).text()
    assert client.post("/shelf", data={"shelf": marks}).text.count('value="un-dismiss') == 6
    assert client.post("/shelf", data={"shelf": marks, "all_marks": "1"}).text.count('value="un-dismiss') == 9


def test_what_was_not_finished_counts_everywhere_alike(client: httpx.Client, recommender: Recommender) -> None:
    marks = (("did-not-finish", "3"), ("ignore", "4"))
    shelf = Visit(RATINGS, marks).text()
    feedback = recommender.feedback_of([("x", action, int(book)) for action, book in marks])
    lists = recommender.recommend_all(
        pl.Series(["x"]), recommender.shelves_of({"x": PAIRS}), n=N_BOOKS, feedback=feedback, ranges=True
    )
    expected = {str(row["book_id"]): row for row in pl.concat(lists).iter_rows(named=True)}
    told = r"You would probably give it (\d)(?: to (\d))? star"
    plain = 0
    for book in ("2", "5", "7", "8"):
        low, high = re.findall(told, client.post(f"/book/{book}", data={"shelf": shelf}).text)[0]
        row = expected[book]
        assert (float(low), float(high or low)) == (row["low"], row["high"])
        before = client.post(f"/book/{book}", data={"shelf": SHELF}).text
        plain += re.findall(told, before)[0] == (low, high)
    guessed = [
        re.findall(r"we would have guessed (\d(?:\.\d)?)", client.post("/shelf", data={"shelf": one}).text)
        for one in (Visit(RATINGS, marks[:1]).text(), SHELF)
    ]
    assert guessed[0] != guessed[1]  # they know of the book that was not finished
    page = html.unescape(client.post("/book/7", data={"shelf": Visit({"1": 5.0, "11": 5.0}, marks[:1]).text()}).text)
    assert "The detective of 3: you did not finish it." in page
    assert "The detective of 3: you gave it" not in page
    reasons = html.unescape(client.post("/next", data={"shelf": Visit({"1": 5.0}, marks[:1]).text()}).text)
    assert "gave The detective of 3" not in reasons


def test_lists_are_kept_as_those_of_the_api_and_not_more(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client:
        service = client.app.state.service
        page = client.post("/next", data={"shelf": SHELF}).text
        held, book = fields(page), listed(page)[0]
        client.post(f"/book/{book}", data=held)
        after_it = press(client, "/next", f"rate:5:{book}", **{**held, "shelf": SHELF})
        press(client, "/next", f"dismiss:{listed(after_it)[0]}", lists=fields(after_it)["lists"])
        service.lists.close()
        with service.store.reading() as connection:
            rows = connection.execute(sa.select(lists)).all()
            done = connection.execute(sa.select(responses)).all()
        assert {row.kind for row in rows} == {"all/blend", "continue/blend", "new/blend"}
        assert len(rows) == 9
        assert all(row.reader_id is None for row in rows)
        assert sorted(json.loads(rows[1].books)) == sorted(set(json.loads(rows[1].books)))
        assert {(row.book_id, row.action, row.stars) for row in done} == {
            (book, "opened", None),  # that it was rated is nobody's business
            (listed(after_it)[0], "dismissed", None),
        }


def test_of_who_is_remembered_lists_and_stars_are_kept_until_they_leave(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client:
        service = client.app.state.service
        press(client, "/shelf", "remember")
        page = client.post("/next", data={"shelf": SHELF}).text
        book = listed(page)[0]
        press(client, "/next", f"rate:5:{book}", lists=fields(page)["lists"])
        deadline = time.monotonic() + 20
        while not service.store.counts()["responses"] and time.monotonic() < deadline:
            time.sleep(0.05)
        kept_of = service.store.export(store_reader(service.store))
        assert [(one["book_id"], one["action"], one["stars"]) for one in kept_of["responses"]] == [(book, "rated", 5.0)]
        press(client, "/shelf", "clear")
        service.lists.close()
        counts = service.store.counts()
        assert {name: counts[name] for name in ("readers", "ratings", "lists", "responses")} == dict.fromkeys(
            ("readers", "ratings", "lists", "responses"), 0
        )


def test_no_list_is_kept_where_none_are_wanted(trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path, feedback_days=0), trained) as client:
        page = client.post("/next", data={"shelf": SHELF}).text
        assert TEXTS["footer counted"] not in page
        client.app.state.service.lists.close()
        assert client.app.state.service.store.counts()["lists"] == 0


def test_a_shelf_that_nobody_comes_back_for_is_forgotten(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day, start = 86_400, time.time()
    at = lambda days: monkeypatch.setattr(time, "time", lambda: start + days * day)  # noqa: E731
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client:
        service = client.app.state.service
        service.lists.close()  # which would sweep by this clock
        store = service.store
        page = client.post("/shelf", data={"shelf": SHELF}).text
        assert "If you do not come back for 365 days, it is deleted here." in page
        press(client, "/shelf", "remember")
        token = client.cookies["shelfwise-reader"]
        store.add_reader("of an app")
        at(300)
        assert visit_of(client.get("/shelf").text) == Visit(
            RATINGS
        )  # a visit: it counts from now, and so does the cookie
        at(600)
        forget_absent(store, 365, time.time())
        assert visit_of(client.get("/shelf").text) == Visit(RATINGS)
        at(966)
        mine = {"Cookie": f"shelfwise-reader={token}"}
        assert visit_of(client.get("/shelf", headers=mine).text) == Visit()  # even before it is swept
        forget_absent(store, 0, time.time())
        assert kept(store)["ratings"] == 3
        forget_absent(store, 365, time.time())
        assert kept(store) == {"readers": 1, "ratings": 0, "marks": 0}  # an app's readers stay
        at(0)


def test_faults_before_any_route_are_pages_too(client: httpx.Client) -> None:
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for path, more, status, code in (
        ("/import", {"content": b"rubbish", "headers": broken}, 400, "request"),
        ("/import", {"content": b"rubbish", "headers": {"content-type": "multipart/form-data"}}, 400, "request"),
        ("/import", {"data": {"shelf": SHELF}}, 422, "usage"),
        ("/import", {"files": [("file", b"a"), ("file", b"b")]}, 400, "request"),
        ("/next", {"content": b"x" * 2_100_000}, 413, "too-large"),
        ("/import", {"content": b"x" * 20_100_000}, 413, "too-large"),
        ("/next", {"headers": {"Origin": "https://elsewhere.example"}}, 403, "key-role"),
    ):
        answer = client.post(path, **more)
        assert answer.status_code == status
        assert TEXTS[f"sorry {code}"] in html.unescape(answer.text)
        assert TEXTS["home"] in answer.text
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        part = client.post(path, **{**more, "headers": {**more.get("headers", {}), "HX-Request": "true"}})
        assert part.status_code == 200  # or htmx would not show it
        assert part.headers["hx-retarget"] == "#page"
        assert part.text.count("<main ") == 1
    assert client.post("/v1/recommendations", content=b"x" * 2_100_000).json()["code"] == "too-large"


def test_a_fault_loses_no_shelf(client: httpx.Client) -> None:
    for answer in (client.post("/next", data={"shelf": SHELF, "do": "rate:9:3"}), sent(client, b"a,b\n", shelf=SHELF)):
        held = re.search(r'name="shelf" value="([^"]*)"', answer.text)
        assert held is not None
        assert Visit.read(html.unescape(held[1])) == Visit(RATINGS)


def test_a_store_that_fails_is_told_and_asked_again(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store = client.app.state.service.store
    press(client, "/shelf", "remember")

    def busy(_: str) -> None:
        raise StoreError("its log is kept", hint="delete again")

    with monkeypatch.context() as patch:
        patch.setattr(store, "erase", busy)
        answer = client.post("/shelf", data={"shelf": SHELF, "do": "clear"})
        assert answer.status_code == 503
        assert TEXTS["sorry store"] in html.unescape(answer.text)
    press(client, "/shelf", "clear")  # the cookie is still there
    assert kept(store)["readers"] == 0


def test_a_long_file_says_how_far_it_is(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Watch(dict[str, tuple[int, int]]):
        def __setitem__(self, ticket: str, rows: tuple[int, int]) -> None:
            seen.append(rows)
            super().__setitem__(ticket, rows)
            assert client.get(f"/import/{ticket}").text == f"Reading your file: {rows[0]} of {rows[1]} rows …"

    service = client.app.state.service
    monkeypatch.setattr(service, "rows_read", Watch())
    sent(client, FILE + "A stranger,Nobody,,4,read\n" * 146, ticket="mine")
    assert seen == [(0, 150), (50, 150), (100, 150)]
    assert client.get("/import/mine").text == TEXTS["reading"]
    assert not service.rows_read


def test_invented_methods_make_no_metrics(client: httpx.Client) -> None:
    for method in ("BREW", "x" * 50):
        client.request(method, "/next")
    text = client.app.state.service.metrics.text(client.app.state.service.models).decode()
    assert "BREW" not in text
    assert 'method="other"' in text


def test_files_are_those_that_are_listed() -> None:
    import hashlib

    words = (STATIC / "VENDORED.md").read_text()
    digest = hashlib.sha256((STATIC / "htmx-2.0.11.min.js").read_bytes()).hexdigest()
    assert digest in words
    assert static_path("page.js").startswith("/static/page.js?")


# A file.

FILE = """Title,Author,ISBN,Rating,Status
The dragons of 1,Author 0,,5,read
The harbour of 2,,,2,read
The detective of 3,Author 2,,,to-read
A stranger,Nobody,,4,read
"""


def sent(client: httpx.Client, content: str | bytes = FILE, **more: str) -> httpx.Response:
    return client.post("/import", files={"file": ("mine.csv", content)}, data=more)


def test_a_file_is_reviewed_and_then_put_on_the_shelf(client: httpx.Client) -> None:
    page = sent(client, shelf=Visit({"9": 4.0}).text()).text
    assert "4 rows: 2 found, 1 for you to decide, 1 not among the books here, 0 unreadable." in html.unescape(page)
    assert "A stranger" in page  # nothing is dropped in silence
    held = fields(page)
    assert visit_of(page) == Visit({"9": 4.0})
    assert Visit.read(held["imported"]) == Visit({"1": 5.0}, (("to-read", "3"),))
    row = re.search(r'name="row\.(\d+)" value="([^"]*)"', page)
    assert row is not None
    told = {"row." + row[1]: html.unescape(row[2]), "choice." + row[1]: "2"}
    put = press(client, "/next", "take", held["shelf"], imported=held["imported"], **told)
    assert visit_of(put) == Visit({"9": 4.0, "1": 5.0, "2": 2.0}, (("to-read", "3"),))
    assert "3 books of your file on your shelf." in put
    none = press(
        client, "/next", "take", held["shelf"], imported=held["imported"], **{**told, "choice." + row[1]: "none"}
    )
    assert visit_of(none) == Visit({"9": 4.0, "1": 5.0}, (("to-read", "3"),))
    assert visit_of(press(client, "/next", "undo", fields(put)["shelf"], undo=fields(put)["undo"])) == Visit({"9": 4.0})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n", "column"),
        (b"Title,Author,Rating\nWho knows,Nobody,4\n", TEXTS["import nothing"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "sorry"),
    ],
)
def test_a_file_that_is_none_is_told_in_words(client: httpx.Client, content: bytes, words: str) -> None:
    answer = sent(client, content)
    assert answer.status_code in (200, 422)
    assert words in answer.text.lower() or words in answer.text or TEXTS["sorry"] in answer.text


def test_choices_that_make_no_sense_are_refused(client: httpx.Client) -> None:
    for told in ({"choice.2": "1", "row.2": "nonsense"}, {"choice.2": "no such book", "row.2": "[4,null]"}):
        answer = client.post("/next", data={"do": "take", "imported": SHELF, **told})
        assert answer.status_code == 422
    assert client.post("/import", data={"shelf": SHELF}).status_code == 422


# Kept only if asked for.


def test_a_shelf_is_remembered_only_if_asked_for(client: httpx.Client) -> None:
    store = client.app.state.service.store
    before = kept(store)
    client.post("/next", data={"shelf": SHELF})
    assert kept(store) == before
    page = press(client, "/shelf", "remember", Visit(RATINGS, (("dismiss", "3"),)).text())
    assert TEXTS["did remember"] in page
    cookie = next(c for c in client.cookies.jar if c.name == "shelfwise-reader")
    assert "HttpOnly" in cookie._rest
    assert cookie._rest["SameSite"] == "strict"
    assert cookie.value not in json.dumps(store.export(store_reader(store)), default=str)
    assert visit_of(client.get("/next").text) == Visit(RATINGS, (("dismiss", "3"),))
    press(client, "/next", "rate:3:7", Visit(RATINGS, (("dismiss", "3"),)).text())
    press(client, "/shelf", "unrate:1", visit_text(client))
    press(client, "/shelf", "un-dismiss:3", visit_text(client))
    assert visit_of(client.get("/shelf").text) == Visit({"4": 2.0, "7": 3.0, "9": 4.0})
    page = press(client, "/shelf", "forget", visit_text(client))
    assert TEXTS["did forget"] in page
    assert kept(store) == before
    assert visit_of(client.get("/shelf").text) == Visit()


def kept(store: Any) -> dict[str, int]:
    """Rows of what is kept of readers; lists are counted without them."""
    return {name: n for name, n in store.counts().items() if name in ("readers", "ratings", "marks")}


def store_reader(store: object) -> str:
    import sqlalchemy as sa

    from shelfwise.service.store import readers

    with store.reading() as connection:  # type: ignore[attr-defined]
        return connection.execute(sa.select(readers.c.reader_id)).scalars().one()


def visit_text(client: httpx.Client) -> str:
    return visit_of(client.get("/shelf").text).text()


def test_deleting_everything_deletes_it_here_too(client: httpx.Client) -> None:
    store = client.app.state.service.store
    before = kept(store)
    press(client, "/shelf", "remember")
    assert kept(store) != before
    press(client, "/shelf", "clear")
    assert kept(store) == before


def test_a_link_says_nothing(client: httpx.Client) -> None:
    page = client.get("/shelf", params={"shelf": SHELF, "do": "rate:5:3", "undo": SHELF, "stars.4": "5"}).text
    assert visit_of(page) == Visit()
    press(client, "/shelf", "remember")
    for do in ("clear", "forget", "rate:1:3"):
        assert visit_of(client.get("/shelf", params={"do": do}).text) == Visit(RATINGS)
    press(client, "/shelf", "clear")


def test_another_tab_loses_nothing_that_is_remembered(client: httpx.Client) -> None:
    press(client, "/shelf", "remember", Visit({"1": 5.0}).text())
    press(client, "/", "rate:4:2", Visit({"1": 5.0}).text())
    old_tab = press(client, "/", "rate:3:3", Visit({"1": 5.0}).text())
    assert visit_of(old_tab) == Visit({"1": 5.0, "2": 4.0, "3": 3.0})
    client.post("/search", data={"shelf": Visit().text(), "q": "dragons"})
    undone = press(client, "/", "undo", fields(old_tab)["shelf"], undo=fields(old_tab)["undo"])
    assert visit_of(undone) == Visit({"1": 5.0, "2": 4.0})
    for book in ("1", "2"):
        page = press(client, "/shelf", f"unrate:{book}", SHELF)
    assert TEXTS["forget"] in page  # an empty shelf is still a remembered one
    press(client, "/", "rate:4:7", Visit().text())
    assert visit_of(client.get("/shelf").text) == Visit({"7": 4.0})
    press(client, "/shelf", "clear")


def test_ratings_that_are_not_used_are_used_nowhere(client: httpx.Client) -> None:
    ignored, without = Visit(RATINGS, (("ignore", "4"),)).text(), Visit({"1": 5.0, "9": 4.0}).text()
    told = r"You would probably give it [^<]+|stars? on average|You usually give [^<]+"
    for path in ("/book/3", "/shelf"):
        pages = [client.post(path, data={"shelf": shelf}).text for shelf in (ignored, without)]
        assert re.findall(told, pages[0]) == re.findall(told, pages[1])


def test_other_sites_cannot_press_buttons(client: httpx.Client) -> None:
    answer = client.post(
        "/shelf", data={"shelf": SHELF, "do": "clear"}, headers={"Origin": "https://elsewhere.example"}
    )
    assert answer.status_code == 403


# The operator's view.


def keyed(store: Any) -> dict[str, str]:
    return {"X-API-Key": make_key(store, "app", "read")}


@pytest.fixture
def operator(run: Path, smaller: Path, tmp_path: Path):
    with serving(ServiceSettings(data_folder=tmp_path / "data"), run, smaller) as client:
        client.follow_redirects = True
        yield client


def test_the_operators_view_needs_an_admins_key(operator: httpx.Client) -> None:
    store = operator.app.state.service.store
    assert TEXTS["operator key"] in operator.get("/operator").text
    assert operator.get("/operator/report/run").status_code == 401
    for key in ("wrong", make_key(store, "reads", "read")):
        assert TEXTS["operator wrong"] in operator.post("/operator", data={"key": key}).text
    page = operator.post("/operator", data={"key": make_key(store, "boss", "admin")}).text
    assert TEXTS["operator models"] in page
    assert "GET /operator" in page
    listed_there = operator.post("/v1/recommendations", json={"ratings": [], "n": 3}, headers=keyed(store)).json()
    opened = {"events": [{"book_id": listed_there["books"][0]["book_id"], "event": "opened"}]}
    operator.post(f"/v1/recommendations/{listed_there['recommendation_id']}/events", json=opened, headers=keyed(store))
    sent(operator)
    sent(operator, b"a,b\n1,2\n")
    page = operator.get("/operator").text
    assert "33.3" in page
    assert "1 × a plain table" in page
    assert "1 × refused: " in page
    assert "without" in page
    hit = operator.app.state.service.models.active.recommender.run.report["results"][0]["measures"]["stars"]["hit"]
    assert f"<td>{100 * hit:.1f}</td>" in page
    report = operator.get("/operator/report/run")
    assert report.status_code == 200
    assert "script" not in report.headers["content-security-policy"]
    page = operator.post("/operator/activate/smaller").text
    assert operator.app.state.service.models.active.name == "smaller"
    assert TEXTS["operator back"] in page
    operator.post("/operator/rollback")
    assert operator.app.state.service.models.active.name == "run"
    assert TEXTS["operator key"] in operator.post("/operator/leave").text


def test_pages_are_limited_by_address_where_others_can_ask(run: Path, tmp_path: Path) -> None:
    settings = ServiceSettings(data_folder=tmp_path / "data", rate=0.001, burst=3)
    with serving(settings, run) as client:
        make_key(client.app.state.service.store, "someone", "read")
        client.app.state.service._private = (0.0, False)
        codes = [client.get("/next").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_behind_a_proxy_it_goes_by_its_own_name(run: Path, tmp_path: Path) -> None:
    settings = ServiceSettings.parse({"data_folder": tmp_path / "data", "names": "books.example, b.example"})
    with pytest.raises(UsageError, match="no key was made"), serving(settings, run):
        pass
    with serving(settings.model_copy(update={"allow_open": True}), run) as client:
        there = {"Host": "books.example", "Origin": "https://books.example"}
        assert client.post("/next", data={"shelf": SHELF}, headers=there).status_code == 200
        assert client.post("/next", headers=there | {"Origin": "https://b.example"}).status_code == 403
        assert client.get("/next", headers={"Host": "rebound.example"}).status_code == 403


# Texts.


def test_search_on_the_page(client: httpx.Client) -> None:
    part = client.post("/search", data={"shelf": SHELF, "q": "harbuor of 2"}, headers={"HX-Request": "true"})
    assert re.findall(r'id="found-(\d+)"', part.text)[0] == "2"
    assert "<main" not in part.text
    assert 'id="found-2"' in client.post("/", data={"shelf": SHELF, "q": "harbour of 2"}).text
    assert "No book here goes by" in client.post("/search", data={"q": "<b>zzzz"}).text
    assert "<b>zzzz" not in client.post("/search", data={"q": "<b>zzzz"}).text

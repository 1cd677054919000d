"""Every text of the page is shown to somebody: a walk that presses each kind of button there is, and makes each fault.

One test, so that all of it is seen by one process whatever runs the tests.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import serving
from test_pages import RATINGS, fields, press, sent
from tiny_world import N_BOOKS, train_on, write_world

from shelfwise.artifact import save_run
from shelfwise.errors import StoreError, StoreFullError
from shelfwise.rules.feedback import ACTIONS
from shelfwise.service.keys import make_key
from shelfwise.service.pages import texts
from shelfwise.service.pages.visit import Visit
from shelfwise.service.settings import ServiceSettings

TABLE = """Title,Author,ISBN,Rating,Status
The harbour of 1,Author 0,,5,read
The harbour of 1,Author 0,,4,read
The harbour of 2,,,2,read
The harbour of 10,Author 4,9999999999999,3.5,read
The detective of 11,Author 0,,good,read
A stranger,Nobody,,4,read
,,,x,
"""
SMALL = {"epochs": 1, "taste": 1.0, "about_dim": 4, "coreading_dim": 4}


class Recorder(dict[str, str]):
    """TEXTS that remember which of them were said."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__(texts)
        self.said: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.said.add(key)
        return super().__getitem__(key)


def series_of_a_world(folder: Path) -> Path:
    """A world with a series of six volumes, a book without author, and one that nobody has rated."""
    world = write_world(folder, books=range(1, N_BOOKS + 2))
    lines = (world / "books.csv").read_text().splitlines()
    for place in range(1, 7):
        lines[place] = f'{place},"The harbour of {place} (Harbour, #{place})",Author 0,{1900 + place}'
    lines[7] = '7,"Nameless harbour",,-700'
    tags = [f"{book},subject {book % 4},9" for book in range(1, N_BOOKS + 2)]
    (world / "tags.csv").write_text("\n".join(["book_id,tag,count", *tags]) + "\n")
    (world / "books.csv").write_text("\n".join(lines) + "\n")
    return world


def buttons(page: str) -> Iterator[dict[str, str]]:
    """The buttons of a page's form: where each goes, and what it says."""
    for tag in re.findall(r"<button\b[^>]*>", page):
        if "form=" in tag.replace("formaction=", "") or "disabled" in tag:
            continue
        found = {name: html.unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if "do" in tag or "formaction" in found or "name" in found:
            yield found


def kind_of(here: str, button: dict[str, str]) -> tuple[str, ...]:
    """Which buttons do the same: those that differ only in the book."""
    verb = button.get("value", "").partition(":")[0] if button.get("name") == "do" else ""
    goes = button.get("formaction", here)
    return here, "/book" if goes.startswith("/book") else goes, button.get("name", ""), verb


def walk(client: httpx.Client, start: dict[str, str]) -> None:
    """Press each kind of button on each kind of page once, from each page that is reached first."""
    done: set[tuple[str, ...]] = set()
    todo: list[tuple[str, dict[str, str]]] = [("/", start)]
    while todo:
        path, data = todo.pop()
        answer = client.post(path, data=data)
        assert answer.status_code == 200, (path, data, answer.text)
        held, here = fields(answer.text), "/book" if path.startswith("/book") else path
        for button in buttons(answer.text):
            if kind_of(here, button) not in done:
                done.add(kind_of(here, button))
                more = {button["name"]: button.get("value", "")} if "name" in button else {}
                todo.append((button.get("formaction", path), {**held, **more}))
    assert len(done) > 20  # it did go somewhere


def faults(client: httpx.Client, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can go wrong."""
    shelf = Visit(RATINGS).text()
    assert client.get("/nowhere").status_code == 404
    assert client.get("/book/nothing").status_code == 404
    assert sent(client, b"\x00" * 100).status_code == 422
    assert sent(client, b"a,b\n1,2\n").status_code == 422
    assert client.post("/next", data={"shelf": "{broken"}).status_code == 422
    assert client.post("/import", data={"shelf": shelf}).status_code == 422
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/import", content=b"rubbish", headers=broken).status_code == 400
    assert client.post("/next", content=b"x" * 2_100_000).status_code == 413
    assert client.post("/next", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert client.get("/operator/report/run").status_code == 401
    for error, status in ((StoreError("away"), 503), (StoreFullError("full"), 507), (ZeroDivisionError(), 500)):
        with monkeypatch.context() as patch:
            patch.setattr("shelfwise.service.pages.turn.recall", raises(error))
            patch.setattr("shelfwise.service.pages.turn.reader_of", lambda _: "page-x")
            assert client.post("/next", data={"shelf": shelf}).status_code == status
    with monkeypatch.context() as patch:
        patch.setattr(service, "is_private", raises_not)
        patch.setattr(service.buckets, "take", lambda _: False)
        assert client.get("/").status_code == 429


async def raises_not() -> bool:
    return False


def raises(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def operate(client: httpx.Client, store: Any) -> None:
    client.get("/operator")
    client.post("/operator", data={"key": "wrong"})
    client.post("/operator", data={"key": make_key(store, "boss", "admin")})
    client.app.state.service.lists.flush()  # type: ignore[attr-defined]
    client.get("/operator")
    client.post("/operator/activate/other")
    client.get("/operator")
    client.post("/operator/leave")


def test_every_text_is_shown_to_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(texts.TEXTS)
    monkeypatch.setattr(texts, "TEXTS", recorder)
    world = series_of_a_world(tmp_path / "world")
    for name, settings in (("run", {"model": "shelf", "settings": SMALL}), ("other", {})):
        save_run(train_on(world, **settings), tmp_path / name)
    service_settings = ServiceSettings(data_folder=tmp_path / "data")
    with serving(service_settings, tmp_path / "run", tmp_path / "other") as client:
        client.follow_redirects = True
        service = client.app.state.service  # type: ignore[attr-defined]
        monkeypatch.setattr("shelfwise.service.routes.pages.ROWS", 10)
        many = Visit({str(book): (5.0, 1.0, 4.0, 3.0)[book % 4] for book in range(1, 19)} | {"gone": 4.0})
        marks = tuple((action, "Author 3" if action == "hide-author" else "19") for action in ACTIONS)
        marks += tuple(("dismiss", f"gone {n}") for n in range(30))
        walk(client, {})
        walk(client, {"shelf": many.text(), "q": "harbour", "do": "rate:5:2"})
        press(client, "/shelf", "clear")
        client.post("/search", data={"q": "zzzz"})
        client.post("/shelf", data={"shelf": Visit(many.ratings, marks).text()})
        for visit in (Visit({"1": 5.0}), Visit({"9": 1.0}), Visit(RATINGS, marks), many):
            for path in ("/", "/next", "/shelf", "/book/2", "/book/8", f"/book/{N_BOOKS + 1}"):
                client.post(path, data={"shelf": visit.text()})
        client.post("/next", data={"shelf": many.text(), "look": "1", "year_from": "2500"})
        for action in ACTIONS:
            press(client, "/shelf", f"{action}:3")
            press(client, "/shelf", f"un-{action}:3")
        shared = re.search(r'href="(/shared[^"]+)"', client.post("/next", data={"shelf": many.text()}).text)
        assert shared is not None
        client.get(html.unescape(shared[1]))
        page = sent(client, TABLE).text
        assert "Row 8" in page
        press(client, "/next", "take", imported=fields(page)["imported"])
        sent(client, "Book Id,Title,Author,My Rating,Exclusive Shelf\n1,Who knows,Nobody,4,read\n")
        sent(client, "Title,Author,Rating\nWho knows,Nobody,4\n")
        with monkeypatch.context() as patch:
            patch.setattr("shelfwise.models.blocks.RANGE_HOLDS", 0.01)
            patch.setattr("shelfwise.service.pages.view.LEAST_MOVE", 10.0)
            client.post("/book/20", data={"shelf": many.text()})
        with monkeypatch.context() as patch:
            patch.setattr("shelfwise.reasons.explanation.LEAST_TIE", 10.0)
            client.post("/book/20", data={"shelf": many.text()})
        service.rows_read["half"] = (50, 100)
        assert client.get("/import/half").text == "Reading your file: 50 of 100 rows …"
        operate(client, service.store)
        faults(client, service, monkeypatch)
    with serving(ServiceSettings(data_folder=tmp_path / "data2"), tmp_path / "other") as client:  # stars without ranges
        client.follow_redirects = True
        key = make_key(client.app.state.service.store, "boss", "admin")  # type: ignore[attr-defined]
        client.post("/operator", data={"key": key})
        client.post("/next", data={"shelf": Visit({"9": 4.0}).text()})
    unseen = sorted(set(texts.TEXTS) - recorder.said)
    assert not unseen, ", ".join(unseen)

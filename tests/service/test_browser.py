"""The readers' page in a real browser, on a desk and on a phone: Debian's chromium, or what SHELFWISE_BROWSER names.

Skipped, aloud, where there is none, unless SHELFWISE_BROWSER is 'required'. Screenshots go to SHELFWISE_SCREENSHOTS.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import serving
from tiny_world import train_on, write_world

from shelfwise.artifact import save_run
from shelfwise.service.keys import make_key
from shelfwise.service.pages.texts import TEXTS
from shelfwise.service.settings import ServiceSettings

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

WIDTHS = {"desk": {"width": 1200, "height": 900}, "phone": {"width": 390, "height": 844}}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
STARS = (5, 4, 5, 2, 5, 3)
SCREENSHOTS = os.environ.get("SHELFWISE_SCREENSHOTS", "")
WATCH = "document.addEventListener('securitypolicyviolation', e => console.error('POLICY ' + e.violatedDirective))"


def _browser_path() -> str:
    wanted = os.environ.get("SHELFWISE_BROWSER", "")
    found = shutil.which("chromium") if wanted in ("", "required") else wanted
    if found:
        return found
    if wanted == "required":
        pytest.fail("no chromium here, and SHELFWISE_BROWSER requires one: apt-get install chromium")
    pytest.skip("no chromium here: apt-get install chromium, or name a browser in SHELFWISE_BROWSER")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = _browser_path()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def client(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(ServiceSettings(data_folder=tmp_path_factory.mktemp("data")), trained) as client:
        yield client


class Visitor:
    """A browser with nothing in its storage. complaints  what its console says, and what its policy refuses."""

    def __init__(self, browser: Any, client: httpx.Client, width: str, **more: Any) -> None:
        self.width, self.address = width, str(client.base_url)
        self.context = browser.new_context(viewport=WIDTHS[width], base_url=self.address, **more)
        self.context.add_init_script(WATCH)
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self._complain(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("DIALOG"), dialog.dismiss()))
        self.page.on("request", self._asked)

    def _complain(self, text: str) -> None:
        if not (
            SCREENSHOTS and ("inline style" in text or "POLICY style-src" in text)
        ):  # taking one adds an empty style
            self.complaints.append(text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def rate(self, n: int = len(STARS)) -> None:
        """Rate the first books of the grid."""
        for place, stars in enumerate(STARS[:n]):
            group = self.page.locator(".grid .stars").nth(place)
            group.locator("button").nth(stars - 1).click()
            expect = sync_api.expect
            expect(self.page.locator(".grid .stars").nth(place).locator("button.on")).to_have_count(stars)

    def press(self, name: str, **more: Any) -> None:
        self.page.get_by_role("button", name=name, **more).first.click()

    def see(self, words: str) -> None:
        sync_api.expect(self.page.get_by_text(words).first).to_be_visible()

    def unfold(self) -> None:
        """Open whatever is folded, as a reader would."""
        folded = self.page.locator("details:not([open]) > summary")
        while folded.count():
            folded.first.click()

    def check(self, name: str) -> None:
        """No complaint, nothing from elsewhere, no barrier that axe finds, nothing wider than the screen; a picture."""
        found = axe.Axe().run(self.page).response["violations"]
        told = [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
        assert not told, f"{name}: {json.dumps(told, indent=1)}"
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert self.elsewhere == []
        assert self.complaints == []
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=f"{SCREENSHOTS}/{name}-{self.width}.png")

    def shelf(self) -> Any:
        return json.loads(self.page.locator("#shelf-text").input_value())[0]


@pytest.fixture(params=list(WIDTHS))
def visitor(request: pytest.FixtureRequest, browser: Any, client: httpx.Client) -> Iterator[Visitor]:
    scheme = {"desk": "light", "phone": "dark"}[request.param]
    visitor = Visitor(browser, client, request.param, color_scheme=scheme)
    yield visitor
    assert visitor.complaints == []
    visitor.context.close()


def test_from_a_few_ratings_to_a_list_and_back(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    visitor.see(TEXTS["drop"])
    visitor.check("start")
    visitor.rate()
    visitor.see("You have rated 6 books")
    assert len(visitor.shelf()) == 6
    visitor.press(TEXTS["to list"])
    visitor.see(TEXTS["best"])
    assert page.url.endswith("/next")
    visitor.check("next")
    first = page.locator(".listed").first
    title = first.locator(".book-title").inner_text()
    book = first.get_attribute("id")
    first.get_by_role("button", name=TEXTS["not for me"]).click()
    visitor.see("will not come again")
    sync_api.expect(page.locator(f"#{book}")).to_have_count(0)
    visitor.press(TEXTS["undo"])
    visitor.see(TEXTS["undone"])
    sync_api.expect(page.locator(f"#{book}")).to_have_count(1)
    page.locator(".listed .book-title button").first.click()
    sync_api.expect(page.locator("h1")).to_have_text(title)
    assert "/book/" in page.url
    visitor.see(TEXTS["why"])
    visitor.check("book")
    page.go_back()
    visitor.see(TEXTS["best"])
    assert page.url.endswith("/next")
    assert len(visitor.shelf()) == 6


def test_from_a_file_to_a_list(visitor: Visitor, tmp_path: Path) -> None:
    file = tmp_path / "export <b>of mine<.csv"
    rows = [
        "Title,Author,Rating",
        "The dragons of 1,Author 0,5",
        "The harbour of 2,,2",
        "<script>alert(1)</script>,No,4",
    ]
    file.write_text("\n".join(rows))
    page = visitor.page
    page.goto("/")
    page.get_by_text(TEXTS["where"]).click()
    page.set_input_files("#file", file)
    visitor.see(TEXTS["import review"])
    visitor.see("3 rows: 1 found, 1 for you to decide, 1 not among the books here")
    page.get_by_text(TEXTS["import missing"]).first.click()
    visitor.check("import")
    page.get_by_label("The harbour of 2").check()
    visitor.press(TEXTS["import use"])
    visitor.see("2 books of your file on your shelf")
    visitor.see(TEXTS["best"])
    assert visitor.shelf() == {"1": 5, "2": 2}


def test_a_dropped_file_is_taken(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["Title,Author,Rating\\nThe dragons of 1,Author 0,4\\n"], "mine.csv"));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
        }"""
    )
    visitor.see("1 rows: 1 found")
    visitor.press(TEXTS["import use"])
    visitor.see(TEXTS["best"])
    assert visitor.shelf() == {"1": 4}


def test_a_book_is_found_as_one_types(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.get_by_label(TEXTS["search"]).press_sequentially("orchrad of 4", delay=20)
    found = page.locator("#found #found-4")
    sync_api.expect(found).to_be_visible()
    visitor.check("search")
    found.locator(".stars button").nth(4).click()
    visitor.see("You gave ")
    assert visitor.shelf() == {"4": 5}


def test_the_list_follows_its_controls_without_a_new_page(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    visitor.rate(3)
    visitor.press(TEXTS["nav next"])
    visitor.see(TEXTS["best"])
    page.evaluate("window.here = true")
    page.locator("#tune summary").click()
    page.locator("#year_from").fill("1915")
    page.locator("#year_from").press("Tab")
    page.wait_for_url("**/next?look=1*")
    sync_api.expect(page.locator("#tune")).to_have_attribute("open", "")
    visitor.check("tuned")
    years = page.locator(".listed .line .soft").all_inner_texts()
    assert years
    assert all(int(year) >= 1915 for year in years if year.isdecimal())
    page.locator("#variety").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**variety=1*")
    assert page.evaluate("window.here") is True
    page.reload()
    visitor.see(TEXTS["best"])
    assert len(visitor.shelf()) == 3
    sync_api.expect(page.locator("#year_from")).to_have_value("1915")


def test_the_shelf_stays_in_the_browser_until_it_is_deleted(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    visitor.rate(4)
    visitor.press(TEXTS["nav shelf"])
    visitor.see(TEXTS["taste"])
    visitor.check("shelf")
    page.goto("/")
    visitor.see(TEXTS["back again text"])
    visitor.press(TEXTS["back again"])
    visitor.see(TEXTS["best"])
    assert len(visitor.shelf()) == 4
    page.goto("/shelf")
    visitor.see(TEXTS["taste"])
    with page.expect_download() as waiting:
        visitor.press(TEXTS["download"])
    assert Path(waiting.value.path()).read_text().startswith("user_id,book_id,rating\n")
    visitor.press(TEXTS["clear"])
    visitor.see(TEXTS["did clear"])
    assert page.evaluate("localStorage.length") == 0
    visitor.press(TEXTS["undo"])
    visitor.see(TEXTS["taste"])
    assert len(visitor.shelf()) == 4
    visitor.press(TEXTS["clear"])
    visitor.see(TEXTS["did clear"])
    page.goto("/")
    sync_api.expect(page.get_by_text(TEXTS["back again text"])).to_be_hidden()


def test_a_shared_list(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    visitor.rate(2)
    visitor.press(TEXTS["nav next"])
    link = page.get_by_role("link", name=TEXTS["share"]).get_attribute("href")
    other = Visitor(page.context.browser, httpx.Client(base_url=visitor.address), visitor.width)
    other.page.goto(link)
    other.see(TEXTS["shared text"])
    other.check("shared")
    other.press(TEXTS["shared own"])
    other.see(TEXTS["drop"])
    other.context.close()


def test_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.keyboard.press("Tab")
    sync_api.expect(page.locator(".skip")).to_be_focused()
    seen: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate("document.activeElement.id")
        if here.startswith("rate-") and here.endswith("-4"):
            page.keyboard.press("Enter")
            visitor.see("You gave ")
            sync_api.expect(page.locator(f"#{here}")).to_be_focused()  # the reader's place is not lost
            seen.add(here)
            if len(seen) == 2:
                break
    assert len(seen) == 2


def test_without_scripts_the_list_still_works(browser: Any, client: httpx.Client) -> None:
    visitor = Visitor(browser, client, "phone", java_script_enabled=False)
    page = visitor.page
    page.goto("/")
    for place, stars in enumerate(STARS[:3]):
        page.locator(".grid .stars").nth(place).locator("button").nth(stars - 1).click()
        visitor.see("You gave ")
    visitor.press(TEXTS["to list"])
    visitor.see(TEXTS["best"])
    n = page.locator(".listed").count()
    assert n
    page.locator(".listed").first.get_by_role("button", name=TEXTS["later"]).click()
    visitor.see("is on your list to read")
    visitor.press(TEXTS["undo"])
    visitor.see(TEXTS["undone"])
    page.locator("#tune summary").click()
    page.locator("#year_from").fill("1915")
    page.keyboard.press("Enter")
    visitor.see(TEXTS["best"])
    visitor.press(TEXTS["nav shelf"])
    visitor.see(TEXTS["taste"])
    visitor.context.close()


def test_a_server_that_is_gone_loses_nothing(browser: Any, trained: Path, tmp_path: Path) -> None:
    with serving(ServiceSettings(data_folder=tmp_path), trained) as client:
        visitor = Visitor(browser, client, "desk")
        visitor.page.goto("/")
        visitor.rate(2)
        visitor.context.set_offline(True)
        visitor.page.locator(".grid .stars").nth(4).locator("button").nth(2).click()
        visitor.see(TEXTS["failed"])
        visitor.context.set_offline(False)
        visitor.page.locator(".grid .stars").nth(4).locator("button").nth(2).click()
        visitor.see("You have rated 3 books")
        sync_api.expect(visitor.page.get_by_text(TEXTS["failed"])).to_be_hidden()
        visitor.context.close()


def test_scripts_in_titles_and_names_do_not_run(browser: Any, tmp_path: Path) -> None:
    world = write_world(tmp_path / "world")
    bad = ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "javascript:alert(3)", "'-alert(4)-'",
           "{{constructor.constructor('alert(5)')()}}", "</title><svg onload=alert(6)>", "${alert(7)}"]  # fmt: skip
    lines = (world / "books.csv").read_text().splitlines()
    for place in range(1, len(lines)):
        title = bad[place % len(bad)].replace('"', '""')
        lines[place] = f'{place},"{title} {place}","{title}",{1900 + place}'
    (world / "books.csv").write_text("\n".join(lines) + "\n")
    save_run(train_on(world), tmp_path / "run")
    with serving(ServiceSettings(data_folder=tmp_path / "data"), tmp_path / "run") as client:
        visitor = Visitor(browser, client, "desk")
        visitor.page.goto("/")
        visitor.rate(5)
        for button in (TEXTS["nav next"], TEXTS["nav shelf"]):
            visitor.press(button)
            sync_api.expect(visitor.page.locator("nav [aria-current]")).to_contain_text(button)
        visitor.press(TEXTS["nav next"])
        visitor.page.locator(".listed .book-title button").first.click()
        sync_api.expect(visitor.page.locator(".one-book")).to_be_visible()
        visitor.page.go_back()
        visitor.see(TEXTS["best"])
        visitor.press("No more by", exact=False)
        visitor.see("No more books by")
        assert visitor.complaints == []
        visitor.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_operators_view(browser: Any, run: Path, smaller: Path, tmp_path: Path, width: str) -> None:
    with serving(ServiceSettings(data_folder=tmp_path / "data"), run, smaller) as client:
        visitor = Visitor(browser, client, width)
        page = visitor.page
        page.goto("/operator")
        visitor.check("operator-key")
        page.get_by_label(TEXTS["operator key"]).fill(make_key(client.app.state.service.store, "boss", "admin"))
        visitor.press(TEXTS["operator enter"])
        visitor.see(TEXTS["operator models"])
        visitor.check("operator")
        visitor.press(TEXTS["operator activate"])
        visitor.see(TEXTS["operator back"])
        page.get_by_role("link", name=TEXTS["operator report"]).first.click()
        sync_api.expect(page.locator("h1").first).to_be_visible()
        assert visitor.complaints == []
        visitor.context.close()


# An export of each app, as a newcomer with a phone would bring it.

FIXTURES = Path(__file__).parents[1] / "imports" / "fixtures"
EXPORTS = {
    "goodreads-before-2022.csv": 6,
    "goodreads-2026.csv": 2,
    "storygraph.csv": 7,
    "librarything.tsv": 5,
    "hardcover.csv": 4,
}
TITLES = (
    "The Hunger Games", "The Hobbit", "The Count of Monte Cristo", "Les Misérables", "Good Omens", "Anna Karenina",
    "Emma", "Don Quixote",
)  # fmt: skip
AUTHORS = (
    "Suzanne Collins", "J.R.R. Tolkien", "Alexandre Dumas", "Victor Hugo", "Terry Pratchett", "Leo Tolstoy",
    "Jane Austen", "Miguel de Cervantes",
)  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that has most of the books that the exports name."""
    folder = tmp_path_factory.mktemp("library")
    world = write_world(folder / "world")
    lines = (world / "books.csv").read_text().splitlines()
    for place, (title, author) in enumerate(zip(TITLES, AUTHORS, strict=True), start=1):
        lines[place] = f'{place},"{title}",{author},{1900 + place}'
    (world / "books.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_run(train_on(world), folder / "run")
    with serving(ServiceSettings(data_folder=folder / "data"), folder / "run") as client:
        yield client


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_of_each_app_comes_through_to_a_list(browser: Any, library: httpx.Client, name: str) -> None:
    visitor = Visitor(browser, library, "phone")
    page = visitor.page
    page.goto("/")
    visitor.see(TEXTS["drop"])
    page.set_input_files("#file", FIXTURES / name)
    visitor.see(f"{EXPORTS[name]} rows:")
    visitor.check(f"import-{name}")
    visitor.unfold()
    rows = page.locator("fieldset.choice").count() + page.locator("details li").count()
    assert rows == EXPORTS[name]  # every row is accounted for
    visitor.press(TEXTS["import use"])
    visitor.see(TEXTS["best"])
    sync_api.expect(page.locator(".listed").first).to_be_visible()
    assert page.locator("#just-said").inner_text().startswith(tuple("123456789"))
    visitor.press(TEXTS["nav shelf"])
    visitor.see(TEXTS["download"])
    visitor.context.close()


def test_a_file_of_none_of_the_books_is_no_dead_end(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    file = {"name": "mine.csv", "mimeType": "text/csv", "buffer": b"Title,Author,Rating\nWho knows,Nobody,4\n"}
    page.set_input_files("#file", files=[file])
    visitor.see(TEXTS["import nothing"])
    visitor.press(TEXTS["rate few"])
    visitor.rate(2)
    visitor.press(TEXTS["to list"])
    visitor.see(TEXTS["best"])


def test_a_file_that_is_no_export_is_told_and_loses_nothing(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    visitor.rate(2)
    for buffer in (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"a,b\n1,2\n"):
        page.set_input_files("#file", files=[{"name": "mine.csv", "mimeType": "text/csv", "buffer": buffer}])
        visitor.see(TEXTS["sorry"])
        visitor.check("sorry")
        visitor.press(TEXTS["home"])
        visitor.see("You have rated 2 books")


def test_a_file_that_is_too_large_is_not_even_sent(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.evaluate("document.getElementById('file').dataset.most = '10'")
    buffer = b"Title,Author\nThe dragons of 1,Author 0\n"
    page.set_input_files("#file", files=[{"name": "mine.csv", "mimeType": "text/csv", "buffer": buffer}])
    visitor.see("This file is too large")
    assert page.url.endswith("/")
    visitor.check("too-large")


# Strangers.

BAD = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "javascript:alert(3)",
    "</title><svg onload=alert(6)>",
]


def test_scripts_in_reviews_shelves_and_names_of_files_do_not_run(
    browser: Any, client: httpx.Client, tmp_path: Path
) -> None:
    text = io.StringIO()
    out = csv.writer(text)
    out.writerow("Book Id,Title,Author,My Rating,Bookshelves,Exclusive Shelf,My Review,Private Notes".split(","))
    for place, bad in enumerate(BAD):
        out.writerow([place, bad, bad, 4, bad, bad, bad, bad])
        out.writerow([bad, f"The {('dragons', 'harbour')[place % 2]} of {place + 1}", "", bad, bad, bad, bad, bad])
    for name in ("<img src=x onerror=alert(8)>.csv", 'a"><script>alert(9)<.csv'):
        visitor = Visitor(browser, client, "phone")
        visitor.page.goto("/")
        file = {"name": name, "mimeType": "text/csv", "buffer": text.getvalue().encode()}
        visitor.page.set_input_files("#file", files=[file])
        visitor.see("8 rows:")
        visitor.unfold()
        visitor.check("import-of-strangers")
        for choice in visitor.page.locator("fieldset.choice").all():
            choice.get_by_role("radio").first.check()
        visitor.press(TEXTS["import use"])
        visitor.see(TEXTS["best"])
        visitor.press(TEXTS["nav shelf"])
        visitor.see(TEXTS["download"])
        visitor.check("shelf-of-strangers")
        visitor.context.close()


def test_another_site_can_press_no_button(browser: Any, client: httpx.Client) -> None:
    visitor = Visitor(browser, client, "desk")
    page, there = visitor.page, visitor.address.rstrip("/")
    page.goto("/")
    visitor.rate(2)
    visitor.press(TEXTS["nav shelf"])
    visitor.press(TEXTS["remember"])
    visitor.see(TEXTS["did remember"])
    form = f"<form method=post action={there}/shelf><input name=do value=clear></form>"
    form += "<script>document.forms[0].submit()</script>"
    other = visitor.context.new_page()
    other.route("http://evil.example/", lambda route: route.fulfill(body=form, content_type="text/html"))
    with other.expect_response(f"{there}/shelf") as waiting:
        other.goto("http://evil.example/")
    assert waiting.value.status == 403
    other.close()
    page.goto("/shelf")
    visitor.see(TEXTS["forget"])
    assert len(visitor.shelf()) == 2
    visitor.press(TEXTS["clear"])
    visitor.see(TEXTS["did clear"])
    visitor.context.close()

"""Any combination of rules keeps its promises, on any catalogue and scores, for any reader."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rules_world import Written, histories, make_catalogue, make_facts, numbered, side_by_side

from shelfwise.data.catalogue import Catalogue, empty_tags, plain
from shelfwise.data.shelves import Shelves
from shelfwise.models.contract import Model
from shelfwise.rules import CatalogueFacts, Histories, Rules, make_plan
from shelfwise.rules.incidence import Mask
from shelfwise.rules.lists import ruled_lists
from shelfwise.rules.plan import allowed, explain

AUTHORS = ("Ann", "Bob", "Cid")
TAGS = ("dragons", "harbour", "war")


@st.composite
def catalogues(draw: st.DrawFn) -> CatalogueFacts:
    books = []
    for book in range(draw(st.integers(1, 25))):
        series = draw(st.sampled_from(["", "", "(Saga, #{})", "(Tale #{})"]))
        number = draw(st.sampled_from(["0", "1", "2", "3", "1.5", "1-2", "2-3", "4"]))
        authors = ";".join(draw(st.lists(st.sampled_from(AUTHORS), max_size=2, unique=True)))
        language = draw(st.sampled_from(["", "eng", "en-US", "spa"]))
        year = draw(st.sampled_from([None, 1900, 1950, 2000]))
        subject = draw(st.sampled_from(["", *TAGS]))
        title = f"Title {book} {series.format(number)}".strip()
        books.append((title, authors, language, year, draw(st.integers(1, 30)), subject))
    counts = np.array(draw(st.lists(st.integers(0, 9), min_size=len(books), max_size=len(books))), np.int32)
    rows = draw(st.lists(st.lists(st.integers(0, len(books) - 1), unique=True), max_size=3))
    return make_facts(Catalogue(make_catalogue(books).books, empty_tags()), counts, rows)


NAMES = st.lists(st.sampled_from([*AUTHORS, "Zoe"]), max_size=2)
BOOK_IDS = st.lists(st.integers(-1, 30), max_size=4)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "language": st.lists(st.sampled_from(["en", "es", "xx"]), max_size=2),
        "year_from": st.sampled_from([1900, 1950, 2001]),
        "year_to": st.sampled_from([1899, 1950, 2000]),
        "tag": st.lists(st.sampled_from([*TAGS, "none"]), max_size=2),
        "not_tag": st.lists(st.sampled_from(TAGS), max_size=2),
        "author": NAMES,
        "not_author": NAMES,
        "series": st.lists(st.sampled_from(["saga", "tale", "no"]), max_size=2),
        "holdings": st.none() | st.lists(st.integers(0, 30)),
        "exclude": BOOK_IDS,
        "pins": BOOK_IDS,
        "list": st.sampled_from(["all", "continue", "new"]),
        "first_unread": st.booleans(),
        "per_author": st.none() | st.integers(1, 3),
        "per_series": st.none() | st.integers(1, 3),
        "diversity": st.sampled_from([0.0, 0.3, 1.0]),
        "obscurity": st.sampled_from([-1.0, 0.0, 0.4, 1.0]),
    },
)


def passes_filters(rules: Rules, facts: CatalogueFacts, book: int) -> bool:
    """The filters written out anew, from the catalogue itself."""
    row = facts.catalogue.books.row(book, named=True)
    authors, subjects = {plain(a) for a in row["authors"] or []}, {plain(s) for s in row["subjects"] or []}
    return all(
        (
            not rules.language or (row["language"] or "")[:2] in {c[:2].replace("es", "sp") for c in rules.language},
            rules.year_from is None or (row["year"] is not None and row["year"] >= rules.year_from),
            rules.year_to is None or (row["year"] is not None and row["year"] <= rules.year_to),
            not rules.tag or bool(subjects & set(rules.tag)),
            not subjects & set(rules.not_tag),
            not rules.author or bool(authors & {plain(a) for a in rules.author}),
            not authors & {plain(a) for a in rules.not_author},
            not rules.series or plain(row["series"] or "") in rules.series,
            rules.holdings is None or book in rules.holdings,
        )
    )


@dataclass(frozen=True)
class Outcome:
    """A list, for whom and by which rules; the catalogue's columns as they stand there."""

    rules: Rules
    facts: CatalogueFacts
    read: list[int]
    aside: list[int]
    hidden: list[str]
    stars: int
    n: int
    found: list[int]
    may: Mask
    why: str

    @cached_property
    def works(self) -> list[str]:
        return self.facts.catalogue.books["work_key"].to_list()

    @cached_property
    def authors(self) -> list[set[str]]:
        return [{plain(name) for name in names or []} for names in self.facts.catalogue.books["authors"].to_list()]

    @cached_property
    def volumes(self) -> list[tuple[str | None, float | None]]:
        """Series and number."""
        return list(self.facts.catalogue.books.select("series", "series_number").iter_rows())

    @cached_property
    def boxes(self) -> set[int]:
        """Collections."""
        return {book for book, title in enumerate(self.facts.catalogue.books["title"]) if "-" in title}

    @cached_property
    def unwanted(self) -> set[str]:
        """Works that this reader must not get."""
        excluded = [book for book in self.rules.exclude if 0 <= book < len(self.facts)]
        by_hidden = [book for book, names in enumerate(self.authors) if names & {plain(name) for name in self.hidden}]
        return {self.works[book] for book in (*self.read, *self.aside, *excluded)} | {
            f"hidden:{book}" for book in by_hidden
        }

    def wanted(self, book: int) -> bool:
        return self.works[book] not in self.unwanted and f"hidden:{book}" not in self.unwanted

    @cached_property
    def pins(self) -> list[int]:
        pins: list[int] = []
        for pin in self.rules.pins:
            known = 0 <= pin < len(self.facts)
            if known and self.wanted(pin) and self.works[pin] not in {self.works[book] for book in pins}:
                pins.append(pin)
        return pins[: self.n]

    @property
    def others(self) -> list[int]:
        return self.found[len(self.pins) :]

    @property
    def per_series(self) -> int | None:
        one = self.rules.first_unread or self.rules.list == "continue"
        return 1 if one else self.rules.per_series


def check_what_is_left_out(o: Outcome) -> None:
    """Nothing read, put aside, excluded or hidden, no work twice; pins first; what is asked for of the rest."""
    assert len(o.found) <= o.n
    assert len({o.works[book] for book in o.found}) == len(o.found)
    assert all(o.wanted(book) for book in o.found)
    assert o.found[: len(o.pins)] == o.pins
    assert all(passes_filters(o.rules, o.facts, book) for book in o.others)
    if o.rules.list == "new":
        known = {name for book in o.read for name in o.authors[book]}
        assert not any(known & o.authors[book] for book in o.others)


def check_volumes(o: Outcome) -> None:
    """Continue: a series that was read and liked, above all that was read. First unread: nothing below is unread."""
    held = {o.volumes[book] for book in o.read if o.volumes[book][0] and book not in o.boxes}
    for book in (book for book in o.read if book in o.boxes):
        series, first = o.volumes[book]
        held |= {(series, float(number)) for number in range(int(first or 0), int(o.facts.last_number[book]) + 1)}
    for book in o.others:
        series, number = o.volumes[book]
        whole = [
            v for b, v in enumerate(o.volumes) if v[0] == series and b not in o.boxes and v[1] and v[1] in range(1, 9)
        ]
        if o.rules.list == "continue":
            assert o.stars >= 4
            assert any(o.volumes[read][0] == series for read in o.read)
            assert all(v[1] < number for v in held & set(whole))
            assert not {v for v in whole if v[1] < number} - held or any(v[1] for v in held if v[0] == series)
        elif o.rules.first_unread and series:
            assert {v for v in whole if v[1] < number} <= held
            assert (series, number) not in held or book in o.boxes or number not in range(1, 9)


def check_caps(o: Outcome) -> None:
    """Caps hold, pins apart; and where a list is short, no book that may be there would keep them, and it says so."""
    of_author = Counter(name for book in o.found for name in o.authors[book])
    of_series = Counter(o.volumes[book][0] for book in o.found)
    most_author, most_series = o.rules.per_author or 10**6, o.per_series or 10**6
    for book in o.others:
        for name in o.authors[book]:
            assert of_author[name] <= max(most_author, sum(name in o.authors[pin] for pin in o.pins))
        if series := o.volumes[book][0]:
            assert of_series[series] <= max(most_series, sum(o.volumes[pin][0] == series for pin in o.pins))
    if len(o.found) < o.n:
        listed = {o.works[book] for book in o.found}
        for book in np.flatnonzero(o.may):
            series = o.volumes[book][0]
            full = any(of_author[name] >= most_author for name in o.authors[book])
            assert full or o.works[book] in listed or (series and of_series[series] >= most_series)
        assert f"{len(o.found)} of {o.n} books" in o.why


@dataclass(frozen=True)
class Person:
    """A reader of some books, all with the same stars."""

    read: list[int]
    aside: list[int]
    hidden: list[str]
    stars: int
    scores: list[float]


def people(facts: CatalogueFacts) -> st.SearchStrategy[list[Person]]:
    books = st.lists(st.integers(0, len(facts) - 1), max_size=6, unique=True)
    known = [name for name in AUTHORS if plain(name) in facts.authors.ids.to_list()]
    hidden = st.lists(st.sampled_from(known), max_size=1) if known else st.just([])
    scores = st.lists(st.floats(-5, 5, width=32), min_size=len(facts), max_size=len(facts))
    return st.lists(st.builds(Person, books, books, hidden, st.integers(1, 5), scores), min_size=1, max_size=3)


def block_of(facts: CatalogueFacts, readers: list[Person]) -> Histories:
    return side_by_side([histories(who.read, who.stars, who.aside, who.hidden, facts) for who in readers])


@given(facts=catalogues(), settings=RULES, n=st.integers(1, 12), data=st.data())
def test_any_combination_of_rules_keeps_its_promises(
    facts: CatalogueFacts, settings: dict[str, Any], n: int, data: st.DataObject
) -> None:
    readers, rules = data.draw(people(facts)), Rules.parse(settings)
    plan, block = make_plan(rules, facts, 4.0), block_of(facts, readers)
    scores = np.array([who.scores for who in readers], dtype=np.float32)
    may = allowed(plan, block)
    lists = ruled_lists(cast(Model, Written(scores)), numbered(len(readers)), block, plan, n)
    for row, who in enumerate(readers):
        found = lists.books[row][lists.books[row] >= 0].tolist()
        why = str(explain(plan, block.take([row]), n, len(found)))
        outcome = Outcome(rules, facts, who.read, who.aside, who.hidden, who.stars, n, found, may[row], why)
        check_what_is_left_out(outcome)
        check_volumes(outcome)
        check_caps(outcome)
        np.testing.assert_array_equal(lists.scores[row, : len(found)], scores[row, found])
        assert (lists.scores[row, len(found) :] == -np.inf).all()


@given(facts=catalogues(), settings=RULES, n=st.integers(1, 12), n_first=st.integers(1, 30), data=st.data())
def test_lists_are_the_same_by_a_models_shorter_way(
    facts: CatalogueFacts, settings: dict[str, Any], n: int, n_first: int, data: st.DataObject
) -> None:
    readers = data.draw(people(facts))
    plan, block = make_plan(Rules.parse(settings), facts, 4.0), block_of(facts, readers)
    scores = np.array([who.scores for who in readers], dtype=np.float32)
    models = (cast(Model, Written(scores, n_first)) for n_first in (None, n_first))
    plainly, shortly = (ruled_lists(model, numbered(len(readers)), block, plan, n) for model in models)
    np.testing.assert_array_equal(plainly.books, shortly.books)
    np.testing.assert_array_equal(plainly.scores, shortly.scores)
    if shortly.chances is not None:  # as Written writes them, or open
        known = ~np.isnan(shortly.chances)
        np.testing.assert_array_equal(shortly.chances[known], np.stack([shortly.books, shortly.scores], axis=-1)[known])
        assert not known[shortly.books < 0].any()


def plain_volumes(facts: CatalogueFacts, person: Person, series: int) -> tuple[set[float], set[float]]:
    """The numbers of a series' volumes, and which of them somebody has read."""
    single = [
        book
        for book in range(len(facts))
        if facts.series[book] == series and np.isnan(facts.last_number[book]) and facts.number[book] in range(1, 100)
    ]
    volumes = {facts.number[book] for book in single}
    held = {facts.number[book] for book in person.read if book in single}
    for book in person.read:
        if facts.series[book] == series and not np.isnan(facts.last_number[book]):
            held |= {v for v in volumes if facts.number[book] <= v <= facts.last_number[book]}
    return volumes, held


def is_first_unread(facts: CatalogueFacts, person: Person, book: int) -> bool:
    if facts.series[book] < 0:
        return True
    volumes, held = plain_volumes(facts, person, facts.series[book])
    if facts.number[book] > min(volumes - held, default=np.inf):
        return False
    return not held if not np.isnan(facts.last_number[book]) else facts.number[book] not in held


def is_next_volume(facts: CatalogueFacts, person: Person, rated: Shelves, book: int) -> bool:
    series = facts.series[book]
    stars = rated.stars[facts.series[rated.item_idx] == series]
    if series < 0 or not len(stars) or stars.mean() < 4 - 1e-6:
        return False
    volumes, held = plain_volumes(facts, person, series)
    following = min((v for v in volumes if v > max(held, default=-np.inf)), default=None)
    return bool(np.isnan(facts.last_number[book]) and facts.number[book] == following)


@given(facts=catalogues(), data=st.data())
def test_volumes_of_many_readers_are_those_of_each(facts: CatalogueFacts, data: st.DataObject) -> None:
    readers = data.draw(people(facts))
    block = block_of(facts, readers)
    first = facts.volumes.first_unread(block.read)
    n_read = len(block.read.item_idx)
    stars = data.draw(st.lists(st.integers(2, 5), min_size=n_read, max_size=n_read))
    rated = Shelves(block.read.indptr, block.read.item_idx, np.array(stars, np.float32))
    following = facts.volumes.next_volumes(rated, block.read, 4.0)
    for row, who in enumerate(readers):
        books = range(len(facts))
        assert first[row].tolist() == [is_first_unread(facts, who, book) for book in books]
        mine = rated.take([row])
        assert following[row].tolist() == [is_next_volume(facts, who, mine, book) for book in books]

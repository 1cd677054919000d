"""Each rule by known answers on a dozen books. That any of them hold together: test_rules_hold.py."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from rules_world import FACTS, SAGA, N, Written, histories, listed, make_catalogue, make_facts, numbered, without

from shelfwise.data.language import language_of
from shelfwise.data.shelves import Floats
from shelfwise.errors import ConfigError
from shelfwise.models.contract import Lists, Model, Readers
from shelfwise.rules import Rules, lists, make_plan
from shelfwise.rules.incidence import Mask
from shelfwise.rules.plan import explain

# What is always left out.


def test_no_work_comes_back_as_another_edition_and_no_list_holds_two() -> None:
    assert listed() == without(6)
    assert listed(read=[5]) == without(5, 6)
    assert listed(read=[6, 0]) == without(0, 5, 6)


def test_the_order_is_that_of_the_scores_and_ties_go_by_index() -> None:
    assert listed(scores=[0, 0, 3, 1, 1, 0, 0, 0, 0, 0, 0, 9], n=5) == [11, 2, 3, 4, 0]


def test_dismissed_and_to_read_books_and_hidden_authors_leave_the_list() -> None:
    assert listed(aside=[6, 0]) == without(0, 5, 6)
    assert listed(hidden=["CID", "nobody at all"][:1]) == without(6, 7, 8, 11)


# Filters.


@pytest.mark.parametrize(
    ("rules", "books"),
    [
        ({"language": "en"}, [0, 1, 2, 3, 4, 5]),
        ({"language": ["en-GB", "es"]}, [0, 1, 2, 3, 4, 5]),  # 6 is another edition of 5
        ({"language": ["deu", "fr"]}, [7, 8, 9, 11]),
        ({"year_from": 2002}, [2, 3, 4, 7]),
        ({"year_to": 1990}, [5, 8, 9, 11]),
        ({"year_from": 1985, "year_to": 1995}, [5, 11]),
        ({"year_from": 2000, "year_to": 1990}, []),
        ({"tag": "WAR"}, [2, 8, 9]),
        ({"tag": ["orchard", "harbour"]}, [5, 7, 11]),
        ({"tag": "harbour tales"}, [5]),
        ({"tag": "dragons", "not_tag": "war"}, [0, 1, 3, 4]),  # two of a thousand readers said dragons of 5
        ({"tag": "to-read"}, []),  # no subject
        ({"not_tag": ["dragons", "harbour"]}, [8, 9, 10, 11]),
        ({"author": "bob"}, [5, 7]),
        ({"author": ["Cid", "Dan"]}, [7, 8, 9, 11]),
        ({"not_author": ["ann-onym"]}, [5, 7, 8, 9, 10, 11]),
        ({"series": "tale"}, [8, 9, 11]),
        ({"holdings": [6, 8, 999]}, [6, 8]),
        ({"holdings": []}, []),
        ({"exclude": [6, 0]}, [1, 2, 3, 4, 7, 8, 9, 10, 11]),
    ],
    ids=str,
)
def test_a_filter_lets_through_what_it_says(rules: dict, books: list[int]) -> None:
    assert listed(rules) == books


@pytest.mark.parametrize(
    ("code", "language"),
    [("eng", "en"), ("en-US", "en"), ("EN_gb", "en"), ("spa", "es"), ("ger", "de"), ("deu", "de"), ("tlh", "tlh")],
)
def test_languages_are_the_same_however_they_are_written(code: str, language: str) -> None:
    assert language_of(code) == language


def test_filters_return_as_many_as_were_asked_for_though_the_best_books_are_left_out() -> None:
    assert listed({"author": ["Cid", "Dan"]}, n=3) == [7, 8, 9]


# Series.


@pytest.mark.parametrize(
    ("read", "saga"),
    [
        ([], 0),  # at most one of a series, and the best of those that come first
        ([0], 1),
        ([0, 2], 1),
        ([1], 0),
        ([0, 1], 2),
        ([4], None),  # the box holds all of them
    ],
    ids=str,
)
def test_of_a_series_only_the_first_unread_volume(read: list[int], saga: int | None) -> None:
    books = [book for book in listed({"first_unread": True}, read) if book in SAGA]
    assert books == ([] if saga is None else [saga]) or (saga is None and books == [3])


def test_fractions_wait_for_what_is_below_but_hold_up_nothing() -> None:
    by_fraction = [0, 0, 0, 9, 0, *[-1] * 7]
    first = {"first_unread": True, "series": "Saga"}
    assert listed(first, scores=by_fraction) == [0]  # #1.5 must wait for #1
    assert listed(first, [0], scores=by_fraction) == [3]
    assert listed(first, [0], scores=-np.arange(N)) == [1]  # though #1.5 is unread
    assert listed({"first_unread": True, "series": "tale"}, scores=np.arange(N)) == [11]  # #0 waits for nothing


def test_a_collection_comes_only_to_whoever_read_nothing_of_its_series() -> None:
    box_first = [0, 0, 0, 0, 9, *[-1] * 7]
    first = {"first_unread": True, "series": "Saga"}
    assert listed(first, scores=box_first) == [4]
    assert listed(first, [0], scores=box_first) == [1]


def test_a_series_without_numbers_or_no_series_at_all_is_no_obstacle() -> None:
    facts = make_facts(make_catalogue([("A", "Ann", "", 2000, 1, ""), ("B", "Bob", "", 2000, 2, "")]))
    assert listed({"first_unread": True}, facts=facts) == [0, 1]
    assert listed({"list": "continue"}, [0], facts=facts) == []


def test_continue_is_the_volume_after_the_highest_read_of_series_that_were_liked() -> None:
    assert listed({"list": "continue"}) == []
    assert listed({"list": "continue"}, [0]) == [1]
    assert listed({"list": "continue"}, [1, 8]) == [2, 9]
    assert listed({"list": "continue", "first_unread": True}, [1]) == [2]
    assert listed({"list": "continue"}, [0, 8], stars=3) == []
    assert listed({"list": "continue"}, [0, 1, 2]) == []
    assert listed({"list": "continue"}, [11]) == [8]


def test_new_to_you_is_by_authors_who_are_not_on_the_shelf() -> None:
    assert listed({"list": "new"}, [7]) == [0, 1, 2, 3, 4, 9, 10]
    assert listed({"list": "new"}, [0, 8]) == [5, 9, 10]


# Caps, dials, pins.


def test_at_most_so_many_by_one_author_and_of_one_series() -> None:
    assert listed({"per_author": 1}) == [0, 5, 8, 9, 10]  # 7 is by Bob, who has 5 already
    assert listed({"per_author": 2}) == [0, 1, 5, 7, 8, 9, 10]
    assert listed({"per_series": 1}) == [0, 5, 7, 8, 10]
    assert listed({"per_series": 2, "per_author": 1}) == [0, 5, 8, 9, 10]


def test_diversity_puts_forward_what_is_unlike_the_books_listed() -> None:
    assert listed({"diversity": 0.5}, n=4) == [0, 5, 8, 10]  # one of each subject
    assert listed({"diversity": 0.0}, n=4) == [0, 1, 2, 3]
    everything = listed({"diversity": 1.0})
    assert sorted(everything) == without(6) or sorted(everything) == without(5)


def test_a_list_goes_on_where_the_pool_that_dials_reorder_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SMALLEST_POOL", 2)
    monkeypatch.setattr(lists, "LARGEST_POOL", 2)
    assert listed({"diversity": 0.5}) == without(6)
    assert listed({"diversity": 0.5, "per_author": 1}, n=3) == [0, 5, 8]


def test_co_reading_counts_in_likeness() -> None:
    catalogue = make_catalogue([(f"Book {i}", f"Author {i}", "", 2000, i + 1, "") for i in range(4)])
    facts = make_facts(catalogue, rows=[[0, 1], [0, 1], [2, 3]])
    assert facts.likeness(np.array([0]), np.arange(4)) == pytest.approx(np.array([[1, 1, 0, 0]]), abs=1e-6)
    assert listed({"diversity": 0.6}, facts=facts)[:2] == [0, 2]


def test_obscurity_moves_between_what_many_and_what_few_read() -> None:
    counts = np.array([5, 4, 3, 12, 11, 10, 9, 8, 7, 6, 2, 1], np.int32)
    facts = make_facts(make_catalogue(), counts)
    assert listed({"obscurity": 1}, facts=facts, n=3) == [11, 10, 2]
    assert listed({"obscurity": -1}, facts=facts, n=3) == [3, 4, 5]
    assert listed({"obscurity": 0}, facts=facts, n=3) == [0, 1, 2]
    assert listed({"obscurity": 1}, n=3) == [0, 1, 2]  # all are read alike
    assert "no counts" in make_plan(Rules(obscurity=1), FACTS, 4.0).notes[0]


def test_pins_come_first_in_their_order_whatever_filters_say() -> None:
    assert listed({"pins": [9, 2, 999], "language": "fr"}) == [9, 2, 7]
    assert listed({"pins": [9, 2]}, n=1) == [9]
    assert listed({"pins": [5, 6, 7]}, n=3) == [5, 7, 0]  # one edition of a work
    assert listed({"pins": [9, 8], "per_author": 1}, n=4) == [9, 8, 0, 5]  # pins count in the caps


def test_pins_that_a_reader_does_not_want_are_no_pins() -> None:
    rules = {"pins": [5, 9, 7], "exclude": [9]}
    assert listed(rules, n=2) == [5, 7]
    assert listed(rules, [6], n=2) == [7, 0]  # read in another edition
    assert listed(rules, n=2, aside=[5]) == [7, 0]
    assert listed(rules, n=2, hidden=["Bob"]) == [0, 1]


# What cannot be.


def test_a_short_list_says_what_each_rule_left() -> None:
    rules = {"language": "de", "author": ["Cid", "Zoe"], "per_series": 1, "pins": [77, 8]}
    plan, reader = make_plan(Rules.parse(rules), FACTS, 4.0), histories([5])
    why = explain(plan, reader, 10, 1)
    assert why.left == (
        ("in the catalogue", 12),
        ("not read in any edition", 10),
        ("in de", 3),
        ("by Cid or Zoe", 2),
        ("at most so many of one work, author and series and pins", 1),
    )
    assert str(why).startswith(
        "1 of 10 books. Left after each rule: in the catalogue: 12; not read in any edition: 10;"
    )
    assert why.notes == ("of the pins 1 of 2 are not in the catalogue", "the catalogue has no author 'Zoe'")


def test_a_list_of_all_that_is_allowed_asks_for_no_scores_of_all_books() -> None:
    class Quick(Written):
        def scores_among(self, readers: Readers, allowed: Mask) -> Floats:
            raise AssertionError("all books were scored")

        def first_among(self, readers: Readers, allowed: Mask, n: int) -> Lists:
            books = np.array([[8, 9, -1, -1]], np.int32)
            return Lists(books, np.array([[2, 1, -np.inf, -np.inf]], np.float32))

    plan = make_plan(Rules.parse({"language": "de"}), FACTS, 4.0)
    found = lists.ruled_lists(cast(Model, Quick(np.zeros((1, N), np.float32))), numbered(1), histories([11]), plan, 3)
    assert found.books.tolist() == [[8, 9, -1]]


@pytest.mark.parametrize(
    "rules", [{"diversity": 2}, {"obscurity": -1.5}, {"per_author": 0}, {"list": "old"}, {"languages": "en"}], ids=str
)
def test_settings_that_mean_nothing_are_refused(rules: dict) -> None:
    with pytest.raises(ConfigError):
        Rules.parse(rules)


def test_rules_survive_json() -> None:
    rules = Rules(language=("en",), pins=(3, "x"), diversity=0.5, list="new", holdings=(1,))
    assert Rules.model_validate_json(rules.model_dump_json()) == rules

"""One list for several readers, by a model whose stars and scores are written down."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from rules_world import FACTS, N, Written, numbered

from shelfwise.data.shelves import Shelves
from shelfwise.models.contract import Model
from shelfwise.rules import Histories, Rules, make_plan
from shelfwise.rules.group import GroupRule, group_list

# Three readers; books 0, 5, 7, 9 and 10 are of different works, and of authors Ann, Bob, Bob and Cid, Dan, nobody.
STARS = np.full((3, N), 1.0, np.float32)
STARS[:, 0] = 5, 5, 1.5  # the best on average, and a misery for the third
STARS[:, 5] = 4, 3, 3  # the best for whoever likes it least
STARS[:, 7] = 2, 4.5, 2
STARS[:, 9] = 1, 2, 5


def group(
    how: GroupRule, n: int = 3, rules: dict[str, Any] | None = None, *, read: list[list[int]] | None = None
) -> list[int]:
    read = read or [[], [], []]
    rows = np.repeat(np.arange(3), [len(books) for books in read])
    shelves = Shelves.build(rows, [book for books in read for book in books], np.full(len(rows), 5), 3)
    plan = make_plan(Rules.parse(rules or {}), FACTS, 4.0)
    model = cast(Model, Written(STARS))
    books, stars = group_list(model, numbered(3), Histories.of(shelves, shelves), plan, n=n, how=how)
    assert stars.shape == (3, len(books))
    assert np.array_equal(stars, STARS[:, books])
    return books


def test_average_takes_the_best_mean_and_least_misery_the_best_lowest_stars() -> None:
    assert group("average") == [0, 5, 7]
    assert group("least-misery") == [5, 7, 0]


def test_in_fair_turns_each_in_turn_gets_the_best_left_of_the_own_list() -> None:
    assert group("fair-turns") == [0, 7, 9]  # the second had wanted 0 too
    assert group("fair-turns", 4) == [0, 7, 9, 5]


def test_a_turn_goes_to_the_next_best_where_a_cap_forbids_the_best() -> None:
    assert group("fair-turns", 3, {"per_author": 1, "pins": [8]}) == [8, 0, 5]  # Cid has 8, so the second gets no 7


@pytest.mark.parametrize("how", ["average", "least-misery", "fair-turns"])
def test_what_one_member_has_read_is_not_for_the_group(how: GroupRule) -> None:
    assert not {0, 5, 6} & set(group(how, N, read=[[0], [6], []]))
    assert group(how, 2, {"pins": [0, 9, 6]}, read=[[0], [], []]) == [9, 6]
    assert set(group(how, N, {"author": ["Bob", "Dan"]}, read=[[9], [], []])) == {5, 7}
    assert group(how, N, {"list": "new"}, read=[[0], [5], [8]]) == [9, 10]


@pytest.mark.parametrize("how", ["average", "least-misery", "fair-turns"])
def test_a_group_that_nothing_suits_gets_an_empty_list(how: GroupRule) -> None:
    assert group(how, 3, {"list": "continue"}, read=[[0], [8], []]) == []

"""Reasons in words: which ratings are named, through what, and in whose words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.data.shelves import Shelves
from shelfwise.features.vectors import BookFeatures
from shelfwise.reasons import TEXTS, Explanation, Speaker
from shelfwise.reasons.explanation import LEAST_TIE, LINKS

BOOKS = pl.DataFrame(
    {
        "book_id": ["0", "1", "2", "3", "4"],
        "title": ["Emma", "Dune (Dune, #1)", "Dune Messiah (Dune, #2)", "Persuasion", "Foundation (Foundation, #1)"],
        "authors": ["Jane Austen", "Frank Herbert", "Frank Herbert", "Jane Austen", "Isaac Asimov"],
        "subjects": ["love", "space|desert", "space|desert", "love", "space"],
    }
)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    features = BookFeatures.of(Catalogue(build_catalogue(BOOKS, Path("books.csv")), empty_tags()))
    return Speaker(features.catalogue, features.space, features.content)


def explained(book: int, moved: list[float], pickup: list[float] | None = None, **links: list[float]) -> Explanation:
    """Of a reader who gave Emma 2, Dune 5 and Foundation 4 stars."""
    shelf = Shelves.build([0, 0, 0], [0, 1, 4], [2, 5, 4], 1)
    one = lambda values: np.array([values], dtype=np.float32)  # noqa: E731
    return Explanation(
        np.array([book], np.int32), shelf, one(4.5)[:, None][:, 0], one(3.9)[:, None][:, 0], one(0.2)[:, None][:, 0],
        one(moved), {name: one(values) for name, values in links.items()}, None if pickup is None else one(pickup),
    )  # fmt: skip


def test_the_rating_that_moves_most_is_named_through_what_ties_it(speaker: Speaker) -> None:
    found = explained(2, [0.0, 0.3, 0.1], series=[0, 1, 0], author=[0, 1, 0], tags=[0, 0.9, 0.4])
    texts = [reason.text for reason in speaker.reasons(found, 0)]
    assert texts == [
        "Because you gave Dune 5 stars (same series)",
        "Because you gave Foundation 4 stars (both space)",
    ]


def test_what_speaks_against_it_is_said_last(speaker: Speaker) -> None:
    found = explained(3, [-0.3, 0.0, 0.0], author=[1, 0, 0])
    reasons = speaker.reasons(found, 0)
    assert [reason.code for reason in reasons] == ["average", "against"]
    assert reasons[0].text == "Readers give it 4.1 stars on average"
    assert reasons[1].text == "Against it: you gave Emma 2 stars (same author)"
    assert reasons[1].item_idx == 0
    assert reasons[1].contribution == pytest.approx(-0.3)


def test_a_rating_that_nothing_ties_to_the_book_is_no_reason(speaker: Speaker) -> None:
    found = explained(2, [0.5, 0.3, 0.0], series=[0, 1, 0], tags=[0.01, 0.0, 0.0])
    assert [reason.item_idx for reason in speaker.reasons(found, 0)] == [1]


def test_a_rating_that_moves_next_to_nothing_is_no_reason(speaker: Speaker) -> None:
    found = explained(2, [0.0, 0.001, 0.0], series=[0, 1, 0])
    assert [reason.code for reason in speaker.reasons(found, 0)] == ["average"]


def test_readers_in_common_are_a_reason_with_the_tags_of_the_book(speaker: Speaker) -> None:
    found = explained(2, [0.0, 0.0, 0.0], pickup=[0.1, 0.2, 0.9])
    assert [reason.text for reason in speaker.reasons(found, 0)] == [
        "Readers of Foundation pick this up; its tags: desert, space"
    ]


def test_nobody_is_named_twice(speaker: Speaker) -> None:
    found = explained(2, [0.0, 0.3, 0.0], pickup=[0.0, 0.9, 0.1], series=[0, 1, 0])
    assert [reason.text for reason in speaker.reasons(found, 0)] == ["Because you gave Dune 5 stars (same series)"]


def test_a_translation_changes_every_word(speaker: Speaker) -> None:
    german = {code: f"<{code}>" for code in TEXTS}
    translated = Speaker(speaker.catalogue, speaker.space, speaker.content, german)
    found = explained(2, [-0.3, 0.3, 0.0], pickup=[0.0, 0.1, 0.9], series=[0, 1, 0], author=[1, 0, 0])
    assert [r.text for r in translated.reasons(found, 0)] == ["<for>", "<pickup tags>", "<against>"]


def test_a_model_that_adds_nothing_up_gives_no_reasons(speaker: Speaker) -> None:
    assert speaker.reasons(replace(explained(2, [0.0, 0.0, 0.0]), adds_up=False), 0) == []


def slow_link(explanation: Explanation, place: int, j: int) -> int:
    """The first tie that is certain, else the strongest; of equals the first."""
    ties = {name: float(explanation.links[name][place, j]) for name in LINKS if name in explanation.links}
    strong = {name: tie for name, tie in ties.items() if tie >= np.float32(LEAST_TIE)}
    for name in ("series", "author"):
        if name in strong:
            return LINKS.index(name)
    return LINKS.index(max(strong, key=lambda name: strong[name])) if strong else -1


tie = st.sampled_from([0.0, 0.1, float(np.float32(LEAST_TIE)), 0.2, 0.5, 1.0])


@given(st.dictionaries(st.sampled_from(LINKS), st.lists(tie, min_size=3, max_size=3)))
def test_the_tie_that_is_named_is_the_certain_one_or_else_the_strongest(links: dict[str, list[float]]) -> None:
    found = explained(2, [0.0, 0.3, 0.1], **links)
    assert found.closest.tolist() == [[slow_link(found, 0, j) for j in range(3)]]


def test_ratings_that_say_the_same_are_named_in_the_order_of_the_shelf() -> None:
    found = explained(2, [-0.2, 0.3, -0.2], [0.1, 0.5, 0.5])
    assert found.orders["for"].tolist() == [[1, 0, 2]]
    assert found.orders["against"].tolist() == [[0, 2, 1]]
    assert found.orders["pickup"].tolist() == [[1, 2, 0]]
    assert "pickup" not in explained(2, [0.0, 0.0, 0.0]).orders

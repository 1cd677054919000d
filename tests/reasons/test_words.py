"""Reasons in words: which ratings are named, through what, and in whose words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.data.shelves import Shelves
from shelfwise.features.vectors import BookFeatures
from shelfwise.reasons import TEXTS, Explanation, Speaker

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

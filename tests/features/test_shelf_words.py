"""Which tags count as shelves and verdicts."""

import polars as pl
import pytest

from shelfwise.features.shelf_words import is_shelf_word

SHELVES = """
    to-read currently-reading did-not-finish didn-t-finish dnf re-read rereads wish-list owned books-i-own i-own
    my-books library home-library kindle ebook e-book audiobook audible to-buy borrowed default favorites
    favourites all-time-favorites 5-stars 4-star disappointing best-ever loved not-for-me must-read read-in-2014
    2015-books 2016 books book-club for-school
""".split()
SUBJECTS = """
    fantasy science-fiction 20th-century 19th-century star-wars great-britain great-depression bestsellers love-
    story town small-town unknown-worlds clowns novel historical-fiction children-s-books new-york 1920s-fiction
    war homeless ownership-of-land starvation lovecraft good-and-evil
""".split()


@pytest.mark.parametrize("tag", SHELVES)
def test_what_readers_do_with_a_book_is_no_subject(tag: str) -> None:
    assert is_shelf_word(pl.Series([tag])).item()


@pytest.mark.parametrize("tag", SUBJECTS)
def test_subjects_are_kept(tag: str) -> None:
    assert not is_shelf_word(pl.Series([tag])).item()


def test_case_is_ignored_and_tags_without_letters_go() -> None:
    assert is_shelf_word(pl.Series(["To-Read", "---", "42", "日本"])).to_list() == [True, True, True, False]

"""Books and queries as words that can be compared: in ASCII, lower case, without accents; and words that are alike.

A book is a set of words of its title, authors and series; of its titles in one piece, which begin with '_', so that
'the hobbit' is found first under '_thehobbit' or '_hobbit'; and of its ISBNs, which begin with '__'.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import polars as pl
from anyascii import anyascii
from rapidfuzz import process
from rapidfuzz.distance import OSA

from shelfwise.data.catalogue import SERIES
from shelfwise.data.isbn import repair_isbn

LONGEST_QUERY, MOST_WORDS = 200, 12  # characters and words of a query that are looked at
LONGEST_WORD, LONGEST_TITLE = 40, 60  # letters that are kept of a word, of a title in one piece
ALIKE = 40  # words at most that stand in for one that may be mistyped
TITLE, ISBN = "_", "__"
_ARTICLE = re.compile(r"^(?:the|an?) (?=.)")
_COLUMNS = ("title", "original_title", "authors", "series", "series_number", "isbn13", "isbn10")

Choices = dict[tuple[str, bool], int]  # (word, whether it may go on) -> how far it is from the word typed


def words_of(text: str) -> list[str]:
    """The words of a text: letters and digits in ASCII, lower case; 'Brontë' is 'bronte', "O'Brien" is 'obrien'."""
    folded = anyascii(text).lower().replace("'", "")
    return [word[:LONGEST_WORD] for word in re.findall(r"[a-z0-9]+", folded)]


def in_one_piece(words: Iterable[str]) -> str:
    """A title as one word that no other word can be."""
    return TITLE + "".join(words)[:LONGEST_TITLE]


def initials_joined(words: list[str]) -> list[str]:
    """The same with single letters in a row as one word: 'j r r tolkien' is 'jrr tolkien'."""
    return re.sub(r"\b([a-z]) (?=[a-z]\b)", r"\1", " ".join(words)).split()


def query_words(query: str) -> list[str]:
    """The words that a query asks for."""
    return initials_joined(words_of(query[:LONGEST_QUERY]))[:MOST_WORDS]


def query_isbns(query: str) -> Choices:
    """The ISBNs that a query may be, in any form, or the beginnings of ISBNs; none for other queries."""
    query = query[:LONGEST_QUERY]
    isbn = repair_isbn(query)
    found: Choices = {} if isbn is None else {(ISBN + isbn, False): 0}
    if re.fullmatch(r"[\d\s-]+", query, re.ASCII) and sum(map(str.isdigit, query)) >= 7:
        found["".join([ISBN, *words_of(query)]), True] = 0
    return found


def book_words(books: pl.DataFrame) -> Iterator[str]:
    """The words of each book of a catalogue, separated by blanks, each once."""
    for title, original, authors, series, number, *isbns in books.select(_COLUMNS).iter_rows():
        found: dict[str, None] = {}
        for name in dict.fromkeys((title, original)):
            if name is None:
                continue
            found |= dict.fromkeys(words_of(name))
            bare = SERIES.sub(r"\g<title>", name)
            for part in (bare, bare.partition(":")[0]):
                whole = " ".join(words_of(part))
                if whole:
                    found[in_one_piece(whole.split())] = found[in_one_piece(_ARTICLE.sub("", whole).split())] = None
        for name in (*(authors or ()), series or ""):
            words = words_of(name)
            found |= dict.fromkeys([*words, *initials_joined(words)])
        if number is not None:
            found[f"{number:g}".replace(".", "")] = None
        found |= dict.fromkeys(ISBN + isbn.lower() for isbn in isbns if isbn)
        yield " ".join(found)


class Vocabulary:
    """All words of some books that may be mistyped, the commonest first."""

    def __init__(self, words: Iterable[str]) -> None:
        self._by_length: dict[int, list[str]] = {}
        for word in words:
            self._by_length.setdefault(len(word), []).append(word)
        self._beginnings = lru_cache(maxsize=LONGEST_WORD)(self._make_beginnings)

    @staticmethod
    def of(books: Iterable[str]) -> list[str]:
        """The words for it: those of three letters or more, without titles in one piece and numbers."""
        counts = Counter(word for words in books for word in words.split() if len(word) > 2 and word[0] != TITLE)
        return [word for word, _ in counts.most_common() if not word[0].isdigit()]

    def alike(self, word: str, *, last: bool) -> Choices:
        """Words that may be meant by one, by how many letters differ (Damerau: two exchanged are one change).

        The last word of a query may still be typed, so that beginnings of words count too.
        """
        found: Choices = {(word, last): 0}
        if not last and len(word) > 1:
            found[word, True] = 1
        allowed = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
        if allowed:
            lengths = range(len(word) - allowed, len(word) + allowed + 1)
            for choice, distance in self._near(word, (w for n in lengths for w in self._by_length.get(n, ())), allowed):
                found.setdefault((choice, False), distance)
            if last:
                for choice, distance in self._near(word, self._beginnings(len(word)), allowed):
                    found.setdefault((choice, True), distance)
        return dict(sorted(found.items(), key=lambda item: item[1])[:ALIKE])

    @staticmethod
    def _near(word: str, choices: Iterable[str], allowed: int) -> list[tuple[str, int]]:
        scorer: Any = OSA.distance
        found = process.extract(word, choices, scorer=scorer, score_cutoff=allowed, limit=None)
        return [(choice, int(distance)) for choice, distance, _ in found]

    def _make_beginnings(self, length: int) -> list[str]:
        return list(dict.fromkeys(w[:length] for n, words in self._by_length.items() if n > length for w in words))


class Nearness:
    """How far books are from a query."""

    def __init__(self, asked: list[Choices]) -> None:
        self._asked = []
        for choices in asked:
            whole = {word: far for (word, goes_on), far in choices.items() if not goes_on}
            begun = {word: far for (word, goes_on), far in choices.items() if goes_on}
            self._asked.append((whole, begun, {len(word) for word in begun}))

    def distance(self, words: str) -> int:
        """Of a book that holds a choice for each word: each by the nearest, added up."""
        mine, total = words.split(), 0
        for whole, begun, lengths in self._asked:
            far = [whole[word] for word in mine if word in whole]
            far += [begun[word[:n]] for n in lengths for word in mine if word[:n] in begun]
            total += min(far)
        return total

"""What a shelf says of its reader: subjects that fare better or worse, guesses, and readers alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from shelfwise.data.shelves import Floats, Indices
from shelfwise.data.vocabulary import Id
from shelfwise.recommender import Recommender
from shelfwise.service.desk import NOBODY

LEAST_BOOKS = 3  # of a subject, to be told
LARGEST_SHARE = 0.4  # of the catalogue: what so many books are about says nothing
SAME = 0.7  # share of common books from which two subjects are one
SHRINK = 3.0  # books of usual stars that are added to each subject
MOST_SUBJECTS, MOST_TOLD = 8, 3
LEAST_DIFFERENCE = 0.15  # stars
FOLDS, ALONE = 5, 60  # shelves up to ALONE are guessed leaving each rating out alone
LIKE_YOU, LEAST_LIKE_YOU, LEAST_COMMON = 30, 5, 2


@dataclass(frozen=True)
class Subject:
    """A subject of a shelf: mean stars of its n books, and how far that lies from usual, shrunk."""

    tag: str
    stars: float
    n: int
    difference: float


@dataclass(frozen=True)
class Taste:
    """usual  mean stars; subjects  the commonest, most books first; above, below  those to be told, strongest first"""

    usual: float
    subjects: list[Subject]
    above: list[Subject]
    below: list[Subject]


def taste_of(recommender: Recommender, item_idx: Indices, stars: Floats) -> Taste:
    """The taste of a shelf of L ratings; item_idx int32 [L], all known."""
    facts = recommender.facts
    usual = float(stars.mean()) if len(stars) else 0.0
    mine = facts.by_tag[item_idx]
    n = np.asarray(mine.sum(axis=0)).ravel()
    everywhere = np.asarray(facts.by_tag.sum(axis=0)).ravel()
    told = np.flatnonzero((n >= LEAST_BOOKS) & (everywhere <= LARGEST_SHARE * len(facts)))
    sums = np.asarray(mine.T @ stars.astype(np.float64)).ravel()
    names, kept = facts.tags.ids, []
    held: list[set[int]] = []
    for tag in told[np.argsort(-n[told], kind="stable")].tolist():
        books = set(mine[:, [tag]].nonzero()[0].tolist())
        if any(len(books & other) >= SAME * len(books | other) for other in held):
            continue
        held.append(books)
        shrunk = (sums[tag] + SHRINK * usual) / (n[tag] + SHRINK)
        kept.append(Subject(str(names[tag]), float(sums[tag] / n[tag]), int(n[tag]), float(shrunk - usual)))
    by_difference = sorted(kept, key=lambda subject: subject.difference)
    return Taste(
        usual,
        kept[:MOST_SUBJECTS],
        [subject for subject in by_difference[::-1][:MOST_TOLD] if subject.difference >= LEAST_DIFFERENCE],
        [subject for subject in by_difference[:MOST_TOLD] if subject.difference <= -LEAST_DIFFERENCE],
    )


def guesses(recommender: Recommender, ratings: list[tuple[Id, float]], asked: Sequence[Id]) -> list[float]:
    """What M of the books rated would have been given, judged by the other ratings alone, stars [M].

    asked  their ids, each once
    On long shelves they are dealt into FOLDS parts, each guessed from all that is not in it.
    """
    n_parts = len(asked) if len(ratings) <= ALONE else min(FOLDS, len(asked))
    part = {book: place % n_parts for place, book in enumerate(asked)}
    if not part:
        return []
    others = {f"{NOBODY}{p}": [pair for pair in ratings if part.get(pair[0]) != p] for p in range(n_parts)}
    pairs = pl.DataFrame(
        {
            "user_id": [f"{NOBODY}{p}" for p in part.values()],
            "book_id": pl.Series([str(book) for book in part], dtype=pl.String),
        }
    )
    shelf = recommender.shelves_of(others)
    found: list[float] = recommender.predict(pairs, shelf, ids="catalogue", where="shelf")["stars"].to_list()
    return found


@dataclass(frozen=True)
class Crowd:
    """Everybody's ratings, less what each usually gives, by reader and by book: float32 [U, I] and [I, U]."""

    by_reader: sp.csr_matrix
    by_book: sp.csr_matrix
    stars: sp.csr_matrix

    @classmethod
    def of(cls, recommender: Recommender) -> Crowd:
        """Of the readers of a run."""
        shelves, n_books = recommender.run.shelves, len(recommender.run.catalogue)
        stars = np.asarray(shelves.stars, dtype=np.float32)
        rows = shelves.rows
        usual = np.bincount(rows, stars, len(shelves)) / np.maximum(shelves.lengths, 1)
        where = (np.asarray(shelves.item_idx), shelves.indptr)
        shape = (len(shelves), n_books)
        moved = sp.csr_matrix(((stars - usual[rows]).astype(np.float32), *where), shape=shape)
        given = sp.csr_matrix((stars, *where), shape=shape)
        return cls(moved, sp.csr_matrix(moved.T), sp.csr_matrix(given.T))

    def like(self, item_idx: Indices, stars: Floats, book: int) -> tuple[int, float] | None:
        """How many readers with a taste like that of a shelf have rated a book, and their mean stars; None for too few.

        Alike are those who moved the same books up and down: at least LEAST_COMMON in common, the closest LIKE_YOU.
        """
        start, end = self.by_book.indptr[book : book + 2]
        who = self.by_book.indices[start:end]
        if not len(who) or not len(item_idx):
            return None
        theirs = self.by_reader[who][:, item_idx]
        common = np.diff(theirs.indptr)
        alike = np.asarray(theirs @ (stars - stars.mean()).astype(np.float32)).ravel() / (common + 1)
        near = np.flatnonzero((common >= LEAST_COMMON) & (alike > 0))
        near = near[np.argsort(-alike[near], kind="stable")][:LIKE_YOU]
        if len(near) < LEAST_LIKE_YOU:
            return None
        return len(near), float(self.stars.data[start:end][near].mean())

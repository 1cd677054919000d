"""What readers say beside stars: do not use this rating, read, not finished, not this one, later, nothing by this
author."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.catalogue import plain
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Shelves
from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.errors import BadValueError
from shelfwise.rules.facts import CatalogueFacts

Action = Literal["ignore", "read", "did-not-finish", "dismiss", "to-read", "hide-author"]
ACTIONS: tuple[Action, ...] = get_args(Action)
# (reader, action, book id, or author where the action is hide-author)
Mark = tuple[Id, str, Id]


@dataclass(frozen=True)
class Feedback:
    """Marks of U readers, by action: books (for hide-author: authors) by index; stars mean nothing.

    unknown  books and authors that the catalogue does not have, each once
    """

    readers: Vocabulary
    marks: dict[Action, Shelves]
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, marks: Iterable[Mark], facts: CatalogueFacts, where: str = "feedback") -> Feedback:
        """Raises BadValueError for an action that is not one of ACTIONS; `where` names the marks in it."""
        marks = list(marks)
        for number, (_, action, _) in enumerate(marks, start=1):
            if action not in ACTIONS:
                raise BadValueError(
                    f"{where}, mark {number}: no action {action!r}", hint=f"choose one of {', '.join(ACTIONS)}"
                )
        readers = Vocabulary(pl.Series([str(reader) if _mixed(marks) else reader for reader, _, _ in marks]))
        by_action: dict[Action, Shelves] = {}
        unknown: list[str] = []
        for action in ACTIONS:
            mine = [(reader, subject) for reader, said, subject in marks if said == action]
            subjects = [subject for _, subject in mine]
            if action == "hide-author":
                found = facts.authors.find([plain(str(name)) for name in subjects])
            else:
                found = facts.catalogue.vocabulary.find(subjects)
            unknown += [str(subject) for subject, idx in zip(subjects, found.tolist(), strict=True) if idx < 0]
            rows = readers.find([reader for reader, _ in mine])[found >= 0]
            by_action[action] = Shelves.build(rows, found[found >= 0], np.zeros(len(rows)), len(readers))
        return cls(readers, by_action, tuple(dict.fromkeys(unknown)))

    def take(self, reader_ids: pl.Series) -> Feedback:
        """The marks of the given readers, in their order."""
        rows = self.readers.find(reader_ids)
        return Feedback(self.readers, {action: shelves.take(rows) for action, shelves in self.marks.items()})

    def shelf(self, shelves: Shelves, scale: Scale) -> Shelves:
        """The ratings to judge by: without those to be ignored, and with what was not finished as a weak negative.

        That is a quarter of the scale's width (one star of 1-5) below what the reader usually gives, where the reader
        did not rate the book. The rows of `shelves` are those of the marks.
        """
        shelves = shelves.where(~shelves.among(self.marks["ignore"]))
        unfinished = self.marks["did-not-finish"]
        sums = np.bincount(shelves.rows, shelves.stars, len(shelves))
        middle = (scale.low + scale.high) / 2
        usual = np.where(shelves.lengths > 0, sums / np.maximum(shelves.lengths, 1), middle)
        stars: Floats = scale.round(usual - (scale.high - scale.low) / 4)[unfinished.rows]
        return Shelves(unfinished.indptr, unfinished.item_idx, stars).merge(shelves)

    def read(self, seen: Shelves) -> Shelves:
        """`seen`, and the books that were rated, read or begun whatever is to be made of that."""
        return seen.merge(self.marks["ignore"]).merge(self.marks["read"]).merge(self.marks["did-not-finish"])

    @property
    def aside(self) -> Shelves:
        """Books that leave the list and say nothing of taste."""
        return self.marks["dismiss"].merge(self.marks["to-read"])

    @property
    def changes_shelf(self) -> npt.NDArray[np.bool_]:
        """Which readers are to be judged by other ratings than they gave, bool [U]."""
        return (self.marks["ignore"].lengths > 0) | (self.marks["did-not-finish"].lengths > 0)


def _mixed(marks: list[Mark]) -> bool:
    return len({isinstance(reader, int) for reader, _, _ in marks}) > 1

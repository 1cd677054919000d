"""What the rules know of readers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from shelfwise.data.shelves import Shelves
from shelfwise.rules.facts import CatalogueFacts
from shelfwise.rules.incidence import Mask, entries


@dataclass(frozen=True)
class Histories:
    """U readers. rated: with stars; read: all that is no news to them, rated or taken up (books, in one edition or
    all); aside: dismissed, or kept for later; hidden: authors (by index) whose books they do not want."""

    rated: Shelves
    read: Shelves
    aside: Shelves
    hidden: Shelves

    @classmethod
    def of(cls, rated: Shelves, read: Shelves) -> Histories:
        """Of readers who put nothing aside and hid no one."""
        nothing = Shelves.empty(len(rated))
        return cls(rated, read, nothing, nothing)

    def __len__(self) -> int:
        return len(self.rated)

    def take(self, rows: npt.ArrayLike) -> Histories:
        return Histories(*(s.take(rows) for s in (self.rated, self.read, self.aside, self.hidden)))


def by_new_authors(facts: CatalogueFacts, read: Shelves) -> Mask:
    """Which books have no author of a book that was read, for each of U readers, bool [U, I]."""
    place, authors = entries(facts.by_author, read.item_idx)
    return ~facts.written_by_each(authors, read.rows[place], len(read))

"""Reasons in words. All texts are in TEXTS, by code, for translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from shelfwise.data.catalogue import SERIES, Catalogue
from shelfwise.features.content import ContentSpace
from shelfwise.reasons.explanation import LINKS, Explanation

TEXTS: dict[str, str] = {
    "for": "Because you gave {title} {stars} stars ({link})",
    "against": "Against it: you gave {title} {stars} stars ({link})",
    "pickup": "Readers of {title} pick this up",
    "pickup tags": "Readers of {title} pick this up; its tags: {tags}",
    "average": "Readers give it {stars} stars on average",
    "series": "same series",
    "author": "same author",
    "tags": "both {tags}",
    "tags unnamed": "alike in what it is about",
    "readers": "read by the same people",
}
MOVES = 0.02  # stars that a rating must move the prediction by to be named
LEAST_TIE = 0.15  # for a tie to be worth naming
MOST_FOR, MOST_AGAINST, MOST_TAGS = 2, 1, 3
TAG_BLOCKS = ("tags", "subjects")


@dataclass(frozen=True)
class Reason:
    """One reason: its code in TEXTS, the text, the book on the shelf that it names and by how many stars that moves
    the prediction; None for a reason that rests on no single rating."""

    code: str
    text: str
    item_idx: int | None = None
    contribution: float | None = None

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        return asdict(self)


@dataclass(frozen=True)
class Speaker:
    """What words need: titles, tags and the texts."""

    catalogue: Catalogue
    space: ContentSpace
    content: sp.csr_matrix
    texts: Mapping[str, str] = field(default_factory=lambda: TEXTS)

    def reasons(self, explanation: Explanation, place: int) -> list[Reason]:
        """Why the book at `place`: ratings that speak for it, whose readers pick it up, what speaks against it.

        Only books on the shelf are named, and only through what ties them to the book. Nothing is said where the model
        adds nothing up.
        """
        if not explanation.adds_up:
            return []
        moved, shelf = explanation.contributions[place], explanation.shelf
        found, named = [], set()
        for code, most, order in (("for", MOST_FOR, np.argsort(-moved, kind="stable")),
                                  ("against", MOST_AGAINST, np.argsort(moved, kind="stable"))):  # fmt: skip
            sign = 1 if code == "for" else -1
            telling = [int(j) for j in order if sign * moved[j] >= MOVES and self.link(explanation, place, int(j))]
            for j in telling[:most]:
                link = self.link(explanation, place, j)
                text = self.texts[code].format(
                    title=self.title(shelf.item_idx[j]), stars=f"{shelf.stars[j]:g}", link=link
                )
                found.append(Reason(code, text, int(shelf.item_idx[j]), float(moved[j])))
                named.add(j)
        picked = self._pickup(explanation, place, named)
        if picked is not None:
            found.insert(sum(reason.code == "for" for reason in found), picked)
        if not any(reason.code != "against" for reason in found):
            average = float(explanation.mean[place] + explanation.book[place])
            found.insert(0, Reason("average", self.texts["average"].format(stars=f"{average:.1f}")))
        return found

    def link(self, explanation: Explanation, place: int, j: int) -> str | None:
        """In words, through what rating j speaks of the book; None if nothing in particular ties them."""
        ties = {name: float(explanation.links[name][place, j]) for name in LINKS if name in explanation.links}
        strong = {name: tie for name, tie in ties.items() if tie >= LEAST_TIE}
        certain = [name for name in strong if name in ("series", "author")]
        code = next(iter(certain), max(strong, key=lambda name: strong[name], default=None))
        if code is None:
            return None
        if code != "tags":
            return self.texts[code]
        tags = self.shared_tags(int(explanation.shelf.item_idx[j]), int(explanation.books[place]))
        return self.texts["tags"].format(tags=", ".join(tags)) if tags else self.texts["tags unnamed"]

    def _pickup(self, explanation: Explanation, place: int, named: set[int]) -> Reason | None:
        """The rated book whose readers pick this one up most, other than those that are named."""
        if explanation.pickup is None:
            return None
        scores = explanation.pickup[place]
        order = [int(j) for j in np.argsort(-scores, kind="stable") if scores[j] > 0 and j not in named]
        if not order or scores[order[0]] < 0.5 * scores.max():  # one that is named already says more
            return None
        item = int(explanation.shelf.item_idx[order[0]])
        tags = self.tags_of(int(explanation.books[place]))
        code = "pickup tags" if tags else "pickup"
        text = self.texts[code].format(title=self.title(item), tags=", ".join(tags))
        return Reason("pickup", text, item, float(explanation.contributions[place, order[0]]))

    def title(self, item_idx: int) -> str:
        """The title without the series."""
        return SERIES.sub(r"\g<title>", str(self.catalogue.books["title"][int(item_idx)]))

    def tags_of(self, item_idx: int) -> list[str]:
        """The most telling tags of a book, at most MOST_TAGS."""
        return self._strongest(self.content[item_idx]) if item_idx >= 0 else []

    def shared_tags(self, one: int, other: int) -> list[str]:
        """The tags that make two books alike, at most MOST_TAGS."""
        return self._strongest(self.content[one].multiply(self.content[other]).tocsr()) if other >= 0 else []

    def _strongest(self, row: sp.csr_matrix) -> list[str]:
        blocks, terms = self.space.terms["block"], self.space.terms["term"]
        order = row.indices[np.argsort(-row.data, kind="stable")].tolist()
        return [str(terms[c]).replace("-", " ") for c in order if blocks[c] in TAG_BLOCKS][:MOST_TAGS]

"""Reasons in words. All texts are in TEXTS, by code, for translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from shelfwise.data.catalogue import SERIES, Catalogue
from shelfwise.data.shelves import Floats
from shelfwise.features.content import ContentSpace
from shelfwise.reasons.explanation import LINKS, Explanation

TEXTS: dict[str, str] = {
    "for": "Because you gave {title} {stars} ({link})",
    "against": "Against it: you gave {title} {stars} ({link})",
    "pickup": "Readers of {title} pick this up",
    "pickup tags": "Readers of {title} pick this up; its tags: {tags}",
    "average": "Readers give it {stars} on average",
    "stars": "{n} stars",
    "one star": "1 star",
    "series": "same series",
    "author": "same author",
    "tags": "both {tags}",
    "tags unnamed": "alike in what it is about",
    "readers": "read by the same people",
}
MOVES = 0.02  # stars that a rating must move the prediction by to be named
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
        moved, shelf = explanation.contributions[place].tolist(), explanation.shelf
        found, named = [], set()
        for code, most in (("for", MOST_FOR), ("against", MOST_AGAINST)):
            sign, said = 1 if code == "for" else -1, 0
            for j in explanation.orders[code][place].tolist():
                if said == most or sign * moved[j] < MOVES:
                    break
                link = self.link(explanation, place, j)
                if link is None:
                    continue
                item, stars = int(shelf.item_idx[j]), self.stars(f"{shelf.stars[j]:g}")
                text = self.texts[code].format(title=self.title(item), stars=stars, link=link)
                found.append(Reason(code, text, item, moved[j]))
                named.add(j)
                said += 1
        picked = self._pickup(explanation, place, named)
        if picked is not None:
            found.insert(sum(reason.code == "for" for reason in found), picked)
        if not any(reason.code != "against" for reason in found):
            average = float(explanation.mean[place] + explanation.book[place])
            found.insert(0, Reason("average", self.texts["average"].format(stars=self.stars(f"{average:.1f}"))))
        return found

    def link(self, explanation: Explanation, place: int, j: int) -> str | None:
        """In words, through what rating j speaks of the book; None if nothing in particular ties them."""
        closest = int(explanation.closest[place, j])
        if closest < 0:
            return None
        code = LINKS[closest]
        if code != "tags":
            return self.texts[code]
        tags = self.shared_tags(int(explanation.shelf.item_idx[j]), int(explanation.books[place]))
        return self.texts["tags"].format(tags=", ".join(tags)) if tags else self.texts["tags unnamed"]

    def _pickup(self, explanation: Explanation, place: int, named: set[int]) -> Reason | None:
        """The rated book whose readers pick this one up most, other than those that are named."""
        if explanation.pickup is None:
            return None
        scores, order = explanation.pickup[place], explanation.orders["pickup"][place].tolist()
        first = next((j for j in order if j not in named), None)
        # One that is named already may say more.
        if first is None or scores[first] <= 0 or scores[first] < 0.5 * scores[order[0]]:
            return None
        item = int(explanation.shelf.item_idx[first])
        tags = self.tags_of(int(explanation.books[place]))
        code = "pickup tags" if tags else "pickup"
        text = self.texts[code].format(title=self.title(item), tags=", ".join(tags))
        return Reason("pickup", text, item, float(explanation.contributions[place, first]))

    def stars(self, n: str) -> str:
        """So many stars."""
        return self.texts["one star"] if n == "1" else self.texts["stars"].format(n=n)

    def title(self, item_idx: int) -> str:
        """The title without the series."""
        bare = self._bare.get(item_idx)
        if bare is None:
            bare = self._bare[item_idx] = SERIES.sub(r"\g<title>", self.catalogue.heading(item_idx).title)
        return bare

    def tags_of(self, item_idx: int) -> list[str]:
        """The most telling tags of a book, at most MOST_TAGS."""
        if item_idx < 0:
            return []
        if item_idx not in self._tags:
            self._tags[item_idx] = self._strongest(*self._terms_of(item_idx))
        return self._tags[item_idx]

    def shared_tags(self, one: int, other: int) -> list[str]:
        """The tags that make two books alike, at most MOST_TAGS."""
        if other < 0:
            return []
        (mine, weights), (theirs, others) = self._terms_of(one), self._terms_of(other)
        both, at, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        return self._strongest(both, weights[at] * others[there])

    def _terms_of(self, item_idx: int) -> tuple[npt.NDArray[np.int32], Floats]:
        """The tags of a book, as columns of the content, and their weights."""
        row = slice(self.content.indptr[item_idx], self.content.indptr[item_idx + 1])
        columns = self.content.indices[row]
        is_tag = self._names[1][columns]
        return columns[is_tag], self.content.data[row][is_tag]

    def _strongest(self, columns: npt.NDArray[np.int32], weights: Floats) -> list[str]:
        order = np.argsort(-weights, kind="stable")[:MOST_TAGS]
        return [self._names[0][column] for column in columns[order].tolist()]

    @cached_property
    def _bare(self) -> dict[int, str]:
        """Titles without the series, of the books that were spoken of."""
        return {}

    @cached_property
    def _tags(self) -> dict[int, list[str]]:
        """The most telling tags of these."""
        return {}

    @cached_property
    def _names(self) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Of each column of the content: how it is said, and whether it is a tag."""
        terms = self.space.terms
        said = [term.replace("-", " ") for term in terms["term"].to_list()]
        return said, terms["block"].is_in(list(TAG_BLOCKS)).to_numpy()

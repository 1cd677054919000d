"""The rules as settings, and made ready for a catalogue. docs/rules.md says what each means and in which order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from shelfwise.config import Config
from shelfwise.data.catalogue import plain
from shelfwise.data.language import language_of
from shelfwise.data.shelves import Indices
from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.rules.facts import CatalogueFacts
from shelfwise.rules.histories import Histories, by_new_authors
from shelfwise.rules.incidence import Mask

ListKind = Literal["all", "continue", "new"]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str | int) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Ids = Annotated[tuple[Id, ...], BeforeValidator(_as_tuple)]
Most = Annotated[int, Field(ge=1)]


class Rules(Config):
    """What lists are to be like. Without any: nothing that was read, in any edition, and of a work one edition.

    language      in one of these (en, eng and en-US are the same)
    year_from, year_to  first published then, both included
    tag, not_tag  with one, without any of these tags or subjects
    author, not_author  by one, by none of these
    series        of one of these
    holdings      among these book ids: what a library has
    exclude       none of these book ids, in no edition
    pins          these book ids first, in this order, whatever the filters say
    list          all, continue (the next volumes of series that the reader liked), new (authors not on the shelf)
    first_unread  of a series its first unread volume only
    per_author, per_series  at most so many by one author, of one series
    diversity     0 to 1: how much unlikeness to what is on the list already counts, against the model's order
    obscurity     -1 to 1: how much being read by many (below 0) or by few (above 0) counts
    Names are compared without case, accents and punctuation. Of several names in one setting any will do.
    """

    language: Names = ()
    year_from: int | None = None
    year_to: int | None = None
    tag: Names = ()
    not_tag: Names = ()
    author: Names = ()
    not_author: Names = ()
    series: Names = ()
    holdings: Ids | None = None
    exclude: Ids = ()
    pins: Ids = ()
    list: ListKind = "all"
    first_unread: bool = False
    per_author: Most | None = None
    per_series: Most | None = None
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    obscurity: Annotated[float, Field(ge=-1, le=1)] = 0.0


@dataclass(frozen=True)
class Plan:
    """Rules made ready for a catalogue of I books.

    liked_from  stars; out  what nobody gets, bool [I]; filters  what each asks for, and the books that pass, bool [I]
    caps        how many books of one work, by one author and of one series a list may hold
    notes       names and ids that the catalogue does not know, in words
    """

    rules: Rules
    facts: CatalogueFacts
    liked_from: float
    out: Mask
    filters: tuple[tuple[str, Mask], ...]
    pins: Indices
    caps: tuple[int, int, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Shortfall:
    """Why a list is short: books asked for and listed, how many are left after each rule, and what was not found."""

    asked: int
    found: int
    left: tuple[tuple[str, int], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "; ".join(f"{words}: {count:,}" for words, count in self.left)
        return ". ".join((f"{self.found:,} of {self.asked:,} books. Left after each rule: {steps}", *self.notes))


OnShort = Callable[[Id, Shortfall], None]  # called with the reader of each list that is short


def ignore_short(reader: Id, why: Shortfall) -> None:
    """The OnShort that does nothing."""


def make_plan(rules: Rules, facts: CatalogueFacts, liked_from: float) -> Plan:
    """`rules` made ready; liked_from is Scale.liked_from."""
    notes: list[str] = []
    excluded = _books(rules.exclude, facts, "excluded books", notes)
    pins = _books(rules.pins, facts, "pins", notes)
    filters = tuple(_filters(rules, facts, notes))
    if rules.obscurity and facts.popularity is None:
        notes.append("no counts tell popular books from obscure ones")
    of_series = 1 if rules.list == "continue" or rules.first_unread else rules.per_series
    caps = 1, rules.per_author or sys.maxsize, of_series or sys.maxsize
    out = np.isin(facts.work, facts.work[excluded])
    return Plan(rules, facts, liked_from, out, filters, pins, caps, tuple(notes))


def _filters(rules: Rules, facts: CatalogueFacts, notes: list[str]) -> Iterator[tuple[str, Mask]]:
    """What each filter asks for, in words, and the books that pass."""
    if rules.language:
        wanted = {language_of(code) for code in rules.language}
        yield f"in {_any(rules.language)}", np.array([code in wanted for code in facts.languages], dtype=bool)
    if rules.year_from is not None:
        yield f"from {rules.year_from} on", facts.years >= rules.year_from
    if rules.year_to is not None:
        yield f"up to {rules.year_to}", facts.years <= rules.year_to
    if rules.tag:
        yield f"tagged {_any(rules.tag)}", facts.about(_names(rules.tag, facts.tags, "tag", notes))
    if rules.not_tag:
        yield f"not tagged {_any(rules.not_tag)}", ~facts.about(_names(rules.not_tag, facts.tags, "tag", notes))
    if rules.author:
        yield f"by {_any(rules.author)}", facts.written_by(_names(rules.author, facts.authors, "author", notes))
    if rules.not_author:
        unwanted = _names(rules.not_author, facts.authors, "author", notes)
        yield f"not by {_any(rules.not_author)}", ~facts.written_by(unwanted)
    if rules.series:
        wanted_series = _names(rules.series, facts.series_names, "series", notes)
        yield f"of the series {_any(rules.series)}", np.isin(facts.series, wanted_series)
    if rules.holdings is not None:
        held = np.zeros(len(facts), dtype=bool)
        held[_books(rules.holdings, facts, "holdings", notes)] = True
        yield "among the holdings", held


def _any(names: Sequence[str]) -> str:
    return " or ".join(names)


def _names(names: Sequence[str], known: Vocabulary, what: str, notes: list[str]) -> Indices:
    """The indices of names that are known; the others are noted."""
    found = known.find([plain(name) for name in names])
    notes += [
        f"the catalogue has no {what} {name!r}" for name, idx in zip(names, found.tolist(), strict=True) if idx < 0
    ]
    return found[found >= 0]


def _books(ids: Sequence[Id], facts: CatalogueFacts, what: str, notes: list[str]) -> Indices:
    """The indices of book ids that are known, in their order and once each; how many are not is noted."""
    found = facts.catalogue.vocabulary.find(list(ids)) if ids else np.zeros(0, dtype=np.int32)
    if n_unknown := int((found < 0).sum()):
        notes.append(f"of the {what} {n_unknown:,} of {len(found):,} are not in the catalogue")
    return np.array(list(dict.fromkeys(found[found >= 0].tolist())), dtype=np.int32)


def kept(plan: Plan, readers: Histories) -> Mask:
    """What may be listed whatever is asked for: not read, put aside, excluded or by a hidden author, bool [U, I]."""
    return ~(plan.facts.same_works(readers.read) | _unwanted(plan, readers))


def _unwanted(plan: Plan, readers: Histories) -> Mask:
    """What is put aside, excluded or by a hidden author, bool [U, I], or [I] where it is the same for all."""
    unwanted, facts, hidden = plan.out, plan.facts, readers.hidden
    if len(readers.aside.item_idx):
        unwanted = unwanted | facts.same_works(readers.aside)
    if len(hidden.item_idx):
        unwanted = unwanted | facts.written_by_each(hidden.item_idx, hidden.rows, len(hidden))
    return unwanted


def allowed(plan: Plan, readers: Histories) -> Mask:
    """What may be on the lists of U readers beside pins, bool [U, I]."""
    passing = np.ones((len(readers), len(plan.facts)), dtype=bool)
    for _, mask in steps(plan, readers):
        passing &= mask
    return passing


def steps(plan: Plan, readers: Histories) -> Iterator[tuple[str, Mask]]:
    """Each rule that leaves books out, in order: in words, and the books that pass, bool [U, I], or [I] for all."""
    rules, facts = plan.rules, plan.facts
    yield "not read in any edition", ~facts.same_works(readers.read)
    yield "not dismissed, kept for later, excluded or by a hidden author", ~_unwanted(plan, readers)
    yield from plan.filters
    if rules.list == "continue":
        next_volumes = facts.volumes.next_volumes(readers.rated, readers.read, plan.liked_from)
        yield "next volumes of series that were liked", next_volumes
    if rules.list == "new":
        yield "by authors not on the shelf", by_new_authors(facts, readers.read)
    if rules.first_unread and rules.list != "continue":
        yield "first unread volumes of their series", facts.volumes.first_unread(readers.read)


def explain(plan: Plan, readers: Histories, asked: int, found: int) -> Shortfall:
    """Why a list for one reader, or for a whole group, holds only `found` books: the rules that left some out."""
    passing = np.ones(len(plan.facts), dtype=bool)
    left = [("in the catalogue", len(passing))]
    for words, mask in steps(plan, readers):
        passing &= np.atleast_2d(mask).all(axis=0)
        if (count := int(passing.sum())) < left[-1][1]:
            left.append((words, count))
    if found != left[-1][1]:
        pins = " and pins" if len(plan.pins) else ""
        left.append((f"at most so many of one work, author and series{pins}", found))
    return Shortfall(asked, found, tuple(left), plan.notes)

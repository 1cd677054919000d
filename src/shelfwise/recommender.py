"""Ids in, books and stars out: for readers the run knows, for new ones, and for newer ratings of known ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from shelfwise.artifact import Run, load_run
from shelfwise.data.ids import IdSpace, to_catalogue_ids
from shelfwise.data.ratings import BOOK_ID_NAMES, READER_NAMES, as_ids
from shelfwise.data.shelves import Indices, Shelves
from shelfwise.data.split import TEST, TRAIN
from shelfwise.data.tables import need_column, present
from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.errors import FormatError, UnknownBookError, UsageError
from shelfwise.features.content import most_similar
from shelfwise.imports import BookIndex, Choice, ImportResult, Limits, import_file
from shelfwise.listed import Listed, group_frame, listed
from shelfwise.models.blocks import describe, predict, rank_block, reader_blocks
from shelfwise.models.contract import BASES, Lists, Progress, Readers, silent
from shelfwise.new_book import run_with_book
from shelfwise.outside import OutsideRatings, outside_ratings, read_outside
from shelfwise.reasons import Speaker, Why, explain_book, reasons_of
from shelfwise.rules import CatalogueFacts, Feedback, Histories, Rules, make_plan, ruled_lists
from shelfwise.rules.feedback import Mark
from shelfwise.rules.files import read_feedback
from shelfwise.rules.group import GroupRule, group_list
from shelfwise.rules.plan import OnShort, Plan, Shortfall, ignore_short
from shelfwise.rules.plan import explain as explain_short

# What a reader given in a request is called in the answer.
NEW_READER = "new reader"
GROUP = "the group"  # what OnShort is told of in the place of a reader
PREDICTED = {"stars", "most_likely", "sd", "low", "high", "basis"}  # columns that predict may add


@dataclass(frozen=True)
class _View:
    """U readers: the shelf each is judged by, what the rules know of them, and their trained index or -1."""

    shelves: Shelves
    histories: Histories
    trained_idx: Indices


class Recommender:
    """A run, ready to answer.

    A known reader is judged by every rating the run knows, whatever its part; where the run was
    trained on the user's own files, by the training file alone, since the others only select and test.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        own_files = run.settings["split"]["kind"] == "files"
        parts = np.asarray(run.parts)
        self._known = run.shelves.where(parts == TRAIN) if own_files else run.shelves
        self._seen = run.shelves.where(parts != TEST) if own_files else run.shelves
        trained = run.shelves.count(parts == TRAIN)
        unchanged = (trained > 0) & (trained == self._known.lengths)
        self._trained_idx = np.where(unchanged, np.arange(len(run.readers)), -1).astype(np.int32)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The recommender of the run at `path`. Raises what load_run raises."""
        return cls(load_run(Path(path)))

    def ordered(self, order: str) -> Recommender:
        """The same with lists in another order: blend, stars or pickup. Raises UsageError where the model has none."""
        return Recommender(replace(self.run, model=self.run.model.with_order(order)))

    @cached_property
    def facts(self) -> CatalogueFacts:
        """What the rules need of the catalogue."""
        return CatalogueFacts(self.run.catalogue, self.run.content, self._known, self.run.model.book_counts)

    def plan(self, rules: Rules) -> Plan:
        """Rules made ready for this catalogue."""
        return make_plan(rules, self.facts, self.run.model.scale.liked_from)

    def histories(
        self, reader_ids: pl.Series, shelf: OutsideRatings | None = None, feedback: Feedback | None = None
    ) -> Histories:
        """What the rules know of readers."""
        return self._view(reader_ids, shelf, feedback).histories

    @cached_property
    def book_index(self) -> BookIndex:
        """The catalogue, ready to be searched by what other apps say of a book."""
        return BookIndex(self.run.catalogue)

    def share(self, other: Recommender) -> None:
        """Take over `other`'s book_index, the costliest to make, where both runs are of the same books."""
        if "book_index" in vars(other) and self.run.catalogue.books.equals(other.run.catalogue.books):
            self.book_index = other.book_index

    def import_file(
        self,
        content: Path | str | bytes,
        *,
        choices: Mapping[int, Choice] | None = None,
        accept_suggestions: bool = False,
        name: str | None = None,
        limits: Limits | None = None,
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> ImportResult:
        """What an export file of another app, or its bytes, says of books of this catalogue: imports.import_file."""
        return import_file(
            content,
            self.book_index,
            self.run.model.scale,
            choices=choices,
            accept_suggestions=accept_suggestions,
            name=name,
            limits=limits,
            on_progress=on_progress,
        )

    def read_feedback(self, path: Path, ids: IdSpace | None = None) -> Feedback:
        """What readers say beside stars, from a file (rules.files.read_feedback). Raises DataError."""
        return read_feedback(path, self.facts, ids)

    def feedback_of(self, marks: Sequence[Mark]) -> Feedback:
        """What readers say beside stars: (reader, action, book id or author). Raises BadValueError."""
        return Feedback.of(marks, self.facts)

    def read_shelf(self, path: Path, ids: IdSpace | None = None) -> OutsideRatings:
        """Ratings (user_id, book_id, rating) from a file; unknown books are counted and left out.

        Of a repeated reader-book pair the same row counts as in training.
        Raises DataError.
        """
        return read_outside(self.run, path, ids)

    def shelf_of(self, ratings: Sequence[tuple[Id, float]]) -> OutsideRatings:
        """One new reader's ratings: pairs of a book id and stars. Unknown books are counted and left out.

        A book rated twice counts as in training. Raises BadValueError for stars outside the scale, DuplicateError.
        """
        return self.shelves_of({NEW_READER: ratings})

    def shelves_of(self, ratings: Mapping[str, Sequence[tuple[Id, float]]]) -> OutsideRatings:
        """The ratings of several readers, by name. As shelf_of."""
        return outside_ratings(self.run, ratings)

    def predict(
        self,
        pairs: pl.DataFrame,
        shelf: OutsideRatings | None = None,
        *,
        ids: IdSpace | None = None,
        where: str = "pairs",
    ) -> pl.DataFrame:
        """The rows of `pairs` (user_id, book_id, any other column) plus stars and basis.

        A model that gives probabilities adds most_likely, sd, low and high (models.blocks.describe).

        Unknown readers and books get an answer too; `basis` says on what it rests (models.contract.BASES).
        Raises MissingColumnError, BadValueError, AmbiguousIdsError; FormatError where a column of pairs would be lost.
        """
        path = Path(where)
        if taken := PREDICTED & set(pairs.columns):
            raise FormatError(
                f"{path} has a column {min(taken)!r} of its own, where the prediction is to stand", hint="rename it"
            )
        users = present(pairs[need_column(pairs, READER_NAMES, path, "readers")], path, "reader id")
        books = as_ids(present(pairs[need_column(pairs, BOOK_ID_NAMES, path, "books")], path, "book id"))
        book_ids, _ = to_catalogue_ids(books, self.run.catalogue, ids, where)
        readers = Vocabulary(as_ids(users))
        view = self._view(readers.ids, shelf)
        answers = predict(
            self.run.model,
            view.shelves,
            readers.find(as_ids(users)),
            self.run.catalogue.vocabulary.find(book_ids),
            trained_idx=view.trained_idx,
        )
        names = pl.Series("basis", BASES)
        basis = names.gather(answers.basis.astype(np.int64)).alias("basis")
        columns = [pl.Series("stars", answers.stars)]
        if answers.probabilities is not None:
            described = describe(answers.probabilities, self.run.model.scale)
            columns += [pl.Series(name, values) for name, values in described.items()]
        return pairs.with_columns(*columns, basis)

    def recommend(
        self,
        reader: Id | None = None,
        *,
        ratings: Sequence[tuple[Id, float]] | None = None,
        n: int = 10,
        rules: Rules | None = None,
        feedback: Feedback | None = None,
        why: bool = False,
        on_short: OnShort = ignore_short,
    ) -> pl.DataFrame:
        """The n books to read next, for a known reader, a new one given by `ratings`, or both together.

        Columns and arguments as recommend_all. An unknown reader without ratings gets what suits everybody.
        """
        name, shelf = self._one_reader(reader, ratings)
        lists = self.recommend_all(
            pl.Series([name]), shelf, n=n, rules=rules, feedback=feedback, why=why, on_short=on_short
        )
        return pl.concat(lists)

    def _one_reader(
        self, reader: Id | None, ratings: Sequence[tuple[Id, float]] | None
    ) -> tuple[Id, OutsideRatings | None]:
        """What to call a reader, and the ratings given. Raises UsageError where there is neither."""
        if reader is None and ratings is None:
            raise UsageError(
                "no reader and no ratings", hint="give reader=..., ratings=[(book_id, stars), ...] or both"
            )
        name: Id = NEW_READER if reader is None else reader
        if ratings is None:
            return name, None
        return name, replace(self.shelf_of(ratings), readers=Vocabulary(as_ids(pl.Series([name]))))

    def explain(
        self,
        book_id: Id,
        reader: Id | None = None,
        *,
        ratings: Sequence[tuple[Id, float]] | None = None,
        effects: bool = True,
    ) -> Why:
        """Why a reader, known or given by ratings or both, is expected to give a book its stars.

        effects  whether it is worked out what each rating's removal would do
        Raises UnknownBookError, UsageError, and for ratings what shelf_of raises.
        """
        name, shelf = self._one_reader(reader, ratings)
        return self.explain_to(name, book_id, shelf, effects=effects)

    def explain_to(
        self, reader_id: Id, book_id: Id, shelf: OutsideRatings | None = None, *, effects: bool = True
    ) -> Why:
        """As explain(), for a reader of the run or of `shelf`."""
        view = self._view(as_ids(pl.Series([reader_id])), shelf)
        item_idx = self.index_of_book(book_id)
        readers = self.run.model.fold_in(view.shelves, view.trained_idx)
        return explain_book(self._speaker, self.run.model, readers, 0, item_idx, effects=effects)

    @cached_property
    def _speaker(self) -> Speaker:
        return Speaker(self.run.catalogue, self.run.space, self.run.content)

    def index_of_book(self, book_id: Id) -> int:
        """The index of a book. Raises UnknownBookError."""
        item_idx = int(self.run.catalogue.vocabulary.find([book_id])[0])
        if item_idx < 0:
            raise UnknownBookError(f"no book {book_id!r} in this run's catalogue", hint="give one of its book ids")
        return item_idx

    def recommend_all(  # noqa: PLR0913 - all that a list may depend on, by name
        self,
        reader_ids: pl.Series | None = None,
        shelf: OutsideRatings | None = None,
        *,
        n: int = 10,
        rules: Rules | None = None,
        feedback: Feedback | None = None,
        why: bool = False,
        ranges: bool = False,
        on_progress: Progress = silent,
        on_short: OnShort = ignore_short,
    ) -> Iterator[pl.DataFrame]:
        """Lists of n books each, in blocks of readers: user_id, rank, book_id, title, score, stars.

        reader_ids  None for every reader the run knows
        shelf       ratings of new readers, or newer ratings of known ones
        rules       beyond those that always hold: no work that a reader has rated or taken up, and one edition of each
        feedback    what readers say beside stars
        ranges      adds low and high: the smallest range of stars that holds 80 %; null where the model has none
        why         adds reasons: a list of code, text, contribution (stars) and book_id, of the book that is named
        on_short    told why, for each reader whose list holds fewer than n books
        """
        reader_ids = self.run.readers.ids if reader_ids is None else reader_ids
        blocks = self.recommend_lists(
            [(n, rules or Rules())],
            reader_ids,
            shelf,
            feedback=feedback,
            why=why,
            ranges=ranges,
            on_progress=on_progress,
            on_short=lambda row, _, missing: on_short(reader_ids[row], missing),
        )
        for found in blocks:
            yield found.frame(reader_ids, self.run.catalogue, ranges=ranges)

    def recommend_lists(  # noqa: PLR0913 - as recommend_all
        self,
        wanted: Sequence[tuple[int, Rules]],
        reader_ids: pl.Series,
        shelf: OutsideRatings | None = None,
        *,
        feedback: Feedback | None = None,
        why: bool = False,
        ranges: bool = False,
        on_progress: Progress = silent,
        on_short: Callable[[int, int, Shortfall], None] = lambda *_: None,
    ) -> Iterator[Listed]:
        """As recommend_all, several lists for each reader: for each of `wanted` one of so many books by such rules.

        Each shelf is folded in once, and reasons are worked out together, which is most of what a long shelf costs.
        on_short is told the row of a reader, and which of `wanted` is short.
        """
        for n, _ in wanted:
            _check_length(n)
        view = self._view(reader_ids, shelf, feedback)
        plans = [(n, self.plan(rules)) for n, rules in wanted]
        rows, done, model = np.arange(len(reader_ids)), 0, self.run.model
        blocks = reader_blocks(model, view.shelves, rows, trained_idx=view.trained_idx, size=rank_block(model))
        for block, readers in blocks if len(rows) else [(rows, model.fold_in(Shelves.empty(0)))]:
            histories = view.histories.take(block)
            lists = [self._lists(readers, histories, plan, n) for n, plan in plans]
            for place, ((n, plan), one) in enumerate(zip(plans, lists, strict=True)):
                filled = one.books >= 0
                for short in np.flatnonzero(~filled.all(axis=1)).tolist():
                    missing = explain_short(plan, histories.take([short]), n, int(filled[short].sum()))
                    on_short(int(block[short]), place, missing)
            yield listed(model, readers, block, lists, self._speaker if why else None, ranges=ranges)
            done += len(block)
            on_progress("recommend", done, len(rows))

    def recommend_group(  # noqa: PLR0913 - as recommend_all
        self,
        reader_ids: pl.Series,
        shelf: OutsideRatings | None = None,
        *,
        n: int = 10,
        how: GroupRule = "average",
        rules: Rules | None = None,
        feedback: Feedback | None = None,
        why: bool = False,
        on_short: OnShort = ignore_short,
    ) -> pl.DataFrame:
        """One list for several readers: rank, book_id, title, score, members (user_id, stars expected).

        how       average of the members' stars, the lowest (least-misery), or fair-turns; see rules.group.group_list
        score     mean stars of the members, in least-misery the lowest
        why       adds each member's reasons, as of recommend_all
        on_short  is told of the group as a whole
        """
        _check_length(n)
        reader_ids = reader_ids.unique(maintain_order=True)
        if not len(reader_ids):
            raise UsageError("a group of nobody", hint="name at least one reader")
        view = self._view(reader_ids, shelf, feedback)
        plan, model, catalogue = self.plan(rules or Rules()), self.run.model, self.run.catalogue
        readers = model.fold_in(view.shelves, view.trained_idx)
        books, stars = group_list(model, readers, view.histories, plan, n=n, how=how)
        if len(books) < n:
            on_short(GROUP, explain_short(plan, view.histories, n, len(books)))
        lists = np.tile(np.array(books, dtype=np.int32), (len(readers), 1))
        reasons = reasons_of(self._speaker, model, readers, lists) if why else None
        score = stars.min(axis=0) if how == "least-misery" else stars.mean(axis=0)
        return group_frame(catalogue, reader_ids, books, score, stars, reasons)

    def with_book(
        self,
        book: dict[str, Any],
        *,
        tags: Sequence[str] = (),
        text: str = "",
        vector: Sequence[float] | None = None,
    ) -> tuple[Recommender, Id]:
        """The same with a book that has just appeared, known by what it is about, and the id that it gets.

        book    columns of the catalogue by name (data.catalogue.BOOK_COLUMNS), a title at least
        text    a description; the tags of the catalogue that stand in it count as the book's
        vector  where the run was trained with an embedding of the user's: the book's numbers in it
        Nothing is trained and nothing stored. Raises UsageError where the model takes in no books.
        """
        grown, book_id = run_with_book(self.run, book, tags=tags, text=text, vector=vector)
        return Recommender(grown), book_id

    def similar(self, book_id: Id, n: int = 10) -> pl.DataFrame:
        """The n books nearest in content: rank, book_id, title, similarity (cosine). Raises UnknownBookError."""
        item_idx = self.index_of_book(book_id)
        books, cosines = most_similar(self.run.content, item_idx, n)
        catalogue = self.run.catalogue
        return pl.DataFrame(
            {
                "rank": np.arange(1, len(books) + 1),
                "book_id": catalogue.vocabulary.take(books),
                "title": catalogue.titles(pl.Series(books)),
                "similarity": cosines,
            }
        )

    def _lists(self, readers: Readers, histories: Histories, plan: Plan, n: int) -> Lists:
        """As of rules.ruled_lists, by the shorter way where nothing but what was read is left out."""
        nothing_aside = not len(histories.aside.item_idx) and not len(histories.hidden.item_idx)
        if plan.rules == Rules() and nothing_aside and not self.facts.has_editions:
            return self.run.model.top(readers, n, histories.read)
        return ruled_lists(self.run.model, readers, histories, plan, n)

    def _view(self, reader_ids: pl.Series, shelf: OutsideRatings | None, feedback: Feedback | None = None) -> _View:
        """What is known of the given readers: the run's ratings, the newer ones of `shelf`, and their feedback."""
        known = self.run.readers.find(reader_ids)
        shelves = self._known.take(known)
        seen = shelves if self._seen is self._known else self._seen.take(known)
        trained_idx = np.where(known >= 0, self._trained_idx[np.maximum(known, 0)], -1).astype(np.int32)
        if len(self.run.events.item_idx):
            seen = seen.merge(self.run.events.take(known))
        if shelf is not None:
            place = shelf.readers.find(reader_ids)
            newer = shelf.shelves.take(place)
            shelves, seen = shelves.merge(newer), seen.merge(newer)
            trained_idx[newer.lengths > 0] = -1
        if feedback is None:
            return _View(shelves, Histories.of(shelves, seen), trained_idx)
        mine = feedback.take(reader_ids)
        shelves, seen = mine.shelf(shelves, self.run.model.scale), mine.read(seen)
        trained_idx[mine.changes_shelf] = -1
        return _View(shelves, Histories(shelves, seen, mine.aside, mine.marks["hide-author"]), trained_idx)


def _check_length(n: int) -> None:
    if n < 1:
        raise UsageError(f"a list of {n} books", hint="ask for at least one")

"""Ids in, books and stars out: for readers the run knows, for new ones, and for newer ratings of known ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from shelfwise.artifact import Run, load_run
from shelfwise.data.ids import IdSpace, to_catalogue_ids
from shelfwise.data.ratings import BOOK_ID_NAMES, READER_NAMES, RatingsTable, as_ids, clean, read_ratings
from shelfwise.data.shelves import Indices, Shelves
from shelfwise.data.split import TEST, TRAIN
from shelfwise.data.tables import need_column, present
from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.errors import BadValueError, FormatError, UnknownBookError, UsageError
from shelfwise.features.content import most_similar
from shelfwise.models.blocks import RANK_BLOCK, describe, predict, reader_blocks
from shelfwise.models.contract import BASES, Progress, Readers, Rows, silent
from shelfwise.reasons import Reason, Speaker, explain, without_each

# What a reader given in a request is called in the answer.
NEW_READER = "new reader"
PREDICTED = {"stars", "most_likely", "sd", "low", "high", "basis"}  # columns that predict may add


@dataclass(frozen=True)
class OutsideRatings:
    """Ratings of readers from outside the run: their vocabulary and shelves, and what was left out."""

    readers: Vocabulary
    shelves: Shelves
    n_unknown: int = 0
    unknown_books: tuple[str, ...] = ()


@dataclass(frozen=True)
class Why:
    """Why a reader's book is expected to get its stars; reasons.explanation says what the quantities are.

    stars = mean + book_average + the sum of the contributions + remainder
    reasons  in words
    ratings  a row for each of the reader's ratings, those that move the prediction most first: book_id, title, stars,
             contribution and removal_effect (stars), through (words or null), pickup (or null)
    """

    book_id: Id
    title: str
    stars: float
    mean: float
    book_average: float
    remainder: float
    reasons: list[Reason]
    ratings: pl.DataFrame


@dataclass(frozen=True)
class _View:
    """U readers: the shelf each is judged by, the books that are no news to them, and their trained index or -1."""

    shelves: Shelves
    seen: Shelves
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
        trained = run.shelves.where(parts == TRAIN)
        unchanged = (trained.lengths > 0) & (trained.lengths == self._known.lengths)
        self._trained_idx = np.where(unchanged, np.arange(len(run.readers)), -1).astype(np.int32)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The recommender of the run at `path`. Raises what load_run raises."""
        return cls(load_run(Path(path)))

    def ordered(self, order: str) -> Recommender:
        """The same with lists in another order: blend, stars or pickup. Raises UsageError where the model has none."""
        return Recommender(replace(self.run, model=self.run.model.with_order(order)))

    def read_shelf(self, path: Path, ids: IdSpace | None = None) -> OutsideRatings:
        """Ratings (user_id, book_id, rating) from a file; unknown books are counted and left out.

        Of a repeated reader-book pair the same row counts as in training.
        Raises DataError.
        """
        run = self.run
        table = read_ratings(path, run.catalogue, scale=run.model.scale, ids=ids)
        if table.frame["book_id"].null_count() == len(table.frame):
            raise UnknownBookError(
                f"{path}: none of its books is in the catalogue of this run",
                hint="check its ids, or give --ids",
            )
        return self._outside(table)

    def _outside(self, table: RatingsTable) -> OutsideRatings:
        ratings, cleaning = clean(table, self.run.catalogue, duplicates=self.run.settings["duplicates"])
        readers = Vocabulary(table.frame["user_id"])
        shelves = ratings.for_readers(readers).shelves()
        return OutsideRatings(readers, shelves, cleaning.n_unknown_book_rows, tuple(cleaning.unknown_books))

    def shelf_of(self, ratings: Sequence[tuple[Id, float]]) -> OutsideRatings:
        """One new reader's ratings: pairs of a book id and stars. Unknown books are counted and left out.

        A book rated twice counts as in training. Raises BadValueError for stars outside the scale, DuplicateError.
        """
        scale = self.run.model.scale
        for book_id, value in ratings:
            if isinstance(value, str) or not scale.contains([value])[0]:
                raise BadValueError(
                    f"book {book_id!r}: {value!r} stars are not on the scale {scale}", hint="correct this rating"
                )
        names = [str(book_id) for book_id, _ in ratings]
        books = self.run.catalogue.vocabulary
        item_idx = books.find([book_id for book_id, _ in ratings])
        if not (item_idx >= 0).any():
            return OutsideRatings(Vocabulary([NEW_READER]), Shelves.empty(1), len(names), tuple(names[:10]))
        frame = pl.DataFrame(
            {
                "user_id": [NEW_READER] * len(names),
                "book_id": pl.Series([None if i < 0 else books.ids[int(i)] for i in item_idx], dtype=books.ids.dtype),
                "raw_book_id": names,
                "stars": pl.Series([value for _, value in ratings], dtype=pl.Float32, strict=False),
            }
        )
        return self._outside(RatingsTable(frame, Path("ratings"), scale, "catalogue"))

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
        why: bool = False,
    ) -> pl.DataFrame:
        """The n books to read next, for a known reader, a new one given by `ratings`, or both together.

        Columns as recommend_all. An unknown reader without ratings gets what suits everybody.
        """
        if reader is None and ratings is None:
            raise UsageError(
                "no reader and no ratings", hint="give reader=..., ratings=[(book_id, stars), ...] or both"
            )
        name, shelf = self._one_reader(reader, ratings)
        return pl.concat(self.recommend_all(pl.Series([name]), shelf, n=n, why=why))

    def _one_reader(
        self, reader: Id | None, ratings: Sequence[tuple[Id, float]] | None
    ) -> tuple[Id, OutsideRatings | None]:
        """What to call a reader, and the ratings given."""
        name: Id = NEW_READER if reader is None else reader
        if ratings is None:
            return name, None
        return name, replace(self.shelf_of(ratings), readers=Vocabulary(as_ids(pl.Series([name]))))

    def explain(
        self, book_id: Id, reader: Id | None = None, *, ratings: Sequence[tuple[Id, float]] | None = None
    ) -> Why:
        """Why a reader, known or given by ratings or both, is expected to give a book its stars.

        Raises UnknownBookError, UsageError, and for ratings what shelf_of raises.
        """
        if reader is None and ratings is None:
            raise UsageError(
                "no reader and no ratings", hint="give reader=..., ratings=[(book_id, stars), ...] or both"
            )
        name, shelf = self._one_reader(reader, ratings)
        return self.explain_to(name, book_id, shelf)

    def explain_to(self, reader_id: Id, book_id: Id, shelf: OutsideRatings | None = None) -> Why:
        """As explain(), for a reader of the run or of `shelf`."""
        view = self._view(as_ids(pl.Series([reader_id])), shelf)
        item_idx = self._known_book(book_id)
        readers = self.run.model.fold_in(view.shelves, view.trained_idx)
        books = np.array([item_idx], dtype=np.int32)
        found = explain(self.run.model, readers, 0, books)
        effect = found.stars[:, None] - without_each(self.run.model, readers, 0, books)
        catalogue, mine = self.run.catalogue, found.shelf
        ratings = pl.DataFrame(
            {
                "book_id": catalogue.vocabulary.take(mine.item_idx),
                "title": catalogue.titles(pl.Series(mine.item_idx)),
                "stars": mine.stars,
                "contribution": found.contributions[0],
                "removal_effect": effect[0],
                "through": pl.Series(
                    [self._speaker.link(found, 0, j) for j in range(len(mine.item_idx))], dtype=pl.String
                ),
                "pickup": pl.Series(
                    [None] * len(mine.item_idx) if found.pickup is None else found.pickup[0], dtype=pl.Float32
                ),
            }
        )
        return Why(
            book_id=catalogue.vocabulary.ids[item_idx],
            title=catalogue.books["title"][item_idx],
            stars=float(found.stars[0]),
            mean=float(found.mean[0]),
            book_average=float(found.book[0]),
            remainder=float(found.remainder[0]),
            reasons=self._speaker.reasons(found, 0),
            ratings=ratings.sort(pl.col("contribution").abs(), descending=True, maintain_order=True),
        )

    @cached_property
    def _speaker(self) -> Speaker:
        return Speaker(self.run.catalogue, self.run.space, self.run.content)

    def _reasons(self, readers: Readers, books: Indices) -> list[list[dict[str, Any]]]:
        """Reasons for the books of each reader's list, int32 [U, n], in order, without the gaps of -1."""
        rows = []
        for row, listed in enumerate(books):
            found = explain(self.run.model, readers, row, listed[listed >= 0])
            rows += [[reason.row() for reason in self._speaker.reasons(found, at)] for at in range(len(found.books))]
        ids = self.run.catalogue.vocabulary.ids
        for reason in (reason for row in rows for reason in row):
            item_idx = reason.pop("item_idx")
            reason["book_id"] = None if item_idx is None else ids[item_idx]
        return rows

    def _reasons_column(self, rows: list[list[dict[str, Any]]]) -> pl.Series:
        row = {"code": pl.String, "text": pl.String, "contribution": pl.Float64}
        kind = pl.List(pl.Struct(row | {"book_id": self.run.catalogue.vocabulary.ids.dtype}))
        return pl.Series("reasons", rows, dtype=kind)

    def _known_book(self, book_id: Id) -> int:
        """The index of a book. Raises UnknownBookError."""
        item_idx = int(self.run.catalogue.vocabulary.find([book_id])[0])
        if item_idx < 0:
            raise UnknownBookError(f"no book {book_id!r} in this run's catalogue", hint="give one of its book ids")
        return item_idx

    def recommend_all(
        self,
        reader_ids: pl.Series | None = None,
        shelf: OutsideRatings | None = None,
        *,
        n: int = 10,
        why: bool = False,
        on_progress: Progress = silent,
    ) -> Iterator[pl.DataFrame]:
        """Lists of n books each, in blocks of readers: user_id, rank, book_id, title, score, stars.

        reader_ids  None for every reader the run knows
        shelf       ratings of new readers, or newer ratings of known ones
        why         adds reasons: a list of code, text, contribution (stars) and book_id, of the book that is named
        Books that a reader has rated or taken up are left out.
        """
        if n < 1:
            raise UsageError(f"a list of {n} books", hint="ask for at least one")
        reader_ids = self.run.readers.ids if reader_ids is None else reader_ids
        view = self._view(reader_ids, shelf)
        rows = np.arange(len(reader_ids))
        done = 0
        for block, readers in reader_blocks(
            self.run.model, view.shelves, rows, trained_idx=view.trained_idx, size=RANK_BLOCK
        ):
            books, scores = self.run.model.top(readers, n, view.seen.take(block))
            filled = books >= 0
            place = np.nonzero(filled)[0]
            frame = self._list_frame(
                reader_ids.gather(block[place]),
                rank=np.nonzero(filled)[1] + 1,
                books=books[filled],
                scores=scores[filled],
                stars=self.run.model.stars(readers, place, books[filled]),
            )
            if why:
                frame = frame.with_columns(self._reasons_column(self._reasons(readers, books)))
            yield frame
            done += len(block)
            on_progress("recommend", done, len(rows))
        if not len(rows):
            none = np.zeros(0, dtype=np.int32)
            frame = self._list_frame(
                reader_ids, rank=rows, books=none, scores=none.astype("f4"), stars=none.astype("f4")
            )
            yield frame.with_columns(self._reasons_column([])) if why else frame

    def similar(self, book_id: Id, n: int = 10) -> pl.DataFrame:
        """The n books nearest in content: rank, book_id, title, similarity (cosine). Raises UnknownBookError."""
        item_idx = self._known_book(book_id)
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

    def _list_frame(self, users: pl.Series, *, rank: Rows, books: Indices, **columns: Any) -> pl.DataFrame:
        catalogue = self.run.catalogue
        return pl.DataFrame(
            {
                "user_id": users,
                "rank": rank.astype(np.int32),
                "book_id": catalogue.vocabulary.take(books),
                "title": catalogue.titles(pl.Series(books)),
                "score": columns["scores"],
                "stars": columns["stars"],
            }
        )

    def _view(self, reader_ids: pl.Series, shelf: OutsideRatings | None) -> _View:
        """What is known of the given readers: the run's ratings, and the newer ones of `shelf`."""
        known = self.run.readers.find(reader_ids)
        shelves, seen = self._known.take(known), self._seen.take(known)
        trained_idx = np.where(known >= 0, self._trained_idx[np.maximum(known, 0)], -1).astype(np.int32)
        if len(self.run.events.item_idx):
            seen = seen.merge(self.run.events.take(known))
        if shelf is not None:
            place = shelf.readers.find(reader_ids)
            newer = shelf.shelves.take(place)
            shelves, seen = shelves.merge(newer), seen.merge(newer)
            trained_idx[newer.lengths > 0] = -1
        return _View(shelves, seen, trained_idx)

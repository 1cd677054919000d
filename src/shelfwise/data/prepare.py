"""From a data set to what a model is fitted and measured on: cleaned, indexed, split and audited."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from shelfwise.config import Config
from shelfwise.data.audit import Audit, audit
from shelfwise.data.ids import IdSpace
from shelfwise.data.ratings import Duplicates, Ratings, UnknownBooks, clean, join_ratings, read_ratings
from shelfwise.data.shelves import Shelves
from shelfwise.data.sources import DataSet
from shelfwise.data.split import TEST, TRAIN, VALID, OwnFiles, Parts, RandomSplit, SplitConfig, split
from shelfwise.data.vocabulary import Vocabulary


class DataSettings(Config):
    """How rows become ratings, and ratings parts."""

    split: SplitConfig = Field(default_factory=RandomSplit)
    duplicates: Duplicates = "first"
    unknown_books: UnknownBooks = "keep-out"
    ids: IdSpace | None = None


@dataclass(frozen=True)
class Prepared:
    """Indexed ratings, the part of each (data.split), and what readers took up without stars.

    events  one row per reader; stars are 0
    """

    ratings: Ratings
    parts: Parts
    events: Shelves

    def with_parts(self, parts: Parts) -> Prepared:
        """The same ratings in other parts."""
        return replace(self, parts=parts.astype(np.int8))

    def add(self, new: Ratings, part: int, *, over: tuple[int, ...] = ()) -> Prepared:
        """These ratings and the rows of `new` as `part`.

        Where a reader-book pair is here already, the new row replaces it if its part is among `over`,
        and is left out if not.
        """
        ratings = join_ratings([self.ratings, new])
        parts = np.concatenate([self.parts, np.full(len(new), part, dtype=np.int8)])
        pairs = ratings.user_idx.astype(np.int64) * ratings.n_books + ratings.item_idx
        is_new = np.arange(len(pairs)) >= len(self.ratings)
        replaced = ~is_new & np.isin(parts, over) & np.isin(pairs, pairs[is_new])
        left_out = is_new & np.isin(pairs, pairs[~is_new & ~replaced])
        keep = ~(replaced | left_out)
        events = self.events.take(self.ratings.readers.find(ratings.readers.ids))
        return Prepared(ratings.where(keep), parts[keep], events)


def prepare(
    data: DataSet,
    settings: DataSettings,
    *,
    valid_ratings: Path | None = None,
    test_ratings: Path | None = None,
) -> tuple[Prepared, Audit]:
    """Clean, index, split and audit. With the split 'files' the data set's ratings are the training file.

    A pair in two files counts in train before test, and in test before validation.
    Raises DataError, ConfigError.
    """
    ratings, cleaning = clean(
        data.ratings, data.catalogue, duplicates=settings.duplicates, unknown_books=settings.unknown_books
    )
    ratings, events = _with_events(data, ratings)
    prepared = Prepared(ratings, np.full(len(ratings), TRAIN, dtype=np.int8), events)
    if isinstance(settings.split, OwnFiles):
        files = {VALID: valid_ratings, TEST: test_ratings}
        prepared = _own_files(prepared, data, settings, settings.split, files)
    else:
        prepared = prepared.with_parts(split(ratings, settings.split))
    return prepared, audit(data, prepared.ratings, cleaning, prepared.parts)


def _own_files(
    prepared: Prepared, data: DataSet, settings: DataSettings, config: OwnFiles, files: dict[int, Path | None]
) -> Prepared:
    """Train and the rows of the user's other files; a validation part of train where the config asks for it."""
    for part, path in files.items():
        if path is not None:
            table = read_ratings(path, data.catalogue, scale=data.ratings.scale, ids=settings.ids)
            rows, _ = clean(table, data.catalogue, duplicates=settings.duplicates, unknown_books=settings.unknown_books)
            prepared = prepared.add(rows, part, over=(VALID,))
    if config.valid_from_train is not None:
        shares = RandomSplit(seed=config.seed, valid=config.valid_from_train, test=0)
        parts, in_train = prepared.parts.copy(), prepared.parts == TRAIN
        parts[in_train] = split(prepared.ratings.where(in_train), shares)
        prepared = prepared.with_parts(parts)
    return prepared


def _with_events(data: DataSet, ratings: Ratings) -> tuple[Ratings, Shelves]:
    """Ratings over the readers of ratings and events, and the events as shelves."""
    if data.events is None:
        return ratings, Shelves.empty(ratings.n_readers)
    known = data.events.drop_nulls("book_id")
    readers = Vocabulary.union(ratings.readers, Vocabulary(known["user_id"]))
    rows, books = readers.find(known["user_id"]), ratings.books.find(known["book_id"])
    return ratings.for_readers(readers), Shelves.build(rows, books, np.zeros(len(known)), len(readers))

"""The audit of ratings in many files, each with all rows of its readers, file by file on any engine.

No machine holds more than one file at a time; what is kept of all are the ids of readers and counts. Nothing depends on
the number of workers or the order of files: vocabularies are sorted by id, and the split is a hash of ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from shelfwise.data.audit import Audit, Counts, audit_of_counts, count
from shelfwise.data.catalogue import Catalogue, catalogue_of_ids
from shelfwise.data.ids import IdSpace, detect_id_space, to_catalogue_ids
from shelfwise.data.places import Place, at_hand
from shelfwise.data.ratings import Columns, Duplicates, RatingsTable, assert_all_timed, clean, read_part
from shelfwise.data.scale import Scale, fitting_scale
from shelfwise.data.sources import fingerprint, load_without_ratings, read_events
from shelfwise.data.split import RandomSplit, by_pairs
from shelfwise.data.tables import content_digest, parts_of
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.engine import Engine
from shelfwise.errors import FormatError

FEW = 100  # ratings, up to which there is no split


@dataclass(frozen=True)
class Peeked:
    """A first look at one file: how often each value of stars occurs, the book ids in it, whether it has times, and
    its digest."""

    stars: Counter[float]
    books: pl.Series
    timed: bool
    digest: str


@dataclass(frozen=True)
class Reading:
    """How every file is read."""

    catalogue: Catalogue
    columns: Columns
    scale: Scale
    ids: IdSpace
    duplicates: Duplicates


def audit_parts(
    name: str | Place,
    engine: Engine,
    *,
    catalogue: str | Place | None = None,
    columns: Columns | None = None,
    scale: Scale | None = None,
    ids: IdSpace | None = None,
    duplicates: Duplicates = "first",
) -> Audit:
    """Audit of a data set whose ratings are a folder of parts; arguments as of load_dataset.

    Raises DataError, and FormatError where a reader stands in two files.
    """
    data, known_ids, all_files, events_path = load_without_ratings(name, catalogue)
    folder, ids = data.ratings.path, ids or known_ids
    files, columns = parts_of(folder), columns or Columns()
    peeked = list(engine.map(_peek, files, columns))
    assert_all_timed(folder, (one.timed for one in peeked))
    books = _union(one.books for one in peeked)
    known = data.catalogue if len(data.catalogue) else catalogue_of_ids(books)
    stars = sum((one.stars for one in peeked), Counter[float]())
    scale = scale or fitting_scale(np.array(list(stars), dtype=np.float32), np.array(list(stars.values())))
    reading = Reading(known, columns, scale, ids or detect_id_space(books, known, str(folder)), duplicates)
    counts = _add(engine.map(_count, files, reading), files)
    if not len(counts.readers):
        raise FormatError(f"{folder}: no rating is left", hint="check that its book ids are the catalogue's")
    table = RatingsTable(pl.DataFrame(), folder, scale, reading.ids)
    events = None if events_path is None else read_events(events_path, known, ids)
    all_files += [] if events_path is None else [events_path]
    digest = fingerprint(all_files, {file: one.digest for file, one in zip(files, peeked, strict=True)})
    data = replace(data, catalogue=known, ratings=table, events=events, fingerprint=digest)
    return audit_of_counts(data, counts, duplicates, split=counts.per_reader.sum() > FEW)


def _peek(columns: Columns, file: Place) -> Peeked:
    with at_hand(file) as here:
        frame, digest = read_part(here, columns), content_digest(here)
    values, n = frame["stars"].value_counts(name="n").get_columns()
    stars = Counter(dict(zip(values.to_list(), n.to_list(), strict=True)))
    return Peeked(stars, frame["raw_book_id"].unique(), "time" in frame.columns, digest)


def _count(reading: Reading, file: Place) -> Counts:
    frame = read_part(file, reading.columns)
    book_ids, _ = to_catalogue_ids(frame["raw_book_id"], reading.catalogue, reading.ids, str(file))
    table = RatingsTable(frame.insert_column(1, book_ids), file, reading.scale, reading.ids)
    kept, cleaning = clean(
        table, reading.catalogue, duplicates=reading.duplicates, out_of_scale="keep-out", may_be_empty=True
    )
    return count(table, kept, cleaning, by_pairs(kept, RandomSplit()), reading.catalogue)


def _add(found: Iterator[Counts], files: list[Place]) -> Counts:
    """The counts of all files, added up as they come. Raises FormatError for a reader who stands in two of them."""
    total = next(found)
    rows, stars, unknown = Counter(total.rows), Counter(total.stars), set(total.unknown_books)
    per_book, new_readers = total.per_book.astype(np.int64), total.new_readers
    readers, per_reader, shared = [total.readers], [total.per_reader], [total.shared]
    for one in found:
        rows.update(one.rows)
        stars.update(one.stars)
        unknown.update(one.unknown_books)
        per_book += one.per_book
        new_readers += one.new_readers
        readers.append(one.readers)
        per_reader.append(one.per_reader)
        shared.append(one.shared)
    return Counts(
        rows={name: rows[name] for name in total.rows},
        unknown_books=sorted(unknown)[:10],
        stars=dict(stars),
        readers=_apart(readers, files),
        per_reader=np.concatenate(per_reader),
        per_book=per_book,
        shared=(sum(series for series, _ in shared), sum(authors for _, authors in shared)),
        new_readers=new_readers,
    )


def _apart(readers: list[pl.Series], files: list[Place]) -> pl.Series:
    """The readers of all files. Raises FormatError for one who stands in two of them."""
    union = _union(readers)
    if len(union) == sum(map(len, readers)):
        return union
    seen: set[object] = set()
    for file, ids in zip(files, readers, strict=True):
        mine = ids.cast(union.dtype).to_list()
        if twice := seen.intersection(mine):
            raise FormatError(
                f"{file}: reader {min(twice, key=str)!r} stands in another file too",
                hint="write all ratings of a reader into one file",
            )
        seen.update(mine)
    return union


def _union(ids: Iterable[pl.Series]) -> pl.Series:
    return Vocabulary.union(*map(Vocabulary, ids)).ids

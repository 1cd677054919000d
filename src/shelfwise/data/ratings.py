"""Ratings: from a table with ids to indexed arrays, with every row accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ids import IdSpace, to_catalogue_ids
from shelfwise.data.places import Place
from shelfwise.data.row_slices import by_slices, by_threads, slices
from shelfwise.data.scale import Scale, guess_scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.data.tables import need_column, numbers, parts_of, pick_column, present, read_table
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import BadValueError, DuplicateError, FormatError, UnknownBookError

READER_NAMES = ("user_id", "reader_id", "user", "reader", "userid", "member_id", "patron_id", "customer_id")
BOOK_ID_NAMES = ("book_id", "item_id", "book", "item", "bookid", "itemid", "goodreads_book_id", "isbn")
STARS_NAMES = ("rating", "stars", "score", "book_rating", "my_rating")
TIME_NAMES = ("timestamp", "time", "date", "rated_at", "created_at", "date_read", "event_time")

REMAINDERS = 1 << 20  # a power of two
Duplicates = Literal["first", "last", "mean", "drop", "error"]
UnknownBooks = Literal["keep-out", "error"]
Pairs = npt.NDArray[np.unsignedinteger[Any]]  # number of the reader times books, and that of the book


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a ratings table, where they are not among the names understood."""

    reader: str | None = None
    book: str | None = None
    stars: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class RatingsTable:
    """Ratings as a file gives them, every row kept.

    frame   user_id, book_id (catalogue's; null if unknown), raw_book_id, stars (Float32),
            time where there is one (Float64, seconds since 1970, or the number as given)
    path    the file, or the folder of its parts
    scale   given, or guessed from the values
    ids     the id space the book ids were in
    """

    frame: pl.DataFrame
    path: Place
    scale: Scale
    ids: IdSpace

    @property
    def has_time(self) -> bool:
        return "time" in self.frame.columns


@dataclass(frozen=True)
class Ratings:
    """Indexed ratings of N rows, one per reader-book pair, in the order of the file.

    user_idx  int32 [N]    into `readers`
    item_idx  int32 [N]    into `books`
    stars     float32 [N]  on `scale`
    time      float64 [N] or None
    """

    user_idx: Indices
    item_idx: Indices
    stars: Floats
    readers: Vocabulary
    books: Vocabulary
    scale: Scale
    time: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.stars)

    @property
    def n_readers(self) -> int:
        return len(self.readers)

    @property
    def n_books(self) -> int:
        return len(self.books)

    def where(self, keep: npt.NDArray[np.bool_]) -> Ratings:
        """The rows where `keep` (bool [N]) holds; vocabularies stay whole."""
        time = None if self.time is None else self.time[keep]
        rows = (self.user_idx[keep], self.item_idx[keep], self.stars[keep])
        return Ratings(*rows, self.readers, self.books, self.scale, time)

    def for_readers(self, readers: Vocabulary) -> Ratings:
        """The same rows against a vocabulary that holds all their readers."""
        return replace(self, user_idx=readers.find(self.readers.ids)[self.user_idx], readers=readers)

    def shelves(self) -> Shelves:
        """The rows as one shelf per reader of the vocabulary."""
        return Shelves.build(self.user_idx, self.item_idx, self.stars, self.n_readers)

    def frame(self) -> pl.DataFrame:
        """user_id, book_id, rating: the format that every command reads."""
        return pl.DataFrame(
            {
                "user_id": self.readers.take(self.user_idx),
                "book_id": self.books.take(self.item_idx),
                "rating": self.stars,
            }
        )


@dataclass(frozen=True)
class Cleaning:
    """What clean() met and did: counts of rows."""

    duplicates: Duplicates
    n_rows: int = 0
    n_exact_duplicates: int = 0
    n_repeated: int = 0
    n_conflicting_pairs: int = 0
    n_unknown_book_rows: int = 0
    unknown_books: list[str] = field(default_factory=list)  # the first ten
    n_kept: int = 0


def read_ratings(
    path: Place,
    catalogue: Catalogue | None,
    *,
    columns: Columns | None = None,
    scale: Scale | None = None,
    ids: IdSpace | None = None,
) -> RatingsTable:
    """Read a file of ratings, or a folder of parts. Without a catalogue the file's own book ids are the catalogue's.

    Raises FormatError, MissingColumnError, BadValueError (missing ids; stars that are no number),
    AmbiguousIdsError. Stars outside the scale are kept here: audit counts them, clean refuses them.
    """
    parts = [read_part(part, columns or Columns()) for part in parts_of(path)]
    assert_all_timed(path, ("time" in part.columns for part in parts))
    names = ("user_id", "raw_book_id")
    text = [pl.col(name).cast(pl.String) for name in names if len({part[name].dtype for part in parts}) > 1]
    frame = parts[0] if len(parts) == 1 else pl.concat([part.with_columns(text) for part in parts])
    space: IdSpace = "catalogue"
    if catalogue is None:
        book_ids = frame["raw_book_id"]
    else:
        book_ids, space = to_catalogue_ids(frame["raw_book_id"], catalogue, ids, str(path))
    frame = frame.insert_column(1, book_ids.alias("book_id"))
    return RatingsTable(frame, path, scale or guess_scale(frame["stars"]), space)


def assert_all_timed(path: Place, timed: Iterable[bool]) -> None:
    """Raise FormatError where some parts of the ratings at `path` have times, and others have none."""
    if len(set(timed)) > 1:
        raise FormatError(f"{path}: only some of its parts have times", hint="give all of them, or none")


def read_part(path: Place, columns: Columns) -> pl.DataFrame:
    """user_id, raw_book_id, stars, and time where there is one, of one file of ratings. Raises as read_ratings."""
    raw = read_table(path)
    user_column = need_column(raw, READER_NAMES, path, "readers", columns.reader)
    book_column = need_column(raw, BOOK_ID_NAMES, path, "books", columns.book)
    stars_column = need_column(raw, STARS_NAMES, path, "stars", columns.stars)
    if not len(raw):
        raise FormatError(f"{path} has a header but no rows", hint="it needs at least one rating")
    raw_ids = id_column(raw, book_column, path, "book id")
    stars = numbers(raw[stars_column], path, "stars").cast(pl.Float32)
    users = id_column(raw, user_column, path, "reader id")
    frame = pl.DataFrame({"user_id": users, "raw_book_id": raw_ids, "stars": stars})
    time_column = pick_column(raw, TIME_NAMES, path, columns.time)
    return frame if time_column is None else frame.with_columns(parse_time(raw[time_column], path).alias("time"))


def id_column(raw: pl.DataFrame, column: str, path: Place, what: str) -> pl.Series:
    """The ids in a column of the table read from `path`. Raises BadValueError for the first missing one."""
    ids = as_ids(present(raw[column], path, what))
    if raw[column].dtype.is_float() and ids.dtype == pl.String:  # 1.1 and 1.10 are two ids
        ids = as_ids(read_table(path, text=(column,))[column])
    return ids


def as_ids(column: pl.Series) -> pl.Series:
    """Whole numbers as Int32 or Int64 (a float column too, if it holds none but whole numbers), all else as text."""
    if column.dtype in (pl.Int32, pl.Int64):
        return column
    if column.dtype.is_integer() or (column.dtype.is_float() and (column == column.round()).all()):
        whole = column.cast(pl.Int64, strict=False)
        if whole.null_count() == column.null_count():  # else some are too large
            return whole
    return column.cast(pl.String)


def parse_time(column: pl.Series, path: Place) -> pl.Series:
    """Times as Float64: numbers as they are, dates and date-times in seconds since 1970.

    Raises BadValueError for the first value that is neither.
    """
    if column.dtype.is_numeric():
        return numbers(column, path, "a time")
    if column.dtype == pl.String:
        as_number = column.cast(pl.Float64, strict=False)
        if as_number.null_count() == column.null_count():
            return numbers(as_number, path, "a time")
        text = column.str.replace_all("/", "-").str.replace(" ", "T")
        stamps = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_zone="UTC", time_unit="us")
        stamps = stamps.dt.replace_time_zone(None)
        for pattern in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"):
            stamps = stamps.fill_null(text.str.to_datetime(pattern, strict=False, time_unit="us"))
        stamps = stamps.fill_null(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))
    else:
        stamps = column.cast(pl.Datetime("us"), strict=False)
    bad = stamps.is_null()
    if bad.any():
        row = bad.arg_true()[0]
        raise BadValueError(
            f"{path}, row {row + 2}: {column[row]!r} where a time should be",
            hint="write 2024-05-31, 2024-05-31 18:00:00 or seconds since 1970",
        )
    return stamps.dt.epoch("us").cast(pl.Float64) / 1e6


def check_scale(table: RatingsTable) -> None:
    """Raise BadValueError for the first stars outside the table's scale."""
    stars = table.frame["stars"].to_numpy()
    if all(by_slices(lambda part: bool(table.scale.contains(stars[part]).all()), len(stars))):
        return
    inside = table.scale.contains(stars)
    row = int(np.argmin(inside))
    value = table.frame["stars"][row]
    hint = "correct or remove these rows, or give the scale with --scale LOW-HIGH"
    if value == 0:
        scale = f"--scale 0-{table.scale.high:g}"
        hint = f"0 often means 'read but not rated': remove these rows, or give the scale with {scale}"
    raise BadValueError(
        f"{table.path}, row {row + 2}: {value:g} stars are not on the scale {table.scale} "
        f"({int((~inside).sum())} such rows)",
        hint=hint,
    )


def clean(
    table: RatingsTable,
    catalogue: Catalogue,
    *,
    duplicates: Duplicates = "first",
    unknown_books: UnknownBooks = "keep-out",
    out_of_scale: Literal["error", "keep-out"] = "error",
    may_be_empty: bool = False,
) -> tuple[Ratings, Cleaning]:
    """One row per reader-book pair, of books in the catalogue, all on the scale; and what was met.

    Raises BadValueError, UnknownBookError, DuplicateError, FormatError when nothing is left, unless that may be.
    """
    keep = np.ones(len(table.frame), dtype=np.bool_)
    if out_of_scale == "error":
        check_scale(table)
    else:
        keep &= table.scale.contains(table.frame["stars"].to_numpy())
    unknown_ids = table.frame["raw_book_id"].clear()
    if table.frame["book_id"].null_count():
        unknown = table.frame["book_id"].is_null().to_numpy() & keep
        unknown_ids = table.frame["raw_book_id"].filter(pl.Series(unknown))
        if len(unknown_ids) and unknown_books == "error":
            raise UnknownBookError(
                f"{table.path}, row {np.argmax(unknown) + 2}: book {unknown_ids[0]!r} is not in the catalogue "
                f"({len(unknown_ids)} such rows)",
                hint="add the book to the catalogue, or leave such rows out with --unknown-books keep-out",
            )
        keep &= ~unknown
    if not keep.any() and not may_be_empty:
        raise FormatError(f"{table.path}: no rating is left", hint="check that its book ids are the catalogue's")
    frame = table.frame if keep.all() else table.frame.filter(pl.Series(keep))
    ratings = index_ratings(frame, Vocabulary(frame["user_id"]), catalogue.vocabulary, table.scale)
    met = Cleaning(
        duplicates=duplicates,
        n_rows=len(table.frame),
        n_unknown_book_rows=len(unknown_ids),
        unknown_books=unknown_ids.unique(maintain_order=True).head(10).cast(pl.String).to_list(),
        n_kept=len(ratings),
    )
    repeated = _repeated(ratings)
    if not len(repeated):
        return ratings, met
    if duplicates == "error":
        row = int(repeated["row"][0])
        raise DuplicateError(
            f"{table.path}, row {np.flatnonzero(keep)[row] + 2}: reader {frame['user_id'][row]!r} rates book "
            f"{frame['book_id'][row]!r} more than once ({len(repeated)} such rows)",
            hint="choose a rule with --duplicates first|last|mean|drop",
        )
    ratings = _without_repeats(ratings, repeated, duplicates)
    if not len(ratings) and not may_be_empty:
        raise FormatError(f"{table.path}: no rating is left", hint="every pair is rated twice: choose another rule")
    by_pair = repeated.group_by("pair").agg(pl.col("stars").n_unique())
    return ratings, replace(
        met,
        n_exact_duplicates=len(repeated) - int(by_pair["stars"].sum()),
        n_repeated=len(repeated) - len(by_pair),
        n_conflicting_pairs=int((by_pair["stars"] > 1).sum()),
        n_kept=len(ratings),
    )


def _repeated(ratings: Ratings) -> pl.DataFrame:
    """The rows whose reader-book pair occurs more than once, in order: row, pair, stars."""
    n_pairs = ratings.n_readers * ratings.n_books
    kind: type[np.unsignedinteger[Any]] = np.uint32 if n_pairs < 1 << 32 else np.uint64

    def pairs(part: slice) -> Pairs:
        found: Pairs = ratings.user_idx[part].astype(kind)
        found *= kind(ratings.n_books)
        found += ratings.item_idx[part].astype(kind)
        return found

    again = _more_than_once(pairs, np.empty(len(ratings), dtype=kind))
    if not len(again):
        return pl.DataFrame({"row": [], "pair": [], "stars": []})
    maybe = np.zeros(REMAINDERS, dtype=np.bool_)  # most pairs are told apart by their remainder, without a search
    maybe[again % REMAINDERS] = True

    def rows_of(part: slice) -> pl.DataFrame:
        here = pairs(part)
        rows = np.flatnonzero(maybe.take(here & kind(REMAINDERS - 1)))
        rows = rows[again[np.searchsorted(again, here[rows]).clip(max=len(again) - 1)] == here[rows]]
        at = rows + part.start
        return pl.DataFrame({"row": at, "pair": here[rows], "stars": ratings.stars[at]})

    return pl.concat(by_slices(rows_of, len(ratings)))


def _more_than_once(pairs: Callable[[slice], Pairs], ordered: Pairs) -> Pairs:
    """The numbers that occur more than once among pairs(slice) of all rows, ascending; sorted in the room `ordered`."""

    def place(part: slice) -> None:
        ordered[part] = pairs(part)

    by_slices(place, len(ordered))
    ordered.sort()
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _squeezed(values: npt.NDArray[Any], place: npt.NDArray[Any], keep: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """values[keep] at the begin of `place`, which may be `values`, since new memory costs more than all else here."""
    end = 0
    for part in slices(len(values)):
        kept = values[part][keep[part]]
        place[end : end + len(kept)] = kept
        end += len(kept)
    return place[:end]


def _without_repeats(ratings: Ratings, repeated: pl.DataFrame, duplicates: Duplicates) -> Ratings:
    """One row per pair, in file order, by the rule `duplicates`; of what _repeated() finds. Takes `ratings` over."""
    keep = np.ones(len(ratings), dtype=np.bool_)
    keep[repeated["row"].to_numpy()] = False
    if duplicates != "drop":
        which: Literal["first", "last"] = "last" if duplicates == "last" else "first"
        keep[repeated.unique("pair", keep=which)["row"].to_numpy()] = True
    if duplicates == "mean":
        means = repeated.group_by("pair").agg(pl.col("row").min(), pl.col("stars").cast(pl.Float64).mean())
        stars = ratings.stars.copy()
        stars[means["row"].to_numpy()] = ratings.scale.round(means["stars"].to_numpy())
        ratings = replace(ratings, stars=stars)
    own_stars = np.empty_like(ratings.stars)  # the stars are the table's too
    time = None if ratings.time is None else ratings.time[keep]
    columns = ((ratings.user_idx, ratings.user_idx), (ratings.item_idx, ratings.item_idx), (ratings.stars, own_stars))
    user_idx, item_idx, stars = by_threads(lambda column: _squeezed(*column, keep), columns)
    ratings = replace(ratings, user_idx=user_idx, item_idx=item_idx, stars=stars, time=time)
    if duplicates != "drop":  # else nobody's last rating is left out
        return ratings
    left = np.zeros(ratings.n_readers, dtype=np.bool_)
    left[ratings.user_idx] = True
    if left.all():
        return ratings
    places = (np.cumsum(left) - 1).astype(np.int32)
    readers = Vocabulary(ratings.readers.ids.filter(pl.Series(left)))
    return replace(ratings, user_idx=places[ratings.user_idx], readers=readers)


def index_ratings(frame: pl.DataFrame, readers: Vocabulary, books: Vocabulary, scale: Scale) -> Ratings:
    """Ratings from a frame of known user_id and book_id."""
    time = frame["time"].to_numpy() if "time" in frame.columns else None
    return Ratings(
        readers.find(frame["user_id"]),
        books.find(frame["book_id"]),
        frame["stars"].to_numpy().astype(np.float32, copy=False),
        readers,
        books,
        scale,
        time,
    )


def join_ratings(parts: list[Ratings]) -> Ratings:
    """The rows of several ratings, one after the other, over the union of their readers."""
    readers = Vocabulary.union(*(part.readers for part in parts))
    parts = [part.for_readers(readers) for part in parts]
    times = [part.time for part in parts if part.time is not None]
    return Ratings(
        np.concatenate([part.user_idx for part in parts]),
        np.concatenate([part.item_idx for part in parts]),
        np.concatenate([part.stars for part in parts]),
        readers,
        parts[0].books,
        parts[0].scale,
        np.concatenate(times) if len(times) == len(parts) else None,
    )

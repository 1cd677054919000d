"""Data sets: a folder (or a ratings file, or a name) -> ratings, events and catalogue.

Understood: both editions of goodbooks-10k, and our own layout:

    ratings.*  user_id, book_id, rating, optionally a time     (needed, unless only the catalogue is)
    books.*    book_id, title and any of catalogue.BOOK_NAMES  (optional)
    tags.*     book_id, tag, optionally count                  (optional)
    events.*   user_id, book_id, optionally a time: loans, purchases, reading logs (optional)

where .* is one of tables.SUFFIXES. Ratings may also be a folder ratings/ of such tables, each reader in one of them.
The folder may be one of this machine, or a URL that fsspec understands (places.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import polars as pl

from shelfwise.data.catalogue import Catalogue, build_catalogue, catalogue_of_ids, empty_tags
from shelfwise.data.ids import IdSpace, to_catalogue_ids
from shelfwise.data.places import Place, Remote, place_of
from shelfwise.data.ratings import (
    BOOK_ID_NAMES,
    READER_NAMES,
    TIME_NAMES,
    Columns,
    RatingsTable,
    as_ids,
    id_column,
    parse_time,
    read_ratings,
)
from shelfwise.data.scale import Scale
from shelfwise.data.tables import (
    SUFFIXES,
    content_digest,
    find_table,
    need_column,
    normalise,
    numbers,
    pick_column,
    read_table,
)
from shelfwise.errors import MissingDataError

KAGGLE = "goodbooks-10k, Kaggle edition"
GITHUB = "goodbooks-10k, GitHub edition"
OWN_LAYOUT = "own layout"
SAMPLE = "sample, simulated readers"

# goodbooks-10k's books.csv: 'id' or 'book_id' is the catalogue's id, the other column Goodreads'.
GOODBOOKS_NAMES = {
    KAGGLE: {"book_id": "id", "goodreads_id": "book_id"},
    GITHUB: {"book_id": "book_id", "goodreads_id": "goodreads_book_id"},
}


@dataclass(frozen=True)
class DataSet:
    """Everything read from one data set, nothing dropped yet.

    events       user_id, book_id (null if unknown), optionally time; None where there are none
    fingerprint  SHA-256 over the unpacked content of all its files, hex
    """

    name: str
    edition: str
    folder: Place
    catalogue: Catalogue
    ratings: RatingsTable
    events: pl.DataFrame | None
    fingerprint: str


def locate(name: str | Place) -> Place:
    """Where a data set is: a URL, a path that exists, else a name below SHELFWISE_DATA, else below data/.

    'sample' is the one shipped with the package. Raises MissingDataError that lists where it looked, and what a URL
    may raise: UsageError, FetchError.
    """
    path = place_of(name)
    if path.exists():
        return path
    if isinstance(path, Remote):
        raise MissingDataError(f"nothing is at {path}", hint="check the bucket and the path of the URL")
    if str(name) == "sample":
        return Path(str(resources.files("shelfwise.data") / "sample"))
    places = [Path("data")]
    if root := os.environ.get("SHELFWISE_DATA"):
        places.insert(0, Path(root).expanduser())
    for place in places:
        if (place / str(name)).exists():
            return place / str(name)
    looked = ", ".join(str(place / str(name)) for place in places)
    raise MissingDataError(
        f"no data set {str(name)!r}: looked at {path}, {looked}",
        hint="give a folder, set SHELFWISE_DATA to a folder that holds data sets by name, or "
        "run: shelfwise data fetch goodbooks-10k --to data/goodbooks-10k",
    )


def load_dataset(
    name: str | Place,
    *,
    catalogue: str | Place | None = None,
    ratings: Place | None = None,
    columns: Columns | None = None,
    scale: Scale | None = None,
    ids: IdSpace | None = None,
) -> DataSet:
    """Read a data set by path, URL or name.

    catalogue  another data set to take the catalogue from
    ratings    a file to read in place of the data set's own ratings, which then need not exist
    columns, scale, ids  as read_ratings takes them
    Raises MissingDataError, FetchError and what read_ratings and the catalogue raise.
    """
    folder = locate(name)
    source = locate(catalogue) if catalogue is not None else folder
    books, edition, files = read_catalogue(source) if source.is_dir() else (None, OWN_LAYOUT, [])
    if catalogue is not None and books is None:
        raise MissingDataError(f"{source} has no books.* to take a catalogue from", hint="give a folder with one")
    own = find_ratings(folder)
    path = ratings or own
    if path is None:
        raise MissingDataError(f"{folder} has no ratings.* ({', '.join(SUFFIXES)})", hint="add it")
    if ratings is None:
        ids = ids or own_ids(edition, folder, source)
    table = read_ratings(path, books, columns=columns, scale=scale, ids=ids)
    events_path = find_table(folder, "events") if folder.is_dir() and ratings is None else None
    if books is None:
        books = catalogue_of_ids(table.frame["book_id"])
    events = None if events_path is None else read_events(events_path, books, ids)
    files = [*files, path] + ([events_path] if events_path else [])
    return DataSet(_title(folder), edition, folder, books, table, events, fingerprint(files))


def own_ids(edition: str, folder: Place, source: Place) -> IdSpace | None:
    """The ids that the ratings of a data set are known to use, where its catalogue comes from `source`."""
    return "catalogue" if source == folder and edition in (KAGGLE, GITHUB) else None


def load_without_ratings(
    name: str | Place, catalogue: str | Place | None = None
) -> tuple[DataSet, IdSpace | None, list[Place], Place | None]:
    """A data set with its catalogue alone, the ids that it is known to use, its files before the events', and this one.

    Without a catalogue it has no book yet. Raises MissingDataError, FetchError and what the catalogue raises.
    """
    folder = locate(name)
    source = locate(catalogue) if catalogue is not None else folder
    books, edition, files = read_catalogue(source) if source.is_dir() else (None, OWN_LAYOUT, [])
    path = find_ratings(folder)
    if path is None:
        raise MissingDataError(f"{folder} has no ratings.* and no folder ratings/", hint="add them")
    nothing = RatingsTable(pl.DataFrame(), path, Scale(1, 5), "catalogue")
    events_path = find_table(folder, "events") if folder.is_dir() else None
    books = books or catalogue_of_ids(pl.Series([], dtype=pl.Int64))
    data = DataSet(_title(folder), edition, folder, books, nothing, None, "")
    return data, own_ids(edition, folder, source), [*files, path], events_path


def _title(folder: Place) -> str:
    if not folder.is_dir():
        return folder.name.split(".")[0]
    return folder.name if isinstance(folder, Remote) else folder.resolve().name


def find_ratings(folder: Place) -> Place | None:
    """The ratings of a data set: a file, or a folder ratings/ of parts; None where there are none."""
    if folder.is_file():
        return folder
    parts = folder / "ratings"
    return find_table(folder, "ratings") or (parts if parts.is_dir() else None)


def fingerprint(files: list[Place], known: Mapping[Place, str] | None = None) -> str:
    """SHA-256 over the unpacked contents of `files`, in this order, hex; `known` as content_digest takes it."""
    return hashlib.sha256("".join(content_digest(path, known) for path in files).encode()).hexdigest()


def read_catalogue(folder: Place) -> tuple[Catalogue | None, str, list[Place]]:
    """The catalogue in a folder (None without books.*), the edition, and the files that were read."""
    path = find_table(folder, "books")
    if path is None:
        return None, OWN_LAYOUT, []
    raw = read_table(path, all_text=True)
    names = {normalise(column) for column in raw.columns}
    edition = SAMPLE if folder == locate_sample() else OWN_LAYOUT
    if {"best_book_id", "work_id", "book_id"} <= names:
        edition = GITHUB if "goodreads_book_id" in names else KAGGLE if "id" in names else OWN_LAYOUT
    books = build_catalogue(raw, path, GOODBOOKS_NAMES.get(edition))
    book_tags, tag_names = find_table(folder, "book_tags"), find_table(folder, "tags")
    catalogue = Catalogue(books, empty_tags())
    if edition in GOODBOOKS_NAMES and book_tags and tag_names:
        return (
            Catalogue(books, _goodbooks_tags(catalogue, book_tags, tag_names)),
            edition,
            [path, book_tags, tag_names],
        )
    if edition not in GOODBOOKS_NAMES and tag_names:
        return Catalogue(books, _own_tags(catalogue, tag_names)), edition, [path, tag_names]
    return catalogue, edition, [path]


def locate_sample() -> Path:
    """The folder of the sample shipped with the package."""
    return Path(str(resources.files("shelfwise.data") / "sample"))


def _goodbooks_tags(catalogue: Catalogue, book_tags: Place, tag_names: Place) -> pl.DataFrame:
    raw, names = read_table(book_tags), read_table(tag_names, text=("tag_name",))
    shelved = pl.DataFrame(
        {
            "tag_id": as_ids(raw[need_column(raw, ("tag_id",), book_tags, "tags")]).cast(pl.String),
            "book_id": raw[need_column(raw, ("goodreads_book_id",), book_tags, "books")],
            "count": numbers(raw[need_column(raw, ("count",), book_tags, "counts")], book_tags, "a count"),
        }
    )
    known = pl.DataFrame(
        {
            "tag_id": as_ids(names[need_column(names, ("tag_id",), tag_names, "tag ids")]).cast(pl.String),
            "tag": names[need_column(names, ("tag_name",), tag_names, "names of tags")],
        }
    )
    shelved = shelved.join(known, on="tag_id", how="inner")
    ids, _ = to_catalogue_ids(shelved["book_id"], catalogue, "goodreads", str(book_tags))
    return _tags(catalogue, ids, shelved["tag"], shelved["count"])


def _own_tags(catalogue: Catalogue, path: Place) -> pl.DataFrame:
    raw = read_table(path, text=("tag",))
    ids = raw[need_column(raw, ("book_id", "item_id", "book"), path, "books")]
    tags = raw[need_column(raw, ("tag", "tag_name", "name", "shelf", "keyword"), path, "tags")]
    counts = pick_column(raw, ("count", "n", "weight"), path)
    count = numbers(raw[counts], path, "a count") if counts else pl.Series([1] * len(raw), dtype=pl.Int64)
    return _tags(catalogue, ids, tags, count)


def _tags(catalogue: Catalogue, ids: pl.Series, tags: pl.Series, counts: pl.Series) -> pl.DataFrame:
    """The tags table of a Catalogue: counts below 1 dropped, the larger of a repeated pair kept."""
    frame = pl.DataFrame(
        {
            "item_idx": catalogue.vocabulary.find(ids),
            "tag": tags.cast(pl.String).str.strip_chars(),
            "count": counts.cast(pl.Int64),
        }
    )
    frame = frame.filter((pl.col("item_idx") >= 0) & (pl.col("count") >= 1) & pl.col("tag").is_not_null())
    return frame.group_by("item_idx", "tag").agg(pl.col("count").max()).sort("item_idx", "tag")


def read_events(path: Place, catalogue: Catalogue, ids: IdSpace | None) -> pl.DataFrame:
    """user_id, book_id (catalogue's, null if unknown) and time where there is one.

    Raises FormatError, MissingColumnError, BadValueError, AmbiguousIdsError.
    """
    raw = read_table(path)
    readers = id_column(raw, need_column(raw, READER_NAMES, path, "readers"), path, "reader id")
    raw_books = id_column(raw, need_column(raw, BOOK_ID_NAMES, path, "books"), path, "book id")
    books, _ = to_catalogue_ids(raw_books, catalogue, ids, str(path))
    frame = pl.DataFrame({"user_id": readers, "book_id": books})
    time_column = pick_column(raw, TIME_NAMES, path)
    return frame if time_column is None else frame.with_columns(parse_time(raw[time_column], path).alias("time"))

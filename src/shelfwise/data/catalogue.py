"""The catalogue: what is known of each book, in one fixed set of columns, and the book vocabulary."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.isbn import isbn13_to_10, repair_isbn
from shelfwise.data.places import Place
from shelfwise.data.tables import need_column, pick_column, present
from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.errors import BadValueError, FormatError

# Column -> type; book_id comes first and may be integer or text. All but book_id and title may be null.
BOOK_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "title": pl.String,
    "original_title": pl.String,
    "authors": pl.List(pl.String),
    "series": pl.String,
    "series_number": pl.Float64,
    "year": pl.Int32,
    "language": pl.String,
    "subjects": pl.List(pl.String),
    "description": pl.String,
    "isbn10": pl.String,
    "isbn13": pl.String,
    "goodreads_id": pl.Int64,
    "work_id": pl.Int64,
    "outside_mean": pl.Float64,  # mean stars and number of ratings as an outside source states them
    "outside_count": pl.Int64,
    "cover": pl.String,
    "work_key": pl.String,  # equal for editions of one work
}

# Names understood in a books table, most specific first (compared lower case, words joined by '_').
BOOK_NAMES: dict[str, tuple[str, ...]] = {
    "book_id": ("book_id", "item_id", "id", "book", "item"),
    "title": ("title", "book_title", "name"),
    "original_title": ("original_title",),
    "authors": ("authors", "author", "book_author", "creator", "by"),
    "series": ("series", "series_name"),
    "series_number": ("series_number", "series_index", "volume"),
    "year": ("year", "original_publication_year", "year_of_publication", "publication_year", "published"),
    "language": ("language", "language_code", "lang"),
    "subjects": ("subjects", "subject", "genres", "genre", "categories"),
    "description": ("description", "summary", "blurb", "abstract"),
    "isbn10": ("isbn10", "isbn_10", "isbn"),
    "isbn13": ("isbn13", "isbn_13", "ean"),
    "goodreads_id": ("goodreads_id", "goodreads_book_id"),
    "work_id": ("work_id", "goodreads_work_id"),
    "outside_mean": ("outside_mean", "average_rating"),
    "outside_count": ("outside_count", "work_ratings_count", "ratings_count"),
    "cover": ("cover", "image_url", "cover_url"),
}

# 'Title (Series, #n)', also '#1-3' and '(Discworld, #5; Rincewind, #3)': the first series named counts.
SERIES = re.compile(
    r"^(?P<title>.*\S)\s*\((?P<series>(?:[^()#;]|\([^()]*\))+?),?\s*#\s*(?P<number>\d+(?:\.\d+)?)[^()]*\)\s*$"
)


class Heading(NamedTuple):
    """What names a book in a list."""

    book_id: Id
    title: str
    authors: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """Books in ascending order of id, and their tags.

    books  book_id and BOOK_COLUMNS, one row a book; row i is the book with index i
    tags   item_idx (Int32), tag (String), count (Int64, at least 1), sorted by item_idx
    """

    books: pl.DataFrame
    tags: pl.DataFrame

    def __len__(self) -> int:
        return len(self.books)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Book ids; the index of a book is its row."""
        return Vocabulary(self.books["book_id"])

    @property
    def first_authors(self) -> list[str | None]:
        """The first author of each book, None where there is none."""
        return [names[0] if names is not None and len(names) else None for names in self.books["authors"].to_list()]

    def titles(self, item_idx: pl.Series) -> pl.Series:
        """Titles of the books at the given indices."""
        return self.books["title"][item_idx]  # a quarter of what gather() takes for few

    def heading(self, item_idx: int) -> Heading:
        """What names the book at an index. Kept, since lists name the same books again and again."""
        found = self._headings.get(item_idx)
        if found is None:
            book_id, title, authors = (self.books[name][item_idx] for name in ("book_id", "title", "authors"))
            found = self._headings[item_idx] = Heading(book_id, title, () if authors is None else tuple(authors))
        return found

    @cached_property
    def _headings(self) -> dict[int, Heading]:
        return {}

    def new_book(self, book: dict[str, Any], tags: Sequence[str] = ()) -> Catalogue:
        """A catalogue of one book that could follow those here: BOOK_COLUMNS by name, a title at least, and its tags.

        Its id is the next number, or where ids are text, one that sorts behind all others.
        """
        last = self.vocabulary.ids[-1]
        book_id: Id = last + 1 if isinstance(last, int) else str(last) + "+"
        row: dict[str, Any] = {"book_id": [book_id]}
        for column, kind in BOOK_COLUMNS.items():
            value = book.get(column)
            is_list = kind == pl.List(pl.String)
            shown = value if is_list or value is None else str(value)
            row[column] = pl.Series([shown], dtype=kind if is_list else pl.String)
        named = [(0, tag, 1) for tag in dict.fromkeys(tags)]
        of_book = pl.DataFrame(named, schema=empty_tags().schema, orient="row")
        return Catalogue(_fixed_columns(pl.DataFrame(row), Vocabulary([book_id])), of_book)

    def extended(self, new: Catalogue) -> Catalogue:
        """These books and the new ones, whose ids sort behind."""
        tags = new.tags.with_columns((pl.col("item_idx") + len(self)).cast(pl.Int32))
        return Catalogue(pl.concat([self.books, new.books]), pl.concat([self.tags, tags]))

    def blanked(self, item_idx: npt.NDArray[np.integer], *, tags: bool) -> Catalogue:
        """The same without outside averages and counts of some books; with `tags`, without what they are about too."""
        there = pl.Series(np.isin(np.arange(len(self)), item_idx))
        columns = ("outside_mean", "outside_count", *(("subjects", "description") if tags else ()))
        blank = [pl.when(there).then(None).otherwise(pl.col(name)).alias(name) for name in columns]
        others = self.tags.filter(~pl.col("item_idx").is_in(item_idx.tolist())) if tags else self.tags
        return Catalogue(self.books.with_columns(blank), others)

    @property
    def has_goodreads_ids(self) -> bool:
        """Whether Goodreads ids are a second id space, besides the catalogue's own."""
        goodreads = self.books["goodreads_id"].cast(pl.String)
        return bool((goodreads != self.books["book_id"].cast(pl.String)).any())  # missing ones do not count


def empty_tags() -> pl.DataFrame:
    """A tags table without rows."""
    return pl.DataFrame(schema={"item_idx": pl.Int32, "tag": pl.String, "count": pl.Int64})


def catalogue_of_ids(book_ids: pl.Series) -> Catalogue:
    """The catalogue of a data set without a books table: titles are the ids, and each id is a work of its own."""
    vocabulary = Vocabulary(book_ids)
    ids = vocabulary.ids.alias("book_id")
    known = {"title": ids.cast(pl.String), "work_key": "id:" + ids.cast(pl.String)}
    columns = [known.get(c, pl.lit(None, t)).alias(c) for c, t in BOOK_COLUMNS.items()]
    return Catalogue(pl.DataFrame({"book_id": ids}).with_columns(columns), empty_tags())


def build_catalogue(raw: pl.DataFrame, path: Place, names: dict[str, str] | None = None) -> pl.DataFrame:
    """Books in fixed columns, ascending by id, from a table with all-text columns.

    `names` says which column of `raw` to take for a field, instead of BOOK_NAMES. Lists of authors
    and subjects are separated by '|' where one stands in the column, else ';', else ','.
    Raises MissingColumnError, FormatError (no rows), BadValueError (a missing or repeated id).
    """
    names = names or {}
    id_column = need_column(raw, BOOK_NAMES["book_id"], path, "book ids", names.get("book_id"))
    if not len(raw):
        raise FormatError(f"{path} has a header but no rows", hint="it needs at least one book")
    ids = present(raw[id_column], path, "book id").cast(pl.String)
    if ids.str.contains(r"^\d+\.0$").all():  # whole numbers that a table kept as floats
        ids = ids.str.strip_suffix(".0")
    if ids.is_duplicated().any():
        row = ids.is_duplicated().arg_true()[0]
        raise BadValueError(f"{path}, row {row + 2}: book id {ids[row]!r} stands twice", hint="keep one row a book")
    numbers = ids.cast(pl.Int64, strict=False)
    lossless = numbers.null_count() == 0 and numbers.cast(pl.String).equals(ids)
    frame = pl.DataFrame({"book_id": numbers if lossless else ids})
    for field, understood in BOOK_NAMES.items():
        column = pick_column(raw, understood, path, names.get(field)) if field != "book_id" else None
        if column is not None and column != id_column:
            frame = frame.with_columns(raw[column].alias(field))
    return _fixed_columns(frame, Vocabulary(frame["book_id"]))


def _fixed_columns(frame: pl.DataFrame, vocabulary: Vocabulary) -> pl.DataFrame:
    """`frame` with every column of BOOK_COLUMNS in its type, parsed and repaired, sorted by id."""
    given = set(frame.columns)
    frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in BOOK_COLUMNS if c not in given)
    frame = frame.with_columns(
        pl.when(pl.col(c).cast(pl.String).str.strip_chars() != "")
        .then(pl.col(c).cast(pl.String).str.strip_chars())
        .alias(c)
        for c in BOOK_COLUMNS
        if frame[c].dtype != pl.List(pl.String)
    )
    whole = {"year", "goodreads_id", "work_id", "outside_count"}
    frame = frame.with_columns(
        pl.col(c).cast(pl.Float64, strict=False).round().cast(BOOK_COLUMNS[c], strict=False) for c in whole
    ).with_columns(
        pl.col("outside_mean", "series_number").cast(pl.Float64, strict=False),
        pl.when(~pl.col("cover").str.contains("/nophoto/", literal=True)).then("cover"),  # Goodreads' stand-in
    )
    frame = frame.with_columns(
        pl.col("title").fill_null(pl.col("original_title")).fill_null(pl.col("book_id").cast(pl.String)),
        _split_list(frame["authors"]),
        _split_list(frame["subjects"]),
    )
    frame = _parse_series(frame)
    frame = _repair_isbns(frame)
    frame = frame.with_columns(_work_keys(frame))
    frame = frame.select("book_id", *(pl.col(c).cast(t) for c, t in BOOK_COLUMNS.items()))
    return frame.with_columns(frame["book_id"].cast(vocabulary.ids.dtype)).sort("book_id")


def _split_list(column: pl.Series) -> pl.Series:
    """Text with several values -> list of texts, each once, in order; null where there is none."""
    if column.dtype == pl.List(pl.String):
        return column
    separator = next((s for s in ("|", ";") if column.str.contains(s, literal=True).any()), ",")
    values = (
        column.str.split(separator)
        .list.eval(pl.element().str.strip_chars())
        .list.eval(pl.element().filter(pl.element() != ""))
    )
    return values.list.unique(maintain_order=True)


def _parse_series(frame: pl.DataFrame) -> pl.DataFrame:
    """Series and number from 'Title (Series, #n)' where the table does not give them; the title stays."""
    parsed = [SERIES.match(title) for title in frame["title"]]
    series = pl.Series("parsed_series", [m and m["series"] for m in parsed], dtype=pl.String)
    number = pl.Series("parsed_number", [m and float(m["number"]) for m in parsed], dtype=pl.Float64)
    return frame.with_columns(
        pl.when(pl.col("series").is_null()).then(number).otherwise(pl.col("series_number")).alias("series_number"),
        pl.col("series").fill_null(series),
    )


def _repair_isbns(frame: pl.DataFrame) -> pl.DataFrame:
    """ISBN-13 rebuilt from the ISBN-10 where that is sound, since its digits are the safer ones."""
    pairs = zip(frame["isbn10"], frame["isbn13"], strict=True)
    isbn13 = [repair_isbn(ten) or repair_isbn(thirteen) for ten, thirteen in pairs]
    return frame.with_columns(
        pl.Series("isbn13", isbn13, dtype=pl.String),
        pl.Series("isbn10", [i and isbn13_to_10(i) for i in isbn13], dtype=pl.String),
    )


def plain(text: str) -> str:
    """Text for comparison: no accents, no punctuation, lower case, single blanks."""
    decomposed = unicodedata.normalize("NFKD", text)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    return re.sub(r"[\W_]+", " ", letters.casefold()).strip()


def _work_keys(frame: pl.DataFrame) -> pl.Series:
    """A key that editions of one work share: the work id, else plain title and first author.

    The title is the original one where there is one, so that translations agree.
    """
    keys = []
    for work, original, title, authors in frame.select("work_id", "original_title", "title", "authors").iter_rows():
        if work is not None:
            keys.append(f"work:{work}")
        else:
            bare = SERIES.sub(r"\g<title>", original or title)
            author = plain(authors[0]) if authors else ""
            keys.append(f"title:{plain(bare) or bare}/{author}")
    return pl.Series("work_key", keys, dtype=pl.String)

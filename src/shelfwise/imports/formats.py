"""Export files of other apps: one description each, of how a header tells it and of which columns hold what.

Columns are found by name, whatever their order, and compared as data.tables.normalise writes them: 'ISBN/UID' and
'isbn_uid' are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from shelfwise.data.scale import Scale
from shelfwise.data.tables import normalise
from shelfwise.errors import FormatError, MissingColumnError

Field = Literal[
    "title", "authors", "more_authors", "isbns", "goodreads_id", "stars", "status", "read", "started", "added", "tags"
]
# How names of authors are written: one name; several, by commas; 'Last, First'; nobody knows.
NameStyle = Literal["one", "list", "inverted", "any"]


@dataclass(frozen=True, eq=False)
class Format:
    """The exports of one app.

    own          columns that it alone has: the app with most of them in a header wrote the file
    columns      names understood for each field; of isbns all that are there count, else the first that is there
    generations  (name, a column that it has, a column that it has not), the first that fits; '' for none
    scale        of its stars; None for that of the run
    """

    app: str
    own: frozenset[str]
    columns: dict[Field, tuple[str, ...]]
    generations: tuple[tuple[str, str, str], ...] = ()
    scale: Scale | None = None
    names: NameStyle = "list"


@dataclass(frozen=True)
class Header:
    """A header that was understood: which app wrote it, and where what stands.

    places   field -> the columns that hold it; missing  columns that such files have for what the import uses
    """

    format: Format
    generation: str
    width: int
    places: dict[Field, tuple[int, ...]]
    missing: tuple[str, ...] = field(default=())

    @property
    def source(self) -> str:
        """The app and the generation of its files, in words."""
        return f"{self.format.app} ({self.generation})" if self.generation else self.format.app


def _own(*names: str) -> frozenset[str]:
    return frozenset(normalise(name) for name in names)


GOODREADS = Format(
    "Goodreads",
    _own("Exclusive Shelf", "My Rating", "Author l-f", "Additional Authors", "Bookshelves",
         "Bookshelves with positions", "Original Publication Year", "My Review", "Owned Copies",
         "Recommended For", "Recommended By", "Original Purchase Date", "Original Purchase Location"),
    {
        "title": ("title",),
        "authors": ("author", "author_l_f"),
        "more_authors": ("additional_authors",),
        "isbns": ("isbn", "isbn13"),
        "goodreads_id": ("book_id",),
        "stars": ("my_rating",),
        "status": ("exclusive_shelf",),
        "read": ("date_read",),
        "added": ("date_added",),
        "tags": ("bookshelves",),
    },
    (
        ("before October 2022", "bcid", ""),
        ("since October 2022", "average_rating", "bcid"),
        ("since 2026", "my_rating", "average_rating"),
    ),
    Scale(1, 5),
    "one",
)  # fmt: skip
STORYGRAPH = Format(
    "StoryGraph",
    _own("ISBN/UID", "Read Status", "Last Date Read", "Dates Read", "Moods", "Pace", "Character- or Plot-Driven?",
         "Strong Character Development?", "Loveable Characters?", "Diverse Characters?", "Flawed Characters?",
         "Star Rating", "Content Warning Description", "Owned?"),
    {
        "title": ("title",),
        "authors": ("authors", "author"),
        "isbns": ("isbn_uid", "isbn"),
        "stars": ("star_rating",),
        "status": ("read_status",),
        "read": ("last_date_read", "dates_read"),
        "added": ("date_added",),
        "tags": ("tags",),
    },
    (("since 2022", "isbn_uid", ""), ("2021", "isbn", "isbn_uid")),
    Scale(0.25, 5, 0.25),
)  # fmt: skip
LIBRARYTHING = Format(
    "LibraryThing",
    _own("Primary Author", "Primary Author Role", "Secondary Author", "Secondary Author Roles", "Sort Character",
         "Collections", "Work id", "ISBNs", "LC Classification", "Dewey Decimal", "Dewey Wording", "Private Comment",
         "Physical Description", "Original Languages", "Entry Date", "From Where", "OCLC", "Lending Patron"),
    {
        "title": ("title",),
        "authors": ("primary_author",),
        "more_authors": ("secondary_author",),
        "isbns": ("isbn", "isbns"),
        "stars": ("rating",),
        "status": ("collections",),
        "read": ("date_read",),
        "started": ("date_started",),
        "added": ("entry_date", "acquired"),
        "tags": ("tags",),
    },
    (),
    Scale(0.5, 5, 0.5),
    "inverted",
)  # fmt: skip
HARDCOVER = Format(
    "Hardcover",
    _own("Hardcover Book ID", "Hardcover Edition ID", "Duration in Seconds", "Review Contains Spoilers",
         "Sponsored Review", "Review URL", "Review Media URL", "Review Slate", "Compilation", "Country Code"),
    {
        "title": ("title",),
        "authors": ("author",),
        "isbns": ("isbn_13", "isbn_10"),
        "stars": ("rating",),
        "status": ("status",),
        "read": ("date_finished",),
        "started": ("date_started",),
        "added": ("date_added",),
        "tags": ("lists",),
    },
    (),
    Scale(0.5, 5, 0.5),
)  # fmt: skip
PLAIN = Format(
    "a plain table",
    frozenset(),
    {
        "title": ("title", "book_title", "name", "book"),
        "authors": ("author", "authors", "author_name", "book_author"),
        "isbns": ("isbn13", "isbn_13", "isbn", "isbn10", "isbn_10", "ean"),
        "stars": ("rating", "stars", "my_rating", "star_rating", "score"),
        "status": ("status", "shelf", "read_status", "exclusive_shelf"),
        "read": ("date_read", "read", "finished", "date_finished"),
        "added": ("date_added", "added"),
        "tags": ("tags", "shelves"),
    },
    names="any",
)
APPS = (GOODREADS, STORYGRAPH, LIBRARYTHING, HARDCOVER)
# Apps whose files are known, but not read: columns that none of the others has.
OTHERS: dict[str, frozenset[str]] = {
    "BookWyrm": _own("author_text", "openlibrary_key", "inventaire_id", "librarything_key", "goodreads_key"),
    "Libib": _own("item_type", "creators", "ean_isbn13", "upc_isbn10", "number_of_discs"),
    "Open Library": _own("Edition Id", "Bookshelf", "Subject Places", "Subject Times"),
    "Libby": _own("activity", "details", "cover", "timestamp"),
    "Calibre": _own("author_sort", "title_sort", "library_name", "uuid", "#genre"),
}
KNOWN = frozenset().union(
    *(names for one in (*APPS, PLAIN) for names in one.columns.values()), *(one.own for one in APPS), *OTHERS.values()
)


def understand(names: Sequence[str], where: str) -> Header:
    """Which app wrote a header, and where what stands. `where` names the file in errors.

    Raises FormatError for an app that is known but not read, MissingColumnError where no column has titles or ISBNs.
    """
    by_name: dict[str, int] = {}
    for place, name in enumerate(map(normalise, names)):
        by_name.setdefault(name, place)
    marks = {one: len(one.own & by_name.keys()) for one in APPS}
    best = max(APPS, key=lambda one: marks[one])
    other, n_other = max(((app, len(own & by_name.keys())) for app, own in OTHERS.items()), key=lambda pair: pair[1])
    if n_other >= 2 and n_other > marks[best]:
        raise FormatError(
            f"{where} is an export of {other}, which is not read yet",
            hint="save its columns as title, author, isbn, rating and status; then it is read as a plain table",
        )
    chosen = best if marks[best] else PLAIN
    places = {
        name: tuple(by_name[column] for column in columns if column in by_name)
        for name, columns in chosen.columns.items()
    }
    if not places["title"] and not places["isbns"]:
        shown = ", ".join(str(name)[:40] for name in names[:12]) + (", ..." if len(names) > 12 else "")
        told = f"an export of {chosen.app}" if chosen is not PLAIN else "the export of no app that is known"
        raise MissingColumnError(
            f"{where} is {told}, and has neither a column 'Title' nor one of ISBNs; it has {shown}",
            hint="it needs a header line; a plain table has columns title, author and rating",
        )
    generation = next((name for name, has, lacks in chosen.generations if has in by_name and lacks not in by_name), "")
    used: tuple[Field, ...] = (
        ("title", "stars") if chosen is PLAIN else ("title", "authors", "isbns", "stars", "status")
    )
    lacking = tuple(chosen.columns[name][0] for name in used if not places[name])
    return Header(chosen, generation, len(names), places, lacking)


def known_columns(names: Sequence[str]) -> int:
    """How many of some names are columns that an app writes."""
    return len({normalise(name) for name in names} & KNOWN)

"""An export file -> its rows as entries: title, authors, ISBNs, stars, status, dates, tags; and what was wrong with
each.

Rows are read one by one, so memory does not grow with the file. A row that cannot be read never ends the reading.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from shelfwise.data.isbn import repair_isbn
from shelfwise.data.scale import Scale
from shelfwise.data.tables import normalise
from shelfwise.errors import FormatError, TooLargeError
from shelfwise.imports.formats import PLAIN, Field, Header, NameStyle, known_columns, understand
from shelfwise.imports.lines import (
    REPLACED,
    Limits,
    Record,
    Source,
    check,
    find_encoding,
    open_text,
    records,
)

Status = Literal["read", "did-not-finish", "currently-reading", "paused", "to-read", "other"]
# What apps, and readers' own shelves, call a status; compared as normalise() writes it.
_WORDS: dict[Status, str] = {
    "read": "read already_read finished completed read_but_unowned",
    "did-not-finish": "did_not_finish dnf stopped abandoned gave_up unfinished not_finished stopped_reading",
    "currently-reading": "currently_reading reading in_progress",
    "paused": "paused on_hold on_pause",
    "to-read": "to_read want_to_read tbr wishlist wish_list planning want",
}
STATUSES: dict[str, Status] = {name: status for status, names in _WORDS.items() for name in names.split()}
ORDER: tuple[Status, ...] = ("did-not-finish", "currently-reading", "paused", "read", "to-read")
_UNFINISHED = re.compile(r"(^|_)dnf(_|$)|(did|could|can)_?(not|n_?t|nt)_finish|abandon|gave_up|give_up|unfinished")
_DATE = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?")
_ROLE = re.compile(r"\s*\((?:[^()]*)\)\s*$")
LONGEST = 500  # characters that are kept of a text
MOST = 50  # authors, ISBNs or tags that are kept of a row
DELIMITERS = ",\t;|"


class Problem(NamedTuple):
    """What was wrong with a value that is then treated as absent. code  stars, isbn, date, text"""

    code: Literal["stars", "isbn", "date", "text"]
    text: str


class Entry(NamedTuple):
    """A row of an export.

    row         as a spreadsheet counts: the header is 1
    isbns       ISBN-13, each valid; ASINs and ids of apps are none
    stars       on the app's scale; None for none
    shelf       the status in the file's own words, where they mean none of Status
    read_on, added_on  YYYY-MM-DD or less of it; '' for unknown
    unreadable  why the row cannot be read; '' for a row that can
    """

    row: int
    title: str = ""
    authors: tuple[str, ...] = ()
    isbns: tuple[str, ...] = ()
    goodreads_id: int | None = None
    stars: float | None = None
    status: Status | None = None
    shelf: str = ""
    read_on: str = ""
    added_on: str = ""
    tags: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    unreadable: str = ""


class ExportFile:
    """An export, understood and ready to be read, once or several times: iterating gives its entries.

    header     which app wrote it, and where what stands; encoding, delimiter  as they were found
    scale      of its stars, None where that is not known
    """

    def __init__(
        self,
        content: Path | str | bytes,
        name: str | None = None,
        limits: Limits | None = None,
        scale: Scale | None = None,
    ) -> None:
        """`scale` is that of the stars of a plain table.

        Raises MissingDataError, TooLargeError, FormatError, MissingColumnError.
        """
        self.limits = limits or Limits()
        self._source = Source.of(content, name)
        self.name = self._source.name
        check(self._source, self.limits)
        self.encoding = find_encoding(self._source)
        with open_text(self._source, self.encoding) as stream:
            self.delimiter = _find_delimiter(stream)
        with open_text(self._source, self.encoding) as stream:
            first = next(self._records(stream), None)
        if first is None or first.fields is None:
            raise FormatError(f"{self.name} has no header that can be read", hint="export it again")
        if len(first.fields) > self.limits.max_columns:
            raise FormatError(
                f"{self.name} has {len(first.fields):,} columns", hint=f"at most {self.limits.max_columns:,} are read"
            )
        self.header: Header = understand(first.fields, self.name)
        self.scale: Scale | None = self.header.format.scale or scale

    def __iter__(self) -> Iterator[Entry]:
        """Raises TooLargeError after as many rows as are allowed."""
        with open_text(self._source, self.encoding) as stream:
            rows = self._records(stream)
            next(rows)
            for n, record in enumerate(rows):
                if n == self.limits.max_rows:
                    raise TooLargeError(
                        f"{self.name} has more than {self.limits.max_rows:,} rows", hint="import it in parts"
                    )
                yield _entry(record, self.header, self.scale)

    def _records(self, stream: io.TextIOBase) -> Iterator[Record]:
        if not stream.readline(100).lower().startswith("sep="):  # Excel's hint is no header
            stream.seek(0)
        return records(stream, self.delimiter, self.limits)


def read_export(content: Path | str | bytes, name: str | None = None, limits: Limits | None = None) -> list[Entry]:
    """All entries of an export file, or of its bytes. Raises MissingDataError, TooLargeError, FormatError,
    MissingColumnError."""
    return list(ExportFile(content, name, limits))


def _find_delimiter(stream: io.TextIOBase) -> str:
    """What separates the columns: with it the header has the most names that are known, or else the most names."""
    line = stream.readline(1 << 20)
    while line and (not line.strip("\r\n\t ,;|\0") or line.lower().startswith("sep=")):
        line = stream.readline(1 << 20)

    def fits(delimiter: str) -> tuple[int, int]:
        try:
            names = next(csv.reader([line.replace("\0", "")], delimiter=delimiter), [])
        except csv.Error:
            return 0, 0
        return known_columns(names), len(names)

    return max(DELIMITERS, key=fits)


def _entry(record: Record, header: Header, scale: Scale | None) -> Entry:
    """What a row says."""
    fields = record.fields
    if fields is None:
        return Entry(record.row, unreadable=record.problem)
    places, problems = header.places, list[Problem]()

    def get(name: Field) -> str:
        return next((fields[place].strip() for place in places.get(name, ()) if fields[place].strip()), "")

    title = _text(get("title"))
    isbns = _isbns([fields[i] for i in places["isbns"]], problems)
    if not title and not isbns:
        return Entry(record.row, unreadable=record.problem or "neither a title nor an ISBN")
    if record.problem:
        problems.append(Problem("text", record.problem))
    if REPLACED in title:
        problems.append(Problem("text", "some characters of the title could not be read"))
    authors = [*_names(get("authors"), header.format.names), *_more_names(get("more_authors"), header.format.names)]
    stars = _stars(get("stars"), scale, problems)
    read_on, started_on = _date(get("read"), problems), _date(get("started"), problems)
    rated = stars is not None or any(problem.code == "stars" for problem in problems)
    status, shelf = _status(get("status"), header, read_on=read_on, started_on=started_on, rated=rated)
    goodreads_id = get("goodreads_id").removesuffix(".0")
    return Entry(
        record.row,
        title,
        tuple(dict.fromkeys(authors))[:MOST],
        isbns,
        int(goodreads_id) if goodreads_id.isdecimal() and len(goodreads_id) < 19 else None,
        stars,
        status,
        shelf,
        read_on,
        _date(get("added"), problems),
        tuple(dict.fromkeys(_text(tag) for tag in get("tags").split(",") if tag.strip()))[:MOST],
        tuple(problems),
    )


def _text(raw: str) -> str:
    """Text in one line, without control characters, cut at LONGEST."""
    text = " ".join(raw[: 4 * LONGEST].split())
    return (text if text.isprintable() else "".join(c for c in text if c.isprintable()))[:LONGEST].strip()


def _isbns(cells: list[str], problems: list[Problem]) -> tuple[str, ...]:
    """The valid ISBN-13 in some cells, which may hold several; tells of numbers that should be one and are not."""
    found: dict[str, None] = {}
    damaged: list[str] = []
    for cell in cells:
        for raw in re.split(r"[,;|\s]+", cell[: 40 * MOST]):
            text = raw.strip("[]=\"' \t")
            if not text:
                continue
            isbn = repair_isbn(text)
            if isbn is not None:
                found[isbn] = None
            elif re.fullmatch(r"[\d.,]+E\+?\d+", text.upper()) or re.fullmatch(r"[\d\-.]{9,17}X?", text.upper()):
                damaged.append(text)
    if damaged and not found:
        why = "a spreadsheet rounded it" if "E" in damaged[0].upper() else "its check digit is wrong"
        problems.append(Problem("isbn", f"ISBN {damaged[0]!r} is none: {why}"))
    return tuple(found)[:MOST]


def _stars(raw: str, scale: Scale | None, problems: list[Problem]) -> float | None:
    """The stars, None where there are none: an empty cell, or 0 where no scale begins there."""
    if not raw:
        return None
    text = raw.replace(",", ".", 1)
    stars = float(text) if re.fullmatch(r"\d{1,4}(\.\d{0,12})?", text) else -1.0
    if stars == 0:
        return None
    if stars < 0 or (scale is not None and stars > scale.high):
        allowed = "" if scale is None else f" from {scale.low:g} to {scale.high:g}"
        problems.append(Problem("stars", f"{raw[:40]!r} is no number of stars{allowed}"))
        return None
    return stars


def _date(raw: str, problems: list[Problem]) -> str:
    """YYYY-MM-DD, YYYY-MM or YYYY; of several dates the last one, as of a period its end."""
    if not raw:
        return ""
    found = ["-".join(part.zfill(2) for part in match if part) for match in _DATE.findall(raw[:LONGEST])]
    good = [date for date in found if all(1 <= int(part) <= 31 for part in date.split("-")[1:])
            and int((date + "-01").split("-")[1]) <= 12]  # fmt: skip
    if not good:
        problems.append(Problem("date", f"date {raw[:40]!r} is not understood"))
    return max(good, default="")


def _status(raw: str, header: Header, *, read_on: str, started_on: str, rated: bool) -> tuple[Status | None, str]:
    """The status, and the file's own words for it where it is another. Stars and dates imply one where none is told;
    a plain table without such a column is of books that were read."""
    shelves = [text.strip() for text in raw.split(",")] if header.format.names == "inverted" else [raw]
    told = [status for status in map(_known_status, shelves) if status]
    for status in ORDER:  # of several collections the one that says most
        if status in told and not (status == "to-read" and read_on):
            return status, ""
    if read_on or rated or (header.format is PLAIN and not header.places["status"]):
        return "read", ""
    if started_on:
        return "currently-reading", ""
    return ("other", _text(raw)) if raw else (None, "")


def _known_status(raw: str) -> Status | None:
    name = normalise(raw)
    return STATUSES.get(name) or ("did-not-finish" if _UNFINISHED.search(name) else None)


def _names(raw: str, style: NameStyle) -> list[str]:
    """Names of authors in natural order, without roles in brackets."""
    raw = raw[: 4 * LONGEST]
    if style == "one":
        names = [raw]
    elif style == "list":
        names = _in_list(raw)
    elif style == "inverted":
        names = [_natural(name) for name in raw.split("|")]
    else:
        names = []
        for part in re.split(r"\s*[;|&]\s*|\s+and\s+", raw):
            first, _, second = part.partition(",")
            words = len(first.split())
            inverted = second and "," not in second and (words == 1 or len(second.replace(".", " ").split()) < words)
            names += [_natural(part)] if inverted else _in_list(part)
    return [name for name in (_text(_ROLE.sub("", name)) for name in names) if name]


def _more_names(raw: str, style: NameStyle) -> list[str]:
    return _names(raw, "inverted" if style == "inverted" else "list")


def _in_list(raw: str) -> list[str]:
    """Names between commas; 'Jr.' and the like belong to the name before them."""
    return re.split(r",(?!\s*(?:Jr|Sr|II|III|IV|Ph\.?D|M\.?D)\b)", raw)


def _natural(name: str) -> str:
    """'Tolkien, J. R. R.' as 'J. R. R. Tolkien'."""
    last, comma, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if comma else name

"""Bytes -> records of fields, whatever they hold: encodings, NULs, lone quotes, rows that are too long.

Nothing here raises for a row: a row that cannot be read is told of, and the next one is read.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

from pydantic import Field

from shelfwise.config import Config
from shelfwise.errors import FormatError, MissingDataError, TooLargeError

CHUNK = 1 << 20
RETRIED = 20  # times the longest record: how much is read a second time, after lone quotes, at most
REPLACED = "\N{REPLACEMENT CHARACTER}"
NOT_TEXT = {b"PK\x03\x04": "a zip archive or an Excel workbook", b"\x1f\x8b": "a gzip archive", b"%PDF": "a PDF"}


class Limits(Config):
    """max_bytes of a file, max_rows in it, max_record characters of a row, max_columns of a header"""

    max_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    max_rows: Annotated[int, Field(ge=1)] = 100_000
    max_record: Annotated[int, Field(ge=100)] = 1_000_000
    max_columns: Annotated[int, Field(ge=1)] = 1_000


@dataclass(frozen=True)
class Source:
    """A file, or its content: opened as often as need be. `name` says in errors which it is."""

    content: Path | bytes
    name: str

    @classmethod
    def of(cls, content: Path | str | bytes, name: str | None = None) -> Source:
        """Raises MissingDataError where there is no such file."""
        if isinstance(content, bytes):
            return cls(content, name or "the file")
        path = Path(content)
        if not path.is_file():
            raise MissingDataError(f"no such file: {path}", hint="check the path")
        return cls(path, name or str(path))

    @property
    def n_bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def open(self) -> BinaryIO:
        """Raises FormatError where it may not be read."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        try:
            return self.content.open("rb")
        except OSError as error:
            raise FormatError(f"{self.name} cannot be read: {error}", hint="check its permissions") from error

    def chunks(self) -> Iterator[bytes]:
        with self.open() as stream:
            while chunk := stream.read(CHUNK):
                yield chunk


class Record(NamedTuple):
    """A row: its number as a spreadsheet counts (the header is 1), its fields, and what was wrong with it, if anything.

    Where `fields` is None it could not be read.
    """

    row: int
    fields: list[str] | None
    problem: str = ""


def check(source: Source, limits: Limits) -> None:
    """Refuse at once what is too large or no text. Raises TooLargeError, FormatError."""
    if source.n_bytes > limits.max_bytes:
        raise TooLargeError(
            f"{source.name} has {source.n_bytes:,} bytes, more than {limits.max_bytes:,}",
            hint="an export of 5,000 books has about two million: check that it is the right file",
        )
    with source.open() as stream:
        head = stream.read(4096)
    if not head.strip(b"\xef\xbb\xbf\r\n\t "):
        raise FormatError(f"{source.name} is empty", hint="it needs a header line and at least one row")
    for magic, what in NOT_TEXT.items():
        if head.startswith(magic):
            raise FormatError(f"{source.name} is {what}", hint="unpack it, or save the sheet as CSV (UTF-8)")
    if head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower().startswith((b"<!doctype", b"<html")):
        raise FormatError(f"{source.name} is a web page, no export", hint="log in there and download the file again")


def find_encoding(source: Source) -> str:
    """utf-8-sig, utf-16, utf-16-le, utf-16-be, cp1252 or iso-8859-1: what the bytes are most likely to be.

    Bytes that are no UTF-8 make it one of the latter only where they are no fewer than the characters that are: one
    that was cut in half does not turn all others into something else.
    """
    with source.open() as stream:
        head = stream.read(4096)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if 4 * max(even, odd) > len(head):
        return "utf-16-le" if odd > even else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = 0
    c1 = False
    for chunk in source.chunks():
        if chunk.isascii() and not decoder.getstate()[0]:
            continue
        text = decoder.decode(chunk)
        here = text.count(REPLACED)
        bad += here
        good += len(text) - len(text.encode("ascii", "ignore")) - here
        c1 = c1 or bool(here and set(chunk) & set(range(0x80, 0xA0)))
    bad += len(decoder.decode(b"", final=True))
    if not bad or bad < good:
        return "utf-8-sig"
    return "cp1252" if c1 else "iso-8859-1"


class _TooLongError(Exception):
    """A record goes on beyond the limit."""


class _Lines:
    """Physical lines without NULs; remembers those of the record that is being read, so that they can be put back."""

    def __init__(self, stream: io.TextIOBase, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._waiting: deque[str] = deque()
        self.taken: list[str] = []
        self._n_taken = 0
        self.had_nul = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._read()
        if not line:
            raise StopIteration
        self.taken.append(line)
        self._n_taken += len(line)
        if self._n_taken > self._limit:
            raise _TooLongError
        return line

    def begin(self) -> None:
        self.taken, self._n_taken, self.had_nul = [], 0, False

    def put_back(self, lines: list[str]) -> None:
        self._waiting.extendleft(reversed(lines))

    def _read(self) -> str:
        line = self._stream.readline(self._limit + 1)
        if len(line) > self._limit and not line.endswith(("\n", "\r")):
            while (rest := self._stream.readline(CHUNK)) and not rest.endswith(("\n", "\r")):
                pass
        if "\0" in line:
            self.had_nul = True
            line = line.replace("\0", "") or "\n"
        return line


def open_text(source: Source, encoding: str) -> io.TextIOWrapper:
    """The text of a source; lines end where any system ends them, and keep their ends."""
    return io.TextIOWrapper(source.open(), encoding=encoding, errors="replace", newline="")


def records(stream: io.TextIOBase, delimiter: str, limits: Limits) -> Iterator[Record]:
    """The header and the rows, blank ones left out. All rows but the first have the width of the first, or no fields.

    A row is read strictly; where quotes are out of place, its first line is taken alone and the rest read anew, so that
    a lone quote costs one row and not all those up to the next quote.
    """
    if csv.field_size_limit() < limits.max_record:
        csv.field_size_limit(limits.max_record)
    lines = _Lines(stream, limits.max_record)
    row = width = 0
    left = RETRIED * limits.max_record
    while True:
        lines.begin()
        problem, fields = "", None
        try:
            fields = next(csv.reader(lines, delimiter=delimiter, strict=True), None)
        except csv.Error:
            problem = "quotes are out of place"
        except _TooLongError:
            problem = f"a row of more than {limits.max_record:,} characters"
        if fields is None and not lines.taken:
            return
        row += 1
        if (fields is None or _is_over(fields, width)) and len(lines.taken[0]) <= limits.max_record:
            rest = lines.taken[1:]
            left -= sum(map(len, rest))
            if left >= 0:
                lines.put_back(rest)
                fields = _one_line(lines.taken[0], delimiter, width)
        if fields is not None and _is_over(fields, width):
            problem = f"{len(fields)} fields where the header has {width}: a comma or a quote too many"
            fields = None
        if fields is not None:
            if not any(fields):
                continue
            width = width or len(fields)
            fields = [*fields[:width], *[""] * (width - len(fields))]
        if lines.had_nul:
            problem = problem or "NUL bytes were left out"
        yield Record(row, fields, problem)


def _is_over(fields: list[str], width: int) -> bool:
    """Whether a row has more fields than the header, and something in them."""
    return bool(width) and any(fields[width:])


def _one_line(line: str, delimiter: str, width: int) -> list[str]:
    """A line alone, with quotes as they may be: read leniently, or as it stands where that gives the right width."""
    lenient = next(csv.reader([line], delimiter=delimiter), [])
    if len(lenient) == width:
        return lenient
    bare = next(csv.reader([line], delimiter=delimiter, quoting=csv.QUOTE_NONE), [])
    return [text.strip('"') for text in bare] if len(bare) == width else max(lenient, bare, key=len)

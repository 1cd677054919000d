"""What was not matched as a table for spreadsheets, and back as the reader's choices; ratings and marks as files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shelfwise.data.files import atomic_write
from shelfwise.data.tables import normalise
from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, MissingColumnError
from shelfwise.imports.importing import NEITHER, Choice, ImportedRow, ImportResult
from shelfwise.imports.lines import Limits, Source, check, find_encoding, open_text, records
from shelfwise.imports.matching import BookIndex

FAILURES = (
    "row", "outcome", "reason", "title", "authors", "isbn", "stars", "status", "book_id",
    "candidate_id", "candidate_title", "candidate_authors", "confidence", "other_candidates",
)  # fmt: skip
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet may take for a formula


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: a quote before what begins like one, as spreadsheets have it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" \n").startswith(DANGEROUS) or text.startswith(DANGEROUS) else text


def isbn_cell(isbn: str) -> str:
    """An ISBN that a spreadsheet keeps as it is. Written as a formula on purpose; it is digits alone."""
    return f'="{isbn}"' if re.fullmatch(r"[0-9X]{10,13}", isbn) else ""


def failures(result: ImportResult, index: BookIndex) -> Iterator[dict[str, str]]:
    """A line for each row that is not matched. book_id is filled in where there is a suggestion: it is the place for
    the reader's choice."""
    for row in result.open:
        entry, match = row.entry, row.match
        best, *others = match.candidates or (None,)
        line: dict[str, Any] = {
            "row": entry.row,
            "outcome": match.outcome,
            "reason": match.reason,
            "title": entry.title,
            "authors": "; ".join(entry.authors),
            "stars": "" if entry.stars is None else f"{entry.stars:g}",
            "status": entry.status or entry.shelf,
        }
        if best is not None:
            line |= {
                "book_id": index.ids[best.item_idx] if match.suggested else "",
                "candidate_id": index.ids[best.item_idx],
                "candidate_title": index.shown_titles[best.item_idx],
                "candidate_authors": "; ".join(index.shown_authors[best.item_idx]),
                "confidence": f"{best.confidence:.2f}",
                "other_candidates": "; ".join(
                    f"{index.ids[one.item_idx]} {index.shown_titles[one.item_idx]}" for one in others if one
                ),
            }
        cells = {name: safe_cell(line.get(name)) for name in FAILURES}
        yield cells | {"isbn": isbn_cell(entry.isbns[0]) if entry.isbns else ""}


def write_failures(result: ImportResult, index: BookIndex, path: Path) -> int:
    """The failures as CSV (UTF-8 with BOM, so that spreadsheets know); how many. Raises OutputError."""
    return _write(path, FAILURES, failures(result, index), encoding="utf-8-sig")


def write_ratings(result: ImportResult, path: Path, reader: str) -> int:
    """user_id, book_id, rating, as `recommend --shelf` takes them; how many. Raises OutputError."""
    rows = ({"user_id": safe_cell(reader), "book_id": book_id, "rating": f"{stars:g}"}
            for book_id, stars in result.ratings)  # fmt: skip
    return _write(path, ("user_id", "book_id", "rating"), rows)


def write_marks(result: ImportResult, path: Path, reader: str) -> int:
    """user_id, action, book_id, as `recommend --feedback` takes them; how many. Raises OutputError."""
    rows = ({"user_id": safe_cell(reader), "action": action, "book_id": book_id} for action, book_id in result.marks)
    return _write(path, ("user_id", "action", "book_id"), rows)


def _write(path: Path, columns: tuple[str, ...], rows: Iterable[dict[str, Any]], encoding: str = "utf-8") -> int:
    with atomic_write(path) as building, building.open("w", encoding=encoding, newline="") as stream:
        table = csv.DictWriter(stream, columns)
        table.writeheader()
        written = [table.writerow(row) for row in rows]
    return len(written)


def read_choices(content: Path | str | bytes, name: str | None = None) -> dict[int, Choice]:
    """The choices in a table of row, book_id and perhaps title: the failures of an import, with book_id filled in.

    An empty book_id leaves the row open, 'none' says that it is no book of the catalogue. Raises MissingDataError,
    MissingColumnError, BadValueError that names the line.
    """
    source, limits = Source.of(content, name), Limits()
    check(source, limits)
    with open_text(source, find_encoding(source)) as stream:
        start = stream.readline(1 << 16)
    delimiter = max(",;\t", key=start.count)
    with open_text(source, find_encoding(source)) as stream:
        rows = records(stream, delimiter, limits)
        first = next(rows, None)
        header = (first and first.fields) or []
        names = {normalise(column): place for place, column in reversed(list(enumerate(header)))}
        for needed in ("row", "book_id"):
            if needed not in names:
                raise MissingColumnError(
                    f"{source.name} has no column {needed!r}; it has {', '.join(header)[:200]}",
                    hint="take the file that --failures wrote and fill in its column book_id",
                )
        found: dict[int, Choice] = {}
        for line in rows:
            if line.fields is None:
                raise BadValueError(f"{source.name}, row {line.row}: {line.problem}", hint="correct this row")
            number, book = line.fields[names["row"]].strip(), line.fields[names["book_id"]].strip()
            if not book:
                continue
            if not number.removesuffix(".0").isdecimal() or len(number) > 12:
                raise BadValueError(
                    f"{source.name}, row {line.row}: {number!r} is no row number", hint="leave the column row as it was"
                )
            title = line.fields[names["title"]] if "title" in names else ""
            found[int(number.removesuffix(".0"))] = Choice(_book(book), title.removeprefix("'"))
        return found


def _book(text: str) -> Id | None:
    text = text.removeprefix("'")
    if text.lower() == NEITHER:
        return None
    whole = text.removesuffix(".0")
    return int(whole) if whole.isdecimal() and str(int(whole)) == whole and len(whole) < 19 else text


def describe(row: ImportedRow, index: BookIndex) -> dict[str, Any]:
    """A row as JSON: what it says, what it is, and what it may be."""
    entry, match = row.entry, row.match
    return {
        "row": entry.row,
        "outcome": match.outcome,
        "how": match.how,
        "reason": match.reason,
        "title": entry.title,
        "authors": list(entry.authors),
        "isbns": list(entry.isbns),
        "stars": entry.stars,
        "status": entry.status,
        "shelf": entry.shelf,
        "read_on": entry.read_on,
        "problems": [problem._asdict() for problem in entry.problems],
        "book_id": row.book_id,
        "rating": row.stars,
        "rounded": row.rounded,
        "counted_in": row.counted_in,
        "suggested": match.outcome == "review" and match.suggested,
        "candidates": [
            {
                "book_id": index.ids[one.item_idx],
                "title": index.shown_titles[one.item_idx],
                "authors": index.shown_authors[one.item_idx],
                "confidence": one.confidence,
            }
            for one in match.candidates
        ],
    }

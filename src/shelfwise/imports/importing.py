"""A file and a catalogue -> what each row is, what it says of which book, and counts that add up to the rows.

Nothing is stored here and no row is left out of the account. Rows of one work are one: of its ratings the one of the
row that was read last counts, of its statuses the one that is furthest along (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shelfwise.data.scale import Scale
from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, UnknownBookError
from shelfwise.imports.lines import Limits
from shelfwise.imports.matching import SURE, BookIndex, Candidate, Match, Outcome
from shelfwise.imports.readers import Entry, ExportFile, Status
from shelfwise.rules.feedback import Action

OUTCOMES: tuple[Outcome, ...] = ("matched", "review", "not-in-catalogue", "unreadable")
# What is to be made of a status without stars; the further along, the further up.
MARKS: dict[Status, Action | None] = {
    "read": "read",
    "did-not-finish": "did-not-finish",
    "currently-reading": "read",
    "paused": "read",
    "to-read": "to-read",
    "other": None,
}
ALONG = {status: place for place, status in enumerate(reversed(MARKS))}
ROWS_A_WORD = 50
NEITHER = "none"  # in the place of a book: the row is of no book of the catalogue


@dataclass(frozen=True)
class Choice:
    """What a reader decided of a row: which book it is, or None for none. `title` is that of the row, if it is told."""

    book_id: Id | None
    title: str = ""


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A row and what became of it.

    book_id  of what is matched, else None
    stars    on the run's scale, of what is matched or to be decided; rounded  whether the app's are finer than that
    counted_in  the row that speaks for the same work; None for a row that speaks for itself
    """

    entry: Entry
    match: Match
    book_id: Id | None = None
    stars: float | None = None
    rounded: bool = False
    counted_in: int | None = None


@dataclass(frozen=True)
class ImportResult:
    """All that a file says.

    source   the app, and the generation of its files; notes  what is to be known of the file as a whole
    missing  columns that such a file usually has, and this one has not
    rows     as in the file; marks and ratings  of books, each work once
    """

    name: str
    source: str
    encoding: str
    scale: str
    rows: tuple[ImportedRow, ...]
    notes: tuple[str, ...] = ()
    ratings: tuple[tuple[Id, float], ...] = ()
    marks: tuple[tuple[Action, Id], ...] = ()
    missing: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def of(self, *outcomes: Outcome) -> Iterator[ImportedRow]:
        """The rows that came out so."""
        return (row for row in self.rows if row.match.outcome in outcomes)

    @property
    def open(self) -> Iterator[ImportedRow]:
        """The rows that are not matched."""
        return self.of("review", "not-in-catalogue", "unreadable")


def import_file(  # noqa: PLR0913 - all that an import may depend on, by name
    content: Path | str | bytes,
    index: BookIndex,
    scale: Scale,
    *,
    choices: Mapping[int, Choice] | None = None,
    accept_suggestions: bool = False,
    name: str | None = None,
    limits: Limits | None = None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> ImportResult:
    """Read an export file, or its bytes, and match it to a catalogue. Nothing is stored.

    scale    of the stars wanted: those of the run
    choices  what the reader decided, by row number
    accept_suggestions  take the book for what it is most likely to be where nothing but an unknown ISBN speaks against
    on_progress  told from time to time how many rows are done, of how many
    Raises MissingDataError, TooLargeError, FormatError, MissingColumnError; UnknownBookError and BadValueError for
    choices that do not fit.
    """
    file = ExportFile(content, name, limits, scale)
    left = dict(choices or {})
    rows: list[ImportedRow] = []
    entries = list(file)  # all of them, so that too many are refused before any is matched
    for place, entry in enumerate(entries):
        if place % ROWS_A_WORD == 0:
            on_progress(place, len(entries))
        match = index.match(entry)
        choice = left.pop(entry.row, None)
        if choice is not None:
            match = _chosen(entry, match, choice, index, file.name)
        elif accept_suggestions and match.outcome == "review" and match.suggested:
            match = Match("matched", "suggestion", candidates=match.candidates[:1])
        rows.append(_row(entry, match, index, file.scale or scale, scale))
    if left:
        raise BadValueError(
            f"{file.name} has no row {min(left)} to choose a book for", hint="give the choices made for this file"
        )
    merged = _merge(rows, index)
    counts = _counts(merged)
    return ImportResult(
        name=file.name,
        source=file.header.source,
        encoding=file.encoding,
        scale=str(scale),
        rows=tuple(merged),
        notes=tuple(_notes(file, counts, scale)),
        ratings=tuple(_ratings(merged)),
        marks=tuple(_marks(merged, index)),
        missing=tuple(file.header.missing),
        counts=counts,
    )


def _chosen(entry: Entry, match: Match, choice: Choice, index: BookIndex, where: str) -> Match:
    if choice.title and not same_title(choice.title, entry.title):
        raise BadValueError(
            f"{where}, row {entry.row} is {entry.title!r}, and {choice.title!r} in the choices",
            hint="give the choices made for this file",
        )
    if match.outcome == "unreadable":
        raise BadValueError(
            f"{where}, row {entry.row} cannot be read: {entry.unreadable}", hint="take it out of the choices"
        )
    if choice.book_id is None:
        return Match("not-in-catalogue", "choice", "chosen: none of these")
    item_idx = int(index.catalogue.vocabulary.find([choice.book_id])[0])
    if item_idx < 0:
        raise UnknownBookError(
            f"row {entry.row}: no book {choice.book_id!r} in the catalogue", hint=f"give one of its ids, or {NEITHER}"
        )
    return Match("matched", "choice", candidates=(Candidate(item_idx, 1.0),))


def same_title(one: str, other: str) -> bool:
    """Whether two titles are the same letters and digits: a spreadsheet may have changed what stands between them."""
    return _letters(one) == _letters(other)


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _row(entry: Entry, match: Match, index: BookIndex, theirs: Scale, ours: Scale) -> ImportedRow:
    book_id = index.ids[match.item_idx] if match.outcome == "matched" else None
    if entry.stars is None or match.outcome not in ("matched", "review"):
        return ImportedRow(entry, match, book_id)
    exact = entry.stars if theirs == ours else entry.stars * ours.high / theirs.high
    stars = float(ours.round(exact))
    return ImportedRow(entry, match, book_id, stars, abs(stars - exact) > 1e-4)


def _merge(rows: list[ImportedRow], index: BookIndex) -> list[ImportedRow]:
    """The rows, with all but one of each work pointing to the one that speaks for it."""
    by_work: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.match.outcome == "matched":
            by_work.setdefault(index.works[row.match.item_idx], []).append(place)
    merged = list(rows)
    for places in by_work.values():
        if len(places) == 1:
            continue
        speaker = max(places, key=lambda place: _recency(rows[place]))
        told = [status for status in (rows[place].entry.status for place in places) if status is not None]
        along = max(told, key=lambda status: ALONG[status], default=None)
        for place in places:
            if place == speaker:
                entry = rows[place].entry._replace(status=along)
                merged[place] = replace(rows[place], entry=entry)
            else:
                merged[place] = replace(rows[place], counted_in=rows[speaker].entry.row)
    return merged


def _recency(row: ImportedRow) -> tuple[bool, str, str, int]:
    """Rated rows before others, then the one that was read last, was added last, stands last."""
    return row.stars is not None, row.entry.read_on, row.entry.added_on, row.entry.row


def _speaking(rows: Iterable[ImportedRow]) -> Iterator[ImportedRow]:
    return (row for row in rows if row.book_id is not None and row.counted_in is None)


def _ratings(rows: Iterable[ImportedRow]) -> Iterator[tuple[Id, float]]:
    for row in _speaking(rows):
        if row.book_id is not None and row.stars is not None:
            yield row.book_id, row.stars


def _marks(rows: Iterable[ImportedRow], index: BookIndex) -> Iterator[tuple[Action, Id]]:
    """A status becomes a mark, unless stars say more: a book that was rated is read, and not to be read."""
    for row in _speaking(rows):
        action = MARKS[row.entry.status] if row.entry.status else None
        if row.book_id is not None and action and (row.stars is None or action == "did-not-finish"):
            yield action, row.book_id


def _counts(rows: list[ImportedRow]) -> dict[str, int]:
    """rows = matched + review + not-in-catalogue + unreadable; matched = rated + marked + nothing-said + same-work."""
    speaking = list(_speaking(rows))
    rated = sum(row.stars is not None for row in speaking)
    marked = sum(row.stars is None and bool(row.entry.status and MARKS[row.entry.status]) for row in speaking)
    counts = {"rows": len(rows)}
    counts |= {outcome: sum(row.match.outcome == outcome for row in rows) for outcome in OUTCOMES}
    counts |= {"rated": rated, "marked": marked, "nothing-said": len(speaking) - rated - marked}
    counts["same-work"] = sum(row.counted_in is not None for row in rows)
    counts["rounded"] = sum(row.rounded for row in speaking)
    counts["suggested"] = sum(row.match.outcome == "review" and row.match.suggested for row in rows)
    for code in ("stars", "isbn", "date", "text"):
        counts[f"{code}-unread"] = sum(any(p.code == code for p in row.entry.problems) for row in rows)
    return counts


def _notes(file: ExportFile, counts: dict[str, int], scale: Scale) -> Iterator[str]:
    """What is to be known of the file as a whole."""
    if file.header.missing:
        names = ", ".join(file.header.missing)
        yield f"columns that such a file usually has and this one has not: {names}; read without them"
    told = {
        "rounded": f"ratings finer than the run's scale {scale}, which were rounded",
        "stars-unread": "ratings that are no stars, of books that count as read without stars",
        "isbn-unread": "ISBNs that a spreadsheet or a slip of the pen spoilt, which were not used",
        "suggested": f"rows of another ISBN for which one book has a confidence of {SURE} or more",
    }
    for name, words in told.items():
        if counts[name]:
            yield f"{words}: {counts[name]:,}"

"""How well rows of exports are matched to a catalogue: python benchmarks/matching.py DATA [--seed N] [--out DIR]

Cases are made from the catalogue, so that it is known which book each is: rows as apps and readers write them (other
spellings, no ISBN, initials, without subtitle, ...), and rows of books that the catalogue has not. A fifth of its books
is taken out of it for that; what remains is searched. Books of one half serve to choose the threshold (--choose shows
it), the figures are of the other half.

    precision  of the rows that are matched without asking, how many are that book
    recall     of the rows of books in the catalogue that may be matched without asking (no unknown ISBN), how many are
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from anyascii import anyascii

from shelfwise.data.catalogue import SERIES, Catalogue, empty_tags, plain
from shelfwise.data.isbn import check_digit_13, isbn13_to_10, repair_isbn
from shelfwise.data.sources import load_dataset
from shelfwise.imports import matching
from shelfwise.imports.matching import BookIndex, Match
from shelfwise.imports.readers import Entry

EACH = 150  # cases of a kind, at most
ASKS = "unknown ISBN"  # the kind that is to be asked about
LETTERS = "abcdefghijklmnoprstuvwy"
SEVERAL = re.compile(r"#\s*\d+(\.\d+)?\s*[-–/,&]\s*#?\d")


@dataclass(frozen=True)
class Case:
    """A row, and the book it is; None where the catalogue has not got it."""

    kind: str
    entry: Entry
    book_id: int | None


def make_cases(catalogue: Catalogue, *, seed: int, half: int) -> tuple[Catalogue, list[Case]]:
    """The catalogue to be searched, and cases of the books of one half."""
    rng = random.Random(1000 * seed + half)
    rows = catalogue.books.to_dicts()
    # Which books are taken out depends on the seed alone, so that both halves search one catalogue.
    out = set(random.Random(seed).sample(range(len(rows)), len(rows) // 5))
    renamed: set[int] = set()
    mine = [place for place in range(len(rows)) if place % 2 == half]
    rng.shuffle(mine)
    cases: list[Case] = []
    kept, gone = [rows[p] for p in mine if p not in out], [rows[p] for p in mine if p in out]
    unique = {plain(bare(row["title"])) for row in rows}
    titled = Counter(key for row in rows for key in own_titles(row))
    for kind, make in PRESENT.items():
        made = 0
        for row in rng.sample(kept, len(kept)):
            entry = make(row, rng)
            if entry is None or (kind == "other title" and row["book_id"] in renamed):
                continue
            if any(titled[key] > (key in own_titles(row)) for key in keys_of([entry.title], entry.authors)):
                continue  # word for word another book's title, by the same author: nobody could tell
            cases.append(Case(kind, entry, row["book_id"]))
            if kind == "other title":
                renamed.add(row["book_id"])
            made += 1
            if made == EACH:
                break
    searched = catalogue.books.filter(~pl.int_range(pl.len()).is_in(sorted(out)))
    series_left = set(searched["series"].drop_nulls())
    for kind, pool in ABSENT.items():
        for row in [row for row in gone if pool(row, series_left)][:EACH]:
            cases.append(Case(kind, Entry(2, row["title"], tuple(row["authors"] or ())), None))
    for kind, disguise in DISGUISED.items():
        made = 0
        for row in rng.sample(kept, len(kept)):
            entry = disguise(row, rng, rows)
            if entry is not None and plain(bare(entry.title)) not in unique - {plain(bare(row["title"]))}:
                cases.append(Case(kind, entry, None))
                made += 1
            if made == EACH:
                break
    blank = pl.when(pl.col("book_id").is_in(sorted(renamed))).then(None).otherwise(pl.col("original_title"))
    searched = searched.with_columns(blank.alias("original_title"))
    return Catalogue(searched, empty_tags()), cases


def bare(title: str) -> str:
    """A title without '(Series, #n)'."""
    return SERIES.sub(r"\g<title>", title)


def keys_of(titles: Iterable[str | None], authors: Iterable[str]) -> set[tuple[str, str]]:
    """(title, author), spelt alike."""
    return {(plain(bare(title)), plain(name)) for title in titles if title for name in authors}


def own_titles(row: dict) -> set[tuple[str, str]]:
    """Under which titles and authors a book stands in the catalogue."""
    return keys_of((row["title"], row["original_title"]), row["authors"] or [])


def entry_of(row: dict, title: str | None = None, authors: list[str] | None = None, **more: object) -> Entry:
    names = (row["authors"] or []) if authors is None else authors
    return Entry(2, title or row["title"], tuple(names), **more)  # type: ignore[arg-type]


# Rows of books that the catalogue has.


def typed(text: str, rng: random.Random, n: int) -> str:
    """`text` with n slips: a letter too many, too few, another one, or two swapped; never the first letter."""
    letters = list(text)
    for _ in range(n):
        place = rng.randrange(1, len(letters))
        if not letters[place].isalpha():
            continue
        slip = rng.choice("insert delete replace swap".split())
        if slip == "insert":
            letters.insert(place, rng.choice(LETTERS))
        elif slip == "delete" and len(letters) > 3:
            del letters[place]
        elif slip == "replace":
            letters[place] = rng.choice(LETTERS)
        elif place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def with_typos(row: dict, rng: random.Random) -> Entry | None:
    title = bare(row["title"])
    if len(title) < 5 or not title.isascii():
        return None
    names = row["authors"] or []
    if names and rng.random() < 0.3 and len(names[0]) > 4:
        names = [typed(names[0], rng, 1), *names[1:]]
    return entry_of(row, typed(title, rng, 1 if len(title) < 12 else rng.choice((1, 2))), names)


def with_initials(row: dict, rng: random.Random) -> Entry | None:
    name = (row["authors"] or [""])[0]
    words = name.split()
    if len(words) < 2:
        return None
    initials = [word for word in re.split(r"[\s.]+", " ".join(words[:-1])) if word]
    how = rng.choice("inverted squeezed short spaced".split())
    if how == "inverted":
        shown = f"{words[-1]}, {' '.join(words[:-1])}"
        first, _, second = shown.partition(",")
        shown = f"{second.strip()} {first}" if rng.random() < 0.5 else f"{words[-1]} {' '.join(words[:-1])}"
    elif how == "squeezed":
        shown = "".join(word[0] for word in initials) + " " + words[-1]
    elif how == "short":
        shown = f"{initials[0][0]}. {words[-1]}"
    else:
        shown = " ".join(f"{word[0]}." for word in initials) + " " + words[-1]
    return entry_of(row, authors=[shown])


def without_subtitle(row: dict, rng: random.Random) -> Entry | None:
    title = bare(row["title"])
    short = re.split(r":\s", title)[0]
    return entry_of(row, short) if short != title and len(short) > 3 else None


def with_edition(row: dict, rng: random.Random) -> Entry | None:
    notes = (": A Novel", " (Deluxe Edition)", ": 50th Anniversary Edition", " [Paperback]", " (Penguin Classics)",
             " (Unabridged)", ": A Novel (Movie Tie-In)", " - Kindle Edition")  # fmt: skip
    title = bare(row["title"])
    return entry_of(row, title + rng.choice(notes)) if ":" not in title else None


def transliterated(row: dict, rng: random.Random) -> Entry | None:
    original, names = row["original_title"] or "", row["authors"] or []
    if original and not anyascii(original[0]).isascii():
        return None
    foreign = original and sum(ord(c) > 0x24F for c in original) > len(original) / 2
    title = anyascii(original) if foreign else bare(row["title"])
    german = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
    spell = (lambda text: anyascii(text.translate(german))) if rng.random() < 0.3 else anyascii
    if all(text.isascii() for text in (original, title, *names)):
        return None
    return entry_of(row, spell(title), [spell(name) for name in names])


def swapped_authors(row: dict, rng: random.Random) -> Entry | None:
    names = row["authors"] or []
    return entry_of(row, bare(row["title"]), names[::-1]) if len(names) > 1 else None


def series_in_front(row: dict, rng: random.Random) -> Entry | None:
    if not row["series"] or SEVERAL.search(row["title"]) or ":" in bare(row["title"]):
        return None
    return entry_of(row, f"{row['series']}: {bare(row['title'])}") if bare(row["title"]) != row["title"] else None


def other_title(row: dict, rng: random.Random) -> Entry | None:
    """A title under which the book came out elsewhere; the searched catalogue does not know it."""
    original = row["original_title"]
    if not original or not original.isascii():
        return None
    mine, other = set(plain(bare(row["title"])).split()), set(plain(original).split())
    alike = len(mine & other) / max(len(mine | other), 1)
    return entry_of(row, original) if 0.5 <= alike < 1 else None


def known_isbn(row: dict, rng: random.Random) -> Entry | None:
    isbn = row["isbn13"]
    if isbn is None:
        return None
    ten = isbn13_to_10(isbn)
    shown = rng.choice([isbn, f'="{isbn}"', ten or isbn, f"{isbn[:3]}-{isbn[3:]}", (ten or isbn).lstrip("0")])
    read = repair_isbn(shown)
    return entry_of(row, row["original_title"] or row["title"], isbns=(read,)) if read else None


def unknown_isbn(row: dict, rng: random.Random) -> Entry | None:
    body = "97999" + f"{rng.randrange(10**7):07d}"  # a block that no publisher has
    return entry_of(row, bare(row["title"]), isbns=(body + check_digit_13(body),)) if row["isbn13"] else None


def goodreads_id(row: dict, rng: random.Random) -> Entry | None:
    if row["goodreads_id"] is None:
        return None
    entry = unknown_isbn(row, rng)
    return entry and entry._replace(goodreads_id=row["goodreads_id"])


PRESENT: dict[str, Callable[[dict, random.Random], Entry | None]] = {
    "no ISBN": lambda row, rng: entry_of(row),
    "no series": lambda row, rng: entry_of(row, bare(row["title"]), (row["authors"] or [])[:1]),
    "typos": with_typos,
    "initials": with_initials,
    "no subtitle": without_subtitle,
    "edition note": with_edition,
    "transliterated": transliterated,
    "authors swapped": swapped_authors,
    "series in front": series_in_front,
    "other title": other_title,
    "known ISBN": known_isbn,
    "Goodreads id": goodreads_id,
    ASKS: unknown_isbn,
}

# Rows of books that the catalogue has not: a book that was taken out, or one in another's clothes.

ABSENT: dict[str, Callable[[dict, set[str]], bool]] = {
    "other volume": lambda row, left: row["series"] in left and not SEVERAL.search(row["title"]),
    "box": lambda row, left: row["series"] in left and bool(SEVERAL.search(row["title"])),
    "not there": lambda row, left: row["series"] is None,
}


def as_box(row: dict, rng: random.Random, rows: list[dict]) -> Entry | None:
    if not row["series"] or any(SEVERAL.search(one["title"]) for one in rows if one["series"] == row["series"]):
        return None
    name = rng.choice(("{} Box Set", "{} Boxed Set (Books 1-3)", "The {} Trilogy", "{} Collection: Books 1-4"))
    return entry_of(row, name.format(row["series"]))


def as_volume(row: dict, rng: random.Random, _: list[dict]) -> Entry | None:
    number = rng.randrange(60, 99)
    if row["series_number"] is None:
        return None
    return entry_of(row, rng.choice((f"{row['series']}, Vol. {number}", f"{row['series']} {number}",
                                     f"{bare(row['title'])} ({row['series']}, #{number})")))  # fmt: skip


def as_companion(row: dict, rng: random.Random, _: list[dict]) -> Entry | None:
    after = (": The Official Illustrated Movie Companion", ": The Graphic Novel", " Journal", ": A Study Guide",
             " Sampler", ": The Screenplay", " and Philosophy", " Cookbook")  # fmt: skip
    return entry_of(row, bare(row["title"]) + rng.choice(after))


def by_another(row: dict, rng: random.Random, rows: list[dict]) -> Entry | None:
    other = rng.choice(rows)["authors"] or []
    mine = {plain(name).split()[-1] for name in row["authors"] or [] if plain(name)}
    theirs = {plain(name).split()[-1] for name in other if plain(name)}
    return entry_of(row, bare(row["title"]), other) if other and not mine & theirs else None


DISGUISED: dict[str, Callable[[dict, random.Random, list[dict]], Entry | None]] = {
    "invented box": as_box,
    "invented volume": as_volume,
    "companion": as_companion,
    "other author": by_another,
}


def judge(case: Case, found: Match, ids: list[int]) -> str:
    """right, wrong, asked (with the book first), asked in vain, left out"""
    if found.outcome == "matched":
        return "right" if ids[found.item_idx] == case.book_id else "wrong"
    if found.outcome == "not-in-catalogue":
        return "left out"
    first = ids[found.candidates[0].item_idx]
    return "asked" if first == case.book_id else "asked in vain"


COLUMNS = ("right", "wrong", "asked", "asked in vain", "left out")


def measure(index: BookIndex, cases: list[Case]) -> dict[str, dict[str, int]]:
    """How many cases of each kind came out how."""
    counts = {case.kind: dict.fromkeys(COLUMNS, 0) for case in cases}
    for case in cases:
        counts[case.kind][judge(case, index.match(case.entry), index.ids)] += 1
    return counts


def summary(counts: dict[str, dict[str, int]]) -> dict[str, float]:
    right, wrong = (sum(row[name] for row in counts.values()) for name in ("right", "wrong"))
    may = {kind: row for kind, row in counts.items() if kind in PRESENT and kind != ASKS}
    n_may = sum(sum(row.values()) for row in may.values())
    asked = counts.get(ASKS, dict.fromkeys(COLUMNS, 0))
    return {
        "cases": sum(sum(row.values()) for row in counts.values()),
        "matched": right + wrong,
        "wrong": wrong,
        "precision": right / max(right + wrong, 1),
        "recall": sum(row["right"] for row in may.values()) / max(n_may, 1),
        "asked first": asked["asked"] / max(sum(asked.values()), 1),
    }


def suggestions(index: BookIndex, cases: list[Case]) -> tuple[int, int]:
    """Of rows with an unknown ISBN, and of absent books with one: how many have a suggestion, how many a wrong one."""
    n = wrong = 0
    for case in cases:
        if case.kind in PRESENT and case.kind != ASKS:
            continue
        entry = case.entry if case.entry.isbns else case.entry._replace(isbns=("9799900000005",))
        found = index.match(entry)
        if found.outcome == "review" and found.suggested:
            n += 1
            wrong += index.ids[found.candidates[0].item_idx] != case.book_id
    return n, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--choose", action="store_true", help="try thresholds on the other half")
    parser.add_argument("--wrong", action="store_true", help="show what was matched wrongly, and what was not matched")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    catalogue = load_dataset(asked.data).catalogue
    searched, cases = make_cases(catalogue, seed=asked.seed, half=0 if asked.choose else 1)
    start = time.perf_counter()
    index = BookIndex(searched)
    built = time.perf_counter() - start
    if asked.choose:
        for sure in (0.8, 0.84, 0.86, 0.88, 0.9, 0.92, 0.94, 0.96):
            matching.SURE = sure
            found = summary(measure(index, cases))
            print(
                f"{sure:.2f}  precision {found['precision']:.4f}  recall {found['recall']:.4f}  {found['wrong']} wrong"
            )
        matching.SURE = 0.9
    start = time.perf_counter()
    counts = measure(index, cases)
    took = time.perf_counter() - start
    print(f"| rows that are | cases | {' | '.join(COLUMNS)} |\n|{' --- |' * 7}")
    for kind, row in counts.items():
        print(f"| {kind} | {sum(row.values())} | {' | '.join(str(row[name]) for name in COLUMNS)} |")
    found = summary(counts)
    n, wrong = suggestions(index, cases)
    found |= {"suggestions": n, "wrong suggestions": wrong, "books": len(index)}
    print(f"{found['cases']} cases, {len(index):,} books, threshold {matching.SURE}")
    print(
        f"precision {found['precision']:.4f} ({found['wrong']} of {found['matched']} wrong), "
        f"recall {found['recall']:.4f}"
    )
    if ASKS in counts:
        print(f"unknown ISBN: the book comes first in {found['asked first']:.3f}; {n} suggestions, {wrong} wrong")
    print(f"index {built:.1f} s, {1000 * took / len(cases):.2f} ms a row")
    if asked.wrong:
        show_wrong(index, cases)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "matching.json").write_text(json.dumps({"summary": found, "kinds": counts}, indent=1))


def show_wrong(index: BookIndex, cases: list[Case]) -> None:
    titles = dict(zip(index.ids, index.shown_titles, strict=True))
    for case in cases:
        found = index.match(case.entry)
        verdict = judge(case, found, index.ids)
        lost = case.book_id is not None and case.kind != ASKS and verdict != "right"
        if verdict == "wrong" or lost:
            shown = [(index.shown_titles[one.item_idx], one.confidence) for one in found.candidates[:2]]
            print(f"{verdict:13} {case.kind}: {case.entry.title!r} {case.entry.authors} is "
                  f"{titles.get(case.book_id)!r}: {found.reason} {shown}")  # fmt: skip


if __name__ == "__main__":
    main()

"""How alike two titles, and two names of authors, are: 1 for the same, whatever the spelling.

Series suffixes, edition notes, leading articles, case, accents, scripts and punctuation do not count; volume numbers,
and whether a book is a box of several or a companion to another, count for more than all letters together.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from anyascii import anyascii
from rapidfuzz.distance import Indel

# Other volumes of a series are at most this much like each other.
OTHER_VOLUME = 0.6
# A box of books or a companion to one is at most this much like it.
OTHER_KIND = 0.8
# Titles that agree but for a subtitle, which may well make another book of it.
OTHER_SUBTITLE = 0.85
# One title has a subtitle that the other lacks, or the name of the series in front.
NO_SUBTITLE, SERIES_IN_FRONT = 0.95, 0.97

_MORE = r"(?P<more>(?:\s*[-–/,&+]\s*#?\d+(?:\.\d+)?)*)"
_SERIES = (
    re.compile(rf"^(?P<name>[^#]*?)[,:]?\s*#\s*(?P<number>\d+(?:\.\d+)?){_MORE}"),
    re.compile(
        rf"^(?P<name>.*?)[,:]?\s*\b(?:books?|bk|vols?|volumes?|parts?|no)\b\.?\s*(?P<number>\d+(?:\.\d+)?){_MORE}", re.I
    ),
)
_BRACKETS = re.compile(r"\s*(?:\((?P<round>(?:[^()]|\([^()]*\))*)\)|\[(?P<square>[^\[\]]*)\])\s*$")
_ARTICLE = re.compile(r"^(?:the|a|an|le|la|les|un|une|der|die|das|ein|eine|el|los|las|il|lo|het|de|den|det) (?=\S)")
_LAST_ARTICLE = re.compile(r",\s*(?:The|A|An|Le|La|Les|Der|Die|Das|El|Los|Las|Il)$", re.I)
_ADJECTIVE = (
    "illustrated|annotated|deluxe|anniversary|collectors|special|revised|expanded|unabridged|kindle|reissue|"
    r"large print|movie tie in|tie in|first|second|third|limited|international|student|critical|definitive|restored|"
    r"updated|enhanced|paperback|hardcover|classic|classics|penguin|new|us|uk|signed|export|bilingual|\d+(?:st|nd|rd|th)"
)
_EDITION = re.compile(
    rf"\b(?:the )?(?:(?:{_ADJECTIVE}) )+(?:edition|ed|version|cover|reissue)\b|\b(?:movie |tv |media )?tie in\b|"
    r"\bunabridged\b|\blarge print\b|\bmass market paperback\b|\bpaperback\b|\bhardcover\b|\baudiobook\b|\bebook\b"
)
_GENRE = re.compile(
    r"^(?:a |an |the )?(?:(?!graphic)\w+ )?(?:novel|novella|memoir|roman|thriller|mystery|story|autobiography)$"
)
_KEYWORD = r"(?:volume|vol|book|bk|part|pt|no|number|tome|band|episode|chapter)"
_NUMBERED = re.compile(rf"\b{_KEYWORD} (\d+|one|two|three|four|five|six|seven|eight|nine|ten|[ivx]+)\b")
_LAST_ROMAN = re.compile(r"\b([ivx]+)$")
_BOX = frozenset(
    "box boxed boxset set collection omnibus trilogy complete bundle saga tetralogy quartet duology anthology".split()
)
_COMPANION = frozenset(
    "guide companion illustrated movie film screenplay script graphic manga adaptation coloring colouring journal "
    "workbook calendar poster sparknotes cliffsnotes notes study analysis summary making official unofficial cookbook "
    "encyclopedia atlas abridged annotated handbook sampler preview excerpt teaser sketchbook playset sticker "
    "play plays vocal arrangement songbook stories tales writings poems essays letters works selected collected "
    "radio dramatization musical playscript storybook interviews unauthorized trivia quotes".split()
)
_WORDS = {w: str(n) for n, w in enumerate("one two three four five six seven eight nine ten".split(), start=1)}
_ROMANS = {w: str(n) for n, w in enumerate("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv".split(), start=1)}
_SUFFIX = frozenset("jr sr ii iii iv phd md dr prof sir mr mrs ms dame lord lady rev".split())


class Title(NamedTuple):
    """A title, taken apart.

    full     all of it, base  what stands before a subtitle, tail  the subtitle; '' for none
    series   '' for none; first, last  numbers in it: of a box different ones, None for none
    numbers  of volumes that the full title names; kinds  words that tell of boxes and companions
    """

    full: str
    base: str
    tail: str
    series: str
    first: float | None
    last: float | None
    numbers: frozenset[str]
    base_numbers: frozenset[str]
    kinds: frozenset[str]


def normal(text: str) -> str:
    """Lower-case words of ASCII letters and digits: transliterated, without accents and punctuation."""
    text = (text if text.isascii() else anyascii(text.replace("ß", "ss"))).lower()
    text = re.sub(r"['`]", "", text).replace("&", " and ")
    return " ".join(re.findall(r"[a-z0-9]+", text))


def take_apart(raw: str, series: str = "", number: float | None = None) -> Title:
    """A title as it stands in a file or a catalogue, which may know its series and number too."""
    text, last = raw.strip(), number
    aside: list[str] = []
    while (brackets := _BRACKETS.search(text)) and brackets.start() > 0:
        inside = brackets["round"] or brackets["square"] or ""
        text = text[: brackets.start()].strip()
        found = next(filter(None, (pattern.match(inside) for pattern in _SERIES)), None)
        if found is None:
            aside.append(normal(inside))
            continue
        if "#" in inside:  # '#3: Part 1 of 2'
            aside += [f"part {part}" for part in re.findall(r"part (\d+)", normal(inside))]
        numbers = [float(n) for n in re.findall(r"\d+(?:\.\d+)?", found["number"] + found["more"])]
        if number is None or numbers[0] == number:
            number, last = numbers[0], max(numbers)
        series = series or found["name"]
    base, tail = _split(_LAST_ARTICLE.sub("", text))
    words = {*base.split(), *tail.split(), *(word for part in aside for word in _without_edition(part).split())}
    base = _without_edition(base) or base
    tail = "" if _GENRE.match(tail) else tail
    full = f"{base} {tail}".strip()
    kinds = _kinds(words) | ({"box"} if " / " in raw else set())
    beside = frozenset[str]().union(*map(_volumes, aside))
    return Title(
        full, base, tail, _bare(normal(series)), number, last,
        _volumes(full) | beside, _volumes(base) | beside, frozenset(kinds),
    )  # fmt: skip


def _kinds(words: set[str]) -> set[str]:
    return (words & _COMPANION) | ({"box"} if words & _BOX else set())


def _split(text: str) -> tuple[str, str]:
    """What stands before a subtitle, and the subtitle, as words."""
    parts = re.split(r":\s+|\s+[-–—]\s+|;\s+|:(?=[A-Z])", text, maxsplit=1)
    base = _bare(_in_digits(normal(parts[0])))
    tail = _without_edition(_in_digits(normal(parts[1]))) if len(parts) > 1 else ""
    return (base, tail) if base else (normal(text), "")


def _in_digits(words: str) -> str:
    """'volume one', 'part i' and 'book 01' all as 'vol 1'."""
    return _NUMBERED.sub(lambda found: f"vol {_digits(found[1])}", words)


def _digits(word: str) -> str:
    return str(int(word)) if word.isdigit() else _WORDS.get(word) or _ROMANS.get(word) or word


def _bare(words: str) -> str:
    return _ARTICLE.sub("", words)


def _without_edition(words: str) -> str:
    return " ".join(_EDITION.sub(" ", words).split()) if " " in words or words in ("paperback", "unabridged") else words


def _volumes(words: str) -> frozenset[str]:
    """The numbers that a title names: digits, and words and Roman numerals that stand for a volume."""
    named = [*re.findall(r"\b\d+\b", words), *_NUMBERED.findall(words), *_LAST_ROMAN.findall(words)]
    return frozenset(map(_digits, named))


def ratio(one: str, other: str) -> float:
    """Likeness of two texts letter by letter, from 0 to 1, blanks left out where that makes them more alike."""
    if one == other:
        return 1.0
    plain = Indel.normalized_similarity(one, other)
    squeezed = Indel.normalized_similarity(one.replace(" ", ""), other.replace(" ", ""))
    return max(plain, squeezed - 0.005)


def title_likeness(one: Title, other: Title) -> float:
    """How alike two titles are, from 0 to 1."""
    best = ratio(one.full, other.full)
    if best < 1 and (one.full.startswith(other.full + " ") or other.full.startswith(one.full + " ")):
        best = min(best, OTHER_SUBTITLE)  # words more are no slip of the pen
    if one.numbers != other.numbers:
        best = min(best, OTHER_VOLUME)
    if bool(one.tail) != bool(other.tail):
        best = max(best, _without_subtitle(one, other) if one.tail else _without_subtitle(other, one))
    elif one.tail and one.base_numbers == other.base_numbers:
        best = max(best, ratio(one.base, other.base) * OTHER_SUBTITLE)
    if one.kinds != other.kinds:
        best = min(best, OTHER_KIND)
    if one.tail or other.tail:
        best = max(best, _series_in_front(one, other), _series_in_front(other, one))
    return min(best, OTHER_VOLUME) if _is_other_volume(one, other) else best


def _without_subtitle(longer: Title, shorter: Title) -> float:
    """Likeness of a title with a subtitle to one without it."""
    if longer.base_numbers != shorter.numbers:
        return 0.0
    is_series = any(
        name == longer.base or name.startswith(longer.base + " ") for name in (longer.series, shorter.series)
    )
    return ratio(longer.base, shorter.base) * (OTHER_SUBTITLE if is_series else NO_SUBTITLE)


def _series_in_front(longer: Title, shorter: Title) -> float:
    """Likeness of 'Series: Title' to 'Title', of which a series is known."""
    series, tail = shorter.series or longer.series, _bare(longer.tail)
    if not series or not tail or _volumes(tail) != shorter.numbers or _kinds(set(tail.split())) != shorter.kinds:
        return 0.0
    return ratio(tail, shorter.full) * SERIES_IN_FRONT if ratio(longer.base, series) > 0.85 else 0.0


def _is_other_volume(one: Title, other: Title) -> bool:
    """Whether both say where in a series they stand, and that is not the same place."""
    if one.first is None or other.first is None:
        return False
    if one.series and other.series and ratio(one.series, other.series) < 0.7:
        return False  # a book may be in two series
    return (one.first, one.last) != (other.first, other.last)


def name_of(raw: str) -> tuple[str, ...]:
    """A name as lower-case words in natural order: 'JRR Tolkien' and 'J.R.R. Tolkien' give j, r, r, tolkien."""
    text = raw if raw.isascii() else anyascii(raw)
    tokens = re.findall(r"[A-Za-z0-9]+", re.sub(r"['`]", "", text))
    words: list[str] = []
    for place, token in enumerate(tokens):
        is_initials = token.isupper() and 2 <= len(token) <= 3 and place < len(tokens) - 1
        words += list(token.lower()) if is_initials else [token.lower()]
    kept = [word for word in words if word not in _SUFFIX]
    return tuple(kept or words)


@lru_cache(maxsize=1 << 16)
def name_likeness(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """How alike two names are, from 0 to 1: given names may be initials, left out, or stand behind."""
    if not one or not other:
        return 0.0
    if one == other or sorted(one) == sorted(other):
        return 1.0
    letters = ratio(" ".join(one), " ".join(other))
    last = ratio(one[-1], other[-1])
    if last < 0.8:
        swapped = ratio(" ".join(sorted(one)), " ".join(sorted(other)))
        return max(letters, swapped) * (1 if max(letters, swapped) > 0.93 else 0.8)
    given = _given_likeness(one[:-1], other[:-1])
    return max(min(last, given), letters if given > 0.5 else 0.0)


def _given_likeness(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    if not one or not other:
        return 0.9
    first, second = one[0], other[0]
    if first == second:
        return 1.0 if one[1:] == other[1:] else 0.98
    if first[0] == second[0] and 1 in (len(first), len(second)):
        return 0.97
    if ratio(first, second) > 0.7 or set(one) & {name for name in other if len(name) > 1}:
        return 0.93
    return 0.5

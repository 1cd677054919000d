"""Every quirk of every app's export, on small files of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from shelfwise.data.scale import Scale
from shelfwise.errors import FormatError, MissingColumnError, MissingDataError, TooLargeError
from shelfwise.imports import Entry, ExportFile, Limits, read_export

FIXTURES = Path(__file__).parent / "fixtures"
HUNGER_GAMES, HOBBIT = "9780439023481", "9780618260300"


def entries(name: str) -> dict[str, Entry]:
    """The entries of a fixture by title."""
    return {entry.title: entry for entry in read_export(FIXTURES / name)}


@pytest.mark.parametrize(
    ("name", "source", "encoding", "rows"),
    [
        ("goodreads-before-2022.csv", "Goodreads (before October 2022)", "utf-8-sig", 6),
        ("goodreads-2022-excel.csv", "Goodreads (since October 2022)", "utf-8-sig", 3),
        ("goodreads-2026.csv", "Goodreads (since 2026)", "utf-8-sig", 2),
        ("storygraph.csv", "StoryGraph (since 2022)", "utf-8-sig", 7),
        ("storygraph-2021.csv", "StoryGraph (2021)", "utf-8-sig", 1),
        ("librarything.tsv", "LibraryThing", "iso-8859-1", 5),
        ("hardcover.csv", "Hardcover", "utf-8-sig", 4),
        ("plain.csv", "a plain table", "utf-8-sig", 4),
        ("plain-semicolons.csv", "a plain table", "cp1252", 1),
    ],
)
def test_the_header_tells_the_app_and_its_generation(name: str, source: str, encoding: str, rows: int) -> None:
    file = ExportFile(FIXTURES / name)
    assert (file.header.source, file.encoding) == (source, encoding)
    assert file.header.missing == ()
    found = list(file)
    assert [entry.row for entry in found] == list(range(2, rows + 2))
    assert not any(entry.unreadable for entry in found)
    assert found == read_export((FIXTURES / name).read_bytes())  # bytes or path is one


def test_the_fixtures_have_the_bytes_that_matter() -> None:
    """Git must not have changed them (.gitattributes)."""
    assert (FIXTURES / "goodreads-before-2022.csv").read_bytes().startswith(b"\xef\xbb\xbfBook Id,")
    assert b'"=""0439023483"""' in (FIXTURES / "goodreads-before-2022.csv").read_bytes()
    assert (FIXTURES / "goodreads-2022-excel.csv").read_bytes().count(b"\r\n") == 4
    assert b"Mis\xe9rables" in (FIXTURES / "librarything.tsv").read_bytes()
    headers = {path.name: path.read_bytes().splitlines()[0] for path in FIXTURES.iterdir()}
    columns = {name: len(line.split(b"\t" if name.endswith("tsv") else b",")) for name, line in headers.items()}
    assert columns["goodreads-before-2022.csv"] == 31
    assert columns["goodreads-2022-excel.csv"] == 24
    assert columns["goodreads-2026.csv"] == columns["storygraph.csv"] == columns["storygraph-2021.csv"] == 23
    assert columns["librarything.tsv"] == 49
    assert columns["hardcover.csv"] == 37


def test_goodreads() -> None:
    found = entries("goodreads-before-2022.csv")
    games = found["The Hunger Games (The Hunger Games, #1)"]
    assert (games.isbns, games.goodreads_id) == ((HUNGER_GAMES,), 2767052)  # '=""0439023483""' and both are one book
    assert (games.stars, games.status) == (5, "read")
    assert (games.read_on, games.added_on) == ("2012-01-05", "2011-12-30")
    hobbit = found["The Hobbit"]
    assert hobbit.isbns == (HOBBIT,)  # written plain
    assert hobbit.authors == ("J.R.R. Tolkien", "Alan Lee", "Douglas A. Anderson")
    assert hobbit.tags == ("fantasy", "favourites")
    assert (hobbit.read_on, hobbit.status) == ("", "read")
    monte = found["The Count of Monte Cristo"]
    assert (monte.isbns, monte.stars, monte.status) == ((), None, "to-read")  # '=""', and 0 for unrated
    assert found["Les Misérables"].status == "did-not-finish"  # a shelf of the reader's own
    assert found['Poems: "Selected"'].status == "currently-reading"
    assert (found["Coffee table book"].status, found["Coffee table book"].shelf) == ("other", "for-show")


def test_goodreads_after_excel() -> None:
    found = entries("goodreads-2022-excel.csv")
    assert found["The Hunger Games (The Hunger Games, #1)"].isbns == (HUNGER_GAMES,)  # by the ISBN-10 that is left
    assert found["The Hobbit"].isbns == (HOBBIT,)  # that lost its leading zero
    assert found["The Hobbit"].problems == ()
    monte = found["The Count of Monte Cristo"]  # whose ISBN-10 has a wrong digit, too
    assert monte.isbns == ()
    assert [problem.code for problem in monte.problems] == ["isbn"]
    assert monte.read_on == "2020"  # nobody knows what comes first in 1/31/2020; the year is sure
    [rounded] = read_export(b"Title,ISBN13\nX,9.78E+12\n")
    assert (rounded.isbns, rounded.problems[0].text) == ((), "ISBN '9.78E+12' is none: a spreadsheet rounded it")


def test_goodreads_of_2026() -> None:
    found = list(entries("goodreads-2026.csv").values())
    assert [entry.stars for entry in found] == [2, None]  # '2.0', '0.0'


def test_storygraph() -> None:
    found = entries("storygraph.csv")
    assert (found["The Hunger Games"].stars, found["Good Omens"].stars) == (4.25, 0.25)
    assert found["The Hunger Games"].read_on == "2022-03-09"
    assert found["Good Omens"].read_on == "2023-05-04"  # the end of the last of several times
    assert found["Good Omens"].authors == ("Terry Pratchett", "Neil Gaiman")
    assert found["Good Omens"].isbns == ("9780060853983",)  # an ISBN-10
    assert (found["The Hobbit"].isbns, found["Les Misérables"].isbns) == ((), ())  # an ASIN, a UUID
    assert found["The Hobbit"].problems == found["Les Misérables"].problems == ()
    assert found["Anna Karenina"].authors == ("Leo Tolstoy, Jr.",)
    told = {title: entry.status for title, entry in found.items()}
    assert told == {
        "The Hunger Games": "read",
        "Good Omens": "read",
        "The Hobbit": "did-not-finish",
        "Les Misérables": "paused",
        "The Count of Monte Cristo": "currently-reading",
        "Anna Karenina": "to-read",
        "Emma": "read",
    }
    assert entries("storygraph-2021.csv")["The Hunger Games"].isbns == (HUNGER_GAMES,)


def test_librarything() -> None:
    found = entries("librarything.tsv")
    hugo = found["Les Misérables"]
    assert hugo.authors == ("Victor Hugo", "Lascelles Wraxall", "Émile Behr")
    assert (hugo.isbns, hugo.stars, hugo.read_on) == (("9782070409228",), 3.5, "2015-01-10")  # in brackets
    assert hugo.tags == ("classics", "français")
    alibi = found["A Is for Alibi"]  # '"A" Is for Alibi': quotes are letters there
    assert (alibi.status, alibi.isbns, alibi.authors) == ("to-read", (), ("Sue Grafton",))
    assert found['The "Rising" Star'].authors == ("Jürgen Müller",)
    assert found['The "Rising" Star'].status == "currently-reading"  # begun, and not read
    assert found["Owned and unread"].status == "other"
    assert found["Given stars"].status == "read"  # there is no column for it; stars imply it


def test_hardcover() -> None:
    found = entries("hardcover.csv")
    assert (found["The Hunger Games"].stars, found["The Hunger Games"].isbns) == (4.5, (HUNGER_GAMES,))
    assert found["Don Quixote"].authors == ("Miguel de Cervantes", "Edith Grossman")  # '(Translator)'
    told = [entry.status for entry in found.values()]
    assert told == ["read", "to-read", "currently-reading", "did-not-finish"]


def test_a_plain_table() -> None:
    found = entries("plain.csv")
    assert found["The Hobbit"].authors == ("J. R. R. Tolkien",)
    assert found["Good Omens"].authors == ("Terry Pratchett", "Neil Gaiman")
    assert found["Ulysses"].authors == ("James Joyce",)
    assert found["Ulysses"].stars is None
    assert [problem.code for problem in found["Ulysses"].problems] == ["stars"]
    assert [entry.status for entry in found.values()] == ["read"] * 4
    [german] = read_export(FIXTURES / "plain-semicolons.csv")  # 'sep=;', 4,5 for four and a half
    assert (german.title, german.authors, german.stars) == ("Germinal – “a novel”", ("Émile Zola",), 4.5)


@pytest.mark.parametrize("raw", ["-1", "5.5", "nan", "inf", "1e3", "five", "9" * 400, "4.5.5"])
def test_stars_that_are_none_are_told_of(raw: str) -> None:
    [entry] = ExportFile(f"Title,Star Rating\nX,{raw}\n".encode())
    assert entry.stars is None
    assert [problem.code for problem in entry.problems] == ["stars"]
    assert entry.status == "read"
    assert raw[:30] in entry.problems[0].text


def test_stars_of_a_plain_table_are_on_the_scale_that_is_given() -> None:
    table = b"title,rating\nX,8\n"
    assert [entry.stars for entry in ExportFile(table, scale=Scale(1, 10))] == [8]
    assert [entry.stars for entry in ExportFile(table, scale=Scale(1, 5))] == [None]


def test_columns_are_found_by_name_in_any_order_and_case() -> None:
    table = b"MY RATING, Exclusive shelf ,TITLE,author\n4,read,X,Y\n"
    [entry] = (file := ExportFile(table))
    assert file.header.format.app == "Goodreads"
    assert (entry.stars, entry.status, entry.title, entry.authors) == (4, "read", "X", ("Y",))
    assert file.header.missing == ("isbn",)
    [other] = ExportFile(b"Title,Author,My Rating\nX,Y,4\n")
    assert (other.status, other.stars) == ("read", 4)  # a missing column costs what it held, not the file


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"Author,My Rating,Exclusive Shelf\nY,4,read\n", "an export of Goodreads, and has neither a column 'Title'"),
        (b"name_of_it,stars\nX,4\n", "the export of no app that is known"),
        (b"X,Y,4\n", "it has X, Y, 4"),
    ],
)
def test_a_missing_title_column_is_said_with_the_app(table: bytes, words: str) -> None:
    with pytest.raises(MissingColumnError, match=words):
        read_export(table)


def test_an_app_that_is_not_read_is_named() -> None:
    with pytest.raises(FormatError, match="an export of BookWyrm, which is not read yet"):
        read_export(b"title,author_text,remote_id,openlibrary_key,inventaire_id,rating\nX,Y,,,,4\n")
    with pytest.raises(FormatError, match="an export of Libib"):
        read_export(b"item_type,title,creators,first_name,ean_isbn13\nbook,X,Y,,\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n\r\n", "is empty"),
        (b"PK\x03\x04...", "zip archive or an Excel workbook"),
        (b"\x1f\x8b...", "gzip archive"),
        (b" <!DOCTYPE html><html>", "is a web page"),
        (b"title" + b",x" * 1000 + b"\n", "has 1,001 columns"),
        (b"title," + b"x" * 1_000_001 + b"\n", "no header that can be read"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_export(content)


def test_limits(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        read_export(tmp_path / "x.csv")
    large = tmp_path / "large.csv"
    with large.open("wb") as stream:
        stream.truncate(10**12)  # a hole: nothing of it may be read
    with pytest.raises(TooLargeError, match="1,000,000,000,000 bytes, more than 100,000,000"):
        read_export(large)
    with pytest.raises(TooLargeError, match="more than 2 rows"):
        read_export(b"title\na\nb\nc\n", limits=Limits(max_rows=2))
    assert len(read_export(b"title\na\nb\n", limits=Limits(max_rows=2))) == 2


# Encodings.

TEXT = "Title,Author,Exclusive Shelf\nLes Misérables – “x”,Émile Zola,read\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_text_is_read_in_whatever_encoding_it_came(encoding: str, ends: str) -> None:
    [entry] = read_export(TEXT.replace("\n", ends).encode(encoding))
    assert (entry.title, entry.authors) == ("Les Misérables – “x”", ("Émile Zola",))


def test_one_broken_character_does_not_turn_all_others() -> None:
    content = TEXT.encode() + b"Caf\xc3,Zo\xc3\xab,read\n"
    good, broken = read_export(content)
    assert good.title == "Les Misérables – “x”"
    assert (broken.title, broken.authors) == ("Caf\N{REPLACEMENT CHARACTER}", ("Zoë",))
    assert [problem.code for problem in broken.problems] == ["text"]


# Rows that are not as they should be.


def test_nul_bytes_are_left_out_and_told_of() -> None:
    [entry] = read_export(b"title,author,rating\nT\0itle,X,\x004\n")
    assert (entry.title, entry.stars) == ("Title", 4)
    assert entry.problems[0].text == "NUL bytes were left out"


def test_ragged_rows() -> None:
    table = b"title,author,rating\nShort\nLong enough,Y,4,,\n\n,,\nA comma, unquoted,Y,5\nGood,Y,3\n"
    short, padded, shifted, good = read_export(table)
    assert (short.title, short.stars, short.problems) == ("Short", None, ())
    assert (padded.title, padded.stars) == ("Long enough", 4)
    assert "4 fields where the header has 3" in shifted.unreadable
    assert (good.row, good.title) == (7, "Good")


def test_a_lone_quote_costs_one_row_at_most() -> None:
    rows = ['1,"Lone title,Y', '2,"Other, quoted",Y', "3,Third,Y", '4,Fourth,"Y', "5,Fifth,Y"]
    found = read_export(("book_id,title,author\n" + "\n".join(rows) + "\n").encode())
    assert [entry.title for entry in found] == ["Lone title", "Other, quoted", "Third", "Fourth", "Fifth"]
    assert [bool(entry.problems) for entry in found] == [True, False, False, True, False]
    rows[0] = '1,"Lone, with a comma,Y'
    found = read_export(("book_id,title,author\n" + "\n".join(rows) + "\n").encode())
    assert [bool(entry.unreadable) for entry in found] == [True, False, False, False, False]
    assert found[0].unreadable.startswith("4 fields where the header has 3")


def test_newlines_in_quotes_are_text() -> None:
    [entry] = read_export(b'title,author,review\n"The\nHobbit",X,"one\r\n""two""\r\nthree, four"\n')
    assert (entry.title, entry.problems) == ("The Hobbit", ())


def test_fields_beyond_what_csv_takes_and_beyond_the_limit() -> None:
    long, longer = "x" * 200_000, "y" * 1_200_000
    table = f'title,review\nA,{long}\nB,"{long}\n{long}"\nC,{longer}\nD,"{longer}"\nE,short\n'
    found = read_export(table.encode())
    assert [entry.title for entry in found] == ["A", "B", "", "", "E"]
    assert [entry.unreadable for entry in found][2:4] == ["a row of more than 1,000,000 characters"] * 2
    assert found[-1].row == 6


def test_a_quote_that_is_never_closed_in_a_large_file_ends_in_time() -> None:
    """Every line opens a quote that the rest of the file does not close."""
    lines = [f'{n},"Title {n},Y ""' for n in range(60_000)]
    found = read_export(("id,title,author\n" + "\n".join(lines)).encode(), limits=Limits(max_record=50_000))
    assert 0 < len(found) <= 60_000
    assert found[0].row == 2


def test_control_characters_and_length_of_texts() -> None:
    [entry] = read_export(("title,author\n\x1b[31mRed\u202e\x07 \t title,Y" + "z" * 3000 + "\n").encode())
    assert entry.title == "[31mRed title"
    assert len(entry.authors[0]) == 500

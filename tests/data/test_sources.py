"""Data sets as they come: our own layout, a single file, both editions of goodbooks-10k, by path or by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tiny_world import write_ratings, write_rows

from shelfwise.data.sources import GITHUB, KAGGLE, OWN_LAYOUT, SAMPLE, load_dataset, locate
from shelfwise.errors import (
    AmbiguousIdsError,
    BadValueError,
    DataError,
    FormatError,
    MissingColumnError,
    MissingDataError,
)

ROWS = [("ann", 1, 5), ("bob", 2, 4), ("ann", 3, 1)]
# Goodreads ids of the editions below: book 1 is 3, book 2 is 1, book 3 is 2, so any wrong join looks right.
GOODREADS = {1: 3, 2: 1, 3: 2}


def own_layout(folder: Path) -> Path:
    write_ratings(folder / "ratings.csv", ROWS)
    write_rows(folder / "books.csv", "book_id,title,authors", [(3, "C", "X"), (1, "A", "X"), (2, "B", "Y")])
    write_rows(
        folder / "tags.csv",
        "book_id,tag,count",
        [(1, "space", 5), (1, "space", 7), (3, "war", 0), (3, "sea", 2), (9, "none", 3), (2, "", 4)],
    )
    write_rows(folder / "events.csv", "user_id,book_id,date", [("cy", 2, "1970-01-02"), ("ann", 9, "1970-01-01")])
    return folder


def goodbooks_edition(folder: Path, edition: str) -> Path:
    """Three books in the format of an edition of goodbooks-10k."""
    own, goodreads = ("id", "book_id") if edition == KAGGLE else ("book_id", "goodreads_book_id")
    header = f"{own},{goodreads},best_book_id,work_id,isbn,isbn13,authors,original_publication_year,title,language_code"
    write_rows(
        folder / "books.csv",
        header,
        [
            (b, g, g, 100 + g, "439023483", "9.78043902348e+12", "A B", "2008.0", f"T{b}", "eng")
            for b, g in GOODREADS.items()
        ],
    )
    if edition == KAGGLE:
        write_rows(folder / "ratings.csv", "book_id,user_id,rating", [(1, 7, 5), (2, 8, 3)])
    else:
        write_rows(folder / "ratings.csv", "user_id,book_id,rating", [(7, 1, 5), (8, 2, 3)])
    write_rows(folder / "tags.csv", "tag_id,tag_name", [(0, "space"), (1, "1984")])
    write_rows(
        folder / "book_tags.csv", "goodreads_book_id,tag_id,count", [(3, 0, 9), (3, 0, 8), (1, 1, -1), (2, 1, 4)]
    )
    write_rows(folder / "to_read.csv", "user_id,book_id", [(7, 3)])
    return folder


def zip_in_place(path: Path) -> None:
    with zipfile.ZipFile(f"{path}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    path.unlink()


# --- Our own layout


def test_our_own_layout_with_all_its_tables(tmp_path: Path) -> None:
    data = load_dataset(own_layout(tmp_path / "town"))
    assert (data.name, data.edition) == ("town", OWN_LAYOUT)
    assert data.catalogue.books.select("book_id", "title").rows() == [(1, "A"), (2, "B"), (3, "C")]
    # The larger of a repeated pair; counts below 1, unknown books and empty tags are out.
    assert data.catalogue.tags.rows() == [(0, "space", 7), (2, "sea", 2)]
    assert data.ratings.frame.select("user_id", "book_id", "stars").rows() == ROWS
    assert data.events is not None
    assert data.events.rows() == [("cy", 2, 86400.0), ("ann", None, 0.0)]


def test_tags_without_counts_count_once(tmp_path: Path) -> None:
    write_rows(own_layout(tmp_path) / "tags.csv", "book_id,tag", [(1, "1984"), (1, "007"), (2, "sea")])
    assert load_dataset(tmp_path).catalogue.tags.rows() == [(0, "007", 1), (0, "1984", 1), (1, "sea", 1)]


def test_every_optional_table_may_be_absent(tmp_path: Path) -> None:
    data = load_dataset(write_ratings(tmp_path / "ratings.csv", ROWS).parent)
    assert data.catalogue.books["title"].to_list() == ["1", "2", "3"]
    assert data.events is None
    assert len(data.catalogue.tags) == 0


def test_a_single_file_is_a_data_set_of_the_books_it_rates(tmp_path: Path) -> None:
    own_layout(tmp_path)
    data = load_dataset(tmp_path / "ratings.csv")
    assert (data.name, data.edition, data.events) == ("ratings", OWN_LAYOUT, None)
    assert data.catalogue.books["title"].to_list() == ["1", "2", "3"]


def test_the_catalogue_may_come_from_another_data_set(tmp_path: Path) -> None:
    town = own_layout(tmp_path / "town")
    file = write_ratings(tmp_path / "mine.csv", [("zoe", 3, 2), ("zoe", 4, 2)])
    data = load_dataset(file, catalogue=town)
    assert data.catalogue.books["title"].to_list() == ["A", "B", "C"]
    assert data.ratings.frame["book_id"].to_list() == [3, None]
    for place in (file, write_ratings(tmp_path / "bare" / "ratings.csv", ROWS).parent):
        with pytest.raises(MissingDataError, match=r"no books\.\*"):
            load_dataset(file, catalogue=place)


def test_other_ratings_replace_the_folders_own_and_its_events(tmp_path: Path) -> None:
    file = write_ratings(tmp_path / "mine.csv", [("zoe", 3, 2)])
    town = own_layout(tmp_path / "town")
    (town / "ratings.csv").unlink()
    data = load_dataset(town, ratings=file)
    assert data.ratings.frame["user_id"].to_list() == ["zoe"]
    assert data.events is None
    with pytest.raises(MissingDataError, match=r"town has no ratings"):
        load_dataset(town)


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("events.csv", "user_id,book_id\n,2\n", BadValueError, "row 2: no reader id"),
        ("events.csv", "user_id,book_id\n1,\n", BadValueError, "row 2: no book id"),
        ("events.csv", "user_id,title\n1,2\n", MissingColumnError, "no column for the books"),
        ("events.csv", "user_id,book_id,time\n1,2,never\n", BadValueError, "row 2: 'never'"),
        ("tags.csv", "book_id,word\n1,2\n", MissingColumnError, "no column for the tags"),
        ("tags.csv", "book_id,tag,count\n1,sea,many\n", BadValueError, "row 2: 'many' where a count"),
        ("books.csv", "book_id,title\n", FormatError, "no rows"),
        ("books.csv", "title\nA\n", MissingColumnError, "no column for the book ids"),
    ],
)
def test_a_bad_table_beside_the_ratings_is_named(
    tmp_path: Path, name: str, content: str, error: type[DataError], said: str
) -> None:
    path = own_layout(tmp_path) / name
    path.write_text(content)
    with pytest.raises(error) as caught:
        load_dataset(tmp_path)
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert caught.value.hint


def test_a_table_of_events_may_have_no_rows_yet(tmp_path: Path) -> None:
    (own_layout(tmp_path) / "events.csv").write_text("user_id,book_id\n")
    events = load_dataset(tmp_path).events
    assert events is not None
    assert len(events) == 0


# --- The editions of goodbooks-10k


@pytest.mark.parametrize("edition", [KAGGLE, GITHUB])
def test_an_edition_is_detected_and_its_two_id_spaces_are_kept_apart(tmp_path: Path, edition: str) -> None:
    data = load_dataset(goodbooks_edition(tmp_path, edition))
    assert data.edition == edition
    assert data.ratings.ids == "catalogue"
    assert data.ratings.frame.select("user_id", "book_id", "stars").rows() == [(7, 1, 5.0), (8, 2, 3.0)]
    books = data.catalogue.books
    assert dict(books.select("book_id", "goodreads_id").iter_rows()) == GOODREADS
    first = books.row(0, named=True)
    assert (first["title"], first["authors"], first["year"], first["language"]) == ("T1", ["A B"], 2008, "eng")
    assert (first["isbn13"], first["work_key"]) == ("9780439023481", "work:103")
    # book_tags speak of Goodreads' 3 (book 1) and 2 (book 3); the count -1 is out.
    assert data.catalogue.tags.rows() == [(0, "space", 9), (2, "1984", 4)]
    assert data.events is None  # to_read is a list of wishes


@pytest.mark.parametrize("edition", [KAGGLE, GITHUB])
def test_other_ratings_of_an_edition_must_say_their_ids_where_both_spaces_hold_them(
    tmp_path: Path, edition: str
) -> None:
    folder = goodbooks_edition(tmp_path / "set", edition)
    file = write_ratings(tmp_path / "mine.csv", [(1, 3, 5)])
    with pytest.raises(AmbiguousIdsError, match=r"mine\.csv"):
        load_dataset(folder, ratings=file)
    assert load_dataset(folder, ratings=file, ids="goodreads").ratings.frame["book_id"].to_list() == [1]
    assert load_dataset(folder, ratings=file, ids="catalogue").ratings.frame["book_id"].to_list() == [3]


@pytest.mark.parametrize(
    ("name", "header", "said"),
    [
        ("book_tags.csv", "goodreads_book_id,count", "no column for the tags"),
        ("book_tags.csv", "book,tag_id,count", "no column for the books"),
        ("tags.csv", "tag_id,word", "no column for the names of tags"),
    ],
)
def test_an_edition_with_a_column_missing_is_refused(tmp_path: Path, name: str, header: str, said: str) -> None:
    path = goodbooks_edition(tmp_path, KAGGLE) / name
    write_rows(path, header, [tuple(range(header.count(",") + 1))])
    with pytest.raises(MissingColumnError) as caught:
        load_dataset(tmp_path)
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_an_edition_without_its_tags_is_still_read(tmp_path: Path) -> None:
    (goodbooks_edition(tmp_path, GITHUB) / "book_tags.csv").unlink()
    data = load_dataset(tmp_path)
    assert data.edition == GITHUB
    assert len(data.catalogue.tags) == 0


# --- Names and fingerprints


def test_the_fingerprint_is_of_the_content_whatever_the_packing(tmp_path: Path) -> None:
    plain, packed = own_layout(tmp_path / "a"), own_layout(tmp_path / "b")
    for path in sorted(packed.glob("*.csv")):
        zip_in_place(path)
    first, second = load_dataset(plain), load_dataset(packed)
    assert first.fingerprint == second.fingerprint
    assert first.ratings.frame.equals(second.ratings.frame)
    assert first.catalogue.books.equals(second.catalogue.books)


@pytest.mark.parametrize("name", ["ratings", "books", "tags", "events"])
def test_the_fingerprint_tells_a_change_in_any_table(tmp_path: Path, name: str) -> None:
    before = load_dataset(own_layout(tmp_path)).fingerprint
    path = tmp_path / f"{name}.csv"
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, *rest, first]) + "\n")
    assert load_dataset(tmp_path).fingerprint != before


def test_a_name_is_looked_up_here_then_in_shelfwise_data_then_in_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, shared = tmp_path / "here", tmp_path / "shared"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("SHELFWISE_DATA", str(shared))
    with pytest.raises(MissingDataError) as caught:
        locate("town")
    for place in ("town", shared / "town", Path("data") / "town"):
        assert str(place) in caught.value.message
    assert "shelfwise data fetch" in caught.value.hint
    for place in (here / "data" / "town", shared / "town", here / "town"):  # each comes before those made earlier
        own_layout(place)
        assert locate("town").resolve() == place
    monkeypatch.delenv("SHELFWISE_DATA")
    (here / "town").rename(here / "gone")
    assert locate("town").resolve() == here / "data" / "town"


def test_a_data_set_here_has_the_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_layout(tmp_path / "town"))
    assert load_dataset(".").name == "town"


def test_the_sample_ships_with_the_package_and_says_that_it_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHELFWISE_DATA", raising=False)
    data = load_dataset("sample")
    assert data.edition == SAMPLE
    assert "simulated" in data.edition
    assert data.ratings.frame["book_id"].null_count() == 0
    assert data.catalogue.books["authors"].null_count() == 0

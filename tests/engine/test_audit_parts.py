"""The audit of ratings in parts is that of the same ratings in one file, by any engine."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tiny_world import rows_of_a_world, write_ratings, write_world

from shelfwise.data.audit import Audit, audit
from shelfwise.data.audit_parts import audit_parts
from shelfwise.data.ids import IdSpace
from shelfwise.data.ratings import clean
from shelfwise.data.sources import load_dataset
from shelfwise.data.split import RandomSplit, split
from shelfwise.engine import HERE, Engine
from shelfwise.errors import BadValueError, FormatError, MissingDataError

ROWS = [*rows_of_a_world(n_readers=40), (3, 1, 2), (3, 1, 5), (7, 99, 4), (7, 2, 9)]  # repeated, unknown, out of scale


def in_parts(folder: Path, rows: list[tuple[object, ...]], n: int = 3) -> Path:
    """The same world with its ratings in n files, one of them Parquet."""
    write_world(folder, rows)
    (folder / "ratings.csv").unlink()
    (folder / "ratings").mkdir()
    for part in range(n):
        write_ratings(folder / "ratings" / f"{part}.csv", [row for row in rows if int(str(row[0])) % n == part])
    pl.read_csv(folder / "ratings" / "1.csv").write_parquet(folder / "ratings" / "1.parquet")
    (folder / "ratings" / "1.csv").unlink()
    return folder


def whole(folder: Path, ids: IdSpace | None = None) -> Audit:
    data = load_dataset(folder, ids=ids)
    kept, cleaning = clean(data.ratings, data.catalogue, out_of_scale="keep-out")
    return audit(data, kept, cleaning, split(kept, RandomSplit()))


@pytest.mark.parametrize("engine", ["here", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))])
@pytest.mark.parametrize("books", [True, False])
def test_parts_are_counted_as_one_file(
    engine: str, books: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    at_work: Engine = HERE if engine == "here" else request.getfixturevalue("ray_engine")
    one, parts = write_world(tmp_path / "w", ROWS), in_parts(tmp_path / "p" / "w", ROWS)
    if not books:
        for folder in (one, parts):
            (folder / "books.csv").unlink()
            (folder / "tags.csv").unlink()
    expected = whole(one).model_dump()
    assert expected["n_conflicting_pairs"]
    assert expected["test_book_unseen"] is not None
    found = audit_parts(parts, at_work).model_dump()
    digest = found.pop("fingerprint")
    assert len(digest) == 64
    del expected["fingerprint"]
    assert found == expected


@pytest.mark.parametrize("ids", [None, "catalogue"])
@pytest.mark.parametrize("books", [True, False])
def test_a_folder_is_the_same_file_by_file_as_at_once(books: bool, ids: IdSpace | None, tmp_path: Path) -> None:
    """With events, a file of which no row is left, and the fingerprint."""
    folder = in_parts(tmp_path / "w", ROWS)
    write_ratings(folder / "ratings" / "9.csv", [(9000, 1, 9), (9001, 2, 9)])
    (folder / "events.csv").write_text("user_id,book_id\n1,1\n1,2\n5000,3\n")
    if not books:
        (folder / "books.csv").unlink()
        (folder / "tags.csv").unlink()
    expected = whole(folder, ids)
    assert (expected.n_events, expected.n_event_readers) == (3, 2)
    assert audit_parts(folder, HERE, ids=ids) == expected


def test_files_of_which_nothing_is_left_are_no_ratings(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", [(reader, 99, 4) for reader in range(9)])
    with pytest.raises(FormatError, match="no rating is left"):
        audit_parts(folder, HERE)


def test_times_in_some_files_only_are_refused(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    (folder / "ratings" / "9.csv").write_text("user_id,book_id,rating,time\n9000,1,4,2024-05-31\n")
    for attempt in (lambda: audit_parts(folder, HERE), lambda: load_dataset(folder)):
        with pytest.raises(FormatError, match="only some of its parts have times"):
            attempt()


def test_a_folder_of_parts_trains_as_one_file(tmp_path: Path) -> None:
    rows = ROWS[:-1]
    one, parts = load_dataset(write_world(tmp_path / "w", rows)), load_dataset(in_parts(tmp_path / "p" / "w", rows))
    key = ["user_id", "book_id", "raw_book_id", "stars"]
    assert parts.ratings.frame.sort(key).equals(one.ratings.frame.sort(key))
    assert parts.ratings.scale == one.ratings.scale
    assert parts.fingerprint != one.fingerprint


def test_a_bad_row_is_named_with_its_file(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    with (folder / "ratings" / "2.csv").open("a") as file:
        file.write("2,3,four\n")
    n_rows = len((folder / "ratings" / "2.csv").read_text().splitlines())
    for attempt in (lambda: audit_parts(folder, HERE), lambda: load_dataset(folder)):
        with pytest.raises(BadValueError, match=rf"2\.csv, row {n_rows}: 'four' where stars should be"):
            attempt()


@pytest.mark.xdist_group("ray")
def test_a_bad_row_is_named_by_a_cluster_too(ray_engine: Engine, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    with (folder / "ratings" / "0.csv").open("a") as file:
        file.write("3,3,\n")
    with pytest.raises(BadValueError, match=r"0\.csv, row \d+: nothing where stars should be"):
        audit_parts(folder, ray_engine)


def test_a_reader_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    with (folder / "ratings" / "2.csv").open("a") as file:
        file.write("3,3,4\n")
    with pytest.raises(FormatError, match="reader 3 stands in another file"):
        audit_parts(folder, HERE)


def test_no_parts_are_no_ratings(tmp_path: Path) -> None:
    (tmp_path / "ratings").mkdir()
    with pytest.raises(MissingDataError, match="holds no table"):
        audit_parts(tmp_path, HERE)

"""Parts from the user's own files, events beside ratings, and an audit counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_world import Row, rows_of_a_world, write_ratings, write_rows, write_world

from shelfwise.data import audit as audit_module
from shelfwise.data.audit import Audit, audit
from shelfwise.data.prepare import DataSettings, Prepared, prepare
from shelfwise.data.ratings import clean, read_ratings
from shelfwise.data.sources import load_dataset
from shelfwise.data.split import PARTS, TEST, TRAIN, VALID, OwnFiles, RandomSplit, split
from shelfwise.errors import BadValueError, UnknownBookError


def rows_by_part(prepared: Prepared) -> dict[str, set[Row]]:
    """Part -> its (reader, book, stars)."""
    rows = prepared.ratings.frame().rows()
    parts: dict[str, set[Row]] = {}
    for row, part in zip(rows, prepared.parts.tolist(), strict=True):
        parts.setdefault(PARTS[part], set()).add(row)
    assert sum(map(len, parts.values())) == len(rows)  # no pair twice
    return parts


OWN = DataSettings(split=OwnFiles())


def test_a_pair_in_two_files_counts_in_train_before_test_before_validation(tmp_path: Path) -> None:
    data = load_dataset(write_world(tmp_path / "set", [(1, 1, 5), (1, 2, 4), (2, 1, 3)]))
    valid = write_ratings(tmp_path / "valid.csv", [(1, 1, 1), (1, 3, 2), (2, 4, 2), (2, 4, 5)])
    test = write_ratings(tmp_path / "test.csv", [(1, 2, 1), (2, 4, 1), (9, 5, 4)])
    prepared, found = prepare(data, OWN, valid_ratings=valid, test_ratings=test)
    assert rows_by_part(prepared) == {
        "train": {(1, 1, 5.0), (1, 2, 4.0), (2, 1, 3.0)},
        "valid": {(1, 3, 2.0)},
        "test": {(2, 4, 1.0), (9, 5, 4.0)},
    }
    assert found.parts == {"train": 3, "valid": 1, "test": 2}
    assert found.test_reader_unseen == 0.5
    assert found.test_book_unseen == 1.0


def test_readers_of_other_files_may_be_text_where_the_data_sets_are_numbers(tmp_path: Path) -> None:
    data = load_dataset(write_world(tmp_path / "set", [(1, 1, 5), (10, 2, 4)], events=[(3, 4), (3, 4), (10, 1)]))
    test = write_ratings(tmp_path / "test.csv", [("zoe", 3, 2), ("10", 3, 1)])
    prepared, _ = prepare(data, OWN, test_ratings=test)
    assert rows_by_part(prepared) == {
        "train": {("1", 1, 5.0), ("10", 2, 4.0)},
        "test": {("zoe", 3, 2.0), ("10", 3, 1.0)},
    }
    assert prepared.ratings.readers.ids.to_list() == ["1", "10", "3", "zoe"]
    events = prepared.events
    assert [events.item_idx[a:b].tolist() for a, b in zip(events.indptr, events.indptr[1:], strict=False)] == [
        [],
        [0],
        [3],
        [],
    ]


def test_validation_is_carved_from_the_training_file_alone(tmp_path: Path) -> None:
    rows = rows_of_a_world()
    data = load_dataset(write_world(tmp_path / "set", rows[30:]))
    test = write_ratings(tmp_path / "test.csv", rows[:40])
    config = DataSettings(split=OwnFiles(valid_from_train=0.2, seed=4))
    parts = rows_by_part(prepare(data, config, test_ratings=test)[0])
    assert parts["test"] == {(u, b, float(s)) for u, b, s in rows[:30]}  # type: ignore[arg-type]
    assert parts["train"] | parts["valid"] == {(u, b, float(s)) for u, b, s in rows[30:]}  # type: ignore[arg-type]
    assert len(parts["valid"]) == pytest.approx(0.2 * len(rows[30:]), rel=0.4)
    alone = rows_by_part(prepare(data, config)[0])
    assert alone["valid"] == parts["valid"]  # whatever the other file holds


def test_a_split_of_one_file_is_the_split_of_its_ratings(tmp_path: Path) -> None:
    data = load_dataset(write_world(tmp_path))
    config = RandomSplit(seed=2)
    prepared, found = prepare(data, DataSettings(split=config))
    kept, _ = clean(data.ratings, data.catalogue)
    assert np.array_equal(prepared.parts, split(kept, config))
    assert sum(found.parts.values()) == len(kept) == found.n_ratings


def test_added_rows_replace_or_yield_as_asked(tmp_path: Path) -> None:
    data = load_dataset(write_world(tmp_path / "set", [(1, 1, 5), (1, 2, 4)]))
    prepared, _ = prepare(data, OWN)
    table = read_ratings(write_ratings(tmp_path / "new.csv", [(1, 1, 1), (2, 2, 2)]), data.catalogue)
    new, _ = clean(table, data.catalogue)
    assert rows_by_part(prepared.add(new, TEST)) == {"train": {(1, 1, 5.0), (1, 2, 4.0)}, "test": {(2, 2, 2.0)}}
    assert rows_by_part(prepared.add(new, VALID, over=(TRAIN,))) == {
        "train": {(1, 2, 4.0)},
        "valid": {(1, 1, 1.0), (2, 2, 2.0)},
    }


def test_the_users_other_files_are_checked_as_the_first(tmp_path: Path) -> None:
    data = load_dataset(write_world(tmp_path / "set"))
    test = write_ratings(tmp_path / "test.csv", [(1, 999, 5), (1, 1, 5)])
    with pytest.raises(UnknownBookError, match=r"test\.csv, row 2"):
        prepare(data, DataSettings(split=OwnFiles(), unknown_books="error"), test_ratings=test)
    with pytest.raises(BadValueError, match=r"test\.csv, row 2: 9 stars are not on the scale 1-5"):
        prepare(data, OWN, test_ratings=write_ratings(tmp_path / "test.csv", [(1, 1, 9)]))


# --- Audit


@pytest.fixture
def counted(tmp_path: Path) -> Audit:
    """The audit of a data set small enough to count by hand."""
    write_rows(
        tmp_path / "books.csv",
        "book_id,title,authors,year,isbn13",
        [
            (1, "A (S #1)", "X|Y", 1900, "9780439023481"),
            (2, "B (S #2)", "X|Y", "", ""),
            (3, "C", "Y", 1901, ""),
            (4, "D", "Z", "", ""),
            (5, "E", "", "", ""),
        ],
    )
    write_rows(tmp_path / "tags.csv", "book_id,tag", [(1, "sea")])
    write_ratings(
        tmp_path / "ratings.csv",
        [
            *[(1, 1, 5), (1, 2, 4), (1, 4, 4)],  # 1 and 2: one series and two authors
            *[(2, 2, 3), (2, 3, 1)],  # one author, Y
            *[(3, 4, 3)],
            *[(3, 4, 3), (3, 4, 2), (1, 1, 5)],  # repeated: two exactly, one pair in conflict
            *[(4, 77, 3)],  # no such book, and so a reader without ratings
        ],
    )
    write_rows(tmp_path / "events.csv", "user_id,book_id", [(1, 3), (0, 5), (0, 78)])
    data = load_dataset(tmp_path)
    return prepare(data, OWN)[1]


def test_an_audit_counted_by_hand(counted: Audit) -> None:
    assert (counted.n_rows, counted.n_ratings, counted.n_readers, counted.n_books) == (10, 6, 3, 5)
    assert (counted.n_exact_duplicates, counted.n_repeated, counted.n_conflicting_pairs) == (2, 3, 1)
    assert (counted.n_unknown_book_rows, counted.unknown_books, counted.n_out_of_scale) == (1, ["77"], 0)
    assert (counted.n_books_rated, counted.density) == (4, 6 / 15)
    assert counted.stars == {"1": 1, "3": 2, "4": 2, "5": 1}
    assert counted.mean_stars == pytest.approx(20 / 6)
    assert counted.ratings_per_reader["min"] == 1
    assert counted.ratings_per_reader["50%"] == 2
    assert counted.ratings_per_reader["max"] == 3
    assert counted.ratings_per_reader["mean"] == 2
    assert counted.ratings_per_book["mean"] == 1.5
    assert counted.n_single_rating_readers == 1
    assert (counted.n_capped_books, counted.cap) == (0, None)
    assert counted.series_overlap == pytest.approx(2 / 6)
    assert counted.author_overlap == pytest.approx(4 / 6)
    assert counted.holes == {
        "authors": 1,
        "series": 3,
        "year": 3,
        "language": 5,
        "subjects": 5,
        "description": 5,
        "isbn13": 4,
        "tags": 4,
    }
    assert (counted.n_events, counted.n_event_readers, counted.n_unknown_event_rows) == (3, 2, 1)
    assert counted.parts == {"train": 6}
    assert counted.test_reader_unseen is None


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_an_audit_is_the_same_in_blocks_of_readers(
    counted: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    monkeypatch.setattr(audit_module, "READERS_AT_ONCE", readers)
    assert prepare(load_dataset(tmp_path), OWN)[1] == counted


def test_an_audit_survives_json(counted: Audit) -> None:
    assert Audit.model_validate_json(counted.model_dump_json()) == counted


def test_books_cut_off_at_one_count_are_suspected(tmp_path: Path) -> None:
    full = [(reader, book, 4) for book in range(1, 4) for reader in range(25)]
    few = [(reader, book, 4) for book in range(4, 20) for reader in range(book)]
    found = prepare(load_dataset(write_world(tmp_path, full + few)), OWN)[1]
    assert (found.cap, found.n_capped_books) == (25, 3)


def test_stars_off_the_scale_are_counted(tmp_path: Path) -> None:
    rows = [*rows_of_a_world(), (1, 1, 0)]
    data = load_dataset(write_world(tmp_path, rows))
    kept, cleaning = clean(data.ratings, data.catalogue, out_of_scale="keep-out")
    assert audit(data, kept, cleaning).n_out_of_scale == 1

"""Embeddings of books that users bring: formats, id spaces, and what is refused by number."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shelfwise.data.catalogue import Catalogue, build_catalogue, empty_tags
from shelfwise.errors import AmbiguousIdsError, BadValueError, FormatError, MissingDataError, UnknownBookError
from shelfwise.features.embedding import read_embedding

# Of these books, 1 and 2 are ids in both spaces.
BOOKS = pl.DataFrame({"book_id": ["1", "2", "3"], "goodreads_id": ["2", "1", "700"], "title": ["A", "B", "C"]})
CATALOGUE = Catalogue(build_catalogue(BOOKS, Path("books.csv")), empty_tags())
NUMBERS = np.array([[1, 0], [0, 1], [0.5, -2]], dtype=np.float32)


def write(path: Path, ids: list[int], numbers: np.ndarray) -> Path:
    frame = pl.DataFrame({"book_id": ids, "0": numbers[:, 0], "1": numbers[:, 1]})
    if path.suffix == ".npz":
        np.savez(path, book_id=np.array(ids), embedding=numbers)
    elif path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_each_format_gives_the_numbers_in_the_order_of_the_catalogue(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"e{suffix}", [3, 1, 2], NUMBERS[[2, 0, 1]])
    embedding = read_embedding(file, CATALOGUE)
    assert embedding.dtype == np.float32
    assert np.array_equal(embedding, NUMBERS)


def test_the_id_space_is_found_out_given_or_asked_for(tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs.csv", [2, 1, 700], NUMBERS)
    assert np.array_equal(read_embedding(theirs, CATALOGUE), NUMBERS)
    both = write(tmp_path / "both.csv", [1, 2], NUMBERS[:2])
    with pytest.raises(AmbiguousIdsError, match="both"):
        read_embedding(both, CATALOGUE)
    assert np.array_equal(read_embedding(both, CATALOGUE, "goodreads")[:2], NUMBERS[[1, 0]])
    assert np.array_equal(read_embedding(both, CATALOGUE, "catalogue")[:2], NUMBERS[:2])


def test_missing_books_get_the_mean_and_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "e.csv", [1, 3, 9], NUMBERS)
    with caplog.at_level(logging.WARNING):
        embedding = read_embedding(file, CATALOGUE, "catalogue")
    assert np.allclose(embedding, [[1, 0], [0.5, 0.5], [0, 1]])
    assert "1 of 3 books are missing" in caplog.text
    assert "ignored 1 rows" in caplog.text


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("book_id,a,b\n1,1,2\n2,3\n3,4,5\n", BadValueError, "row 3"),
        ("book_id,a,b\n1,1,2\n2,3,4,5\n3,4,5\n", FormatError, "3"),
        ("book_id,a,b\n1,1,2\n2,3,nan\n3,4,5\n", BadValueError, "row 3"),
        ("book_id,a,b\n1,1,2\n2,3,4\n3,inf,5\n", BadValueError, "row 4"),
        ("book_id,a,b\n1,1,2\n2,3,4\n3,4,much\n", BadValueError, "row 4"),
        ("book_id,a,b\n1,1,2\n1,3,4\n3,4,5\n", BadValueError, "book 1 stands twice"),
        ("book_id,a,b\n7,1,2\n", UnknownBookError, "none of its books"),
        ("book_id\n1\n", FormatError, "no numbers"),
        ("id,a,b\n1,1,2\n", Exception, "book"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, error: type[Exception], words: str) -> None:
    file = tmp_path / "e.csv"
    file.write_text(text)
    with pytest.raises(error, match=words):
        read_embedding(file, CATALOGUE, "catalogue")


def test_an_npz_that_is_not_one_or_lacks_an_array_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e.npz"
    with pytest.raises(MissingDataError):
        read_embedding(file, CATALOGUE)
    file.write_bytes(b"no zip")
    with pytest.raises(FormatError, match=r"e\.npz"):
        read_embedding(file, CATALOGUE)
    np.savez(file, book_id=np.arange(3))
    with pytest.raises(FormatError, match="embedding"):
        read_embedding(file, CATALOGUE)
    np.savez(file, book_id=np.arange(3), embedding=np.zeros((2, 4)))
    with pytest.raises(FormatError, match="3 entries"):
        read_embedding(file, CATALOGUE)
    buffer = io.BytesIO()
    np.savez(buffer, book_id=np.array([1, 2, 3]), embedding=np.array([{}, {}, {}], dtype=object))
    file.write_bytes(buffer.getvalue())
    with pytest.raises(FormatError, match="pickle"):
        read_embedding(file, CATALOGUE)

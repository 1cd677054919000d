"""Embeddings of books that a user brings: CSV in the notebook's format, Parquet or npz."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ids import IdSpace, to_catalogue_ids
from shelfwise.data.ratings import BOOK_ID_NAMES, as_ids
from shelfwise.data.shelves import Floats
from shelfwise.data.tables import need_column, present, read_table
from shelfwise.errors import BadValueError, FormatError, MissingDataError, UnknownBookError

log = logging.getLogger(__name__)


def read_embedding(path: Path, catalogue: Catalogue, ids: IdSpace | None = None) -> Floats:
    """Numbers for each book of the catalogue, float32 [I, E], in order of index.

    CSV or Parquet: a column of book ids and E columns of numbers. npz: arrays `book_id` [N] and `embedding` [N, E].
    Books that the file lacks get the mean vector and are counted in the log; rows of unknown books are ignored.
    ids  the id space of its book ids; None finds it out, or raises AmbiguousIdsError
    Raises MissingDataError, FormatError, BadValueError (a ragged or non-finite row, by its number), UnknownBookError.
    """
    raw_ids, numbers = _read_npz(path) if path.suffix == ".npz" else _read_table(path)
    bad = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise BadValueError(
            f"{path}, row {row + 2}: a value that is missing or no finite number", hint="correct or remove this row"
        )
    book_ids, _ = to_catalogue_ids(raw_ids, catalogue, ids, str(path))
    item_idx = catalogue.vocabulary.find(book_ids)
    known = item_idx >= 0
    repeated = pl.Series(item_idx[known]).is_duplicated()
    if repeated.any():
        first = raw_ids.filter(pl.Series(known)).filter(repeated)[0]
        raise BadValueError(f"{path}: book {first!r} stands twice", hint="keep one row a book")
    if not known.any():
        raise UnknownBookError(f"{path}: none of its books is in the catalogue", hint="check its ids")
    embedding = np.tile(numbers[known].mean(axis=0, dtype=np.float64).astype(np.float32), (len(catalogue), 1))
    embedding[item_idx[known]] = numbers[known]
    n_missing = len(catalogue) - int(known.sum())
    if n_missing:
        log.warning("%s: %d of %d books are missing and get the mean vector", path, n_missing, len(catalogue))
    if not known.all():
        log.warning("%s: ignored %d rows of books not in the catalogue", path, int((~known).sum()))
    return embedding


def _read_table(path: Path) -> tuple[pl.Series, Floats]:
    raw = read_table(path)
    column = need_column(raw, BOOK_ID_NAMES, path, "books")
    others = raw.drop(column)
    if not others.width:
        raise FormatError(f"{path} has no numbers beside the book ids", hint="add the embedding's columns")
    text = [name for name in others.columns if others[name].dtype == pl.String]
    cast = others.with_columns(pl.col(text).cast(pl.Float32, strict=False)).cast(pl.Float32)
    return as_ids(present(raw[column], path, "book id")), cast.fill_null(float("nan")).to_numpy()


def _read_npz(path: Path) -> tuple[pl.Series, Floats]:
    if not path.is_file():
        raise MissingDataError(f"no such file: {path}", hint="check the path")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, numbers = arrays["book_id"], np.asarray(arrays["embedding"], dtype=np.float32)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: {error}", hint="it needs the arrays book_id [N] and embedding [N, E]") from error
    if numbers.ndim != 2 or len(ids) != len(numbers):
        raise FormatError(
            f"{path}: book_id has {len(ids)} entries, embedding the shape {numbers.shape}",
            hint="it needs the arrays book_id [N] and embedding [N, E]",
        )
    return pl.Series(ids), numbers

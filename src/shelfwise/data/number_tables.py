"""The fast way to read a large CSV or Parquet file whose columns hold plain numbers and nothing else: in blocks.

Memory beside the columns is bounded by the block, and whole numbers take 8 or 32 bits where they fit. Whatever is
out of the ordinary (quotes, text, gaps, leading zeros, damage) is left to tables.read_table, which reads the file as a
whole and knows what to say of it.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.engine.threads import in_order

BLOCK_BYTES = 1 << 21
BLOCK_ROWS = 1 << 17
SCANNED_BYTES = 1 << 18
THREADS = 3  # of which two read numbers while one looks for what is odd
HEAD_ROWS = 10_000
ODD = (b'"', b" ", b"+", b"\0")
WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


class _OddError(Exception):
    """The table is not one of plain numbers."""


def read_numbers(path: Path, separator: str, block_bytes: int = BLOCK_BYTES) -> pl.DataFrame | None:
    """The table, its columns Int8, Int32, Int64 or Float64; None where it is not one of plain numbers."""
    try:
        with ExitStack() as files:
            stream = _opened(path, files)
            header = stream.readline()
            names = next(csv.reader([header.removeprefix(b"\xef\xbb\xbf").decode().strip()], delimiter=separator))
            if len(set(names)) < len(names) or b"\0" in header:
                return None
            columns = _read_columns(_parsed_ahead(_blocks(stream, block_bytes), [], separator), len(names))
    except (_OddError, OSError, EOFError, RuntimeError, StopIteration, ValueError, csv.Error, zlib.error):
        return None
    except (zipfile.BadZipFile, pl.exceptions.PolarsError):
        return None
    return pl.DataFrame([pl.Series(name, column) for name, column in zip(names, columns, strict=True)])


def read_parquet_numbers(path: Path, block_rows: int = BLOCK_ROWS) -> pl.DataFrame | None:
    """The table, its columns as wide as in the file; None where it is small or not one of plain numbers.

    Raises PolarsError, OSError.
    """
    scan = pl.scan_parquet(path, glob=False)
    schema, n_rows = scan.collect_schema(), scan.select(pl.len()).collect().item()
    plain = all(kind in WHOLE or kind in (pl.Float32, pl.Float64) for kind in schema.values())
    if n_rows <= block_rows or not plain:
        return None
    blocks = (scan.slice(start, block_rows).collect() for start in range(0, n_rows, block_rows))
    try:
        columns = _read_columns(blocks, len(schema))
    except _OddError:
        return None
    return pl.DataFrame([pl.Series(name, column) for name, column in zip(schema, columns, strict=True)])


def _read_columns(blocks: Iterator[pl.DataFrame], n_columns: int) -> list[npt.NDArray[Any]]:
    """All rows, copied block by block to arrays that grow in place, so that nothing large is there twice.

    Raises _OddError where there is no row, a gap, or another number of columns.
    """
    columns: list[npt.NDArray[Any]] = [np.empty(0, dtype=np.int8) for _ in range(n_columns)]
    n_rows = 0
    for block in blocks:
        if block.width != n_columns or any(column.null_count() for column in block):
            raise _OddError
        end = n_rows + block.height
        for place, values in enumerate(block.get_columns()):
            column = columns[place]
            given = values.to_numpy()
            kind = np.promote_types(column.dtype, given.dtype) if n_rows else given.dtype
            if column.dtype != kind:
                columns[place] = column = column.astype(kind)
            if len(column) < end:
                column.resize(end + end // 4, refcheck=False)
            column[n_rows:end] = given
        n_rows = end
    if not n_rows:
        raise _OddError
    return [column[:n_rows] for column in columns]


def has_leading_zeros(block: bytes, marks: bytes = b'\n",\t') -> bool:
    """Whether a zero stands between one of the marks (begin of a field) and another digit."""
    codes = np.frombuffer(block, np.uint8)
    for start in range(0, len(codes), SCANNED_BYTES):  # few enough to stay in a core's cache
        part = codes[start : start + SCANNED_BYTES + 2]
        before, zeros, after = part[:-2], part[1:-1], part[2:]
        starts = before == marks[0]
        for mark in marks[1:]:
            starts |= before == mark
        starts &= zeros == ord("0")
        starts &= (after >= ord("0")) & (after <= ord("9"))
        if starts.any():
            return True
    return False


def tables_in(archive: zipfile.ZipFile) -> list[str]:
    """The names of its files, but for folders and the litter of a Mac."""
    return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]


def _opened(path: Path, files: ExitStack) -> IO[bytes]:
    """The file's content as a stream, unpacked."""
    if path.suffix == ".zip":
        archive = files.enter_context(zipfile.ZipFile(path))
        (member,) = tables_in(archive)
        return files.enter_context(archive.open(member))
    if path.suffix == ".gz":
        return cast(IO[bytes], files.enter_context(gzip.open(path)))
    return files.enter_context(path.open("rb"))


def _blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Whole lines, about `size` bytes at a time."""
    while block := stream.read(size):
        yield block + stream.readline()


def _parsed_ahead(blocks: Iterator[bytes], schema: list[pl.DataType], separator: str) -> Iterator[pl.DataFrame]:
    """The rows of each block in order; while one is copied, the next are read and checked."""
    yield _parsed(next(blocks), schema, separator)
    with ThreadPoolExecutor(THREADS) as pool:
        yield from in_order(lambda block: pool.submit(_parsed, block, schema, separator), blocks, THREADS)


def _parsed(block: bytes, schema: list[pl.DataType], separator: str) -> pl.DataFrame:
    """The rows of a block; the first one settles the `schema`. Raises _OddError, PolarsError."""
    odd = not block.isascii() or any(mark in block for mark in ODD)
    if odd or has_leading_zeros(block, b"\n" + separator.encode()) or has_leading_zeros(b"\n" + block[:2]):
        raise _OddError
    form = {"separator": separator, "has_header": False}
    if not schema:
        head = pl.read_csv(block, infer_schema_length=HEAD_ROWS, n_rows=HEAD_ROWS, **form)  # type: ignore[arg-type]
        schema += [_narrow(column) for column in head]
    try:
        frame = pl.read_csv(block, schema={f"{n}": kind for n, kind in enumerate(schema)}, **form)  # type: ignore[arg-type]
    except pl.exceptions.PolarsError:  # perhaps larger numbers
        wide = {f"{n}": kind if kind == pl.Float64 else pl.Int64() for n, kind in enumerate(schema)}
        frame = pl.read_csv(block, schema=wide, **form)  # type: ignore[arg-type]
        frame = pl.DataFrame([column.cast(_narrow(column)) for column in frame])
    return frame


def _narrow(column: pl.Series) -> pl.DataType:
    """The smallest of Int8, Int32 and Int64 that holds whole numbers; Float64 of others. Raises _OddError."""
    if column.dtype == pl.Int64:
        fitting = [kind for kind in (pl.Int8(), pl.Int32()) if not column.cast(kind, strict=False).null_count()]
        return [*fitting, pl.Int64()][0]
    if column.dtype != pl.Float64:
        raise _OddError
    return pl.Float64()

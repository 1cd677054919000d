"""Reading a table from CSV, TSV or Parquet, plain, gzipped or zipped.

The fast path reads typed columns with polars. Only when that fails is the file read again, slowly,
to find the row that is at fault: errors count rows as an editor does, the header being row 1.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from shelfwise.data.number_tables import (
    BLOCK_BYTES,
    HEAD_ROWS,
    has_leading_zeros,
    read_numbers,
    read_parquet_numbers,
    tables_in,
)
from shelfwise.data.places import Place, at_hand, files_below
from shelfwise.errors import BadValueError, FormatError, MissingColumnError, MissingDataError

SUFFIXES = (".parquet", ".csv", ".csv.zip", ".csv.gz", ".tsv", ".tsv.zip", ".tsv.gz")


def find_table(folder: Place, stem: str) -> Place | None:
    """The first of `stem` + SUFFIXES that exists in `folder`, or None."""
    candidates = (folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def parts_of(path: Place) -> list[Place]:
    """The files of a table: the path itself, or where it is a folder all tables in and below it, by name.

    What begins with a dot or an underscore is left out, as other programs write their own notes so.
    Raises MissingDataError where there is none.
    """
    if not path.is_dir():
        return [path]
    names = sorted(name.split("/") for name in files_below(path) if name.endswith(SUFFIXES))
    files: list[Place] = [path / "/".join(name) for name in names if not any(part[0] in "._" for part in name)]
    if not files:
        raise MissingDataError(f"{path} holds no table ({', '.join(SUFFIXES)})", hint="check the path")
    return files


def read_bytes(path: Place) -> bytes:
    """The file's content, unpacked if it is a .zip (of one table) or a .gz.

    Raises MissingDataError, FormatError, FetchError.
    """
    with at_hand(path) as here:
        return _read_bytes(here)


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise MissingDataError(f"no such file: {path}", hint="check the path")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = tables_in(archive)
                if len(members) != 1:
                    raise FormatError(
                        f"{path} holds {len(members)} files",
                        hint="a zipped table must be the only file in its archive",
                    )
                return archive.read(members[0])
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{path} is not a complete archive: {error}", hint="copy or download it again") from error
    except (OSError, RuntimeError) as error:  # not permitted; zipped with a password or in an unknown way
        raise FormatError(f"{path} cannot be read: {error}", hint="check its permissions, or pack it again") from error


def content_digest(path: Place, known: Mapping[Place, str] | None = None) -> str:
    """SHA-256 of the unpacked content, hex: the same for a plain and a zipped copy.

    Of a folder it is that of its files' digests in ascending order, so that names do not matter.
    known  digests of files that need not be read again
    """
    digests = sorted((known or {}).get(part) or _file_digest(part) for part in parts_of(path))
    return hashlib.sha256("".join(digests).encode()).hexdigest() if path.is_dir() else digests[0]


def _file_digest(path: Place) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_table(path: Place, *, text: tuple[str, ...] = (), all_text: bool = False) -> pl.DataFrame:
    """Read a table; column names are kept as they stand in the file.

    `text` names columns that must stay text (ISBNs); `all_text` keeps every CSV column text.
    Other columns become integers or floats where every value is one. Ids written with a leading
    zero make their column text, since a number would lose it.
    Raises MissingDataError, FormatError, BadValueError, FetchError.
    """
    with at_hand(path) as here:
        return _read_table(here, text=text, all_text=all_text)


def _read_table(path: Path, *, text: tuple[str, ...], all_text: bool) -> pl.DataFrame:
    if path.name.endswith(".parquet"):
        return _read_parquet(path)
    separator = "\t" if ".tsv" in path.suffixes else ","
    if not all_text and not text and path.is_file() and path.stat().st_size > BLOCK_BYTES:
        numbers_alone = read_numbers(path, separator)
        if numbers_alone is not None:
            return numbers_alone
    content = _read_bytes(path)
    header = _check_text(content, path, separator)
    if content.endswith((b"\n\n", b"\n\r\n")):  # blank lines at the end are no rows
        content = content.rstrip(b"\r\n")
    options = {"separator": separator, "null_values": [""]}
    try:
        if all_text:
            return pl.read_csv(content, infer_schema=False, **options)  # type: ignore[arg-type]
        zeros = []
        if has_leading_zeros(content):
            texts = pl.read_csv(content, infer_schema=False, **options)  # type: ignore[arg-type]
            zeros = [c for c in header if texts[c].str.contains(r"^0\d").any()]
        overrides = {c: pl.String for c in (*text, *zeros) if c in header}
        try:
            return pl.read_csv(content, infer_schema_length=HEAD_ROWS, schema_overrides=overrides, **options)  # type: ignore[arg-type]
        except pl.exceptions.PolarsError:  # perhaps a value of another type further down: look at all rows
            return pl.read_csv(content, infer_schema_length=None, schema_overrides=overrides, **options)  # type: ignore[arg-type]
    except pl.exceptions.PolarsError as error:
        _explain_ragged(content, path, separator, len(header), strict=all_text)
        if all_text:
            raise FormatError(f"{path} cannot be read: {error}", hint="save it as UTF-8 CSV") from error
    return _read_table(path, text=(), all_text=True)  # no type fits: let the caller find the value


def _read_parquet(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise MissingDataError(f"no such file: {path}", hint="check the path")
    try:
        numbers_alone = read_parquet_numbers(path)
        return pl.read_parquet(path, glob=False) if numbers_alone is None else numbers_alone
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{path} is not a readable Parquet file: {error}", hint="write it again") from error


def _check_text(content: bytes, path: Path, separator: str) -> list[str]:
    """Refuse what is no UTF-8 text with a header; return the header's names."""
    if not content or content.isspace():
        raise FormatError(f"{path} is empty", hint="it needs a header line and at least one row")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FormatError(f"{path} is UTF-16 text", hint="save it as UTF-8")
    try:
        if not content.isascii():
            content.decode("utf-8")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path}, row {row}: byte 0x{content[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
        ) from error
    nul = content.find(b"\0")
    if nul >= 0:
        row = content.count(b"\n", 0, nul) + 1
        raise FormatError(f"{path}, row {row}: a NUL byte", hint="the file is damaged or not text: export it again")
    end = content.find(b"\n")
    first = content[: end if end >= 0 else None].removeprefix(b"\xef\xbb\xbf").decode("utf-8").rstrip("\r")
    if not first.strip():
        raise FormatError(f"{path}, row 1: an empty line where the header should be", hint="remove it")
    try:
        header = next(csv.reader([first], delimiter=separator))
    except csv.Error as error:
        raise FormatError(f"{path}, row 1: {error}", hint="end lines with a newline, and check the quotes") from error
    if len(header) == 1:
        for other in (";", "\t", "|", ","):
            if other != separator and other in first:
                raise FormatError(
                    f"{path}: columns are separated by {other!r} where {separator!r} is expected",
                    hint="save it with commas (.csv) or tabs (.tsv)",
                )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise FormatError(f"{path}: column {repeated[0]!r} stands twice in the header", hint="rename one of them")
    return header


def _explain_ragged(content: bytes, path: Path, separator: str, width: int, *, strict: bool) -> None:
    """Raise FormatError for the first row that is wider than `width` fields or (strict) wrongly quoted, if any."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    row = 0
    try:
        for row, fields in enumerate(csv.reader(text, delimiter=separator, strict=strict), start=1):
            if fields and len(fields) > width:
                raise FormatError(
                    f"{path}, row {row}: {len(fields)} fields where the header has {width}",
                    hint="quote values that hold the separator",
                )
    except csv.Error as error:
        raise FormatError(f"{path}, row {row + 1}: {error}", hint="check the quotes in this row") from error


def normalise(name: str) -> str:
    """Column name as it is compared: lower case, words joined by one underscore."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def pick_column(frame: pl.DataFrame, names: tuple[str, ...], path: Place, given: str | None = None) -> str | None:
    """The column called `given`, else the first of `names` (compared normalised), else None.

    Raises MissingColumnError when `given` is not a column.
    """
    if given is not None:
        if given not in frame.columns:
            raise MissingColumnError(
                f"{path} has no column {given!r}; it has {', '.join(frame.columns)}",
                hint="name one of its columns",
            )
        return given
    by_name = {normalise(column): column for column in reversed(frame.columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def need_column(frame: pl.DataFrame, names: tuple[str, ...], path: Place, what: str, given: str | None = None) -> str:
    """As pick_column, but raises MissingColumnError where none is found."""
    column = pick_column(frame, names, path, given)
    if column is None:
        raise MissingColumnError(
            f"{path} has no column for the {what}; it has {', '.join(frame.columns)}",
            hint=f"call it {names[0]!r} (also understood: {', '.join(names[1:])}) or name it by option",
        )
    return column


def numbers(column: pl.Series, path: Place, what: str) -> pl.Series:
    """`column` as Float64, whole numbers as they are. Raises BadValueError for the first value that is missing or no
    finite number."""
    if column.dtype.is_integer() and not column.null_count():
        return column
    readable = column.dtype.is_numeric() or column.dtype == pl.String  # true and false are no numbers
    values = column.cast(pl.Float64, strict=False) if readable else pl.Series([None] * len(column), dtype=pl.Float64)
    bad = values.is_null() | ~values.is_finite().fill_null(False)
    if bad.any():
        position = bad.arg_true()[0]
        shown = column[position]
        raise BadValueError(
            f"{path}, row {position + 2}: {'nothing' if shown is None else repr(shown)} where {what} should be",
            hint="correct or remove this row",
        )
    return values


def present(column: pl.Series, path: Place, what: str) -> pl.Series:
    """`column` unchanged. Raises BadValueError for the first missing value (NaN is one)."""
    if column.dtype.is_integer() and not column.null_count():
        return column
    missing = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
    if missing.any():
        position = missing.arg_true()[0]
        raise BadValueError(f"{path}, row {position + 2}: no {what}", hint="correct or remove this row")
    return column

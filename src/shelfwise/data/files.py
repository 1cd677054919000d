"""Writing files so that a reader of them never sees half a file."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from safetensors import SafetensorError

from shelfwise.errors import OutputError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    On any error the temporary file goes and `path` stays as it was.
    Raises OutputError when the disk is full or the folder cannot be written.
    """
    with output_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write into an OutputError that names `path`."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError, SafetensorError) as error:
        number = _error_number(error)
        if number is None:
            raise
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk is full: {path} was not written",
                hint="free some space or choose another folder; what was there before is unchanged",
            ) from error
        raise OutputError(
            f"cannot write {path}: {os.strerror(number)}",
            hint="choose a folder that exists and is writable",
        ) from error


def _error_number(error: Exception) -> int | None:
    """The system's number of an error; libraries written in Rust give it in words. None if it is no such error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"(?:\(os error |\[Errno )(\d+)", str(error))
    return int(told[1]) if told else errno.EIO if isinstance(error, OSError) else None


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder to flush it
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where data lies: a path of this machine, or a URL that fsspec understands (s3://bucket/folder).

A file behind a URL is copied to a temporary file, read there, and the copy is gone: whatever reads a local file reads a
remote one, and no process holds more than one at a time. What is written goes the other way. Nothing but this file
imports fsspec, and only for a URL.
"""

from __future__ import annotations

import copy
import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shelfwise.data.files import atomic_write, output_errors
from shelfwise.errors import FetchError, MissingDataError, OutputError, ShelfwiseError, UsageError

INSTALL = "install it: pip install 'shelfwise[remote]' (S3; for other stores their own: gcsfs, adlfs, ...)"
URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
LOGIN = re.compile(r"[^/@]*:(?!\d+(?:/|$)).*@")  # user:password@, where host:port is none; passwords may hold / and @
SECRETS = re.compile(r"(?<=://)[^\s\"']+@|\?[^\s\"']+")  # in what a driver says of a URL: a login, a signature
# Of a driver that would wait for six minutes; what users set in fsspec themselves goes first.
PATIENCE: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"max_attempts": 1}}},  # below the five that s3fs makes
}


@dataclass(frozen=True)
class Remote:
    """A file or folder behind a URL, without a slash at the end; as much like a pathlib.Path as readers need.

    What looks at it raises FetchError where the store does not answer or allow, and UsageError for an unknown protocol.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, below: str) -> Remote:
        return Remote(f"{self.url}/{below}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def suffixes(self) -> list[str]:
        return PurePosixPath(self.name).suffixes

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def exists(self) -> bool:
        """Whether it is there now; looks at its folder once for all files in it, as the driver may keep what it saw."""
        with _answers(self.url):
            store, path = _store(self.url)
            store.invalidate_cache()
            try:
                if store.info(path)["type"] == "directory":
                    store.ls(path)
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def below(self) -> list[str]:
        """The files in and below this folder, as names that `/` takes."""
        with _answers(self.url):
            store, path = _store(self.url)
            found = store.find(path, detail=True)
            return [name[len(path) :].lstrip("/") for name, about in found.items() if about["type"] == "file"]

    def copy_to(self, local: Path) -> None:
        """Raises MissingDataError where there is no such file, OutputError where the disk is full."""
        with _answers(self.url):
            store, path = _store(self.url)
            store.get_file(path, str(local))

    def _kind(self) -> str | None:
        with _answers(self.url):
            store, path = _store(self.url)
            try:
                return str(store.info(path)["type"])
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, local: Path) -> None:
        """Put a file here: whole or not at all, where the store is an object store. Raises OutputError."""
        with _answers(self.url, "written", OutputError):
            store, path = _store(self.url)
            store.put_file(str(local), path)


Place = Path | Remote


def place_of(name: str | Place) -> Place:
    """The place that a path or URL names, whether something is there or not.

    Raises UsageError for a URL with a password or a signature: they would be kept in runs and logs.
    """
    found = URL.fullmatch(name) if isinstance(name, str) else None
    if not found:
        return name if isinstance(name, Remote) else Path(name).expanduser()
    protocol, rest = found[1].lower(), found[2].rstrip("/")
    login = LOGIN.match(rest)
    if login or (protocol in ("http", "https") and "?" in rest):
        shown = rest[login.end() :] if login else rest.partition("?")[0]
        raise UsageError(
            f"a password or signature in the URL {protocol}://{shown}, which runs and logs would keep",
            hint="give it to the driver, by its environment variables or files (docs/data.md)",
        )
    return Remote(f"{protocol}://{rest}")


def files_below(folder: Place) -> list[str]:
    """The files in and below a folder, as names that `/` takes, in no order."""
    if isinstance(folder, Remote):
        return folder.below()
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


@contextmanager
def at_hand(place: Place) -> Iterator[Path]:
    """The file as one of this machine: itself, or a copy that is gone at the end. Errors name the place, not the copy.

    Raises MissingDataError, FetchError, OutputError.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="shelfwise-", ignore_cleanup_errors=True) as folder:
        local = Path(folder) / place.name
        place.copy_to(local)
        try:
            yield local
        except ShelfwiseError as error:
            message, hint = (text.replace(str(local), str(place)) for text in (error.message, error.hint))
            raise type(error)(message, hint=hint) from error


@contextmanager
def written(place: Place) -> Iterator[Path]:
    """Yield a temporary path; on success what was written there is at the place, on any error nothing is.

    Raises OutputError.
    """
    if isinstance(place, Path):
        with atomic_write(place) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="shelfwise-", ignore_cleanup_errors=True) as folder:
        local = Path(folder) / place.name
        with output_errors(local):
            yield local
        place.put(local)


def _store(url: str) -> tuple[Any, str]:
    """The file system behind a URL, kept by fsspec for the next call, and the path in it.

    Raises FetchError, UsageError.
    """
    try:
        import fsspec
    except ImportError as error:
        raise FetchError(f"{url} needs fsspec, which is not installed", hint=INSTALL) from error
    protocol = url.partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise UsageError(f"{url}: fsspec knows no {protocol}://", hint="such as s3://bucket/folder, gs:// or abfs://")
    own = fsspec.config.conf.get(protocol, {})
    ours = copy.deepcopy(PATIENCE.get(protocol, {}))  # botocore writes into it
    settings = {name: value for name, value in ours.items() if name not in own}
    try:
        store, path = fsspec.url_to_fs(url, **settings)
    except ImportError as error:
        raise FetchError(f"{url} needs a driver that is not installed: {error}", hint=INSTALL) from error
    return store, path.rstrip("/")


@contextmanager
def _answers(url: str, done: str = "read", kind: type[ShelfwiseError] = FetchError) -> Iterator[None]:
    """What a driver raises, in our words; it may be anything, as each has errors of its own."""
    try:
        yield
    except (ShelfwiseError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise MissingDataError(f"no such file: {url}", hint="check the URL") from error
    except PermissionError as error:
        raise kind(
            f"{url} cannot be {done}: not permitted ({_told(error)})",
            hint="check what the credentials of this machine allow there (docs/data.md)",
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk is full: no room for a copy of {url} in {tempfile.gettempdir()}",
                hint="free some space, or name another folder by TMPDIR",
            ) from error
        raise kind(
            f"{url} cannot be {done}: {_told(error)}",
            hint="check the connection, the address of the store and the credentials of this machine (docs/data.md)",
        ) from error


def _told(error: Exception) -> str:
    """The first line of a driver's error, without what may be secret."""
    lines = str(error).strip().splitlines()
    return SECRETS.sub("", lines[0]) if lines else type(error).__name__

"""Download of a public data set into a folder: resumable, verified, never half a file under the final name.

A file arrives as `NAME.part` beside its final name. It is renamed only once its git blob id is the
expected one, so the server need not be trusted, and an interrupted download goes on where it stopped.
One fetch into a folder at a time: two at once would write the same `.part` files.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from shelfwise.data.files import output_errors, sync
from shelfwise.errors import FetchError, UsageError
from shelfwise.version import __version__

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0  # the longest silence of the server, not the time of a whole file
RETRY_WAITS = (0.5, 1.5)  # seconds before each new try of a broken transfer
MAX_FILE_BYTES = 1 << 30
MAX_REDIRECTS = 5

Progress = Callable[[str, int, int | None], None]  # file name, bytes done, bytes in all if known
_Report = Callable[[int, int | None], None]  # the same for one file

_BAD_ADDRESS = (httpx.UnsupportedProtocol, httpx.InvalidURL)
_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, *_BAD_ADDRESS)


@dataclass(frozen=True)
class RemoteDataSet:
    """Where a data set lies (`base_url` + file name), and the git blob id of each file."""

    name: str
    base_url: str
    files: Mapping[str, str]
    licence: str


GOODBOOKS_10K = RemoteDataSet(
    name="goodbooks-10k",
    base_url="https://raw.githubusercontent.com/zygmuntz/goodbooks-10k/6dd165b555a7b47b2dd36743a425776e641ff50c/",
    files={
        "books.csv": "d694afdf5f555b51c1128c6ff562b6e54a7f75e3",
        "ratings.csv": "0d245a10acfe3c89b2e4004cdbc805b99771ac5d",
        "book_tags.csv": "f82218f199850f533568eaf22529b5df1c545412",
        "tags.csv": "65b5424eeec23554e9b034933e438cd12017a985",
        "to_read.csv": "bd19bb1ed6b9fb20f15c42e0af23e413aeaf1c04",
    },
    licence="CC BY-SA 4.0",
)
DATA_SETS = {GOODBOOKS_10K.name: GOODBOOKS_10K}


def fetch(name: str, folder: Path, *, base_url: str | None = None, on_progress: Progress | None = None) -> Path:
    """Download the data set `name` into `folder` (made if need be) and return the folder.

    `base_url` names a mirror. `on_progress` gets (file name, bytes done, bytes in all or None), a
    resumed part counted as done; bytes go back only when a file has to be started again.
    Files already there with the right content are kept; all are checked before the first request.

    Raises UsageError for an unknown name, FetchError when the server cannot be reached, refuses or
    sends something else, or another file has the name, and OutputError when writing fails.
    """
    source = data_set(name)
    base = (source.base_url if base_url is None else base_url).rstrip("/")
    show: Progress = (lambda *_: None) if on_progress is None else on_progress
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    kept = {file for file, blob_id in source.files.items() if _is_there(folder / file, blob_id)}
    with _client() as client:
        for file, blob_id in source.files.items():
            if file not in kept:
                _fetch_file(client, f"{base}/{file}", folder / file, blob_id, partial(show, file))
            size = _size(folder / file)
            show(file, size, size)
    return folder


def data_set(name: str) -> RemoteDataSet:
    """Return the data set of that name. Raises UsageError, listing the known names, if there is none."""
    if name not in DATA_SETS:
        hint = f"data sets that can be fetched: {', '.join(sorted(DATA_SETS))}"
        raise UsageError(f"no data set is called {name!r}", hint=hint)
    return DATA_SETS[name]


def git_blob_id(path: Path) -> str:
    """Return git's id of a file's content: SHA-1 of `blob SIZE`, a zero byte, the content. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # an address, not a signature
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _is_there(path: Path, blob_id: str) -> bool:
    """Tell whether the right file is there. Raises FetchError if something else has its name."""
    hint = "remove it or use another folder; nothing was downloaded"
    try:
        if not path.exists() and not path.is_symlink():
            return False
        found = git_blob_id(path)
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror or error}", hint=hint) from error
    if found != blob_id:
        raise FetchError(f"{path} is there with other content (blob {found}, expected {blob_id})", hint=hint)
    return True


def _client() -> httpx.Client:
    """Open a client. Raises FetchError when the environment's proxy or certificate settings are bad."""
    try:
        return httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            # compressed bodies could be neither resumed nor counted in bytes of the file
            headers={"Accept-Encoding": "identity", "User-Agent": f"shelfwise/{__version__}"},
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        hint = "check HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
        raise FetchError(f"cannot set up the download: {error}", hint=hint) from error


def _fetch_file(client: httpx.Client, url: str, path: Path, blob_id: str, report: _Report) -> None:
    """Bring one file under its final name, going on from a part if one was left."""
    part = path.with_name(f"{path.name}.part")
    got = _part_id(part)
    for _ in range(2 if _size(part) else 1):  # a part that was left may be bad: once more from the start
        if got != blob_id:
            _transfer(client, url, part, report)
            got = _part_id(part)
        if got != blob_id:
            _discard(part)
    if got != blob_id:
        hint = "something on the way altered it, or the mirror holds another edition"
        raise FetchError(f"{url} has wrong content: expected blob {blob_id}, got {got}", hint=hint)
    with output_errors(path):
        sync(part)
        part.replace(path)
        sync(path.parent)


def _transfer(client: httpx.Client, url: str, part: Path, report: _Report) -> None:
    """Download into `part`, trying a broken transfer again a few times. Raises FetchError, OutputError."""
    for wait in (*RETRY_WAITS, None):
        before = _size(part)
        try:
            _transfer_once(client, url, part, report)
            return
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            if isinstance(error, _UNREACHABLE):
                hint = "check the network connection; what was fetched so far is kept for the next call"
                raise FetchError(f"cannot reach {url}: {reason}", hint=hint) from error
            silent = isinstance(error, httpx.TimeoutException) and _size(part) == before
            if wait is None or silent:  # a server that sent nothing for so long is not asked again
                message = f"the download of {url} broke off at byte {_size(part)}: {reason}"
                raise FetchError(message, hint="try again: it goes on from there") from error
            time.sleep(wait)


def _transfer_once(client: httpx.Client, url: str, part: Path, report: _Report) -> None:
    """Download what `part` lacks, or all of it where the server does not send ranges."""
    asked = _size(part)
    with _response(client, url, asked) as response:
        start, total = _start_and_total(response, asked, part)
        done = start
        if (total or 0) <= MAX_FILE_BYTES:
            report(done, total)
            with closing(_write(part, "ab" if start else "wb", response.iter_raw())) as pieces:
                for size in pieces:
                    done += size
                    if done > MAX_FILE_BYTES:
                        break
                    report(done, total)
    if max(done, total or 0) > MAX_FILE_BYTES:
        _discard(part)
        raise FetchError(f"{url} is larger than {MAX_FILE_BYTES} bytes", hint="this is not the expected file")
    if total is not None and done < total:
        raise httpx.RemoteProtocolError(f"{done} of {total} bytes came")


def _start_and_total(response: httpx.Response, asked: int, part: Path) -> tuple[int, int | None]:
    """Return the byte of the file that the body starts at and the bytes in all; check status and encoding."""
    status, url = response.status_code, response.url
    if status in (200, 206) and response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError(f"{url} came compressed, which was declined", hint="use another mirror or proxy")
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    if asked and status in (206, 416):
        found = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
        if status == 206 and found and int(found[1]) == asked:
            return asked, None if found[2] == "*" else int(found[2])
        _discard(part)  # longer than the file, or the server cannot go on from it
        raise httpx.RemoteProtocolError(f"the server does not go on from byte {asked}")
    hint = "try again later" if status == 429 or status >= 500 else "check the address, if you gave one"
    raise FetchError(f"{url} answered {status} {response.reason_phrase}".rstrip(), hint=hint)


@contextmanager
def _response(client: httpx.Client, url: str, start: int) -> Iterator[httpx.Response]:
    """Ask for `url` from byte `start` on, following redirects to https or within the same host and scheme."""
    request = client.build_request("GET", url, headers={"Range": f"bytes={start}-"} if start else {})
    for _ in range(MAX_REDIRECTS + 1):
        with closing(client.send(request, stream=True)) as response:
            if response.next_request is None:
                yield response
                return
        here, there = request.url, response.next_request.url
        if there.scheme != "https" and (there.scheme, there.host) != (here.scheme, here.host):
            raise FetchError(f"{url} redirects to {there}, not https", hint="check the network or mirror")
        request = response.next_request
    raise FetchError(f"{url} redirects more than {MAX_REDIRECTS} times", hint="check the network or mirror")


def _write(part: Path, mode: str, pieces: Iterator[bytes]) -> Generator[int, None, None]:
    """Write the pieces, yielding the bytes of each. A generator: OSErrors of the caller keep their name."""
    with output_errors(part), part.open(mode) as file:
        for piece in pieces:
            file.write(piece)
            yield len(piece)


def _part_id(part: Path) -> str:
    with output_errors(part):
        return git_blob_id(part) if part.exists() else ""


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    with output_errors(part):
        part.unlink(missing_ok=True)

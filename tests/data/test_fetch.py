"""Downloads, against a real HTTP server on loopback that can misbehave in many ways."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shelfwise.data import fetch as module
from shelfwise.data.fetch import DATA_SETS, RemoteDataSet, data_set, fetch, git_blob_id
from shelfwise.errors import FetchError, OutputError, UsageError

BIG = bytes(range(256)) * 4096  # 1 MiB: many pieces
SMALL = b"tag_id,tag_name\n1,space\n"


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `bodies`; the other attributes say how it misbehaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies = {"/a.csv": BIG, "/b.csv": SMALL}
        self.requests: list[tuple[str, str | None]] = []  # path and Range header of each
        self.accepted: set[str | None] = set()  # Accept-Encoding headers
        self.sent: dict[str, int] = {}  # body bytes written, by path
        self.ranges = True
        self.longest_range = len(BIG)
        self.shift_range = 0  # added to the first byte that Content-Range claims
        self.break_after: list[int] = []  # body bytes of the first answers, which then break off
        self.stall_after: int | None = None
        self.status: int | None = None
        self.redirect: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.send_length = True
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        server.accepted.add(self.headers.get("Accept-Encoding"))
        if self.path in server.redirect:
            return self.answer(302, {"Location": server.redirect[self.path]}, b"")
        if server.status or self.path not in server.bodies:
            return self.answer(server.status or 404, {}, b"no")
        body = server.bodies[self.path]
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        if not match or not server.ranges:
            return self.answer(200, {}, body)
        start = int(match[1])
        if start >= len(body):
            return self.answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
        end = min(len(body), start + server.longest_range)
        claim = f"bytes {start + server.shift_range}-{end - 1}/{len(body)}"
        return self.answer(206, {"Content-Range": claim}, body[start:end])

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        server = self.server
        self.send_response(status)
        for name, value in {**headers, **server.headers}.items():
            self.send_header(name, value)
        if server.send_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.stall_after is not None:
            body = body[: server.stall_after]
        elif server.break_after:
            body = body[: server.break_after.pop(0)]
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except ConnectionError:
            return
        server.sent[self.path] = server.sent.get(self.path, 0) + len(body)
        if server.stall_after is not None:
            server.released.wait(10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between the test and loopback, and no long waits."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(module, "RETRY_WAITS", (0.01, 0.01))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def tiny(server: Server, monkeypatch: pytest.MonkeyPatch) -> RemoteDataSet:
    files = {"a.csv": blob_id(BIG), "b.csv": blob_id(SMALL)}
    source = RemoteDataSet("tiny", f"{server.url}/", files, "CC0")
    monkeypatch.setitem(DATA_SETS, "tiny", source)
    return source


pytestmark = pytest.mark.usefixtures("tiny")


class Log(list[tuple[str, int, int | None]]):
    """A progress callback that keeps what it was told."""

    def __call__(self, file: str, done: int, total: int | None) -> None:
        self.append((file, done, total))

    def of(self, file: str) -> list[tuple[int, int | None]]:
        return [(done, total) for name, done, total in self if name == file]


def assert_complete(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.csv": BIG, "b.csv": SMALL}


def test_fetches_all_files_into_a_new_folder(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tiny"
    assert fetch("tiny", folder) == folder
    assert_complete(folder)
    assert server.requests == [("/a.csv", None), ("/b.csv", None)]
    assert server.accepted == {"identity"}


def test_base_url_names_a_mirror(server: Server, tmp_path: Path) -> None:
    server.bodies = {f"/mirror{path}": body for path, body in server.bodies.items()}
    fetch("tiny", tmp_path, base_url=f"{server.url}/mirror")
    assert_complete(tmp_path)


def test_progress_is_monotone_and_ends_at_the_total(tmp_path: Path) -> None:
    log = Log()
    fetch("tiny", tmp_path, on_progress=log)
    for file, content in (("a.csv", BIG), ("b.csv", SMALL)):
        seen = log.of(file)
        assert {total for _, total in seen} == {len(content)}
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert (seen[0][0], seen[-1][0]) == (0, len(content))
    assert len(log.of("a.csv")) > 5


def test_a_body_of_unknown_length_is_fetched(server: Server, tmp_path: Path) -> None:
    server.send_length = False
    log = Log()
    fetch("tiny", tmp_path, on_progress=log)
    assert_complete(tmp_path)
    assert log.of("a.csv")[0] == (0, None)
    assert log.of("a.csv")[-1] == (len(BIG), len(BIG))


def test_resume_asks_for_the_rest_only_and_counts_the_part(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv.part").write_bytes(BIG[:700_001])
    log = Log()
    fetch("tiny", tmp_path, on_progress=log)
    assert_complete(tmp_path)
    assert server.requests[0] == ("/a.csv", "bytes=700001-")
    assert server.sent["/a.csv"] == len(BIG) - 700_001
    assert log.of("a.csv")[0] == (700_001, len(BIG))
    assert log.of("a.csv")[-1] == (len(BIG), len(BIG))


def test_a_server_that_ignores_range_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "a.csv.part").write_bytes(BIG[:1000])
    log = Log()
    fetch("tiny", tmp_path, on_progress=log)
    assert_complete(tmp_path)
    assert server.sent["/a.csv"] == len(BIG)
    assert log.of("a.csv")[0] == (0, len(BIG))


def test_a_server_that_sends_less_than_the_rest_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.longest_range = 400_000
    (tmp_path / "a.csv.part").write_bytes(BIG[:500_000])
    fetch("tiny", tmp_path)
    assert_complete(tmp_path)
    assert server.requests[:2] == [("/a.csv", "bytes=500000-"), ("/a.csv", "bytes=900000-")]


def test_a_server_that_goes_on_from_another_byte_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.shift_range = 1
    (tmp_path / "a.csv.part").write_bytes(BIG[:1000])
    fetch("tiny", tmp_path)
    assert_complete(tmp_path)
    assert server.requests[:2] == [("/a.csv", "bytes=1000-"), ("/a.csv", None)]


@pytest.mark.parametrize("part", [b"other bytes", b"x" * len(BIG), BIG + b"more"], ids=["short", "same", "long"])
def test_a_corrupt_part_is_started_again(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "a.csv.part").write_bytes(part)
    fetch("tiny", tmp_path)
    assert_complete(tmp_path)
    assert [wanted for path, wanted in server.requests if path == "/a.csv"] == [f"bytes={len(part)}-", None]


def test_a_complete_part_is_verified_not_downloaded(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv.part").write_bytes(BIG)
    fetch("tiny", tmp_path)
    assert_complete(tmp_path)
    assert server.requests == [("/b.csv", None)]


def test_good_files_are_kept_without_a_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(BIG)
    (tmp_path / "b.csv").write_bytes(SMALL)
    before = (tmp_path / "a.csv").stat()
    log = Log()
    fetch("tiny", tmp_path, on_progress=log)
    after = (tmp_path / "a.csv").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert server.requests == []
    assert log == [("a.csv", len(BIG), len(BIG)), ("b.csv", len(SMALL), len(SMALL))]


def test_another_file_of_that_name_is_refused_before_any_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"mine")
    with pytest.raises(FetchError, match=r"b\.csv is there with other content") as caught:
        fetch("tiny", tmp_path)
    assert "remove it or use another folder" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]
    assert (tmp_path / "b.csv").read_bytes() == b"mine"
    assert server.requests == []


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_is_no_file_is_refused(server: Server, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv"
    path.mkdir() if kind == "folder" else path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FetchError, match=r"cannot read .*a\.csv"):
        fetch("tiny", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert server.requests == []


@pytest.mark.parametrize("left", [b"", b"left from before"], ids=["fresh", "with a part"])
def test_wrong_content_is_refused_and_nothing_is_left(server: Server, tmp_path: Path, left: bytes) -> None:
    server.bodies["/a.csv"] = wrong = b"<html>please log in</html>"
    if left:
        (tmp_path / "a.csv.part").write_bytes(left)
    with pytest.raises(FetchError, match=f"expected blob {blob_id(BIG)}, got {blob_id(wrong)}"):
        fetch("tiny", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) <= 2


def test_connection_refused_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_WAITS", (5.0,))  # must not be used
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(FetchError, match=rf"cannot reach {url}/a\.csv: .*refused") as caught:
        fetch("tiny", tmp_path, base_url=url)
    assert time.monotonic() - began < 2
    assert "network connection" in caught.value.hint


def test_an_unknown_host_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_dns(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(module, "RETRY_WAITS", (5.0,))
    monkeypatch.setattr(socket, "getaddrinfo", no_dns)
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"cannot reach https://nowhere\.invalid/a\.csv: .*not known"):
        fetch("tiny", tmp_path, base_url="https://nowhere.invalid")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("base_url", ["no-url", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:port"])
def test_a_bad_address_is_a_fetch_error(tmp_path: Path, base_url: str) -> None:
    with pytest.raises(FetchError, match="cannot reach "):
        fetch("tiny", tmp_path, base_url=base_url)


@pytest.mark.parametrize(("name", "value"), [("ALL_PROXY", "gopher://x"), ("SSL_CERT_FILE", "/no/such/file")])
def test_bad_proxy_and_certificate_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(FetchError, match="cannot set up the download") as caught:
        fetch("tiny", tmp_path)
    assert name in caught.value.hint


def test_not_found_names_the_address(server: Server, tmp_path: Path) -> None:
    del server.bodies["/b.csv"]
    with pytest.raises(FetchError, match=rf"{server.url}/b\.csv answered 404 Not Found"):
        fetch("tiny", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]  # the good one stays


@pytest.mark.parametrize("status", [204, 206, 304, 403, 429, 500, 503])
def test_other_statuses_are_errors_that_keep_the_part(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    server.send_length = status not in (204, 304)
    fresh = status == 206  # an answer to a range that was not asked for
    if not fresh:
        (tmp_path / "a.csv.part").write_bytes(BIG[:1000])
    with pytest.raises(FetchError, match=f"answered {status}") as caught:
        fetch("tiny", tmp_path)
    assert ("try again later" in caught.value.hint) == (status in (429, 500, 503))
    assert fresh or (tmp_path / "a.csv.part").read_bytes() == BIG[:1000]
    assert len(server.requests) == 1


def test_a_truncated_body_is_resumed(server: Server, tmp_path: Path) -> None:
    server.break_after = [300_000, 200_000]
    log = Log()
    fetch("tiny", tmp_path, on_progress=log)
    assert_complete(tmp_path)
    wanted = [wanted for path, wanted in server.requests if path == "/a.csv"]
    assert wanted == [None, "bytes=300000-", "bytes=500000-"]
    assert server.sent["/a.csv"] == len(BIG)
    done = [done for done, _ in log.of("a.csv")]
    assert done == sorted(done)


def test_a_transfer_that_keeps_breaking_is_given_up(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000] * 9
    with pytest.raises(FetchError, match=r"a\.csv broke off at byte 3000") as caught:
        fetch("tiny", tmp_path)
    assert "goes on from there" in caught.value.hint
    assert len(server.requests) == 3
    assert (tmp_path / "a.csv.part").read_bytes() == BIG[:3000]


def test_a_stalled_server_is_given_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.2)
    server.stall_after = 0
    with pytest.raises(FetchError, match="broke off at byte 0: timed out"):
        fetch("tiny", tmp_path)
    assert len(server.requests) == 1  # silent all the time: not asked again


def test_a_stall_midway_is_tried_again(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.2)
    server.stall_after = 1000
    with pytest.raises(FetchError, match="broke off at byte 3000"):
        fetch("tiny", tmp_path)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000-", "bytes=2000-"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(32, "Broken pipe")], ids=["kill", "pipe"])
def test_a_kill_midway_leaves_the_part_and_the_next_call_resumes(
    server: Server, tmp_path: Path, error: BaseException | type[BaseException]
) -> None:
    def kill(file: str, done: int, total: int | None) -> None:
        if done > 300_000:
            raise error

    with pytest.raises(error if isinstance(error, type) else OSError):  # as it was, not renamed
        fetch("tiny", tmp_path, on_progress=kill)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv.part"]
    size = (tmp_path / "a.csv.part").stat().st_size
    assert 300_000 < size < len(BIG)
    server.requests.clear()
    fetch("tiny", tmp_path)
    assert_complete(tmp_path)
    assert server.requests[0] == ("/a.csv", f"bytes={size}-")


@pytest.mark.parametrize("send_length", [True, False])
def test_a_body_above_the_limit_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, send_length: bool
) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100_000)
    server.send_length = send_length
    log = Log()
    with pytest.raises(FetchError, match="larger than 100000 bytes"):
        fetch("tiny", tmp_path, on_progress=log)
    assert all(done <= 100_000 for _, done, _ in log)  # it stopped there
    assert list(tmp_path.iterdir()) == []


def test_a_compressed_body_is_refused(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(FetchError, match="compressed"):
        fetch("tiny", tmp_path)


def test_a_redirect_within_the_host_keeps_the_range(server: Server, tmp_path: Path) -> None:
    server.redirect = {"/old/a.csv": "/a.csv", "/old/b.csv": f"{server.url}/b.csv"}
    (tmp_path / "a.csv.part").write_bytes(BIG[:1000])
    fetch("tiny", tmp_path, base_url=f"{server.url}/old")
    assert_complete(tmp_path)
    assert server.requests[:2] == [("/old/a.csv", "bytes=1000-"), ("/a.csv", "bytes=1000-")]


def test_a_redirect_to_plain_http_elsewhere_is_refused(server: Server, tmp_path: Path) -> None:
    server.redirect = {"/a.csv": f"http://localhost:{server.server_port}/b.csv"}
    with pytest.raises(FetchError, match=r"redirects to http://localhost:.*, not https"):
        fetch("tiny", tmp_path)
    assert len(server.requests) == 1


def test_a_redirect_to_https_elsewhere_is_followed(server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"https://localhost:{taken.getsockname()[1]}/a.csv"
    server.redirect = {"/a.csv": closed}
    with pytest.raises(FetchError, match=r"cannot reach .*refused"):  # so it was tried
        fetch("tiny", tmp_path)


def test_redirects_in_a_ring_end(server: Server, tmp_path: Path) -> None:
    server.redirect = {"/a.csv": "/a.csv"}
    with pytest.raises(FetchError, match="more than 5 times"):
        fetch("tiny", tmp_path)
    assert len(server.requests) == 6


@pytest.fixture
def small_disk() -> Iterator[None]:
    """The system refuses to write more than 100,000 bytes into a file."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_a_refused_write_is_an_output_error_that_names_the_part(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*a\.csv\.part: File too large"):
        fetch("tiny", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv.part"]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        fetch("tiny", tmp_path / "file" / "folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_an_output_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot write"):
            fetch("tiny", tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_part_that_is_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv.part").mkdir()
    with pytest.raises(OutputError, match=r"a\.csv\.part"):
        fetch("tiny", tmp_path)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data set is called 'badbooks'") as caught:
        fetch("badbooks", tmp_path / "out")
    assert "goodbooks-10k" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_goodbooks_is_pinned_and_licensed() -> None:
    source = data_set("goodbooks-10k")
    assert source.licence == "CC BY-SA 4.0"
    assert re.fullmatch(r"https://\S+/[0-9a-f]{40}/", source.base_url)
    assert set(source.files) == {"books.csv", "ratings.csv", "book_tags.csv", "tags.csv", "to_read.csv"}
    assert all(re.fullmatch(r"[0-9a-f]{40}", blob) for blob in source.files.values())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
    ],
)
def test_blob_ids_are_those_of_git(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert git_blob_id(tmp_path / "f") == expected


def test_blob_id_of_a_file_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(BIG * 2 + b"x")
    assert git_blob_id(tmp_path / "f") == blob_id(BIG * 2 + b"x")

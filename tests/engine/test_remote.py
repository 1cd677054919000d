"""A data set in an object store, by the protocol of S3: the same as in a folder, by any engine; failures are told."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import polars as pl
import pytest
from store import s3_store, told_store, upload, use_store
from test_audit_parts import ROWS, in_parts, whole

from shelfwise.data.audit_parts import audit_parts
from shelfwise.data.sources import load_dataset, locate
from shelfwise.data.tables import content_digest, parts_of
from shelfwise.engine import HERE, Engine, open_engine
from shelfwise.errors import BadValueError, FetchError, MissingDataError

Request = http.server.BaseHTTPRequestHandler


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_store() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use_store(monkeypatch, s3_url)
    return s3_url


def test_a_store_gives_the_audit_of_the_same_folder(s3: str, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    nested = folder / "ratings" / "part=1" / "hour=2"
    nested.mkdir(parents=True)
    (folder / "ratings" / "1.parquet").rename(nested / "x.parquet")
    (folder / "ratings" / "_SUCCESS").touch()
    url = upload(folder, "s3://books/deep/w")
    fsspec.filesystem("s3").pipe_file("books/deep/w/ratings/part=1/", b"")  # what some tools leave for a folder
    expected = audit_parts(folder, HERE)
    assert audit_parts(url, HERE) == expected
    assert whole(Path(folder)) == expected
    with open_engine("local", workers=2) as engine:
        assert audit_parts(url, engine) == expected


def test_a_store_that_changed_is_seen_as_it_is(s3: str, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    url = upload(folder, "s3://changing/w")
    before = load_dataset(url)
    (folder / "ratings" / "0.csv").unlink()
    somebody = fsspec.filesystem("s3", skip_instance_cache=True)  # else, of whose doings our driver knows nothing
    somebody.rm(["changing/w/ratings/0.csv", "changing/w/tags.csv"])
    (folder / "tags.csv").unlink()
    after, there = load_dataset(url), load_dataset(folder)
    assert after.ratings.frame.equals(there.ratings.frame)
    assert after.fingerprint == there.fingerprint != before.fingerprint


def test_a_folder_is_listed_and_a_file_fetched_no_more_often_than_it_must(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    url, asked = upload(in_parts(tmp_path / "w", ROWS), "s3://counted/w"), Counter[str]()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: object, method: str, *more: object, **named: object) -> object:
        asked[method] += 1
        return await call(self, method, *more, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    for attempt in (lambda: load_dataset(url), lambda: audit_parts(url, HERE)):
        asked.clear()
        attempt()
        assert asked["head_object"] <= 1
        assert asked["get_object"] == 2 * 5  # books, tags and three parts


def test_a_part_larger_than_a_request_is_read_whole(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver fetches it in pieces, all at a time."""
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "default_block_size", 1 << 16)
    rows = pl.DataFrame({"user_id": range(50_000), "book_id": 1, "rating": 4})
    (tmp_path / "w").mkdir()
    rows.write_csv(tmp_path / "w" / "ratings.csv")
    url = upload(tmp_path / "w", "s3://large/w")
    assert load_dataset(url).fingerprint == load_dataset(tmp_path / "w").fingerprint


@pytest.mark.parametrize(
    ("name", "said"), [("s3://nobucket/w", "nothing is at s3://nobucket/w"), ("s3://there/gone", "nothing is at")]
)
def test_a_bucket_or_folder_that_is_not_there_is_told(s3: str, tmp_path: Path, name: str, said: str) -> None:
    upload(in_parts(tmp_path / "w", ROWS), "s3://there/w")
    with pytest.raises(MissingDataError, match=said):
        audit_parts(name, HERE)


def test_a_part_that_goes_in_between_is_told(s3: str, tmp_path: Path) -> None:
    folder = locate(upload(in_parts(tmp_path / "w", ROWS), "s3://going/w"))
    gone = parts_of(folder / "ratings")[-1]
    fsspec.filesystem("s3").rm("going/w/ratings/2.csv")
    with pytest.raises(MissingDataError, match=r"no such file: s3://going/w/ratings/2\.csv"):
        content_digest(gone)


def test_a_bad_row_is_named_with_its_url(s3: str, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    with (folder / "ratings" / "2.csv").open("a") as file:
        file.write("2,3,four\n")
    n_rows = len((folder / "ratings" / "2.csv").read_text().splitlines())
    url = upload(folder, "s3://bad/w")
    with pytest.raises(BadValueError, match=rf"^s3://bad/w/ratings/2\.csv, row {n_rows}: 'four' where stars"):
        audit_parts(url, HERE)


def xml(request: Request, status: int, code: str, message: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><AWSAccessKeyId>OPENSESAME</AWSAccessKeyId></Error>"
    request.send_response(status)
    request.send_header("Content-Type", "application/xml")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body.encode())


def forbidden(request: Request) -> None:
    xml(request, 403, "AccessDenied", "Access Denied")


def out_of_order(request: Request) -> None:
    xml(request, 500, "InternalError", "We encountered an internal error. Please try again.")


def breaking_off(request: Request) -> None:
    """Says that much comes, and hangs up."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(b"user_id,book_id,rating\n1,1,4\n")
    request.close_connection = True


def silent(request: Request) -> None:
    """Takes the question, and says nothing until the other end goes."""
    with suppress(OSError):
        request.connection.recv(1)


def stalling(request: Request) -> None:
    """Begins to answer, and says no more."""
    if request.command == "HEAD":
        breaking_off(request)
        return
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    request.wfile.write(b"user_id,book_id,rating\n1,1,4\n")
    silent(request)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own settings of fsspec, which go before ours."""
    waits = {"connect_timeout": 1, "read_timeout": 0.3, "retries": {"max_attempts": 0}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": waits})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (forbidden, r"^s3://books/ratings\.csv cannot be read: not permitted \("),
        (out_of_order, r"^s3://books/ratings\.csv cannot be read: "),
        (breaking_off, r"^s3://books/ratings\.csv cannot be read: "),
        (silent, r"^s3://books/ratings\.csv cannot be read: Read timeout on endpoint URL: \"http://127"),
        (stalling, r"^s3://books/ratings\.csv cannot be read: "),
    ],
)
def test_a_store_that_fails_is_told_in_time_and_without_secrets(
    answer: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with told_store(answer) as url:  # type: ignore[arg-type]
        use_store(monkeypatch, url)
        with pytest.raises(FetchError, match=said) as caught:
            load_dataset("s3://books/ratings.csv")
    assert "SESAME" not in str(caught.value).upper()


@pytest.mark.usefixtures("impatient")
def test_a_store_where_nobody_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with told_store(silent) as url:
        pass  # its port is free again
    use_store(monkeypatch, url)
    with pytest.raises(FetchError, match="Could not connect to the endpoint URL") as caught:
        load_dataset("s3://books/w")
    assert "SESAME" not in str(caught.value).upper()


def test_without_credentials_that_is_said(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(FetchError, match="cannot be read: Unable to locate credentials") as caught:
        load_dataset("s3://books/w")
    assert "credentials of this machine" in caught.value.hint


def test_the_command_says_it_in_two_lines_and_leaves_nothing(s3: str, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    (folder / "ratings" / "2.csv").write_text("user_id,book_id,rating\n2,3,four\n")
    url = upload(folder, "s3://half/w")
    (tmp_path / "temporary").mkdir()
    shelfwise = str(Path(sys.executable).with_name("shelfwise"))
    done = subprocess.run(
        [shelfwise, "train", url, "--model", "bias", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "error: s3://half/w/ratings/2.csv, row 2: 'four' where stars should be",
        "hint: correct or remove this row",
    ]
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "temporary").glob("shelfwise-*"))


@pytest.mark.xdist_group("ray")
def test_a_cluster_reads_urls(ray_engine: Engine, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "w", ROWS)
    expected = audit_parts(folder, HERE)
    assert audit_parts(folder.as_uri(), ray_engine) == expected
    with (folder / "ratings" / "0.csv").open("a") as file:
        file.write("3,3,\n")
    with pytest.raises(BadValueError, match=rf"^{folder.as_uri()}/ratings/0\.csv, row \d+: nothing where stars should"):
        audit_parts(folder.as_uri(), ray_engine)


@pytest.mark.scale
def test_a_cluster_reads_a_store(s3: str, tmp_path: Path) -> None:
    """Workers take the store's address and credentials from their machine, here from the environment."""
    folder = in_parts(tmp_path / "w", ROWS)
    url = upload(folder, "s3://cluster/w")
    command = [str(Path(sys.executable).with_name("shelfwise")), "audit", "--json"]
    told = [
        subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout
        for words in (
            (str(folder),),
            (url,),
            (url, "--workers", "2"),
            (url, "--engine", "ray", "--workers", "2"),
        )
    ]
    assert json.loads(told[0])["n_ratings"]
    assert told == told[:1] * 4
    print(f"audit of {url} by 2 workers of a cluster: as of the folder")

"""A data set behind a URL is the data set of the same files in a folder; what goes wrong names the URL."""

from __future__ import annotations

import errno
import gzip
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_world import Row, rows_of_a_world, write_ratings, write_world

from shelfwise.cli import main
from shelfwise.data import places
from shelfwise.data.audit import Audit, audit
from shelfwise.data.audit_parts import audit_parts
from shelfwise.data.places import Remote, at_hand, place_of
from shelfwise.data.ratings import clean
from shelfwise.data.sources import load_dataset, locate
from shelfwise.data.split import RandomSplit, split
from shelfwise.engine import HERE
from shelfwise.errors import BadValueError, FetchError, FormatError, MissingDataError, OutputError, UsageError

ROWS = [*rows_of_a_world(n_readers=40), (3, 1, 2), (3, 1, 5), (7, 99, 4), (7, 98, 4), (8, 9, 9)]
SUFFIXES = ("csv", "csv.gz", "parquet", "tsv")


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Temporary copies are gone, and so is what lay in memory."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert not list(place.glob("shelfwise-*"))
    forget()


def forget() -> None:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def write_part(path: Path, rows: list[Row]) -> None:
    """Rows of ratings in the format that the name says."""
    plain = write_ratings(path.with_name("plain.csv"), rows)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    elif path.name.endswith(".parquet"):
        pl.read_csv(plain).write_parquet(path)
    else:
        path.write_text(plain.read_text().replace(",", "\t" if path.name.endswith(".tsv") else ","))
    if path != plain:
        plain.unlink()


def world_in_parts(folder: Path, names: list[str], rows: list[Row] = ROWS) -> Path:
    """A world whose readers are dealt over the named files of ratings/, in this order."""
    write_world(folder, rows)
    (folder / "ratings.csv").unlink()
    for place, name in enumerate(names):
        path = folder / "ratings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_part(path, [row for row in rows if int(str(row[0])) % len(names) == place])
    return folder


def upload(folder: Path, url: str) -> str:
    """The files of a folder below a URL."""
    for file in folder.rglob("*"):
        if file.is_file():
            with fsspec.open(f"{url}/{file.relative_to(folder).as_posix()}", "wb") as stream:
                stream.write(file.read_bytes())
    return url


def whole(name: str | Path) -> Audit:
    data = load_dataset(name)
    kept, cleaning = clean(data.ratings, data.catalogue, out_of_scale="keep-out")
    return audit(data, kept, cleaning, split(kept, RandomSplit()))


def test_a_url_gives_the_audit_of_the_same_folder(tmp_path: Path) -> None:
    folder = world_in_parts(tmp_path / "w", ["0.csv", "part=1/x.parquet", "part=2/deep/er.csv.gz"])
    url = upload(folder, "memory://store/w")
    expected = whole(folder)
    assert expected.unknown_books == ["98", "99"]
    assert (expected.n_out_of_scale, expected.n_conflicting_pairs) == (1, 1)
    for place in (url, f"{url}/", folder.as_uri()):
        assert audit_parts(place, HERE) == expected
        assert whole(place) == expected


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_file_of_ratings_behind_a_url_is_read(tmp_path: Path, suffix: str) -> None:
    folder = write_world(tmp_path / "w", ROWS)
    (folder / "ratings.csv").unlink()
    write_part(folder / f"ratings.{suffix}", ROWS)
    upload(folder, "memory://w")
    assert whole("memory://w") == whole(folder)
    alone = f"ratings.{suffix}"
    found, there = load_dataset(f"memory://w/{alone}"), load_dataset(folder / alone)
    assert found.ratings.frame.equals(there.ratings.frame)
    assert (found.name, found.fingerprint) == (there.name, there.fingerprint)
    with_books = load_dataset(folder / alone, catalogue="memory://w")
    assert with_books.catalogue.books.equals(load_dataset(folder).catalogue.books)


names = st.text("abyz019", min_size=1, max_size=3)
parts = st.lists(st.tuples(st.lists(names, max_size=2), names, st.sampled_from(SUFFIXES)), min_size=1, max_size=6)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts)
def test_neither_names_nor_formats_nor_order_of_files_matter(
    drawn: list[tuple[list[str], str, str]],
) -> None:
    paths = ["/".join(["d" + folder for folder in folders] + [f"{name}.{suffix}"]) for folders, name, suffix in drawn]
    paths = list(dict.fromkeys(paths))
    with tempfile.TemporaryDirectory() as temporary:
        folder = world_in_parts(Path(temporary) / "w", paths)
        forget()
        url = upload(folder, "memory://w")
        found = audit_parts(folder, HERE)
        assert audit_parts(url, HERE) == found
        other = world_in_parts(Path(temporary) / "again" / "w", paths[::-1])
        assert audit_parts(other, HERE).model_dump(exclude={"fingerprint"}) == found.model_dump(exclude={"fingerprint"})
        one = whole(write_world(Path(temporary) / "one" / "w", ROWS))
        assert found.model_dump(exclude={"fingerprint"}) == one.model_dump(exclude={"fingerprint"})


def test_renamed_files_are_the_same_data_set(tmp_path: Path) -> None:
    folder = world_in_parts(tmp_path / "w", ["a.csv", "b.csv", "c.parquet"])
    expected, rows = whole(folder), load_dataset(folder).ratings.frame
    (folder / "ratings" / "part=9").mkdir()
    (folder / "ratings" / "a.csv").rename(folder / "ratings" / "part=9" / "z.csv")
    (folder / "ratings" / "b.csv").rename(folder / "ratings" / "a.csv")
    assert whole(folder) == audit_parts(folder, HERE) == expected
    assert not load_dataset(folder).ratings.frame.equals(rows)  # so the order did change


def test_notes_of_other_programs_are_no_parts(tmp_path: Path) -> None:
    folder = world_in_parts(tmp_path / "w", ["a.csv", "b.csv"])
    expected = whole(folder)
    for name in ("_SUCCESS", "_temporary/0/c.csv", ".ipynb_checkpoints/a.csv", "part=1/.b.csv", "part=1/notes.txt"):
        file = folder / "ratings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("user_id,book_id,rating\n1,1,great\n")
    assert whole(folder) == expected
    assert audit_parts(upload(folder, "memory://w"), HERE) == expected


@pytest.mark.parametrize("name", ["part=1/x.csv", "x.csv.gz", "x.tsv"])
def test_a_bad_row_is_named_with_its_url(tmp_path: Path, name: str) -> None:
    rows: list[Row] = [*ROWS, (39, 3, "four")]
    folder = world_in_parts(tmp_path / "w", ["0.csv", name], rows)
    row = 1 + len([one for one in rows if int(str(one[0])) % 2])
    upload(folder, "memory://bad/w")
    for attempt in (lambda: audit_parts("memory://bad/w", HERE), lambda: load_dataset("memory://bad/w")):
        with pytest.raises(BadValueError) as caught:
            attempt()
        assert caught.value.message.startswith(f"memory://bad/w/ratings/{name}, row {row}: 'four' where stars should")


def test_a_damaged_part_is_named_with_its_url_alone(tmp_path: Path, no_leftovers: Path) -> None:
    folder = world_in_parts(tmp_path / "w", ["a.csv", "b.parquet"])
    damaged = folder / "ratings" / "b.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    upload(folder, "memory://w")
    with pytest.raises(FormatError, match=r"^memory://w/ratings/b\.parquet is not a readable Parquet file") as caught:
        audit_parts("memory://w", HERE)
    assert str(no_leftovers) not in str(caught.value)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    upload(write_world(tmp_path / "w"), "memory://w")
    with pytest.raises(MissingDataError, match="nothing is at memory://other"):
        load_dataset("memory://other")
    with pytest.raises(MissingDataError, match="no such file: memory://w/gone"), at_hand(Remote("memory://w/gone")):
        pass
    fsspec.filesystem("memory").rm("/w/ratings.csv")
    with pytest.raises(MissingDataError, match=r"memory://w has no ratings\.\*"):
        load_dataset("memory://w")
    with pytest.raises(MissingDataError, match="and no folder ratings/"):
        audit_parts("memory://w", HERE)


def test_an_unknown_protocol_is_told() -> None:
    with pytest.raises(UsageError, match="fsspec knows no s4://"):
        load_dataset("s4://bucket/w")


@pytest.mark.parametrize(("missing", "said"), [("fsspec", "fsspec, which"), ("s3fs", "a driver that")])
def test_what_is_to_be_installed_is_told(missing: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # an import of it now fails
    with pytest.raises(FetchError, match=f"^s3://bucket/w needs {said} is not installed") as caught:
        load_dataset("s3://bucket/w")
    assert "pip install 'shelfwise[remote]'" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sftp://ann:sesame@host/w", "sftp://host/w"),
        ("s3://OPEN:ses/sesame@me@bucket/w", "s3://bucket/w"),
        ("https://host/ratings.csv?X-Amz-Signature=sesame", "https://host/ratings.csv"),
    ],
)
def test_a_url_with_a_secret_is_refused_without_telling_it(url: str, shown: str) -> None:
    with pytest.raises(UsageError, match=f"in the URL {shown}, which") as caught:
        load_dataset(url)
    assert "sesame" not in str(caught.value)


def test_what_is_a_url_and_what_a_path() -> None:
    assert place_of("s3://bucket/a b/#1?/") == Remote("s3://bucket/a b/#1?")
    assert place_of("sftp://host:22/a@b") == Remote("sftp://host:22/a@b")
    assert place_of("abfs://box@account.dfs.core.windows.net/w").name == "w"
    for name in ("data/w", "/data/w", "C:\\data", "c:/data", "w", ".", "a://", "simplecache::s3://b"):
        assert place_of(name) == Path(name)
    assert place_of(Path("s3://bucket")) == Path("s3:/bucket")
    assert (Remote("s3://b/x.tsv.gz") / "y.csv").suffixes == [".csv"]


def test_a_driver_that_fails_is_told_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(write_world(tmp_path / "w"), "memory://w")
    url = "https://ann:sesame@proxy:1/w?signature=sesame"
    for error, said in (
        (RuntimeError(f"cannot reach {url}\nand sesame"), "cannot be read: cannot reach https://proxy:1/w\n"),
        (TimeoutError(), "cannot be read: TimeoutError"),
        (PermissionError("Forbidden"), r"not permitted \(Forbidden\)"),
    ):

        def fail(*args: Any, error: Exception = error, **options: Any) -> None:
            raise error

        calls = {
            "info": lambda: locate("memory://w"),
            "find": lambda: Remote("memory://w").below(),
            "get_file": lambda: Remote("memory://w").copy_to(tmp_path / "copy"),
        }
        for method, call in calls.items():
            with monkeypatch.context() as patch:
                patch.setattr(MemoryFileSystem, method, fail)
                with pytest.raises(FetchError, match=f"^memory://w .*{said}") as caught:
                    call()
                assert "sesame" not in str(caught.value)


def test_a_full_disk_of_this_machine_is_not_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(write_world(tmp_path / "w"), "memory://w")

    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "get_file", full)
    with pytest.raises(OutputError, match=r"the disk is full: no room for a copy of memory://w/books\.csv in "):
        load_dataset("memory://w")


def test_the_commands_take_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world_in_parts(tmp_path / "w", ["a.csv", "part=1/b.parquet"], ROWS[:-1])
    url = upload(folder, "memory://w")

    def call(*words: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["shelfwise", *words])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    assert call("audit", url, "--json") == call("audit", str(folder), "--json")
    runs = []
    for place, out in ((str(folder), tmp_path / "here"), (url, tmp_path / "there")):
        call("train", place, "--model", "bias", "--out", str(out), "--json")
        runs.append(json.loads((out / "manifest.json").read_text()))
    assert runs[0]["data"] == runs[1]["data"]
    assert runs[0]["report"]["audit"] == runs[1]["report"]["audit"]
    words = ("recommend", str(tmp_path / "there"), "--all", "--out", "memory://lists")
    with suppress(json.JSONDecodeError):  # as it prints nothing
        call(*words)
    parts = [name for name in Remote("memory://lists").below() if name.endswith(".parquet")]
    with at_hand(Remote("memory://lists") / parts[0]) as part:
        assert pl.read_parquet(part)["user_id"].n_unique() == 40
    monkeypatch.setattr(sys, "argv", ["shelfwise", *words[:2], "--reader", "1", "--out", "memory://lists"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    held = [{name: digest for name, digest in run["files"].items() if not name.startswith("report")} for run in runs]
    assert held[0] == held[1]


def test_nothing_imports_fsspec_but_a_url() -> None:
    """Of ours; torch brings fsspec along, and may import it."""
    code = (
        "import sys; sys.modules['fsspec'] = None; import shelfwise, shelfwise.cli.app; "
        "data = shelfwise.load_dataset('sample'); print(len(data.ratings.frame) > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_what_users_set_in_fsspec_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.config, "conf", {})
    assert places._store("s3://bucket")[0].config_kwargs == {"retries": {"max_attempts": 1}}
    monkeypatch.setattr(fsspec.config, "conf", {"s3": {"config_kwargs": {"read_timeout": 99}}})
    assert places._store("s3://bucket")[0].config_kwargs == {"read_timeout": 99}

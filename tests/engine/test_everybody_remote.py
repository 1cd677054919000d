"""Lists for everybody in an object store are those of a folder, and go on where they were broken off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from store import s3_store, upload, use_store
from test_everybody import Breaks, asked, at_once, run
from test_everybody import read_parts as read_folder

from shelfwise.data.places import Remote
from shelfwise.engine import HERE, Engine, open_engine
from shelfwise.errors import EngineError, MissingDataError, OutputError, RunExistsError
from shelfwise.everybody import write_lists

__all__ = ["run"]  # the fixture
LISTS = Remote("s3://out/deep/lists")


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store with a bucket that holds something else."""
    with s3_store() as url:
        use_store(monkeypatch, url)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear reader")
        upload(tmp_path / "mine", "s3://out/mine")
        yield url
        fsspec.filesystem("s3", skip_instance_cache=True).rm("out", recursive=True)


def held() -> dict[str, bytes]:
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    return {name.rpartition("/")[2]: store.cat_file(name) for name in store.find("out/deep/lists")}


def read_parts() -> pl.DataFrame:
    return pl.concat([pl.read_parquet(content) for name, content in sorted(held().items()) if name.startswith("part-")])


def test_parts_are_those_of_a_folder(s3: str, run: Path, tmp_path: Path) -> None:
    request = asked(run, n=3)
    with open_engine("local", workers=2) as engine:
        n_rows = write_lists(request, LISTS, engine)
    assert n_rows == write_lists(request, tmp_path / "lists", HERE)
    assert_frame_equal(read_parts(), at_once(run, n=3))
    assert held() == {file.name: file.read_bytes() for file in (tmp_path / "lists").iterdir()}


def test_what_was_broken_off_goes_on_and_ends_the_same(s3: str, run: Path) -> None:
    request = asked(run)
    with pytest.raises(EngineError):
        write_lists(request, LISTS, Breaks(3))
    assert sorted(held()) == ["lists.json", *(f"part-0000{place}.parquet" for place in range(3))]
    assert "parts" not in json.loads(held()["lists.json"])
    written = Breaks(4)  # and not all seven again
    assert write_lists(request, LISTS, written) == len(at_once(run))
    assert_frame_equal(read_parts(), at_once(run))
    assert write_lists(request, LISTS, Breaks(0)) == len(at_once(run))  # nothing is left to do


def test_what_is_there_already_is_left_alone(s3: str, run: Path) -> None:
    write_lists(asked(run), LISTS, HERE)
    with pytest.raises(RunExistsError, match=f"{LISTS} holds lists of another run or with other settings"):
        write_lists(asked(run, n=4), LISTS, HERE)
    for place in ("s3://out/mine", "s3://out/mine/letter.txt", "s3://out"):
        with pytest.raises(RunExistsError, match="holds something else"):
            write_lists(asked(run), Remote(place), HERE)


def test_a_bucket_that_is_not_there_is_told(s3: str, run: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file: s3://nobucket/lists"):
        write_lists(asked(run), Remote("s3://nobucket/lists"), HERE)


def test_a_part_that_cannot_be_put_is_an_error(s3: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    put = s3fs.S3FileSystem._put_file

    async def limited(self: object, local: str, path: str, *more: object, **named: object) -> object:
        if path.endswith("2.parquet"):
            raise PermissionError("Access Denied")
        return await put(self, local, path, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_put_file", limited)
        with pytest.raises(OutputError, match=rf"^{LISTS}/part-00002\.parquet cannot be written: not permitted"):
            write_lists(asked(run), LISTS, HERE)
    assert sorted(held()) == ["lists.json", "part-00000.parquet", "part-00001.parquet"]
    s3fs.S3FileSystem.clear_instance_cache()  # what was made meanwhile keeps the method
    write_lists(asked(run), LISTS, HERE)
    assert_frame_equal(read_parts(), at_once(run))


@pytest.mark.xdist_group("ray")
def test_workers_of_a_cluster_write_to_a_url(ray_engine: Engine, run: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    write_lists(asked(run, n=3), Remote(f"{tmp_path.as_uri()}/lists"), ray_engine)
    assert_frame_equal(read_folder(tmp_path / "lists"), at_once(run, n=3))


@pytest.mark.scale
def test_workers_of_a_cluster_write_to_a_store(s3: str, run: Path) -> None:
    """They take the store's address and credentials from their machine, here from the environment."""
    words = [str(run), "--all", "-n", "3", "--out", str(LISTS), "--engine", "ray", "--workers", "2"]
    shelfwise = str(Path(sys.executable).with_name("shelfwise"))
    subprocess.run([shelfwise, "recommend", *words], check=True)
    assert_frame_equal(read_parts(), at_once(run, n=3))
    print(f"lists in {LISTS} by 2 workers of a cluster: as in one go")

"""Atomic writing: the old file or the new one, never half of one, and nothing left beside."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from shelfwise.data import files as module
from shelfwise.data.files import atomic_write
from shelfwise.errors import OutputError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that stands already, alone in its folder."""
    path = tmp_path / "folder" / "out.csv"
    path.parent.mkdir()
    path.write_text("old")
    return path


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a tiny disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no 'mount' here")
    if mounted.returncode:
        pytest.skip(f"cannot mount a tiny disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_new_file_replaces_the_old_one_readable_by_others(old: Path) -> None:
    with atomic_write(old) as temporary:
        temporary.write_text("new")
        assert temporary.parent == old.parent  # a rename within one file system
        assert old.read_text() == "old"
    assert old.read_text() == "new"
    assert old.stat().st_mode & 0o777 == 0o644
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(old: Path, error: BaseException) -> None:
    def write_half() -> None:
        with atomic_write(old) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_an_output_error(old: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(OutputError, match=r"the disk is full: .*out\.csv was not written"), atomic_write(old) as new:
        new.write_text("new")
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_other_refusals_are_output_errors_that_say_why(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory") as caught, atomic_write(tmp_path / "no/out"):
        pytest.fail("there is no folder to write in")
    assert caught.value.hint
    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*taken"), atomic_write(folder) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_disk_that_fills_while_writing_keeps_the_old_file(tiny_disk: Path, suffix: str) -> None:
    path = tiny_disk / f"out.{suffix}"
    path.write_text("old")
    frame = pl.DataFrame({"n": pl.int_range(200_000, eager=True).shuffle(seed=0)})
    with pytest.raises(OutputError, match="the disk is full"), atomic_write(path) as temporary:
        frame.write_csv(temporary) if suffix == "csv" else frame.write_parquet(temporary)
    assert path.read_text() == "old"
    assert list(tiny_disk.iterdir()) == [path]

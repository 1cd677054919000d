"""A run on disk: whole or not at all, and never taken on trust."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from tiny_world import rows_of_a_world, train_on, write_world

import shelfwise
from shelfwise import artifact
from shelfwise.artifact import MANIFEST, Run, load_run, save_run
from shelfwise.errors import CorruptRunError, MissingDataError, OutputError, RunExistsError, RunVersionError

EVENTS = [(1, 3), (2, 5), (99, 7)]


@pytest.fixture(scope="session")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_on(write_world(tmp_path_factory.mktemp("old"), events=EVENTS))


@pytest.fixture(scope="session")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_on(write_world(tmp_path_factory.mktemp("new"), rows_of_a_world(seed=1)), seed=1)


def assert_same_run(a: Run, b: Run) -> None:
    assert (a.settings, a.data, a.report, a.documents) == (b.settings, b.data, b.report, b.documents)
    assert a.model.config == b.model.config
    assert a.model.scale == b.model.scale
    for mine, others in (
        (a.model.book_state(), b.model.book_state()),
        (a.model.reader_state(), b.model.reader_state()),
    ):
        assert mine.keys() == others.keys()
        for name, array in mine.items():
            np.testing.assert_array_equal(array, others[name])
            assert array.dtype == others[name].dtype
    assert a.catalogue.books.equals(b.catalogue.books)
    assert a.catalogue.tags.equals(b.catalogue.tags)
    assert a.catalogue.books.schema == b.catalogue.books.schema
    assert a.space.terms.equals(b.space.terms)
    assert (a.content != b.content).nnz == 0
    assert a.readers == b.readers
    for mine, others in ((a.shelves, b.shelves), (a.events, b.events)):
        for name in ("indptr", "item_idx", "stars"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(others, name))
    np.testing.assert_array_equal(a.parts, b.parts)


def saved(run: Run, path: Path) -> Path:
    save_run(run, path)
    return path


def edit_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


# What is saved is what is loaded.


def test_a_loaded_run_equals_the_saved_one(old_run: Run, new_run: Run, tmp_path: Path) -> None:
    for run in (old_run, new_run):
        assert_same_run(load_run(saved(run, tmp_path / str(run.settings["seed"]))), run)
    assert len(old_run.events.item_idx)  # one world with events, one without
    assert not len(new_run.events.item_idx)


def test_saving_a_loaded_run_writes_the_same_bytes(old_run: Run, tmp_path: Path) -> None:
    first, second = saved(old_run, tmp_path / "first"), tmp_path / "second"
    save_run(load_run(first), second)
    assert sorted(file.name for file in first.iterdir()) == sorted(file.name for file in second.iterdir())
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_a_loaded_run_can_overwrite_itself(old_run: Run, tmp_path: Path) -> None:
    """Its shelves are mapped from the files that are replaced."""
    path = saved(old_run, tmp_path / "run")
    save_run(load_run(path), path, overwrite=True)
    assert_same_run(load_run(path), old_run)


def test_every_file_can_be_read_by_others(old_run: Run, tmp_path: Path) -> None:
    path = saved(old_run, tmp_path / "run")
    assert path.stat().st_mode & 0o777 == 0o755
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}


def test_a_run_that_is_there_is_not_replaced_unasked(old_run: Run, new_run: Run, tmp_path: Path) -> None:
    path = saved(old_run, tmp_path / "run")
    with pytest.raises(RunExistsError, match="already holds a run"):
        save_run(new_run, path)
    assert_same_run(load_run(path), old_run)
    save_run(new_run, path, overwrite=True)
    assert_same_run(load_run(path), new_run)


def test_a_place_may_be_text_a_link_or_the_folder_one_is_in(
    old_run: Run, new_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    save_run(old_run, str(tmp_path / "link"))
    assert_same_run(load_run(str(tmp_path / "real")), old_run)
    monkeypatch.chdir(tmp_path / "real")
    save_run(new_run, Path(), overwrite=True)
    assert_same_run(load_run(tmp_path / "link"), new_run)
    assert (tmp_path / "link").is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "real"]


def test_a_file_is_no_place_for_a_run(old_run: Run, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RunExistsError, match="is a file"):
            save_run(old_run, place, overwrite=overwrite)
    assert place.read_text() == "mine"


def test_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no run at"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match="no run at"):
        load_run(tmp_path)


def test_files_of_strangers_are_ignored_and_kept(old_run: Run, new_run: Run, tmp_path: Path) -> None:
    path = saved(old_run, tmp_path / "run")
    (path / "notes.txt").write_text("mine")
    (path / "plots").mkdir()
    (path / "plots" / "a.svg").write_text("<svg/>")
    (path / "plots" / "latest.svg").symlink_to("a.svg")
    (path / "gone").symlink_to("nowhere")
    assert_same_run(load_run(path), old_run)
    save_run(new_run, path, overwrite=True)
    assert_same_run(load_run(path), new_run)
    assert (path / "notes.txt").read_text() == "mine"
    assert (path / "plots" / "a.svg").read_text() == "<svg/>"
    assert (path / "plots" / "latest.svg").is_symlink()
    assert (path / "gone").is_symlink()
    assert not (path / "event_books.npy").exists()  # of the old run, which had events


def test_a_folder_with_files_but_no_run_is_used_and_its_files_kept(old_run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    save_run(old_run, tmp_path / "run")
    assert_same_run(load_run(tmp_path / "run"), old_run)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_damaged_run_can_be_overwritten(old_run: Run, new_run: Run, tmp_path: Path) -> None:
    path = saved(old_run, tmp_path / "run")
    (path / MANIFEST).write_text("[]")
    save_run(new_run, path, overwrite=True)
    assert_same_run(load_run(path), new_run)


# A kill at any moment leaves the old run or the new one.

KILLER = """
import os, shutil, sys
from itertools import pairwise
from pathlib import Path
import polars as pl, safetensors.numpy
from shelfwise import artifact

source, target, work, can_exchange = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "True"
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.listdir", "os.scandir",
          "shutil.copyfile", "shutil.copytree", "shutil.rmtree", "tempfile.mkdtemp"}


def save_and_die_at(step, place):
    run = artifact.load_run(source)
    done = 0

    def count():
        nonlocal done
        done += 1
        if done == step:
            os._exit(9)

    def around(call):
        def counted(*args, **options):
            count()
            result = call(*args, **options)
            count()
            return result
        return counted

    artifact._exchange = around(artifact._exchange if can_exchange else lambda a, b: False)
    pl.DataFrame.write_parquet = around(pl.DataFrame.write_parquet)
    safetensors.numpy.save_file = around(safetensors.numpy.save_file)
    sys.addaudithook(lambda event, args: count() if event in EVENTS else None)
    artifact.save_run(run, place, overwrite=True)
    os._exit(0)


step, code = 0, 9
while code == 9:  # a fork for each step, before polars has any threads
    step += 1
    place = work / str(step) / "run"
    if target.exists():
        shutil.copytree(target, place)
    else:
        place.parent.mkdir()
    child = os.fork()
    if child == 0:
        try:
            save_and_die_at(step, place)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_at_any_step_leaves_the_old_run_or_the_new_one(
    old_run: Run, new_run: Run, tmp_path: Path, can_exchange: bool
) -> None:
    source, target = saved(new_run, tmp_path / "source"), saved(old_run, tmp_path / "target")
    (target / "notes.txt").write_text("mine")
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-c", KILLER, str(source), str(target), str(work), str(can_exchange)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    steps = sorted(work.iterdir(), key=lambda folder: int(folder.name))
    left: list[int] = []
    for folder in steps:
        path = folder / "run"
        moment_without_a_run = not path.exists()
        assert not (moment_without_a_run and can_exchange), folder.name
        found = load_run(path)
        left.append(found.settings["seed"])
        assert_same_run(found, new_run if left[-1] else old_run)
        assert (path / "notes.txt").read_text() == "mine", folder.name
        save_run(old_run, path, overwrite=True)
        assert [file.name for file in folder.iterdir()] == ["run"], "leftovers were not swept"
        assert_same_run(load_run(path), old_run)
    assert len(steps) > 50
    assert set(left) == {0, 1}
    assert left == sorted(left)  # the old one up to one moment, the new one from there on


@pytest.mark.parametrize("name", ["run", "run [1]*?"])
def test_a_run_lost_between_two_renames_is_found_again_and_not_overwritten_unasked(
    old_run: Run, new_run: Run, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    for again in (lambda: save_run(new_run, path), lambda: artifact.check_place(path, overwrite=False)):
        save_run(old_run, tmp_path / f".{name}.building-x-old")
        with pytest.raises(RunExistsError):
            again()
        assert_same_run(load_run(path), old_run)
        shutil.rmtree(path)


def test_a_lost_run_that_another_process_brings_back_first_is_no_error(
    old_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = tmp_path / ".run.building-x-old"
    save_run(old_run, lost)
    rename = Path.rename

    def too_late(self: Path, target: Path) -> Path:
        rename(self, target)
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "rename", too_late)
    assert_same_run(load_run(tmp_path / "run"), old_run)


def test_a_lost_run_that_may_not_be_brought_back_is_said_and_left(
    old_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = tmp_path / ".run.building-x-old"
    save_run(old_run, lost)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        for call in (load_run, lambda place: save_run(old_run, place, overwrite=True)):
            with pytest.raises(OutputError, match="Permission denied"):
                call(tmp_path / "run")
    assert_same_run(load_run(tmp_path / "run"), old_run)


def test_without_exchange_a_run_is_replaced_all_the_same(
    old_run: Run, new_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_exchange", lambda a, b: False)
    path = saved(old_run, tmp_path / "run")
    save_run(new_run, path, overwrite=True)
    assert_same_run(load_run(path), new_run)
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_without_exchange_a_failing_rename_brings_the_old_run_back(
    old_run: Run, new_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(old_run, tmp_path / "run")
    rename = Path.rename

    def refuse_the_new_one(self: Path, target: Path) -> Path:
        if "-old" not in self.name + Path(target).name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(artifact, "_exchange", lambda a, b: False)
    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(OutputError, match="Input/output error"):
        save_run(new_run, path, overwrite=True)
    assert path.is_dir()
    assert_same_run(load_run(path), old_run)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a size at which one run fits and a second does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("no small disk: only root may mount a tmpfs, and not in every container")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_run(old_run: Run, new_run: Run, tiny_disk: Path) -> None:
    path = saved(old_run, tiny_disk / "run")
    with (tiny_disk / "ballast").open("wb") as ballast:
        ballast.write(b"x" * max(shutil.disk_usage(tiny_disk).free - 20_000, 0))
    with pytest.raises(OutputError, match="the disk is full"):
        save_run(new_run, path, overwrite=True)
    assert_same_run(load_run(path), old_run)
    assert sorted(file.name for file in tiny_disk.iterdir()) == ["ballast", "run"]


# Nothing is taken on trust.


def listed(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.name != MANIFEST)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "longer", "empty"])
def test_a_damaged_file_is_refused_by_name(old_run: Run, tmp_path: Path, damage: str) -> None:
    path = saved(old_run, tmp_path / "run")
    assert len(listed(path)) == 15
    for file in listed(path):
        content = file.read_bytes()
        middle = len(content) // 2
        if damage == "missing":
            file.unlink()
        else:
            flipped = bytes([content[middle] ^ 1])
            file.write_bytes(
                {
                    "truncated": content[:-1],
                    "flipped": content[:middle] + flipped + content[middle + 1 :],
                    "longer": content + b"\0",
                    "empty": b"",
                }[damage]
            )
        with pytest.raises(CorruptRunError, match=re.escape(file.name)):
            load_run(path)
        file.write_bytes(content)
    assert_same_run(load_run(path), old_run)


def test_two_swapped_files_are_refused(old_run: Run, tmp_path: Path) -> None:
    path = saved(old_run, tmp_path / "run")
    files = listed(path)
    for a, b in pairwise(files):
        contents = a.read_bytes(), b.read_bytes()
        a.write_bytes(contents[1])
        b.write_bytes(contents[0])
        with pytest.raises(CorruptRunError):
            load_run(path)
        a.write_bytes(contents[0])
        b.write_bytes(contents[1])


def test_files_of_another_run_are_refused_even_with_their_manifest_entries(
    old_run: Run, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    smaller = train_on(write_world(tmp_path_factory.mktemp("small"), rows_of_a_world(n_readers=9)))
    path, other = saved(old_run, tmp_path / "run"), saved(smaller, tmp_path / "other")
    entries = json.loads((path / MANIFEST).read_text())["files"]
    others = json.loads((other / MANIFEST).read_text())["files"]
    for name in ("readers.parquet", "shelf_indptr.npy", "shelf_books.npy", "shelf_parts.npy"):
        content = (path / name).read_bytes()
        (path / name).write_bytes((other / name).read_bytes())
        edit_manifest(path, files=entries | {name: others[name]})
        with pytest.raises(CorruptRunError, match="do not fit"):
            load_run(path)
        (path / name).write_bytes(content)


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(old_run: Run, tmp_path: Path) -> None:
    path = saved(old_run, tmp_path / "run")
    edit_manifest(path, format_version=2, shelfwise="9.1", unheard_of={})
    with pytest.raises(RunVersionError, match=r"format version 2, written by shelfwise 9\.1"):
        load_run(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "{}", "\xff", '{"format_version": 1}'])
def test_what_is_no_manifest_is_refused(old_run: Run, tmp_path: Path, text: str) -> None:
    path = saved(old_run, tmp_path / "run")
    (path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptRunError):
        load_run(path)


@pytest.mark.parametrize("name", ["../x", "..", "/etc/hostname", "sub/x"])
def test_a_manifest_cannot_name_files_outside_the_run(old_run: Run, tmp_path: Path, name: str) -> None:
    path = saved(old_run, tmp_path / "run")
    (tmp_path / "x").write_text("secret")
    (path / "sub").mkdir()
    (path / "sub" / "x").write_text("secret")
    entry = {"n_bytes": 6, "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}
    files = json.loads((path / MANIFEST).read_text())["files"]
    edit_manifest(path, files=files | {name: entry})
    with pytest.raises(CorruptRunError):
        load_run(path)
    edit_manifest(path, files=files, documents=[name])
    with pytest.raises(CorruptRunError):
        load_run(path)


def test_a_manifest_with_any_byte_changed_loads_or_is_refused(old_run: Run, tmp_path: Path) -> None:
    """Its report may be edited, and nothing tells; but no change ends in any other error."""
    path = saved(old_run, tmp_path / "run")
    content = (path / MANIFEST).read_bytes()
    # All of what the run is made from, and a sample of the rest.
    wanted = [m.span() for key in (b'"model"', b'"data"', b'"documents"') for m in re.finditer(key, content)]
    places = sorted({p for start, _ in wanted for p in range(start, start + 150)} | set(range(0, len(content), 97)))
    for place in places:
        for bit in (1, 16):
            changed = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
            (path / MANIFEST).write_bytes(changed)
            try:
                load_run(path)
            except (CorruptRunError, RunVersionError):
                continue
    (path / MANIFEST).write_bytes(content)
    assert_same_run(load_run(path), old_run)


def unreadable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system refuse to open files of this name, as it does for readers without permission (root has all)."""
    opened = io.open

    def refuse(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, Path) and file.name == name:
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, *args, **options)

    monkeypatch.setattr(io, "open", refuse)


@pytest.mark.parametrize("name", [MANIFEST, "books.parquet"])
def test_a_file_that_may_not_be_read_is_refused(
    old_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = saved(old_run, tmp_path / "run")
    unreadable(name, monkeypatch)
    with pytest.raises(CorruptRunError, match="Permission denied"):
        load_run(path)


@pytest.mark.parametrize("arrays", [{}, {"mean": []}, {"mean": [3.0], "book_bias": [0.0], "book_counts": [1]}])
def test_a_model_file_that_holds_something_else_is_refused(
    old_run: Run, tmp_path: Path, arrays: dict[str, list[float]]
) -> None:
    path = saved(old_run, tmp_path / "run")
    file = path / "model.safetensors"
    full = {"book_bias": np.zeros(20), "book_counts": np.ones(20, np.int32)} if arrays == {"mean": []} else {}
    safetensors.numpy.save_file(full | {name: np.array(values) for name, values in arrays.items()}, file)
    entry = {"n_bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    edit_manifest(path, files=json.loads((path / MANIFEST).read_text())["files"] | {file.name: entry})
    with pytest.raises(CorruptRunError):
        load_run(path)


@pytest.mark.parametrize(
    ("model", "recipe", "changes"),
    [
        ("ncf", "default", {"hidden": [3, 2]}),
        ("ncf", "default", {"hidden": []}),
        ("hybrid", "default", {"seen_by_mlp": 5}),
        ("mf", "notebook", {"kind": "ncf"}),
        ("ncf", "notebook", {"layers": 2}),
        ("mf", "default", {"kind": "mf", "recipe": "notebook"}),
        ("bias", "default", {"kind": "mf"}),
    ],
)
def test_a_model_that_its_manifest_does_not_describe_is_refused(
    tmp_path: Path, model: str, recipe: str, changes: dict[str, object]
) -> None:
    settings = {} if model == "bias" else {"embedding_dim": 8, "epochs": 1}
    run = train_on(write_world(tmp_path / "world"), model=model, recipe=recipe, settings=settings)
    path = saved(run, tmp_path / "run")
    described = json.loads((path / MANIFEST).read_text())["model"]
    edit_manifest(path, model=described | changes)
    with pytest.raises(CorruptRunError):
        load_run(path)


def test_the_source_reads_nothing_that_can_run_code() -> None:
    source = Path(shelfwise.__file__).parent
    forbidden = re.compile(r"\bimport pickle|\bpickle\.|allow_pickle=True|torch\.load\(|joblib|(?<![.\w])(eval|exec)\(")
    for file in source.rglob("*.py"):
        found = forbidden.search(file.read_text(encoding="utf-8"))
        assert found is None, f"{file}: {found}"
        for call in re.findall(r"np\.load\([^)]*\)", file.read_text(encoding="utf-8")):
            assert "allow_pickle=False" in call or "npz" in call, f"{file}: {call}"

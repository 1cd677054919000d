"""A run: a folder on disk <-> model, vocabularies, catalogue, shelves and provenance.

    manifest.json        what was done, from what, with which result; SHA-256 and size of every file below
    model.safetensors    what was learned about books and in general
    readers.safetensors  what was learned about single readers; only for models that do
    books.parquet, tags.parquet, content_terms.parquet, content.npz   the catalogue and what books are about
    readers.parquet      reader ids, in order of index
    shelf_*.npy          all ratings that the run knows, by reader; memory-mapped
    event_*.npy          what readers took up without stars; only where there are events
    history.json, loss.png   the epochs of training; only for models trained by the loop
    report.html, measures.parquet   the report to look at, and its measures by reader

A run is written beside its place, flushed and then renamed, so that a kill at any moment leaves the
old run or the new one. Other files in the folder are ignored, and kept when a run is replaced.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import safetensors.numpy
import scipy.sparse as sp
from pydantic import ValidationError

from shelfwise.config import Config
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.files import output_errors, sync
from shelfwise.data.scale import Scale, parse_scale
from shelfwise.data.shelves import Shelves
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import (
    ConfigError,
    CorruptRunError,
    MissingDataError,
    RunExistsError,
    RunVersionError,
    UsageError,
)
from shelfwise.features.content import ContentSpace
from shelfwise.models.contract import Model
from shelfwise.models.registry import model_class, model_config
from shelfwise.version import __version__

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
# Of a training that was broken off, here or on a cluster; in the folder that is to become the run.
CHECKPOINT = "checkpoint.safetensors"
CHECKPOINTS = "checkpoint"
# What the files of a damaged run, or of one written by hand, may raise when they are read.
UNREADABLE = (
    LookupError,
    TypeError,
    ValueError,
    OSError,
    RuntimeError,
    UsageError,
    ConfigError,
    pl.exceptions.PolarsError,
    safetensors.SafetensorError,
)


class FileEntry(Config):
    """One file of a run."""

    sha256: str
    n_bytes: int


class Manifest(Config):
    """manifest.json. `settings` is all that train was asked for; `report` what it measured."""

    format_version: int
    shelfwise: str
    model: dict[str, Any]
    settings: dict[str, Any]
    data: dict[str, Any]
    report: dict[str, Any]
    documents: list[str]
    files: dict[str, FileEntry]

    @property
    def scale(self) -> Scale:
        return parse_scale(self.data["scale"])


@dataclass(frozen=True)
class Run:
    """A run in memory.

    shelves  every rating the run knows, by reader (rows of `readers`); stars and books memory-mapped
    parts    the part of each rating (data.split.PARTS), int8 [N], in the order of `shelves`
    events   books taken up without stars, by reader; their stars are 0
    documents  files for people beside the rest, by name: history.json, loss.png
    """

    model: Model
    catalogue: Catalogue
    space: ContentSpace
    content: sp.csr_matrix
    readers: Vocabulary
    shelves: Shelves
    parts: npt.NDArray[np.int8]
    events: Shelves
    settings: dict[str, Any]
    data: dict[str, Any]
    report: dict[str, Any]
    documents: dict[str, bytes] = field(default_factory=dict)


def check_place(path: Path, *, overwrite: bool) -> None:
    """Raise RunExistsError where `path` holds a run and may not be overwritten, or is no place for one."""
    _recover(path)
    if file := next((place for place in (path, *path.parents) if place.is_file()), None):
        raise RunExistsError(f"{file} is a file", hint="choose another place for the run")
    if has_run(path) and not overwrite:
        raise RunExistsError(f"{path} already holds a run", hint="choose another folder, or give --overwrite")


def has_run(path: Path) -> bool:
    """Whether a run is at `path`."""
    return (path / MANIFEST).is_file()


def broken_off(path: Path) -> bool:
    """Whether a training that was broken off left something at `path` to go on from."""
    return (path / CHECKPOINT).exists() or any((path / CHECKPOINTS).glob("*/checkpoint_*/*"))


def forget_training(path: Path) -> None:
    """Remove what a training that was broken off left at `path`. Raises OutputError."""
    with output_errors(path):
        (path / CHECKPOINT).unlink(missing_ok=True)
        if (path / CHECKPOINTS).is_dir():
            shutil.rmtree(path / CHECKPOINTS)


def save_run(run: Run, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a run. Raises RunExistsError, OutputError; on any error what was at `path` is still there."""
    path = Path(path).resolve()  # so that what a link names is replaced, not the link
    check_place(path, overwrite=overwrite)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        building = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        try:
            building.chmod(0o755)
            _write_files(run, building)
            _carry_strangers(path, building)
            for file in building.iterdir():
                if file.is_file():
                    sync(file)
            sync(building)
            _swap(building, path)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def load_run(path: str | Path) -> Run:
    """Read a run, checking every file. Raises MissingDataError, CorruptRunError, RunVersionError."""
    path = Path(path)
    manifest = read_manifest(path)
    try:
        _check_files(path, manifest)
        config = model_config(manifest.model["kind"], manifest.model["recipe"], manifest.model)
        model = model_class(config).from_state(
            config,
            manifest.scale,
            safetensors.numpy.load_file(path / "model.safetensors"),
            safetensors.numpy.load_file(path / "readers.safetensors")
            if "readers.safetensors" in manifest.files
            else {},
        )
        catalogue = Catalogue(_read_parquet(path / "books.parquet"), _read_parquet(path / "tags.parquet"))
        readers = Vocabulary(_read_parquet(path / "readers.parquet")["user_id"])
        shelves = _load_shelves(path, "shelf")
        run = Run(
            model=model,
            catalogue=catalogue,
            space=ContentSpace(_read_parquet(path / "content_terms.parquet")),
            content=sp.csr_matrix(sp.load_npz(path / "content.npz")),
            readers=readers,
            shelves=shelves,
            parts=np.load(path / "shelf_parts.npy", mmap_mode="r", allow_pickle=False),
            events=_load_shelves(path, "event") if "event_books.npy" in manifest.files else Shelves.empty(len(readers)),
            settings=manifest.settings,
            data=manifest.data,
            report=manifest.report,
            documents={name: (path / name).read_bytes() for name in manifest.documents},
        )
    except UNREADABLE as error:
        raise CorruptRunError(f"{path}: {error}", hint="train it again or restore a copy") from error
    _check_shapes(run, path)
    return run


def read_manifest(path: Path) -> Manifest:
    """The manifest of the run at `path`. Raises MissingDataError, CorruptRunError, RunVersionError."""
    _recover(path)
    file = path / MANIFEST
    if not file.is_file():
        raise MissingDataError(f"no run at {path}", hint="make one: shelfwise train DATA --out RUN")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        version = raw["format_version"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CorruptRunError(f"{file} is not a manifest: {error!r}", hint="restore a copy of the run") from error
    if version != FORMAT_VERSION:
        raise RunVersionError(
            f"{path} has format version {version!r}, written by shelfwise {raw.get('shelfwise')}; "
            f"this is shelfwise {__version__}, which reads format version {FORMAT_VERSION}",
            hint="upgrade shelfwise, or train the run again",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise CorruptRunError(f"{file}: {error}", hint="restore a copy of the run") from error


def load_document(path: Path, name: str) -> bytes:
    """One of a run's documents, checked. Raises MissingDataError, CorruptRunError, RunVersionError."""
    manifest = read_manifest(path)
    if name not in manifest.documents:
        raise MissingDataError(f"{path} holds no {name}", hint="train it again")
    only = manifest.model_copy(update={"documents": [name], "files": {name: manifest.files[name]}})
    _check_files(path, only)
    return (path / name).read_bytes()


def _write_files(run: Run, folder: Path) -> None:
    safetensors.numpy.save_file(_contiguous(run.model.book_state()), folder / "model.safetensors")
    if reader_state := run.model.reader_state():
        safetensors.numpy.save_file(_contiguous(reader_state), folder / "readers.safetensors")
    run.catalogue.books.write_parquet(folder / "books.parquet")
    run.catalogue.tags.write_parquet(folder / "tags.parquet")
    run.space.terms.write_parquet(folder / "content_terms.parquet")
    sp.save_npz(folder / "content.npz", run.content, compressed=False)
    pl.DataFrame({"user_id": run.readers.ids}).write_parquet(folder / "readers.parquet")
    _save_shelves(run.shelves, folder, "shelf")
    np.save(folder / "shelf_parts.npy", run.parts, allow_pickle=False)
    if len(run.events.item_idx):
        _save_shelves(run.events, folder, "event")
    for name, content in run.documents.items():
        (folder / name).write_bytes(content)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors makes its files private
    files = {
        file.name: FileEntry(sha256=_sha256(file), n_bytes=file.stat().st_size) for file in sorted(folder.iterdir())
    }
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        shelfwise=__version__,
        model=run.model.config.model_dump(mode="json"),
        settings=run.settings,
        data=run.data,
        report=run.report,
        documents=sorted(run.documents),
        files=files,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _contiguous(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _save_shelves(shelves: Shelves, folder: Path, name: str) -> None:
    for part, array in (("indptr", shelves.indptr), ("books", shelves.item_idx), ("stars", shelves.stars)):
        np.save(folder / f"{name}_{part}.npy", array, allow_pickle=False)


def _load_shelves(folder: Path, name: str) -> Shelves:
    read: Callable[[str], Any] = lambda part: np.load(  # noqa: E731
        folder / f"{name}_{part}.npy", mmap_mode="r", allow_pickle=False
    )
    return Shelves(np.asarray(read("indptr")), read("books"), read("stars"))


def _read_parquet(file: Path) -> pl.DataFrame:
    return pl.read_parquet(file, glob=False)  # a path is a path, whatever is in its name


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_files(path: Path, manifest: Manifest) -> None:
    """Raise CorruptRunError for the first file that is not as the manifest says."""
    if unlisted := set(manifest.documents) - set(manifest.files):
        raise CorruptRunError(f"{path}: nothing vouches for {min(unlisted)!r}", hint="restore a copy of the run")
    for name, entry in manifest.files.items():
        file = path / name
        if Path(name).name != name:
            raise CorruptRunError(f"{path}: {name!r} is outside the run", hint="restore a copy of the run")
        if not file.is_file():
            raise CorruptRunError(f"{file} is missing", hint="restore a copy of the run")
        if file.stat().st_size != entry.n_bytes:
            raise CorruptRunError(
                f"{file} has {file.stat().st_size} bytes, not {entry.n_bytes}",
                hint="restore a copy of the run",
            )
        if _sha256(file) != entry.sha256:
            raise CorruptRunError(f"{file} was altered: its SHA-256 differs", hint="restore a copy of the run")


def _check_shapes(run: Run, path: Path) -> None:
    """Raise CorruptRunError where parts that belong together do not fit: files of two runs, say."""
    fits = (
        len(run.model.book_counts) == len(run.catalogue) == run.content.shape[0]
        and len(run.shelves) == len(run.readers) == len(run.events)
        and len(run.parts) == len(run.shelves.item_idx) == len(run.shelves.stars) == run.shelves.indptr[-1]
        and run.content.shape[1] == len(run.space.terms)
    )
    if not fits:
        raise CorruptRunError(f"{path}: its files do not fit each other", hint="restore a copy of the run")


def _prefix(path: Path) -> str:
    return f".{path.name}.building-"


def _recover(path: Path) -> None:
    """Put the old run back if a save without atomic exchange was killed between its two renames. Raises OutputError."""
    path = path.resolve()
    if not path.exists():
        for old in path.parent.glob(f"{glob.escape(_prefix(path))}*-old"):
            with output_errors(path), suppress(FileNotFoundError):  # another process was faster
                old.rename(path)
            return


def _sweep(path: Path) -> None:
    """Remove what a killed save left beside `path`."""
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _carry_strangers(path: Path, building: Path) -> None:
    """Copy what others put into the old run's folder."""
    if not path.is_dir():
        return
    ours = {MANIFEST, CHECKPOINT, CHECKPOINTS}
    if (path / MANIFEST).is_file():
        with suppress(ValueError, KeyError, TypeError):  # a damaged manifest names nothing: all files are kept
            ours |= set(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"])
    for stranger in path.iterdir():
        target = building / stranger.name
        if stranger.name not in ours and not target.exists():
            if stranger.is_dir() and not stranger.is_symlink():
                shutil.copytree(stranger, target, symlinks=True)
            else:
                shutil.copy2(stranger, target, follow_symlinks=False)


def _swap(new: Path, path: Path) -> None:
    """Put `new` in the place of `path` in one step where the system can; `new` then holds what was there."""
    if not path.exists():
        new.rename(path)
    elif not _exchange(new, path):
        # Not Linux, or a file system without exchange: the one moment without a run.
        old = new.with_name(new.name + "-old")
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    sync(path.parent)


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two folders atomically (Linux renameat2 with RENAME_EXCHANGE); False where that cannot be."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    at_fdcwd, rename_exchange = -100, 2
    done: int = renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), rename_exchange)
    return done == 0

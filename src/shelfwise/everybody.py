"""Lists for every reader of a run, in blocks of readers, by any engine: as frames, or as a folder of parts.

    lists.json            what was asked for, and at the end the rows of each part
    part-00000.parquet    the lists of the first PART_READERS readers of the run, and so on

A part is there whole or not at all: written beside its place and renamed, or put into an object store in one go; it is
always the same readers'. What was broken off goes on with the same call: parts that are there are kept, so that no
reader is missing or there twice.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import torch

from shelfwise.artifact import MANIFEST, read_manifest
from shelfwise.data.files import output_errors
from shelfwise.data.places import Place, Remote, at_hand, files_below, written
from shelfwise.data.vocabulary import Id
from shelfwise.engine import Engine
from shelfwise.errors import EngineError, MissingDataError, RunExistsError
from shelfwise.models.blocks import RANK_BLOCK
from shelfwise.models.contract import Progress, silent
from shelfwise.outside import OutsideRatings
from shelfwise.recommender import Recommender
from shelfwise.rules import Feedback, Rules, Shortfall
from shelfwise.rules.plan import OnShort, ignore_short

PART_READERS = 2 * RANK_BLOCK
MOST_WORKERS = 4  # unless more are asked for: each holds the run, some 0.5 GiB with 10,000 books
LARGE_RUN = 1 << 30  # bytes on disk, from which one process is enough unless more are asked for
REQUEST = "lists.json"

Span = tuple[int, int]  # readers of the run: the first, and the one after the last
Shorts = list[tuple[Id, Shortfall]]


@dataclass(frozen=True)
class Request:
    """What lists are asked for; `run` is the absolute path of a run that all machines see, `digest` of its manifest."""

    run: str
    digest: str
    n_readers: int
    n: int = 10
    order: str | None = None
    why: bool = False
    rules: Rules = field(default_factory=Rules)
    shelf: OutsideRatings | None = None
    feedback: Feedback | None = None
    part_readers: int = PART_READERS

    @property
    def spans(self) -> list[Span]:
        """The readers of each part."""
        size = self.part_readers
        return [(start, min(start + size, self.n_readers)) for start in range(0, self.n_readers, size)]

    def name(self, span: Span) -> str:
        """The file of a part."""
        return f"part-{span[0] // self.part_readers:05d}.parquet"


def load_recommender(run: Path, order: str | None = None) -> Recommender:
    """The recommender of a run; a request for its lists that is worked out in this process finds it again."""
    return _recommender(str(run.resolve()), _digest(run), order)


def request_of(run: Path, recommender: Recommender, **asked: Any) -> Request:
    """The request for lists of a run that was read as `recommender`; `asked` by the names of Request."""
    run = run.resolve()
    return Request(str(run), _digest(run), len(recommender.run.readers), **asked)


def usual_workers(request: Request) -> int:
    """How many processes of this machine are at work: as many as PyTorch would take threads, and no more than help.

    Most of what a list costs is too small for threads to share: two processes take four fifths of the time.
    """
    if sum(file.stat().st_size for file in Path(request.run).iterdir()) >= LARGE_RUN:
        return 1
    return min(torch.get_num_threads(), MOST_WORKERS, max(len(request.spans), 1))


def lists_of_all(
    request: Request, engine: Engine, on_progress: Progress = silent, on_short: OnShort = ignore_short
) -> Iterator[pl.DataFrame]:
    """The lists, a frame for each part; as Recommender.recommend_all. Raises EngineError."""
    for span, (frame, shorts) in zip(request.spans, engine.map(_lists, request.spans, request), strict=True):
        for who, short in shorts:
            on_short(who, short)
        on_progress("recommend", span[1], request.n_readers)
        yield frame


def write_lists(
    request: Request, folder: Place, engine: Engine, on_progress: Progress = silent, on_short: OnShort = ignore_short
) -> int:
    """Write the parts that are not in `folder` yet; returns the rows of all. on_short hears of the new parts only.

    Raises RunExistsError where the folder holds something else, OutputError, EngineError, FetchError.
    """
    if isinstance(folder, Path):
        folder = folder.resolve()
    known = _asked(request)
    _claim(folder, known)
    there = set(files_below(folder))
    missing = [span for span in request.spans if request.name(span) not in there]
    rows = {name: _rows(folder / name) for name in map(request.name, request.spans) if name in there}
    done = request.n_readers - sum(stop - start for start, stop in missing)
    for span, (n_rows, shorts) in zip(missing, engine.map(_write_part, missing, (request, folder)), strict=True):
        rows[request.name(span)] = n_rows
        for who, short in shorts:
            on_short(who, short)
        done += span[1] - span[0]
        on_progress("recommend", done, request.n_readers)
    _assert_there(folder, rows)
    if isinstance(folder, Path):
        for leftover in folder.glob(".part-*.tmp"):  # of workers that were killed
            leftover.unlink(missing_ok=True)
    _write_json(folder / REQUEST, {**known, "parts": rows})
    return sum(rows.values())


def _lists(request: Request, span: Span) -> tuple[pl.DataFrame, Shorts]:
    """The lists of a part, and those among them that are short."""
    recommender = _recommender(request.run, request.digest, request.order)
    shorts: Shorts = []
    frames = recommender.recommend_all(
        recommender.run.readers.ids[span[0] : span[1]],
        request.shelf,
        n=request.n,
        rules=request.rules,
        feedback=request.feedback,
        why=request.why,
        on_short=lambda who, short: shorts.append((who, short)),
    )
    return pl.concat(list(frames)), shorts


def _write_part(shared: tuple[Request, Place], span: Span) -> tuple[int, Shorts]:
    """Write a part; returns its rows, and which of its lists are short."""
    request, folder = shared
    frame, shorts = _lists(request, span)
    with written(folder / request.name(span)) as temporary:
        frame.write_parquet(temporary)
    return len(frame), shorts


@lru_cache(maxsize=1)
def _recommender(run: str, digest: str, order: str | None) -> Recommender:
    """The run, read once by each process. Raises EngineError where this machine has not this run at that place."""
    there = Path(run) / MANIFEST
    if not there.is_file() or _digest(Path(run)) != digest:
        raise EngineError(
            f"the machine {socket.gethostname()} has not this run at {run}",
            hint="put the run where all machines see it under the same path",
        )
    recommender = Recommender.load(run)
    return recommender if order is None else recommender.ordered(order)


def _digest(run: Path) -> str:
    """SHA-256 of a run's manifest, which vouches for all its files, hex. Raises what read_manifest raises."""
    read_manifest(run)
    return hashlib.sha256((run / MANIFEST).read_bytes()).hexdigest()


def _asked(request: Request) -> dict[str, Any]:
    """What decides the lists, fit for JSON; ratings and feedback from outside by a hash."""
    outside = hashlib.sha256()
    if request.shelf is not None:
        outside.update(pl.DataFrame({"id": request.shelf.readers.ids}).write_csv().encode())
        for array in (request.shelf.shelves.indptr, request.shelf.shelves.item_idx, request.shelf.shelves.stars):
            outside.update(array.tobytes())
    if request.feedback is not None:
        outside.update(pl.DataFrame({"id": request.feedback.readers.ids}).write_csv().encode())
        for action, marks in sorted(request.feedback.marks.items()):
            outside.update(action.encode() + marks.indptr.tobytes() + marks.item_idx.tobytes())
    return {
        "run": request.digest,
        "n_readers": request.n_readers,
        "readers_per_part": request.part_readers,
        "n": request.n,
        "order": request.order,
        "why": request.why,
        "rules": request.rules.model_dump(mode="json", exclude_defaults=True),
        "outside": outside.hexdigest(),
    }


def _claim(folder: Place, asked: dict[str, Any]) -> None:
    """Make the folder one of these lists, or go on with it. Raises RunExistsError, OutputError, FetchError."""
    try:
        with at_hand(folder / REQUEST) as here:
            there = json.loads(here.read_text(encoding="utf-8"))
    except (FileNotFoundError, MissingDataError):
        there = None
    except (OSError, ValueError) as error:
        raise RunExistsError(f"{folder / REQUEST} cannot be read: {error}", hint="choose another folder") from error
    if there is None:
        if folder.below() if isinstance(folder, Remote) else _taken(folder):
            raise RunExistsError(f"{folder} holds something else", hint="choose another folder for the lists")
        if isinstance(folder, Path):
            with output_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / REQUEST, asked)
    elif not isinstance(there, dict) or {name: there.get(name) for name in asked} != asked:
        raise RunExistsError(
            f"{folder} holds lists of another run or with other settings", hint="choose another folder, or remove it"
        )


def _taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _write_json(path: Place, content: dict[str, Any]) -> None:
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _assert_there(folder: Place, names: Iterable[str]) -> None:
    """Raise EngineError where a worker wrote a part to a folder that is not this one."""
    there = set(files_below(folder))
    for name in names:
        if name not in there:
            raise EngineError(
                f"{folder / name} is not there, though a worker wrote it",
                hint="choose a folder that all machines share",
            )


def _rows(part: Place) -> int:
    with at_hand(part) as here:
        return int(pl.scan_parquet(here, glob=False).select(pl.len()).collect().item())

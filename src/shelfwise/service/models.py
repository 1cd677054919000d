"""Runs that are served: loaded, verified, tried out and exchanged as one object each."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from shelfwise.artifact import MANIFEST, Run, load_run
from shelfwise.data.vocabulary import Id
from shelfwise.errors import CorruptRunError, NotFoundError, UsageError
from shelfwise.memory import give_back_memory
from shelfwise.recommender import Recommender

GOLDEN_SHELVES, GOLDEN_LIST = (0, 1, 5, 20), 10
UNDER_WAY = 5.0  # seconds after which no answer is still made by a run that was exchanged


@dataclass(frozen=True)
class Served:
    """A run in memory: model, vocabularies and catalogue belong together and are never exchanged alone.

    version  begins the SHA-256 of the manifest, which vouches for every file; loaded  seconds since 1970
    """

    name: str
    path: Path
    version: str
    recommender: Recommender
    loaded: float
    _by_order: dict[str, Recommender] = field(default_factory=dict)

    def book_id(self, book_id: Id) -> Id:
        """A book id as the catalogue has ids: a number where all are numbers and this is one."""
        numbers = self.recommender.run.catalogue.vocabulary.ids.dtype == pl.Int64
        text = str(book_id)
        is_number = text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19 and str(int(text)) == text
        return int(text) if numbers and is_number else text

    def ordered(self, order: str | None) -> Recommender:
        """The recommender with lists in an order. Raises UsageError where the model has none of that name."""
        if order is None:
            return self.recommender
        if order not in self._by_order:
            self._by_order[order] = self.recommender.ordered(order)
        return self._by_order[order]


class Models:
    """The runs that may be served, by the names of their folders; one answers."""

    def __init__(self, paths: Sequence[Path], prepare: Callable[[Served], None] = lambda _: None) -> None:
        """Load the first; `prepare` is called with each run before it may answer.

        Raises what load_run and `prepare` raise, CorruptRunError where its answers are none, UsageError.
        """
        self._prepare = prepare
        names = [path.resolve().name for path in paths]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(
                f"two runs are called {twice[0]!r}", hint="a run is served by its folder's name: rename one"
            )
        self.paths = {path.resolve().name: path.resolve() for path in paths}
        self._lock = threading.Lock()
        self._exchanges, self._giving_back = 0, False
        self.previous: Served | None = None
        self.active = self._load(next(iter(self.paths.values())))

    def activate(self, name: str) -> Served:
        """Let another run answer; on any error the old one goes on. Raises NotFoundError, RunError."""
        if name not in self.paths:
            raise NotFoundError(f"no model {name!r} is served here", hint=f"there are {', '.join(self.paths)}")
        with self._lock:
            served = self._load(self.paths[name], self.active)
            self.previous, self.active = self.active, served
            self._exchanges += 1
            if not self._giving_back:  # one thread, however quickly runs are exchanged
                self._giving_back = True
                threading.Thread(target=self._give_back, name="memory", daemon=True).start()
        return served

    def _give_back(self) -> None:
        """Give back the memory of runs that were let go, until none was for a while."""
        last = -1
        while True:
            with self._lock:
                if last == self._exchanges:
                    self._giving_back = False
                    return
                last = self._exchanges
            time.sleep(UNDER_WAY)
            give_back_memory()

    def reload(self, name: str) -> None:
        """Take a run that was changed on disk into memory, where it is there. Raises RunError."""
        with self._lock:
            if self.previous is not None and self.previous.name == name:
                self.previous = self._load(self.previous.path, self.previous)
            if self.active.name == name:
                self.active = self._load(self.active.path, self.active)

    def runs(self) -> Iterator[tuple[str, Run]]:
        """All runs by name, from memory where they are there. Raises RunError."""
        here = {served.name: served.recommender.run for served in (self.previous, self.active) if served is not None}
        for name, path in self.paths.items():
            yield name, here[name] if name in here else load_run(path)

    def roll_back(self) -> Served:
        """Let the run that answered before answer again. Raises NotFoundError."""
        with self._lock:
            if self.previous is None:
                raise NotFoundError("no other model has answered before", hint="activate one by its name")
            self.previous, self.active = self.active, self.previous
            return self.active

    def _load(self, path: Path, here: Served | None = None) -> Served:
        served = load_served(path)
        if here is not None:
            served.recommender.share(here.recommender)
        self._prepare(served)
        return served


def load_served(path: Path) -> Served:
    """A run loaded, verified by its checksums, and tried out. Raises RunError."""
    version = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()[:12] if (path / MANIFEST).is_file() else ""
    recommender = Recommender(load_run(path))
    try_out(recommender, path)
    return Served(path.name, path, version, recommender, time.time())


def try_out(recommender: Recommender, path: Path) -> None:
    """Answer golden requests, which also warms up. Raises CorruptRunError where an answer is no list."""
    ids, scale = recommender.run.catalogue.vocabulary.ids, recommender.run.model.scale
    for n in GOLDEN_SHELVES:
        books = np.unique(np.linspace(0, len(ids) - 1, n).astype(int)).tolist()
        ratings = [(ids[i], float(scale.values[place % len(scale.values)])) for place, i in enumerate(books)]
        found = recommender.recommend(ratings=ratings, n=GOLDEN_LIST)
        again = recommender.recommend(ratings=ratings, n=GOLDEN_LIST)
        stars = found["stars"].to_numpy()
        sound = (
            np.isfinite(stars).all()
            and bool((stars >= scale.low).all() and (stars <= scale.high).all())
            and found["book_id"].n_unique() == len(found)
            and found.equals(again)
            and (len(found) > 0 or len(books) == len(ids))
        )
        if not sound:
            raise CorruptRunError(f"{path}: a golden request got no sound list", hint="train the run again")

"""Work on a cluster, in a process of its own that may be killed: driver.py ADDRESS KIND ARGUMENTS."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfwise.data.sources import load_dataset
from shelfwise.engine import Engine, open_engine
from shelfwise.errors import ShelfwiseError

PACE = 0.05  # seconds between two blocks, so that there is a middle to break things in


@dataclass
class Paced:
    """An engine that says when a result has come, and takes its time."""

    engine: Engine

    @property
    def n_workers(self) -> int:
        return self.engine.n_workers

    def map(self, function: Callable[[Any, Any], Any], blocks: Iterable[Any], shared: Any) -> Iterator[Any]:
        for done, found in enumerate(self.engine.map(function, blocks, shared), start=1):
            print(f"{function.__name__} {done}", flush=True)
            time.sleep(PACE)
            yield found


def lists(engine: Engine, run: str, folder: str) -> None:
    """Lists for everybody, in parts of 32 readers."""
    from shelfwise.everybody import load_recommender, request_of, write_lists

    request = request_of(Path(run), load_recommender(Path(run)), part_readers=32)
    print(f"{write_lists(request, Path(folder), engine)} rows", flush=True)


def train(engine: Engine, data: str, run: str) -> None:
    """shelf, in blocks of 32 readers."""
    from shelfwise import TrainSettings, save_run
    from shelfwise.experiment import train as train_run
    from shelfwise.training import leave_one_out

    leave_one_out.BLOCK = 32
    settings = TrainSettings.parse({"model": "shelf", "settings": {"epochs": 1}})
    save_run(train_run(load_dataset(data), settings, engine=engine), run)


def fit(engine: Engine, data: str, run: str, folder: str) -> None:
    """mf by all workers together, slowed down."""
    from training_work import MF, Slow, Tapped

    from shelfwise import TrainSettings, save_run
    from shelfwise.artifact import CHECKPOINT
    from shelfwise.experiment import train as train_run
    from shelfwise.training import neumf
    from shelfwise.training.together import train_work

    def told(stage: str, done: int, total: int) -> None:
        print(f"{stage}: {done} of {total}", flush=True)

    neumf.train_work = lambda work, *rest: train_work(Tapped(work, Slow(Path(folder))), *rest)
    trained = train_run(
        load_dataset(data),
        TrainSettings.parse(MF),
        checkpoint=Path(run) / CHECKPOINT,
        on_progress=told,
        engine=engine,
    )
    save_run(trained, run, overwrite=True)


def call(engine: Engine, function: str, n_blocks: str, shared: str) -> None:
    """A function of engine_work."""
    import engine_work

    print(list(engine.map(getattr(engine_work, function), range(int(n_blocks)), shared)), flush=True)


def mismatch(address: str) -> None:
    """Joins as a process of another Ray would."""
    import ray._private.utils as of_ray

    of_ray.compute_version_info = lambda: ("2.0.0", "3.11.0")
    with open_engine("ray", address=address):
        pass


if __name__ == "__main__":
    address, kind, *words = sys.argv[1:]
    try:
        if kind == "mismatch":
            mismatch(address)
        else:
            with open_engine("ray", address=address) as connected:
                print("connected", flush=True)
                if kind == "fit":
                    fit(connected, *words)
                else:
                    {"lists": lists, "train": train, "call": call}[kind](Paced(connected), *words)
    except ShelfwiseError as error:
        print(f"error: {error}")
        sys.exit(1)

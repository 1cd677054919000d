"""Baselines cost once: their results are kept by a digest of everything they depend on.

In the folder named by SHELFWISE_CACHE (an empty name: nothing is kept), else ~/.cache/shelfwise.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import ValidationError

from shelfwise.data.files import atomic_write
from shelfwise.data.prepare import Prepared
from shelfwise.errors import OutputError
from shelfwise.evaluation.protocol import Exam
from shelfwise.evaluation.report import Result
from shelfwise.version import __version__

FORMAT = 4  # raised when a baseline or a metric changes


class BaselineCache:
    """Results of baselines on one exam."""

    def __init__(self, prepared: Prepared, exam: Exam) -> None:
        folder = os.environ.get("SHELFWISE_CACHE", str(Path("~/.cache/shelfwise").expanduser()))
        self.folder = Path(folder) / "baselines" / _key(prepared, exam) if folder else None

    def get(self, kind: str) -> tuple[Result, pl.DataFrame] | None:
        """What is kept of a baseline; None where there is nothing, or nothing readable."""
        if self.folder is None:
            return None
        try:
            result = Result.model_validate_json((self.folder / f"{kind}.json").read_text(encoding="utf-8"))
            return result, pl.read_parquet(self.folder / f"{kind}.parquet", glob=False)
        except (OSError, ValidationError, pl.exceptions.PolarsError):
            return None

    def put(self, kind: str, result: Result, readers: pl.DataFrame) -> None:
        """Keep a baseline's result; where that cannot be, it is only slower next time."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{kind}.parquet") as file:
                readers.write_parquet(file)
            with atomic_write(self.folder / f"{kind}.json") as file:
                file.write_text(result.model_dump_json(), encoding="utf-8")
        except (OSError, OutputError):
            return


def _key(prepared: Prepared, exam: Exam) -> str:
    state = hashlib.sha256(f"{__version__} {FORMAT} {exam.digest}".encode())
    ratings, content = prepared.ratings, exam.features.content
    order = np.lexsort((ratings.item_idx, ratings.user_idx))  # as a run keeps them, whatever the order of the file
    rows = (ratings.user_idx, ratings.item_idx, ratings.stars, prepared.parts)
    arrays: list[np.ndarray] = [array[order] for array in rows]
    arrays += [prepared.events.indptr, prepared.events.item_idx, content.indptr, content.indices, content.data]
    for array in arrays:
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()

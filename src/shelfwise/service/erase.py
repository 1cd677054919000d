"""Taking a reader out of a run: ratings, learned parameters, measures, examples; the manifest stays valid."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from shelfwise.artifact import Run, load_run, save_run
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.evaluation.page import report_page
from shelfwise.evaluation.report import Report
from shelfwise.models.registry import model_class

MEASURES, PAGE, HISTORY = "measures.parquet", "report.html", "history.json"


def erase_from_run(path: Path, reader_id: str) -> bool:
    """Rewrite the run at `path` without a reader; False where it does not know one. Raises RunError."""
    run = load_run(path)
    rest = without_reader(run, reader_id)
    if rest is None:
        return False
    save_run(rest, path, overwrite=True)
    return True


def without_reader(run: Run, reader_id: str) -> Run | None:
    """The run without a reader, or None where it does not know one.

    What was learned from all readers together stays: no single one can be read from it.
    """
    row = int(run.readers.find(pl.Series([reader_id]))[0])
    if row < 0:
        return None
    keep = np.arange(len(run.readers)) != row
    kept = np.flatnonzero(keep)
    model = run.model
    state = {name: array[keep] for name, array in model.reader_state().items()}
    report = {**run.report}
    if "examples" in report:
        report["examples"] = [one for one in report["examples"] if one["user_id"] != reader_id]
    return replace(
        run,
        model=model_class(model.config).from_state(model.config, model.scale, model.book_state(), state),
        readers=Vocabulary(run.readers.ids.filter(pl.Series(keep))),
        shelves=run.shelves.take(kept),
        parts=np.asarray(run.parts)[run.shelves.rows != row],
        events=run.events.take(kept),
        report=report,
        documents=_documents(run, report, reader_id),
    )


def _documents(run: Run, report: dict[str, object], reader_id: str) -> dict[str, bytes]:
    documents = dict(run.documents)
    if MEASURES in documents:
        frame = pl.read_parquet(io.BytesIO(documents[MEASURES]))
        buffer = io.BytesIO()
        frame.filter(pl.col("user_id").cast(pl.String) != reader_id).write_parquet(buffer)
        documents[MEASURES] = buffer.getvalue()
    if PAGE in documents and report.get("examples") != run.report.get("examples"):
        history = json.loads(documents[HISTORY]) if HISTORY in documents else []
        epochs = [{k: float("nan") if v is None else v for k, v in epoch.items()} for epoch in history]
        page = report_page(Report.model_validate(report), title=str(run.settings["model"]), command="", history=epochs)
        documents[PAGE] = page.encode()
    return documents

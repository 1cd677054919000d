"""A book that appears after training: a run that knows it by what it is about. Nothing is trained, nothing stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from shelfwise.artifact import Run
from shelfwise.data.vocabulary import Id
from shelfwise.errors import BadValueError, UsageError
from shelfwise.features.vectors import BookFeatures


def run_with_book(
    run: Run,
    book: dict[str, Any],
    *,
    tags: Sequence[str] = (),
    text: str = "",
    vector: Sequence[float] | None = None,
) -> tuple[Run, Id]:
    """The run with one book more, and the id that it gets; arguments as of Recommender.with_book.

    Raises UsageError without a title or where the model takes in no books, BadValueError for a vector that is none.
    """
    if not str(book.get("title") or "").strip():
        raise UsageError("a book without a title", hint="give its title")
    new = run.catalogue.new_book(book, (*tags, *(run.space.tags_in(text) if text else ())))
    catalogue = run.catalogue.extended(new)
    content = sp.csr_matrix(sp.vstack([run.content, run.space.transform(new)]))
    embedding = None
    if vector is not None:
        embedding = np.zeros((len(catalogue), len(vector)), dtype=np.float32)
        with np.errstate(over="ignore"):
            embedding[-1] = vector
        if not np.isfinite(np.square(embedding[-1]).sum()):
            raise BadValueError("a vector with numbers that are too large, or none", hint="correct it")
    model = run.model.with_new_books(BookFeatures(catalogue, run.space, content, embedding))
    grown = replace(run, model=model, catalogue=catalogue, content=content)
    return grown, catalogue.vocabulary.ids[-1]

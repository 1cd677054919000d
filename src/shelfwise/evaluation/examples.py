"""A few readers with their shelves and lists, by title, so that a person can judge what numbers cannot."""

from __future__ import annotations

import numpy as np
import polars as pl

from shelfwise.data.shelves import Indices
from shelfwise.evaluation.protocol import RANKING, TOP_K, Exam
from shelfwise.evaluation.report import Example
from shelfwise.models.contract import Model

N_EXAMPLES = 6
LEAST_SHELF = 5  # ratings: with fewer there is not much to judge by
TITLES = 6


def examples(model: Model, exam: Exam, readers: pl.DataFrame, trained_idx: Indices) -> list[Example]:
    """N_EXAMPLES readers: at even steps from the best list (by NDCG) to the worst that found something, and others."""
    ndcg = RANKING["ndcg"]
    if ndcg not in readers.columns:
        return []
    known = readers.filter(pl.col(ndcg).is_not_null() & (pl.col("shelf") >= LEAST_SHELF))
    ranked = known.sort([ndcg, "user_id"], descending=[True, False])
    if not len(ranked):
        return []
    n_found = int((ranked[ndcg] > 0).sum())
    ends = ((0, n_found - 1), (n_found, len(ranked) - 1))  # lists that found something, and lists that did not
    steps = [np.linspace(low, high, N_EXAMPLES // 2) for low, high in ends if low <= high]
    places = np.unique(np.concatenate(steps).round().astype(np.int64))
    rows = exam.ratings.readers.find(ranked["user_id"].gather(places.tolist()))
    shelves, seen = exam.shelves.take(rows), exam.seen.take(rows)
    lists = model.top(model.fold_in(shelves, trained_idx[rows]), TOP_K, seen).books
    titles = exam.features.catalogue.books["title"].fill_null("(no title)").to_list()
    shown = []
    for place, row in enumerate(rows):
        mine = shelves.take([place])
        order = np.argsort(-mine.stars, kind="stable")
        liked = set(exam.relevant.take([row]).item_idx.tolist())
        books = [int(book) for book in lists[place] if book >= 0]
        shown.append(
            Example(
                user_id=str(exam.ratings.readers.ids[int(row)]),
                ndcg=float(ranked[ndcg][int(places[place])]),
                liked=[titles[i] for i in mine.item_idx[order[:TITLES]]],
                disliked=[titles[i] for i in mine.item_idx[order[TITLES:][-2:]]],
                listed=[titles[book] for book in books],
                found=[book in liked for book in books],
            )
        )
    return shown

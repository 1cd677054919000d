"""The first n books of a score, without those that are left out: used by evaluation and recommender alike."""

from __future__ import annotations

import numpy as np

from shelfwise.data.shelves import Floats, Indices, Shelves


def top_n(scores: Floats, n: int, leave_out: Shelves | None = None) -> tuple[Indices, Floats]:
    """The n best books of each reader and their scores, best first; int32 and float32 [U, n].

    scores     float32 [U, I]; changed in place: what is left out becomes -inf
    leave_out  books of each reader that must not appear
    Equal scores are in order of index. Where fewer than n books remain, the rest is index -1, score -inf.
    """
    n_readers, n_books = scores.shape
    if leave_out is not None:
        scores[leave_out.rows, leave_out.item_idx] = -np.inf
    k = min(n, n_books)
    best = (
        np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < n_books else np.tile(np.arange(n_books), (n_readers, 1))
    )
    if 0 < k < n_books:
        best = _settle_ties(scores, best, k)
    found = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -found), axis=1)
    best, found = np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1)
    best = np.where(np.isneginf(found), -1, best).astype(np.int32)
    pad = ((0, 0), (0, n - k))
    return np.pad(best, pad, constant_values=-1), np.pad(found, pad, constant_values=-np.inf)


def _settle_ties(scores: Floats, best: np.ndarray, k: int) -> np.ndarray:
    """Where books outside the first k equal the k-th, choose among the equals by index."""
    lowest = np.take_along_axis(scores, best, axis=1).min(axis=1)
    tied = np.flatnonzero((scores >= lowest[:, None]).sum(axis=1) > k)
    for row in tied:
        better = np.flatnonzero(scores[row] > lowest[row])
        equal = np.flatnonzero(scores[row] == lowest[row])
        best[row] = np.concatenate([better, equal[: k - len(better)]])
    return best

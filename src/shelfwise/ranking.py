"""The first n books of a score, without those that are left out, and how good such a list is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    best = _first(scores, k) if 0 < k < n_books else np.tile(np.arange(k), (n_readers, 1))
    found = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -found), axis=1)
    best, found = np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1)
    best = np.where(np.isneginf(found), -1, best).astype(np.int32)
    pad = ((0, 0), (0, n - k))
    return np.pad(best, pad, constant_values=-1), np.pad(found, pad, constant_values=-np.inf)


def _first(scores: Floats, k: int) -> npt.NDArray[np.int64]:
    """The k best of each row in order of index, int64 [U, k]; among books that equal the k-th by index."""
    least = np.sort(scores, axis=1)[:, -k, None]  # vectorised; argpartition takes ten times as long on skewed rows
    enough = scores >= least
    tied = np.count_nonzero(enough, axis=1) > k
    best = np.empty((len(scores), k), dtype=np.int64)
    best[~tied] = np.nonzero(enough[~tied])[1].reshape(-1, k)
    for row in np.flatnonzero(tied):
        better = np.flatnonzero(scores[row] > least[row])
        equal = np.flatnonzero(scores[row] == least[row])
        best[row] = np.concatenate([better, equal[: k - len(better)]])
    return best


def ranking_metrics(lists: Indices, relevant: Shelves) -> dict[str, npt.NDArray[np.float64]]:
    """ndcg, recall and reciprocal_rank of each reader's list, float64 [U]; NaN for readers with nothing relevant.

    lists     int32 [U, K], best first, -1 where a list is shorter
    relevant  the relevant books of each reader
    NDCG: Järvelin and Kekäläinen, TOIS 2002, binary gain, log2(rank + 1) discount. Recall: hits over all relevant
    books. Reciprocal rank: 1 / rank of the first relevant book, 0 where the list has none (Voorhees, TREC-8, 1999).
    """
    n_readers, k = lists.shape
    n_books = int(max(lists.max(initial=0), relevant.item_idx.max(initial=0))) + 1
    pairs = relevant.rows * n_books + relevant.item_idx  # ascending, since rows and books within them are
    wanted = np.arange(n_readers)[:, None] * n_books + lists
    place = np.minimum(np.searchsorted(pairs, wanted), max(len(pairs) - 1, 0))
    hits = (pairs[place] == wanted) & (lists >= 0) if len(pairs) else np.zeros(lists.shape, dtype=bool)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.nan], np.cumsum(discounts)])[np.minimum(relevant.lengths, k)]
    n_relevant = np.where(relevant.lengths > 0, relevant.lengths, np.nan)
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0)
    return {
        "ndcg": (hits * discounts).sum(axis=1) / ideal,
        "recall": hits.sum(axis=1) / n_relevant,
        "reciprocal_rank": np.where(np.isnan(n_relevant), np.nan, first),
    }

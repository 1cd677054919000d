"""What is measured of predicted stars and of lists. Formulas and sources: docs/evaluation.md."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves


def star_metrics(predicted: Floats, stars: Floats, scale: Scale) -> dict[str, float]:
    """mse (stars squared), rmse and mae (stars), hit (share where the rounded prediction is right), n.

    Both arrays float32 [N]; NaN metrics where N is 0.
    """
    error = predicted.astype(np.float64) - stars
    if not len(error):
        return {"mse": np.nan, "rmse": np.nan, "mae": np.nan, "hit": np.nan, "n": 0}
    mse = float(np.mean(error**2))
    hit = float(np.mean(scale.round(predicted) == stars))
    return {"mse": mse, "rmse": mse**0.5, "mae": float(np.mean(np.abs(error))), "hit": hit, "n": len(error)}


def ranking_metrics(lists: Indices, relevant: Shelves) -> dict[str, npt.NDArray[np.float64]]:
    """ndcg and recall of each reader's list, float64 [U]; NaN for readers with nothing relevant.

    lists     int32 [U, K], best first, -1 where a list is shorter
    relevant  the relevant books of each reader
    NDCG: Järvelin and Kekäläinen, TOIS 2002, binary gain, log2(rank + 1) discount. Recall@K: hits over
    all relevant books.
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
    return {"ndcg": (hits * discounts).sum(axis=1) / ideal, "recall": hits.sum(axis=1) / n_relevant}

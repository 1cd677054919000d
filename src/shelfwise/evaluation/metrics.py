"""What is measured of predicted stars and of lists. Formulas and sources: docs/evaluation.md."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves

LEAST_PROBABILITY = 1e-9  # so that a star that was ruled out costs much, not infinitely much
# The star metrics that are means over ratings, as columns of star_losses.
LOSSES = ("mse", "mae", "hit", "log_loss")


def star_losses(
    predicted: Floats, stars: Floats, scale: Scale, probabilities: Floats | None = None
) -> dict[str, npt.NDArray[np.float64]]:
    """What each rating adds to each star metric, float64 [N]: squared and absolute error, hit (0 or 1), log-loss.

    probabilities  of each value of the scale, float32 [N, S]; then the most probable star is what hits, and
                   log_loss (nats) is there; else the rounded prediction hits
    """
    error = predicted.astype(np.float64) - stars
    losses = {"mse": error**2, "mae": np.abs(error)}
    if probabilities is None:
        return {**losses, "hit": (scale.round(predicted) == stars).astype(np.float64)}
    place = scale.steps(stars)
    likely = scale.values[probabilities.argmax(axis=1)]
    given = probabilities[np.arange(len(stars)), place] if len(stars) else np.zeros(0)
    log_loss = -np.log(np.maximum(given.astype(np.float64), LEAST_PROBABILITY))
    return {**losses, "hit": (likely == stars).astype(np.float64), "log_loss": log_loss}


def star_metrics(losses: dict[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """The mean of each of `losses`, rmse (stars), and n; NaN metrics where n is 0."""
    n = len(losses["mse"])
    means = {name: float(values.mean()) if n else np.nan for name, values in losses.items()}
    return {"mse": means.pop("mse"), "rmse": float(np.sqrt(losses["mse"].mean())) if n else np.nan, **means, "n": n}


def list_metrics(lists: Indices, counts: Indices, shelves: Shelves, content: sp.csr_matrix) -> dict[str, float]:
    """What lists are like, whether they hit or not; lists int32 [U, K], -1 where a list is shorter.

    coverage         share of the catalogue that is in any list
    novelty          mean of -log2(share of all ratings that are of the book, one added to each) over listed books, bits
    diversity        mean of 1 - cosine of content over pairs of books of one list
    popularity_bias  mean ratings of listed books over mean ratings of the books on the same readers' shelves
    counts   ratings of each book in training, int32 [I]
    shelves  the readers' ratings; content  float32 [I, F] with rows of length 1
    Vargas and Castells, RecSys 2011 (novelty, diversity); Abdollahpouri et al., 2019 (popularity_bias).
    """
    listed = lists[lists >= 0]
    on_shelf = counts[shelves.item_idx].mean() if len(shelves.item_idx) else np.nan
    share = (counts[listed] + 1) / (counts.sum() + len(counts))
    return {
        "coverage": len(np.unique(listed)) / max(len(counts), 1),
        "novelty": float(-np.log2(share).mean()) if len(listed) else np.nan,
        "diversity": _diversity(lists, content),
        "popularity_bias": float(counts[listed].mean() / on_shelf) if len(listed) and on_shelf > 0 else np.nan,
    }


def _diversity(lists: Indices, content: sp.csr_matrix) -> float:
    """Mean of 1 - cosine over pairs of one list, by |sum of rows|^2 = sum of squared lengths + 2 sum of cosines."""
    filled = lists >= 0
    n = filled.sum(axis=1)
    pick = sp.csr_matrix(
        (np.ones(filled.sum()), lists[filled], np.concatenate([[0], np.cumsum(n)])),
        shape=(len(lists), content.shape[0]),
    )
    sums = pick @ content
    squares = np.asarray(content.multiply(content).sum(axis=1)).ravel()
    cosines = np.asarray(sums.multiply(sums).sum(axis=1)).ravel() - pick @ squares
    pairs = n * (n - 1)
    return float(1 - (cosines[pairs > 0] / pairs[pairs > 0]).mean()) if (pairs > 0).any() else float("nan")

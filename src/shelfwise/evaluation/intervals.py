"""How sure a mean over readers is: bootstrap intervals, paired tests, correction for many tests.

Readers are resampled, not ratings: the ratings of one reader hang together.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

RESAMPLES = 500
LEVEL = 0.95
READERS_AT_ONCE = 20_000

Numbers = npt.NDArray[np.float64]


def ratio_intervals(sums: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Percentile intervals (LEVEL) of sum(sums) / sum(counts) for M metrics, float64 [M] each; rows are readers.

    The Poisson bootstrap (Chamandy et al., Google, 2012): each reader counts Poisson(1) times in each resample.
    NaN where there is nothing to count.
    """
    tops = np.zeros((RESAMPLES, sums.shape[1]))
    bottoms = np.zeros_like(tops)
    for start in range(0, len(sums), READERS_AT_ONCE):
        part = slice(start, start + READERS_AT_ONCE)
        weights = _weights(start, len(sums[part])).astype(np.float64)
        tops += weights @ sums[part]
        bottoms += weights @ counts[part]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Numbers = tops / bottoms
    tail = (1 - LEVEL) / 2
    low, high = np.full((2, sums.shape[1]), np.nan)
    some = np.isfinite(ratios).any(axis=0)  # in a resample of few readers a metric may have none
    low[some], high[some] = np.nanquantile(ratios[:, some], [tail, 1 - tail], axis=0)
    return low, high


@lru_cache(maxsize=8)
def _weights(start: int, n: int) -> npt.NDArray[np.uint8]:
    """How often each of n readers counts in each resample, uint8 [RESAMPLES, n]; the same for every model."""
    return np.random.default_rng((12345, start)).poisson(1.0, (RESAMPLES, n)).astype(np.uint8)


def paired_test(sums: Numbers, counts: Numbers) -> tuple[float, float, float, float]:
    """Difference sum(sums) / sum(counts) of one model minus another, its interval (LEVEL), and a two-sided p-value.

    sums    float64 [U], the difference of the two models' sums of each reader
    counts  float64 [U], over how many ratings (or lists) each sum goes
    Of the ratio the delta method gives the standard error over readers; the test is by the normal distribution
    (Deng et al., KDD 2018, section 3). NaN with fewer than two readers; p is 1 where the models do not differ at all.
    """
    import scipy.stats

    used = counts > 0
    sums, counts = sums[used], counts[used]
    n = len(sums)
    if n < 2:
        return float("nan"), float("nan"), float("nan"), float("nan")
    ratio = sums.sum() / counts.sum()
    error = float(np.sqrt(n / (n - 1) * ((sums - ratio * counts) ** 2).sum()) / counts.sum())
    margin = error * float(scipy.stats.norm.ppf((1 + LEVEL) / 2))
    p = 1.0 if error == 0 else float(2 * scipy.stats.norm.sf(abs(ratio) / error))
    return float(ratio), float(ratio - margin), float(ratio + margin), p


def holm(p_values: list[float]) -> list[float]:
    """Each p-value corrected for all tests made together (Holm, Scandinavian Journal of Statistics, 1979)."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()


def share_interval(hits: Numbers, counts: Numbers) -> tuple[float, float]:
    """Wilson's interval (LEVEL) of the share sum(hits) / sum(counts) over units, float64 [U] each.

    What belongs to one unit hangs together, so that the counts are divided by the design effect (Kish, Survey
    Sampling, 1965): how much more the share varies over units than if all were drawn alone, at least 1.
    """
    import scipy.stats

    n, share = counts.sum(), hits.sum() / counts.sum()
    units = len(counts)
    alone = share * (1 - share) / n
    if units > 1 and alone > 0:
        varies = units / (units - 1) * ((hits - share * counts) ** 2).sum() / n**2
        n /= max(varies / alone, 1.0)
    z2 = float(scipy.stats.norm.ppf((1 + LEVEL) / 2)) ** 2
    middle, margin = share + z2 / (2 * n), np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2)))
    return max(0.0, float((middle - margin) / (1 + z2 / n))), min(1.0, float((middle + margin) / (1 + z2 / n)))

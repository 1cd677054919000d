"""The scale that readers rate on: 1-5 stars, half or quarter stars, 1-10."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.errors import ConfigError

Floats = npt.NDArray[np.float32]
# The share of the scale from which a rating counts as liked: 4 stars of 1-5.
RELEVANT = 0.75
GUESSED_FROM = 200_000


@dataclass(frozen=True)
class Scale:
    """Stars from `low` to `high` in steps of `step`, all in stars."""

    low: float
    high: float
    step: float = 1.0

    def __post_init__(self) -> None:
        steps = (self.high - self.low) / self.step if self.step > 0 else -1.0
        if steps < 1 or steps > 100 or abs(steps - round(steps)) > 1e-9:
            raise ConfigError(f"no scale: {self}", hint="write LOW-HIGH or LOW-HIGH/STEP, such as 1-5 or 0.5-5/0.5")

    def __str__(self) -> str:
        ends = f"{self.low:g}-{self.high:g}"
        return ends if self.step == 1 else f"{ends}/{self.step:g}"

    @cached_property
    def values(self) -> Floats:
        """Every value on the scale, ascending, float32 [S]."""
        n_steps = round((self.high - self.low) / self.step)
        return (self.low + self.step * np.arange(n_steps + 1)).astype(np.float32)

    @property
    def liked_from(self) -> float:
        """The stars from which a rating counts as liked."""
        return self.low + RELEVANT * (self.high - self.low)

    def contains(self, stars: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which of `stars` are values of the scale, bool [N]."""
        values = np.asarray(stars)
        steps = (values if values.dtype == np.float32 else values.astype(np.float64)) - self.low
        steps /= self.step
        nearest = np.rint(steps)
        last = round((self.high - self.low) / self.step)
        with np.errstate(invalid="ignore"):  # what is not finite is on no scale
            return (nearest >= 0) & (nearest <= last) & (np.abs(steps - nearest) < 1e-4)

    def clip(self, stars: npt.ArrayLike) -> Floats:
        """`stars` moved into [low, high], float32."""
        return np.clip(stars, self.low, self.high).astype(np.float32)

    def expected(self, chances: Floats) -> Floats:
        """Mean stars, float32 [...], of probabilities of each value, float32 [..., S]."""
        return self.clip((chances * self.values).sum(axis=-1))

    def round(self, stars: npt.ArrayLike) -> Floats:
        """The nearest value of the scale, float32; halves go to the even number of steps above the lowest."""
        return self.clip(self.low + self.step * self.steps(stars))

    def steps(self, stars: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """How many steps above the lowest value `stars` are, rounded, int64; not kept inside the scale."""
        return np.rint((np.asarray(stars, dtype=np.float64) - self.low) / self.step).astype(np.int64)


# Tried in this order; the first that holds 99 % of the values is taken.
KNOWN_SCALES = (Scale(1, 5), Scale(0.5, 5, 0.5), Scale(0.25, 5, 0.25), Scale(1, 10), Scale(0.5, 10, 0.5))


def guess_scale(stars: pl.Series | npt.ArrayLike) -> Scale:
    """The first of KNOWN_SCALES that holds at least 99 % of `stars`, else the one that holds most.

    Of more than GUESSED_FROM stars, every so many.
    """
    column = stars if isinstance(stars, pl.Series) else pl.Series(np.asarray(stars))
    column = column.gather_every(1 + len(column) // GUESSED_FROM)
    values, counts = column.alias("stars").value_counts(name="n").get_columns()
    return fitting_scale(values.to_numpy(), counts.to_numpy())


def fitting_scale(values: npt.NDArray[Any], counts: npt.NDArray[Any]) -> Scale:
    """As guess_scale, from each value that occurs and how often it does."""
    weights = counts / max(counts.sum(), 1)
    shares = [float(weights[scale.contains(values)].sum()) for scale in KNOWN_SCALES]
    fitting = [scale for scale, share in zip(KNOWN_SCALES, shares, strict=True) if share >= 0.99]
    return fitting[0] if fitting else KNOWN_SCALES[int(np.argmax(shares))]


def parse_scale(text: str) -> Scale:
    """Scale from '1-5' or '0.5-5/0.5'. Raises ConfigError."""
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*-\s*(\d+\.?\d*)\s*(?:/\s*(\d+\.?\d*)\s*)?", text)
    if not match:
        raise ConfigError(f"no scale: {text!r}", hint="write LOW-HIGH or LOW-HIGH/STEP, such as 1-5 or 0.5-5/0.5")
    low, high, step = match.groups()
    return Scale(float(low), float(high), float(step or 1))

"""Splits into train, validation and test by a stable hash of (seed, reader id, book id).

They depend on neither the order of rows nor the machine: the same seed and ids give the same parts.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from shelfwise.data.ratings import Ratings
from shelfwise.errors import ConfigError

TRAIN, VALID, TEST, GIVEN_VALID, GIVEN_TEST = range(5)
PARTS = ("train", "valid", "test", "given_valid", "given_test")

Parts = npt.NDArray[np.int8]
Hashes = npt.NDArray[np.uint64]


class _Split(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class RandomSplit(_Split):
    """Each rating falls into a part by chance."""

    kind: Literal["random"] = "random"
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test: Annotated[float, Field(ge=0, lt=1)] = 0.1


class LeaveKOut(_Split):
    """Of each reader with more than 2k ratings, k go to test, k to validation; other readers train only."""

    kind: Literal["leave-k-out"] = "leave-k-out"
    k: Annotated[int, Field(ge=1)] = 1


class NewReaders(_Split):
    """Some readers are not trained on: `given` of their ratings are their shelf, the rest is predicted."""

    kind: Literal["new-readers"] = "new-readers"
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1
    given: Annotated[int, Field(ge=0)] = 10


class NewBooks(_Split):
    """Some books are not trained on: all their ratings are predicted.

    tags  whether tags, subjects and descriptions of them are known, or only title, authors, series and year
    """

    kind: Literal["new-books"] = "new-books"
    tags: bool = True
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1


class ByTime(_Split):
    """The earliest ratings train, the latest are the test; by order of rows where that is asked for."""

    kind: Literal["time", "row-order"] = "time"
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1


class OwnFiles(_Split):
    """The user's own files; `valid_from_train` of the training file selects where there is no other file."""

    kind: Literal["files"] = "files"
    valid_from_train: Annotated[float, Field(gt=0, lt=1)] | None = None


SplitConfig = Annotated[
    RandomSplit | LeaveKOut | NewReaders | NewBooks | ByTime | OwnFiles, Field(discriminator="kind")
]


def split(ratings: Ratings, config: SplitConfig) -> Parts:
    """The part of each rating, int8 [N], as an index into PARTS.

    Raises ConfigError where the data cannot be split so: no times, shares that add up to 1 or more,
    a part left without ratings.
    """
    if isinstance(config, RandomSplit):
        parts = by_pairs(ratings, config)
    elif isinstance(config, LeaveKOut):
        parts = _leave_k_out(ratings, config)
    elif isinstance(config, NewReaders):
        parts = _new_readers(ratings, config)
    elif isinstance(config, NewBooks):
        parts = _by_share(_hash(config.seed, ratings.books.hashes)[ratings.item_idx], config.valid, config.test)
    elif isinstance(config, ByTime):
        parts = _by_time(ratings, config)
    else:
        raise ConfigError("the user's own files are their own split", hint="give --train-ratings F")
    for part in (TRAIN, VALID):
        if not (parts == part).any():
            raise ConfigError(
                f"the split {config.kind!r} leaves no ratings to {PARTS[part]}",
                hint="more ratings, or another split",
            )
    return parts


def by_pairs(ratings: Ratings, config: RandomSplit) -> Parts:
    """The random split, which may leave a part empty: of some readers alone as of all."""
    return _by_share(_pair_hashes(ratings, config.seed), config.valid, config.test)


def _mix(x: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele et al., 2014): every bit of x decides every bit of the result."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _hash(seed: int, *parts: Hashes) -> Hashes:
    """One 64-bit hash of the seed and of each row of `parts`; their order matters."""
    result = _mix(np.array([(seed + 0x9E3779B97F4A7C15) % 2**64], dtype=np.uint64))
    for part in parts:
        result = _mix(result * np.uint64(0x9E3779B97F4A7C15) + part)
    return result


def _pair_hashes(ratings: Ratings, seed: int) -> Hashes:
    return _hash(seed, ratings.readers.hashes[ratings.user_idx], ratings.books.hashes[ratings.item_idx])


def _by_share(hashes: Hashes, valid: float, test: float) -> Parts:
    if valid + test >= 1:
        raise ConfigError(f"validation {valid:g} and test {test:g} leave nothing to train", hint="lower the shares")
    unit = hashes.astype(np.float64) / 2.0**64
    train = 1 - valid - test
    return np.where(unit < train, TRAIN, np.where(unit < train + valid, VALID, TEST)).astype(np.int8)


def _rank_within_reader(ratings: Ratings, hashes: Hashes) -> npt.NDArray[np.int64]:
    """Place of each rating among its reader's, by hash, int64 [N]."""
    order = np.lexsort((hashes, ratings.user_idx))
    first = np.searchsorted(ratings.user_idx[order], np.arange(ratings.n_readers))
    rank = np.empty(len(ratings), dtype=np.int64)
    rank[order] = np.arange(len(ratings)) - first[ratings.user_idx[order]]
    return rank


def _leave_k_out(ratings: Ratings, config: LeaveKOut) -> Parts:
    rank = _rank_within_reader(ratings, _pair_hashes(ratings, config.seed))
    counts = np.bincount(ratings.user_idx, minlength=ratings.n_readers)[ratings.user_idx]
    parts = np.where(rank < config.k, TEST, np.where(rank < 2 * config.k, VALID, TRAIN))
    return np.where(counts > 2 * config.k, parts, TRAIN).astype(np.int8)


def _new_readers(ratings: Ratings, config: NewReaders) -> Parts:
    by_reader = _by_share(_hash(config.seed, ratings.readers.hashes), config.valid, config.test)[ratings.user_idx]
    given = _rank_within_reader(ratings, _pair_hashes(ratings, config.seed)) < config.given
    parts = by_reader.copy()
    parts[given & (by_reader == VALID)] = GIVEN_VALID
    parts[given & (by_reader == TEST)] = GIVEN_TEST
    return parts


def _by_time(ratings: Ratings, config: ByTime) -> Parts:
    if config.valid + config.test >= 1:
        raise ConfigError("validation and test leave nothing to train", hint="lower the shares")
    if config.kind == "row-order":
        order = np.arange(len(ratings))
    elif ratings.time is None:
        raise ConfigError(
            "these ratings have no times", hint="split by --split row-order, if rows are in order of time"
        )
    else:
        order = np.lexsort((_pair_hashes(ratings, config.seed), ratings.time))
    n = len(ratings)
    parts = np.empty(n, dtype=np.int8)
    n_test, n_valid = round(n * config.test), round(n * config.valid)
    parts[order] = np.repeat([TRAIN, VALID, TEST], [n - n_valid - n_test, n_valid, n_test]).astype(np.int8)
    return parts

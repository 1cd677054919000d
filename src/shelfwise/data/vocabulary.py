"""Ids as users write them <-> indices 0..n-1 as models use them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.data.row_slices import by_slices, slices
from shelfwise.errors import BadValueError

Id = int | str
Indices = npt.NDArray[np.int32]
CLOSE = 16  # numbers of a span for each id in it, up to which an array gives the index of each
FEW, INDEXED = 2000, 200_000  # ids to find, and ids of a vocabulary, up to which a dictionary serves


class Vocabulary:
    """Unique ids in ascending order; the index of an id is its place. Immutable.

    Ids are integers (Int64) or text (String), one kind per vocabulary; text is ordered by code point.
    """

    def __init__(self, ids: pl.Series | Iterable[Id]) -> None:
        """Take ids in any order; repeated ones count once. Raises BadValueError for a missing id."""
        series = ids if isinstance(ids, pl.Series) else pl.Series(list(ids))
        if series.null_count():
            raise BadValueError("a missing id", hint="every reader and book needs an id")
        if series.dtype == pl.Null:  # an empty list has no type of its own
            series = series.cast(pl.Int64)
        kind = pl.Int64 if series.dtype.is_integer() else pl.String
        self.ids: pl.Series = _distinct(series, kind).alias("id")

    @classmethod
    def union(cls, *vocabularies: Vocabulary) -> Vocabulary:
        """All ids of several vocabularies; text if one of them is text."""
        kinds = {vocabulary.ids.dtype for vocabulary in vocabularies if len(vocabulary)}
        kind = pl.Int64 if kinds <= {pl.Int64} else pl.String
        return cls(pl.concat([vocabulary.ids.cast(kind) for vocabulary in vocabularies]))

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.ids.dtype == other.ids.dtype and self.ids.equals(other.ids)

    __hash__ = None  # type: ignore[assignment]

    def find(self, ids: pl.Series | Iterable[Any]) -> Indices:
        """Index of each id, int32 [N]; -1 where it is unknown."""
        if not isinstance(ids, pl.Series):
            ids = list(ids)
        if len(ids) <= FEW and len(self) <= INDEXED:
            return self._find_few(list(ids))
        series = ids if isinstance(ids, pl.Series) else pl.Series(ids, strict=False)
        if (
            series.dtype in (pl.Int64, pl.Int32)
            and self.ids.dtype == pl.Int64
            and len(self)
            and not series.null_count()
        ):
            return self._find_numbers(series.to_numpy())
        if series.dtype.is_float() and self.ids.dtype == pl.Int64:
            series = series.set(series.fill_nan(None) != series.round(), None)
        wanted = series.cast(self.ids.dtype, strict=False)
        if series.dtype == pl.String and self.ids.dtype == pl.Int64:  # '007' is not 7
            wanted = wanted.set(wanted.cast(pl.String) != series, None)
        if not len(self) or not len(wanted):
            return np.full(len(wanted), -1, dtype=np.int32)
        place = self.ids.search_sorted(wanted.fill_null(self.ids[0])).clip(0, len(self) - 1)
        known = (self.ids.gather(place) == wanted).fill_null(False).to_numpy()
        return np.where(known, place.to_numpy(), -1).astype(np.int32)

    def _find_few(self, ids: list[Any]) -> Indices:
        """As find(); of a request's few ids, where arrays cost more than they save."""
        if self.ids.dtype == pl.Int64:
            ids = [_number(one) if isinstance(one, str) else one for one in ids]
        else:
            ids = [one if one is None else str(one) for one in ids]
        return np.array([self._index.get(one, -1) for one in ids], dtype=np.int32)

    @cached_property
    def _index(self) -> dict[Id, int]:
        return {one: place for place, one in enumerate(self.ids.to_list())}

    def _find_numbers(self, ids: npt.NDArray[Any]) -> Indices:
        numbers, places = self._numbers, self._places
        if places is None:
            at = np.searchsorted(numbers, ids).clip(max=len(self) - 1)
            return np.where(numbers[at] == ids, at, -1).astype(np.int32)
        found = np.empty(len(ids), dtype=np.int32)
        low, high = int(numbers[0]), int(numbers[-1])

        def find(part: slice) -> None:
            here = ids[part]
            places.take(np.subtract(here, low, dtype=np.intp), mode="clip", out=found[part])
            if here.min() < low or here.max() > high:
                found[part][(here < low) | (here > high)] = -1

        by_slices(find, len(ids))
        return found

    @cached_property
    def _places(self) -> Indices | None:
        """Of whole numbers that lie close together: the index of the lowest, the next, ..., -1 where there is none."""
        numbers = self._numbers
        span = int(numbers[-1]) - int(numbers[0]) + 1
        if span > CLOSE * len(numbers):
            return None
        places = np.full(span, -1, dtype=np.int32)
        places[numbers - numbers[0]] = np.arange(len(numbers))
        return places

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int64]:
        return self.ids.to_numpy()

    def take(self, idx: npt.ArrayLike) -> pl.Series:
        """The ids at the given indices."""
        return self.ids[pl.Series(np.asarray(idx, dtype=np.int64))]

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """A stable 64-bit hash of each id, uint64 [n]: of its text, so 7 and '7' agree on any machine."""
        texts = self.ids.cast(pl.String).to_list()
        digests = b"".join(hashlib.blake2b(t.encode(), digest_size=8).digest() for t in texts)
        return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _distinct(ids: pl.Series, kind: type[pl.DataType]) -> pl.Series:
    """The ids as `kind`, each once, ascending; whole numbers that lie close together by a table of which are there."""
    if len(ids) <= FEW:  # a request's, for which polars would wake its threads
        return pl.Series(sorted(set(ids.cast(kind).to_list())), dtype=kind)
    if ids.dtype not in (pl.Int32, pl.Int64):
        return ids.cast(kind).unique().sort()
    numbers = ids.to_numpy()
    low = int(numbers.min())
    span = int(numbers.max()) - low + 1
    if span > CLOSE * len(numbers):
        return ids.cast(kind).unique().sort()
    there = np.zeros(span, dtype=np.bool_)
    for part in slices(len(numbers)):  # of which Python lets threads do one at a time
        there[np.subtract(numbers[part], low, dtype=np.intp)] = True
    return pl.Series(low + np.flatnonzero(there))


def _number(text: str) -> int | None:
    """The number that a text is, in just these digits; '007' is not 7."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and str(int(text)) == text else None

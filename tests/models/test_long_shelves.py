"""Shelves that are cut for an answer, and dealt into pieces for learning."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.data.shelves import Shelves
from shelfwise.models.long_shelves import in_pieces, shortened

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), unique=True, max_size=80)


def shelves_of(pairs: list[tuple[int, int]]) -> Shelves:
    return Shelves.build([u for u, _ in pairs], [i for _, i in pairs], [(u + i) % 5 + 1 for u, i in pairs], 4)


def ratings(shelves: Shelves) -> list[tuple[int, int, float]]:
    return list(zip(shelves.rows.tolist(), shelves.item_idx.tolist(), shelves.stars.tolist(), strict=True))


@given(PAIRS, st.integers(1, 12), st.randoms())
def test_a_short_shelf_stays_and_a_long_one_keeps_as_many_as_it_may(pairs, longest, random) -> None:  # type: ignore[no-untyped-def]
    shelves = shelves_of(pairs)
    found = shortened(shelves, longest)
    assert found.lengths.tolist() == np.minimum(shelves.lengths, longest).tolist()
    assert set(ratings(found)) <= set(ratings(shelves))
    random.shuffle(pairs)  # the order of rows changes nothing
    assert ratings(shortened(shelves_of(pairs), longest)) == ratings(found)


def test_what_is_kept_is_spread_over_the_shelf() -> None:
    found = shortened(shelves_of([(0, i) for i in range(30)]), 10)
    assert np.ptp(found.item_idx) >= 27
    assert set(np.diff(found.item_idx)) == {3}


@given(PAIRS, st.integers(1, 12))
def test_pieces_hold_every_rating_once_and_no_two_readers(pairs: list[tuple[int, int]], longest: int) -> None:
    shelves = shelves_of(pairs)
    found = in_pieces(shelves, longest)
    assert found.lengths.max(initial=0) <= longest
    assert len(found) == np.maximum(-(-shelves.lengths // longest), 1).sum()
    owner = np.repeat(np.arange(4), np.maximum(-(-shelves.lengths // longest), 1))
    dealt = [(int(owner[row]), book, stars) for row, book, stars in ratings(found)]
    assert Counter(dealt) == Counter(ratings(shelves))
    for reader in range(4):  # like cards: no piece has two more than another
        assert np.ptp(found.lengths[owner == reader]) <= 1


def test_where_no_shelf_is_long_nothing_is_touched() -> None:
    shelves = shelves_of([(0, 1), (0, 2), (1, 1)])
    assert in_pieces(shelves, 2) is shelves
    assert shortened(shelves, 2) is shelves

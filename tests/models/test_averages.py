"""The baselines that know no reader."""

from __future__ import annotations

import numpy as np
from worlds import make_ratings

from shelfwise.data.shelves import Shelves
from shelfwise.models.averages import GlobalMean, GlobalMeanConfig, Popularity, PopularityConfig
from shelfwise.models.contract import FitInputs

ROWS = [(0, 0, 5.0), (0, 1, 4.0), (1, 1, 2.0), (2, 1, 1.0), (2, 2, 2.0)]
TAKEN_UP = (np.array([0, 1, 2, 0], dtype=np.int32), np.array([2, 2, 2, 3], dtype=np.int32))


def test_everything_is_the_mean() -> None:
    model = GlobalMean.fit(GlobalMeanConfig(), FitInputs(make_ratings(ROWS, 3, 4)))
    readers = model.fold_in(Shelves.empty(2))
    assert (
        model.stars(readers, np.array([0, 1]), np.array([1, -1], dtype=np.int32)).tolist()
        == np.float32([2.8] * 2).tolist()
    )
    assert model.scores(readers).tolist() == np.full((2, 4), np.float32(2.8)).tolist()


def test_what_more_readers_rated_or_took_up_is_more_popular() -> None:
    train = make_ratings(ROWS, 3, 4)
    by_ratings = Popularity.fit(PopularityConfig(), FitInputs(train))
    assert by_ratings.scores(by_ratings.fold_in(Shelves.empty(2))).tolist() == [[1, 3, 1, 0]] * 2
    with_events = Popularity.fit(PopularityConfig(), FitInputs(train, events=TAKEN_UP))
    assert with_events.scores(with_events.fold_in(Shelves.empty(1))).tolist() == [[1, 3, 4, 1]]

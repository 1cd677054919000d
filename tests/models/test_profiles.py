"""Reader vectors in closed form: leaving a rating out in closed form is leaving it out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.data.shelves import Shelves
from shelfwise.models.profiles import Ridge, fit_profiles, leave_one_out


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), dim=st.sampled_from([2, 5, 40]), n_ratings=st.integers(1, 60))
def test_leaving_out_equals_refitting_without(seed: int, dim: int, n_ratings: int) -> None:
    rng = np.random.default_rng(seed)
    shelves = Shelves.build(
        rng.integers(0, 4, n_ratings), rng.integers(0, 30, n_ratings), rng.normal(size=n_ratings), 5
    )
    vectors = torch.from_numpy(rng.normal(size=(30, dim)).astype(np.float32))
    ridge = Ridge(0.9, 0.6)
    stars = torch.from_numpy(shelves.stars)
    for rows, readers, beyond in leave_one_out(shelves, vectors, stars, ridge):
        for place in range(0, len(rows), 7):
            keep = np.ones(len(shelves.stars), dtype=bool)
            keep[rows[place]] = False
            fewer = shelves.where(keep)
            again = fit_profiles(fewer, vectors, torch.from_numpy(fewer.stars), ridge)
            reader = int(shelves.rows[rows[place]])
            assert readers.vector[place].numpy() == pytest.approx(again.vector[reader].numpy(), abs=2e-3)
            assert float(readers.bias[place]) == pytest.approx(float(again.bias[reader]), abs=2e-3)
            assert float(readers.count[place]) == float(again.count[reader])
            predicted = again.bias[reader] + again.vector[reader] @ vectors[shelves.item_idx[rows[place]]]
            assert float(beyond[place]) == pytest.approx(float(stars[rows[place]] - predicted), abs=2e-3)


def test_an_empty_shelf_is_all_zero() -> None:
    profiles = fit_profiles(Shelves.empty(2), torch.ones(3, 4), torch.zeros(0), Ridge(1.0, 0.5))
    assert not any(value.any() for value in vars(profiles).values())

"""What a book is expected to get from what it is about."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shelfwise.models.shelf_books import BARE, FULL
from shelfwise.models.similarity import BookTraits, KernelWeights
from shelfwise.training.book_prior import BookPrior


def traits(n: int = 30, seed: int = 0) -> BookTraits:
    rng = torch.Generator().manual_seed(seed)
    about = torch.nn.functional.normalize(torch.randn(n, 5, generator=rng), dim=1)
    author, series = (torch.randint(-1, 6, (n,), generator=rng) for _ in range(2))
    year = torch.randint(1950, 2010, (n,), generator=rng).float()
    return BookTraits(about, torch.zeros(n, 2), author, series, year)


@pytest.mark.parametrize("weights", [FULL, BARE], ids=["full", "bare"])
def test_a_rated_book_is_expected_to_get_what_it_would_be_as_a_new_one(weights: KernelWeights) -> None:
    books, rng = traits(), np.random.default_rng(1)
    count = torch.from_numpy(rng.integers(0, 9, 30).astype(np.float32))
    means = torch.from_numpy(rng.normal(0, 0.3, 30).astype(np.float32)) * (count > 0)
    means -= means[count > 0].mean() * (count > 0)
    found = BookPrior.fit(books, count, weights).expect(means).prior
    for book in torch.nonzero(count > 0)[:5, 0].tolist():
        unrated = count.clone()
        unrated[book] = 0
        without = BookPrior.fit(books, unrated, weights).expect(means).prior
        assert float(found[book]) == pytest.approx(float(without[book]), abs=0.02)  # the centre moves a little


def test_a_new_book_is_expected_to_get_what_its_series_gets_and_one_like_no_other_the_mean() -> None:
    about = torch.eye(4)[[0, 0, 1, 1, 0, 2]]
    series = torch.tensor([1, 1, 2, 2, 1, -1])
    books = BookTraits(about, torch.zeros(6, 2), series, series, torch.full((6,), 2000.0))
    count, means = torch.tensor([50.0, 50, 50, 50, 0, 0]), torch.tensor([0.4, 0.6, -0.4, -0.6, 0, 0])
    found = BookPrior.fit(books, count, FULL).expect(means).prior
    assert 0.35 < float(found[4]) < 0.5
    assert float(found[5]) == pytest.approx(0, abs=0.01)
    bare = BookPrior.fit(books, count, BARE).expect(means).prior
    assert 0.2 < float(bare[4]) < float(found[4])


def test_without_a_single_rating_everything_is_expected_to_be_the_mean() -> None:
    assert BookPrior.fit(traits(), torch.zeros(30), FULL).expect(torch.zeros(30)).prior.tolist() == [0.0] * 30

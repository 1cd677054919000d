"""Ridge regressions by blocks of books."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shelfwise.models import shelf_books
from shelfwise.models.shelf_books import bare_numbers, valued
from shelfwise.models.similarity import BookTraits
from shelfwise.training.ridge import PRIOR_RIDGE, regress, ridge


def test_coefficients_are_those_of_the_penalised_system_however_books_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, total = rng.normal(size=(40, 3)).astype("f4"), rng.normal(size=40).astype("f4")
    count = rng.integers(0, 5, 40).astype("f4")
    total *= count > 0
    x, weight = np.hstack([vectors, np.ones((40, 1))]), count / (count + 6)
    mean = total / np.maximum(count, 1)
    system = x.T @ (x * weight[:, None]) + np.diag([PRIOR_RIDGE] * 3 + [1e-6])
    expected = np.linalg.solve(system, x.T @ (weight * mean))
    given = torch.from_numpy(vectors), torch.from_numpy(total), torch.from_numpy(count)
    for at_once in (100, 7):
        monkeypatch.setattr(shelf_books, "BOOKS_AT_ONCE", at_once)
        found = ridge(lambda block: given[0][block], given[2], 6.0)(given[1])
        assert found.numpy() == pytest.approx(expected, abs=1e-6)
        assert regress(*given, 6.0).numpy() == pytest.approx(x @ expected, abs=1e-5)


def test_a_bare_book_is_expected_to_get_what_its_author_gets() -> None:
    """Authors 0 and 1 differ; the last two books are unrated, by author 0 and by nobody known."""
    author = torch.tensor([0] * 20 + [1] * 20 + [0, -1])
    nothing = torch.zeros(42, 1)
    traits = BookTraits(nothing, nothing, author, torch.full((42,), -1), torch.full((42,), 2000.0))
    count = torch.tensor([50.0] * 40 + [0, 0])
    total = count * torch.tensor([0.5] * 20 + [-0.5] * 20 + [0, 0])

    def columns(block: slice) -> torch.Tensor:
        return bare_numbers(traits, block)

    found = valued(columns, ridge(columns, count, 6.0)(total), 42)
    assert 0.3 < float(found[40]) <= 0.5
    assert abs(float(found[41])) < 0.1

"""Inverses by panels beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.engine import sharing_threads
from shelfwise.errors import FitError
from shelfwise.models import inverses
from shelfwise.models.inverses import Matrix, inverted, inverted_factor


def positive_definite(n: int, seed: int) -> Matrix:
    """Beside its lower triangle nothing that is to be read."""
    numbers = np.random.default_rng(seed).standard_normal((n, n + 2), dtype=np.float32)
    return np.asfortranarray(numbers @ numbers.T + np.eye(n, dtype=np.float32))


def lower(matrix: Matrix) -> Matrix:
    return np.asfortranarray(np.where(np.tri(len(matrix), dtype=bool), matrix, np.float32(np.nan)))


@given(st.integers(0, 17), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_inverses_are_numpys(n: int, panel: int, seed: int) -> None:
    matrix = positive_definite(n, seed)
    wanted = np.linalg.inv(matrix.astype(np.float64))
    with pytest.MonkeyPatch.context() as patch, sharing_threads():
        patch.setattr(inverses, "PANEL", panel)
        whole, factor = inverted(lower(matrix)), inverted_factor(lower(matrix))
    assert whole == pytest.approx(wanted, abs=1e-4)
    assert factor.T @ factor == pytest.approx(wanted, abs=1e-4)
    assert not np.triu(factor, 1).any()
    assert not n or whole.flags.f_contiguous


@pytest.mark.parametrize("broken", [0, 4, 9])
@pytest.mark.parametrize("invert", [inverted, inverted_factor])
def test_a_matrix_that_has_no_inverse_is_refused(invert, broken: int, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(inverses, "PANEL", 4)
    matrix = positive_definite(10, 0)
    matrix[broken, broken] = -1
    with pytest.raises(FitError, match="cannot be inverted"):
        invert(matrix)

"""The books' vectors of mf and ncf, against their formula."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import make_ratings

from shelfwise.models.mf import coreading_vectors


def test_books_are_as_alike_as_the_normalised_matrix_of_who_read_what_says() -> None:
    rng = np.random.default_rng(0)
    rows = [(u, i, 3.0) for u in range(12) for i in range(6) if rng.random() < (i + 1) / 8]
    train = make_ratings(rows, 12, 7)  # nobody read the last book
    read = np.zeros((7, 12))
    for user, book, _ in rows:
        read[book, user] = 1
    matrix = read / np.sqrt((read.sum(0)[None, :] + 1) * (read.sum(1)[:, None] + 1))
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    for dim in (7, 2):
        expected = left[:, :dim] * values[:dim]
        lengths = np.linalg.norm(expected, axis=1)
        expected /= np.maximum(lengths, 1e-9)[:, None]
        vectors = coreading_vectors(train, dim, 0.6)
        assert vectors.shape == (7, dim)
        assert vectors[:6] @ vectors[:6].T == pytest.approx(0.6 * expected[:6] @ expected[:6].T, abs=1e-5)
        assert not vectors[6].any()


def test_stars_do_not_matter() -> None:
    rows = [(u, i, 1.0 + (u + i) % 5) for u in range(5) for i in range(4) if u != i]
    other = [(u, i, 5.0) for u, i, _ in rows]
    vectors = [coreading_vectors(make_ratings(r, 5, 4), 3, 1.0) for r in (rows, other)]
    assert np.array_equal(*vectors)

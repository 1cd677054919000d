"""Inverses of symmetric positive definite matrices of books by books, panel by panel, which threads share.

LAPACK's routines are one call each, which has one thread here (engine/threads.py). All but what is done to the panels'
corners are products of matrices. Every matrix is used up, and read below its diagonal only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import strsm
from scipy.linalg.lapack import spotrf

from shelfwise.engine import in_threads
from shelfwise.errors import FitError

PANEL = 1000  # rows or columns

Matrix = npt.NDArray[np.float32]


def inverted(matrix: Matrix) -> Matrix:
    """The inverse, float32 [N, N] in Fortran order as given. Raises FitError where a matrix has none."""
    factor = inverted_factor(matrix)

    def of_rows(rows: slice) -> Matrix:
        product: Matrix = factor[rows.start :, : rows.stop].T @ factor[rows.start :, rows]
        return product.T

    panels = _panels(matrix)
    for rows, found in zip(panels, in_threads(of_rows, panels), strict=True):  # the rows behind need nothing of these
        factor[rows, : rows.stop] = found
        factor[: rows.start, rows] = found[:, : rows.start].T
    return factor


def inverted_factor(matrix: Matrix) -> Matrix:
    """The inverse T of the Cholesky factor, whose inverse is T'T; float32 [N, N], lower triangular, in Fortran order.

    Raises FitError where a matrix has none.
    """
    _factorise(matrix)
    panels = _panels(matrix)

    def of_columns(columns: slice) -> Matrix:
        start = columns.start
        found = np.zeros((len(matrix) - start, columns.stop - start), np.float32, order="F")
        left = np.eye(found.shape[1], dtype=np.float32, order="F")
        for rows in panels[panels.index(columns) :]:
            place = slice(rows.start - start, rows.stop - start)
            if place.start:
                left = -(found[: place.start].T @ matrix[rows, start : rows.start].T).T
            found[place] = strsm(1.0, matrix[rows, rows], left, lower=1)
        return found

    for columns, found in zip(panels, in_threads(of_columns, panels), strict=True):  # nor the columns behind
        matrix[columns.start :, columns] = found
    return matrix


def _factorise(matrix: Matrix) -> None:
    """Cholesky's factor, lower triangular, in place."""
    panels = _panels(matrix)
    for place, columns in enumerate(panels):
        before = slice(0, columns.start)

        def explained(rows: slice, columns: slice = columns, before: slice = before) -> Matrix:
            product: Matrix = matrix[columns, before] @ matrix[rows, before].T
            return product.T

        below = panels[place:]
        for rows, found in zip(below, in_threads(explained, below), strict=True):
            matrix[rows, columns] -= found
        corner, info = spotrf(matrix[columns, columns], lower=1, clean=1)
        if info:
            raise FitError(
                "a matrix of books by books cannot be inverted", hint="give its diagonal more weight (l2, noise)"
            )
        matrix[columns, columns] = corner
        matrix[before, columns] = 0

        def solved(rows: slice, columns: slice = columns, corner: Matrix = corner) -> Matrix:
            found: Matrix = strsm(1.0, corner, matrix[rows, columns], side=1, lower=1, trans_a=1)
            return found

        for rows, found in zip(below[1:], in_threads(solved, below[1:]), strict=True):
            matrix[rows, columns] = found


def _panels(matrix: Matrix) -> list[slice]:
    return [slice(start, min(start + PANEL, len(matrix))) for start in range(0, len(matrix), PANEL)]

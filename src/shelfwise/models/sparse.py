"""Sparse matrices as models use them: shelves as rows, the strongest entries of a dense block, and arrays to store."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from shelfwise.data.shelves import Floats, Shelves
from shelfwise.models.contract import Arrays


def matrix_of(shelves: Shelves, values: Floats, n_books: int) -> sp.csr_matrix:
    """The shelves as a matrix of `values` (one for each rating), float32 [U, I]."""
    return sp.csr_matrix((values, shelves.item_idx, shelves.indptr), shape=(len(shelves), n_books), copy=True)


def reading_matrix(shelves: Shelves, n_books: int) -> sp.csr_matrix:
    """1 where a reader has rated a book, float32 [U, I]."""
    return matrix_of(shelves, np.ones(len(shelves.item_idx), dtype=np.float32), n_books)


def strongest(block: npt.NDArray[np.float32], n: int) -> sp.csr_matrix:
    """The n largest entries of each row of a block with no entry below 0; entries of 0 are left out. Changes block."""
    if n < block.shape[1]:
        least = np.sort(block, axis=1)[:, -n, None]  # on skewed rows partition takes ten times as long
        block[block < least] = 0
    return sp.csr_matrix(block)


def to_arrays(name: str, matrix: sp.csr_matrix) -> Arrays:
    """The arrays of a sparse matrix, to be stored."""
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.array(matrix.shape)}
    return {f"{name}.{part}": array for part, array in parts.items()}


def from_arrays(name: str, arrays: Arrays) -> sp.csr_matrix:
    """The inverse of to_arrays."""
    data, indices, indptr, shape = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr", "shape"))
    return sp.csr_matrix((data, indices, indptr), shape=(int(shape[0]), int(shape[1])))

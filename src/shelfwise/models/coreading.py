"""Lists from who read what, whatever the stars: a score for each book is the sum of its row for the books on a shelf.

Both models say nothing of stars: theirs are the bias model's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import Field

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.engine import HERE, Engine, sharing_threads
from shelfwise.errors import FitError
from shelfwise.models.bias import Bias, BiasConfig
from shelfwise.models.contract import Arrays, FitInputs, Model, Readers, Rows
from shelfwise.models.inverses import inverted
from shelfwise.models.sparse import from_arrays, reading_matrix, strongest, to_arrays

BOOKS_AT_ONCE = 1000
MAX_DENSE_BOOKS = 20_000  # a dense matrix of books by books takes 1.6 GB then


class CoreadingKNNConfig(ModelConfig):
    """How many neighbours a book keeps, and pseudo-readers added to its count."""

    chosen_by: ClassVar[str] = "ndcg@10"
    grid: ClassVar[dict[str, tuple[float, ...]]] = {"shrinkage": (0.0, 30.0)}
    kind: Literal["coreading-knn"] = "coreading-knn"
    shrinkage: Annotated[float, Field(ge=0)] = 0.0
    neighbours: Annotated[int, Field(ge=1)] = 500


class EASEConfig(ModelConfig):
    """l2: the ridge on the diagonal of the Gram matrix, in readers."""

    chosen_by: ClassVar[str] = "ndcg@10"
    grid: ClassVar[dict[str, tuple[float, ...]]] = {"l2": (50.0, 100.0)}
    kind: Literal["ease"] = "ease"
    l2: Annotated[float, Field(gt=0)] = 100.0


class Coreading(Model):
    """Biases for stars, and a matrix [I, I]: a shelf of 0 and 1 times it gives the scores."""

    def __init__(self, config: ModelConfig, bias: Bias, matrix: sp.csr_matrix | Floats) -> None:
        self.config = config
        self.scale = bias.scale
        self.book_counts = bias.book_counts
        self.bias = bias
        self.matrix = matrix

    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        return self.bias.fold_in(shelves)

    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        return self.bias.stars(readers, rows, item_idx)

    def scores(self, readers: Readers) -> Floats:
        """The sum of the matrix's rows of the books on the shelf; 0 for everything where that is empty."""
        scores = reading_matrix(readers.shelves, len(self.book_counts)) @ self.matrix
        return scores.toarray() if sp.issparse(scores) else np.asarray(scores, dtype=np.float32)

    def book_state(self) -> Arrays:
        if sp.issparse(self.matrix):
            return self.bias.book_state() | to_arrays("matrix", self.matrix)
        return self.bias.book_state() | {"matrix": self.matrix}

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        matrix = book_state["matrix"] if "matrix" in book_state else from_arrays("matrix", book_state)
        return cls(config, Bias.from_state(BiasConfig(), scale, book_state, {}), matrix)


class CoreadingKNN(Coreading):
    """cos(i, j) = readers of both / sqrt(readers of i * readers of j), of the nearest books.

    Sarwar et al., Item-based collaborative filtering, WWW 2001, section 3.1.1, without stars.
    """

    kind: ClassVar[str] = "coreading-knn"

    @classmethod
    def fit(cls, config: ModelConfig, inputs: FitInputs) -> Self:
        """Raises FitError without ratings."""
        config = CoreadingKNNConfig.model_validate(config.model_dump())
        bias = Bias.fit(BiasConfig(), inputs)
        read = reading_matrix(inputs.train.shelves(), inputs.train.n_books)
        return cls(config, bias, cosines(read, config.shrinkage, config.neighbours))


class EASE(Coreading):
    """The linear autoencoder without self-loops in closed form: B = I - P / diag(P), P = (X'X + l2 I)^-1.

    Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019, equation 8.
    """

    kind: ClassVar[str] = "ease"

    @classmethod
    def fit(cls, config: ModelConfig, inputs: FitInputs) -> Self:
        """Raises FitError without ratings, or beyond MAX_DENSE_BOOKS books."""
        config = EASEConfig.model_validate(config.model_dump())
        bias = Bias.fit(BiasConfig(), inputs)
        n_books = inputs.train.n_books
        if n_books > MAX_DENSE_BOOKS:
            raise FitError(
                f"ease needs a matrix of {n_books:,} x {n_books:,} numbers",
                hint=f"it is for at most {MAX_DENSE_BOOKS:,} books; coreading-knn has no such limit",
            )
        with sharing_threads():  # blocks of books, and panels of the inverse
            gram = coreadings(reading_matrix(inputs.train.shelves(), n_books))
            return cls(config, bias, ease_weights(gram, config.l2))


def coreadings(read: sp.csr_matrix, engine: Engine = HERE) -> npt.NDArray[np.float32]:
    """X'X of a matrix of who read what: the readers of both of two books, float32 [I, I] in Fortran order."""
    n_books = read.shape[1]
    counts = np.empty((n_books, n_books), dtype=np.float32, order="F")
    blocks = [slice(start, start + BOOKS_AT_ONCE) for start in range(0, n_books, BOOKS_AT_ONCE)]
    for books, found in zip(blocks, engine.map(_coread, blocks, (read.T.tocsr(), read)), strict=True):
        counts[:, books] = found.T
    return counts


def _coread(shared: tuple[sp.csr_matrix, sp.csr_matrix], books: slice) -> Floats:
    """Rows of X'X of a few books: as a whole the sparse product would take half as much again."""
    by_book, read = shared
    found: Floats = (by_book[books] @ read).toarray()
    return found


def ease_weights(gram: npt.NDArray[np.float32], l2: float) -> Floats:
    """B of EASE, float32 [I, I] with a zero diagonal; `gram` (X'X, Fortran order) is used up."""
    diagonal = np.einsum("ii->i", gram)
    diagonal += np.float32(l2)
    weights: Floats = inverted(gram).T  # the inverse is symmetric; its transpose lies in memory row by row
    weights /= -np.einsum("ii->i", weights).copy()
    np.einsum("ii->i", weights)[:] = 0
    return weights


def ease_columns(inverse: npt.NDArray[np.float32], books: slice) -> Floats:
    """Columns of B of EASE, transposed, float32 [B, I]: what foretells some books. `inverse`: P, in Fortran order."""
    weights: Floats = inverse[:, books].T / -np.einsum("ii->i", inverse)[books, None]
    places = np.arange(len(weights))
    weights[places, places + books.start] = 0
    return weights


def ease_scores_without(inverse: npt.NDArray[np.float32], kept: sp.csr_matrix, held: sp.csr_matrix) -> Floats:
    """What the books that readers keep foretell by an EASE that has not seen those held back, float32 [R, I].

    inverse     P of an EASE that has seen both
    kept, held  float32 [R, I], 1 for a book of the reader; no book is in both

    For each reader on its own, G loses the pairs with k + h and gains those with k, a change of rank 2, so that P
    follows by Woodbury's identity: P - V (C^-1 + U'V)^-1 V', U = [k, h], V = P U, C = [0 -1; -1 -1].
    Scores of the books kept mean nothing.
    """
    both = np.stack([kept.toarray(), held.toarray()], axis=1)
    seen = np.stack([kept @ inverse.T, held @ inverse.T], axis=1)  # V' [R, 2, I]; P is symmetric
    within = both @ seen.transpose(0, 2, 1)
    solved = np.linalg.inv(within + np.array([[1.0, -1.0], [-1.0, 0.0]]))
    moved = solved.astype(np.float32) @ seen
    changed = seen[:, 0] - (within[:, :1] @ moved)[:, 0]
    scores: Floats = -changed / (np.einsum("ii->i", inverse) - (seen * moved).sum(1))
    return scores


def cosines(read: sp.csr_matrix, shrinkage: float, neighbours: int) -> sp.csr_matrix:
    """cos of books by who read them, `shrinkage` added to each count, the strongest of each book; sparse [I, I]."""
    n_books = read.shape[1]
    counts = np.asarray(read.sum(axis=0)).ravel()
    scaled = sp.csr_matrix(read @ sp.diags_array(1 / np.sqrt(np.maximum(counts + shrinkage, 1))), dtype=np.float32)
    by_book = scaled.T.tocsr()
    blocks = []
    for start in range(0, n_books, BOOKS_AT_ONCE):
        end = min(start + BOOKS_AT_ONCE, n_books)
        block = (by_book[start:end] @ scaled).toarray()
        block[np.arange(end - start), np.arange(start, end)] = 0
        blocks.append(strongest(block, neighbours))
    return sp.csr_matrix(sp.vstack(blocks).T)

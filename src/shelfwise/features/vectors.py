"""A vector for each book from its content: dense, short, without ratings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from shelfwise.config import Config
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.shelves import Floats
from shelfwise.features.content import ContentSpace

ABOUT_BLOCKS = ("tags", "subjects", "title")


@dataclass(frozen=True)
class BookFeatures:
    """What is known of the books of a catalogue, in order of index.

    content    float32 [I, F] sparse, columns as `space` says
    embedding  float32 [I, E] from the user, or None
    """

    catalogue: Catalogue
    space: ContentSpace
    content: sp.csr_matrix
    embedding: Floats | None = None

    @classmethod
    def of(cls, catalogue: Catalogue, embedding: Floats | None = None) -> BookFeatures:
        """Fit the content space on the catalogue itself."""
        space = ContentSpace.fit(catalogue)
        return cls(catalogue, space, space.transform(catalogue), embedding)

    @property
    def about_content(self) -> sp.csr_matrix:
        """The columns that say what books are about, [I, F']."""
        return self.content[:, self._columns(ABOUT_BLOCKS)]

    @property
    def described(self) -> npt.NDArray[np.bool_]:
        """Which books have tags or subjects, or numbers of the user's, bool [I]."""
        if self.embedding is not None:
            return np.ones(len(self.catalogue), dtype=np.bool_)
        found: npt.NDArray[np.bool_] = np.diff(self.content[:, self._columns(("tags", "subjects"))].indptr) > 0
        return found

    def _columns(self, blocks: tuple[str, ...]) -> npt.NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.space.terms["block"].to_numpy(), blocks))


class VectorSizes(Config):
    """Numbers for what a book is about (SVD of tags, subjects and title words), its author and its series."""

    about: int = 128
    author: int = 64
    series: int = 64


DEFAULT_DIM = 64


def default_embedding(features: BookFeatures, dim: int = DEFAULT_DIM) -> Floats:
    """The user's embedding, else the content matrix in `dim` numbers a book, rows of length 1; float32 [I, dim]."""
    if features.embedding is not None:
        return features.embedding
    return unit_rows(truncated_svd(features.content, dim))


# Squared lengths of the three parts: the weights of the kernel that did best on goodbooks-10k.
PART_WEIGHTS = {"about": 1.0, "author": 0.35, "series": 0.55}


def content_vectors(features: BookFeatures, sizes: VectorSizes) -> Floats:
    """float32 [I, about + author + series]: one part after the other, each of length sqrt(PART_WEIGHTS) or 0.

    The dot product of two books is then about cos(what they are about) + 0.35 [same author] + 0.55 [same series].
    A user's embedding takes the place of what the book is about.
    """
    if features.embedding is not None:
        about = unit_rows(features.embedding)
    else:
        about = unit_rows(truncated_svd(features.about_content, sizes.about))
    return beside_names(about, features.catalogue, sizes)


def beside_names(about: Floats, catalogue: Catalogue, sizes: VectorSizes) -> Floats:
    """content_vectors() from what the books are about, float32 [I, about], rows of length 1 or 0."""
    parts = {
        "about": about,
        "author": sign_codes(catalogue.first_authors, sizes.author),
        "series": sign_codes(catalogue.books["series"].to_list(), sizes.series),
    }
    return np.hstack([PART_WEIGHTS[name] ** 0.5 * part for name, part in parts.items()]).astype(np.float32)


def truncated_svd(matrix: sp.csr_matrix, dim: int) -> Floats:
    """The rows of a matrix in its first `dim` left singular directions, times the singular values, float32 [I, dim].

    Randomised (Halko, Martinsson, Tropp, SIAM Review 2011) with a fixed seed; zeros where the rank is less.
    """
    left, values, _ = _svd(matrix, dim)
    return left * values


def svd_basis(matrix: sp.csr_matrix, dim: int) -> Floats:
    """The first `dim` right singular directions of a matrix [I, F], float32 [F, dim]: see truncated_svd.

    matrix @ basis is what truncated_svd gives, up to rounding, and does for rows that come later too.
    """
    return _svd(matrix, dim)[2].T


def _svd(matrix: sp.csr_matrix, dim: int) -> tuple[Floats, Floats, Floats]:
    """float32 [I, dim], [dim], [dim, F]; 0 beyond the rank."""
    from sklearn.utils.extmath import randomized_svd

    rank = min(dim, *matrix.shape)
    left, values, right = (np.zeros(s, dtype=np.float32) for s in ((matrix.shape[0], dim), dim, (dim, matrix.shape[1])))
    if rank and matrix.nnz:
        left[:, :rank], values[:rank], right[:rank] = randomized_svd(matrix, rank, n_iter=4, random_state=0)
    return left, values, right


def sign_codes(names: list[str | None], dim: int) -> Floats:
    """A code of +-1 / sqrt(dim) for each name, float32 [N, dim]; 0 where there is none.

    The signs are bits of a hash of the name: codes of different names are all but orthogonal, need no fitting,
    and are there for authors and series that no one has seen yet.
    """
    codes: dict[str | None, npt.NDArray[np.float32]] = {None: np.zeros(dim, dtype=np.float32)}
    for name in names:
        if name is not None and name not in codes:
            digest = hashlib.shake_128(name.encode()).digest((dim + 7) // 8)
            bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))[:dim]
            codes[name] = (bits.astype(np.float32) * 2 - 1) / np.float32(dim**0.5)
    return np.stack([codes[name] for name in names]) if names else np.zeros((0, dim), dtype=np.float32)


def unit_rows(matrix: Floats) -> Floats:
    """Rows scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled: Floats = (matrix / np.maximum(lengths, 1e-9)).astype(np.float32)
    return scaled

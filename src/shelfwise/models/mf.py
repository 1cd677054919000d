"""Matrix factorisation on biases: the GMF path alone, over a spectral embedding of who read what."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from shelfwise.data.ratings import Ratings
from shelfwise.features.vectors import truncated_svd, unit_rows
from shelfwise.models.contract import FitInputs
from shelfwise.models.neumf import NeuMF, NeuMFConfig


class MFConfig(NeuMFConfig):
    """`vector_length` is the squared length of a book's vector: the prior variance of a reader's taste for it."""

    kind: Literal["mf"] = "mf"
    embedding_dim: Annotated[int, Field(ge=1)] = 256
    vector_length: Annotated[float, Field(gt=0)] = 0.6


class MF(NeuMF):
    """mean + b_u + b_i + h . blocks(p_u * q_i)"""

    kind: ClassVar[str] = "mf"
    config_class = MFConfig

    @classmethod
    def book_vectors(cls, config: NeuMFConfig, inputs: FitInputs) -> Tensor:
        config = MFConfig.model_validate(config.model_dump())
        return torch.from_numpy(coreading_vectors(inputs.train, config.embedding_dim, config.vector_length))


def coreading_vectors(train: Ratings, dim: int, squared_length: float) -> np.ndarray:
    """Each book in the leading right singular directions of the reader-book matrix, float32 [I, dim].

    An entry is 1 / sqrt((books of the reader + 1) (readers of the book + 1)), whatever the stars; rows are scaled to
    one length, so that a book with few readers is no shorter. The symmetrically normalised adjacency of spectral
    clustering (Ng, Jordan, Weiss, NIPS 2001).
    """
    readers = np.bincount(train.user_idx, minlength=train.n_readers) + 1.0
    books = np.bincount(train.item_idx, minlength=train.n_books) + 1.0
    values = (readers[train.user_idx] * books[train.item_idx]) ** -0.5
    matrix = sp.csr_matrix(
        (values.astype(np.float32), (train.item_idx, train.user_idx)), shape=(train.n_books, train.n_readers)
    )
    vectors: np.ndarray = unit_rows(truncated_svd(matrix, dim)) * np.float32(squared_length**0.5)
    return vectors

"""NeuMF over what books are about: content meets the reader in the GMF path and in the MLP.

A book's vector is content alone, so a new book has one from the first day, and its bias starts at what such books get.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from shelfwise.errors import FitError
from shelfwise.features.vectors import VectorSizes, content_vectors
from shelfwise.models.contract import FitInputs
from shelfwise.models.neumf import NeuMF, NeuMFConfig


class HybridConfig(NeuMFConfig):
    """`embedding_dim` numbers for what a book is about (or the user's embedding), and codes of author and series."""

    kind: Literal["hybrid"] = "hybrid"
    embedding_dim: Annotated[int, Field(ge=1)] = 128
    author_dim: Annotated[int, Field(ge=1)] = 64
    series_dim: Annotated[int, Field(ge=1)] = 64
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)
    new_book_share: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def blocks(self, dim: int) -> Tensor:
        """Octaves of what the book is about, then one block for the author and one for the series."""
        about = dim - self.author_dim - self.series_dim
        octaves = super().blocks(about)
        last = int(octaves.max()) + 1
        codes = torch.tensor([last] * self.author_dim + [last + 1] * self.series_dim)
        return torch.cat([octaves, codes])


class Hybrid(NeuMF):
    """mean + b_u + b_i + h . blocks(p_u * c_i) + MLP(u, i), with content c_i"""

    kind: ClassVar[str] = "hybrid"
    config_class = HybridConfig

    @classmethod
    def book_vectors(cls, config: NeuMFConfig, inputs: FitInputs) -> Tensor:
        """Raises FitError without features."""
        config = HybridConfig.model_validate(config.model_dump())
        if inputs.features is None:
            raise FitError("hybrid needs what is known of the books", hint="fit it through shelfwise.train")
        sizes = VectorSizes(about=config.embedding_dim, author=config.author_dim, series=config.series_dim)
        return torch.from_numpy(content_vectors(inputs.features, sizes))

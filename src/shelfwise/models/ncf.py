"""NeuMF on biases: the GMF path of `mf` and an MLP beside it, ids only."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from shelfwise.models.contract import FitInputs
from shelfwise.models.mf import coreading_vectors
from shelfwise.models.neumf import NeuMF, NeuMFConfig


class NCFConfig(NeuMFConfig):
    """As MFConfig, with an MLP."""

    kind: Literal["ncf"] = "ncf"
    embedding_dim: Annotated[int, Field(ge=1)] = 256
    vector_length: Annotated[float, Field(gt=0)] = 0.6
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)


class NCF(NeuMF):
    """mean + b_u + b_i + h . blocks(p_u * q_i) + MLP(u, i)"""

    kind: ClassVar[str] = "ncf"
    config_class = NCFConfig

    @classmethod
    def book_vectors(cls, config: NeuMFConfig, inputs: FitInputs) -> Tensor:
        config = NCFConfig.model_validate(config.model_dump())
        return torch.from_numpy(coreading_vectors(inputs.train, config.embedding_dim, config.vector_length))

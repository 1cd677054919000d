"""Biases and the star head, without content: what shelf is worth beyond them."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.errors import UsageError
from shelfwise.models.contract import Lists, Readers, Rows
from shelfwise.models.evidence import ShelfSums, level_evidence, sums_of_shelves
from shelfwise.models.shelf import Mask, Shelf, ShelfConfig
from shelfwise.ranking import top_n


class OrdinalBiasConfig(ShelfConfig):
    """The baseline: what naming the most probable star gains without any content."""

    loop: ClassVar[dict[str, Any]] = {"epochs": 4, "learning_rate": 3e-3}
    kind: Literal["shelf", "bias-ordinal"] = "bias-ordinal"
    content: Literal[False] = False
    outside_averages: bool = False
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 64)
    new_book_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


class OrdinalBias(Shelf):
    """Biases and the star head, without content: its lists are the bias model's."""

    kind: ClassVar[str] = "bias-ordinal"
    config_class = OrdinalBiasConfig

    @torch.inference_mode()
    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """ShelfSums of the shelves, by name."""
        _, residuals = self.residuals(shelves)
        rows, steps = torch.from_numpy(shelves.rows), torch.from_numpy(self.scale.steps(shelves.stars))
        sums = sums_of_shelves(rows, len(shelves), residuals, steps, len(self.scale.values))
        return Readers(shelves, {f.name: getattr(sums, f.name).numpy() for f in fields(sums)})

    def evidence(self, readers: Readers, rows: Rows, books: Indices) -> tuple[Tensor, Tensor]:
        wanted = torch.from_numpy(books.reshape(-1).astype(np.int64))
        return self.beside_books(self._level(readers, np.repeat(rows, books.shape[1]), wanted >= 0), wanted)

    def _level(self, readers: Readers, rows: Rows, known: Tensor) -> Tensor:
        sums = ShelfSums(**{name: torch.from_numpy(array[rows]) for name, array in readers.arrays.items()})
        return level_evidence(sums, self.config.kernel, known.float())

    def scores(self, readers: Readers) -> Floats:
        """Unclipped stars before the head."""
        level = self._level(readers, np.arange(len(readers)), torch.ones(len(readers)))[:, 0].numpy()
        scores: Floats = (self.books.mean + self.books.bias).numpy()[None, :] + level[:, None]
        return scores.astype(np.float32)

    def scores_among(self, readers: Readers, allowed: Mask) -> Floats:
        return self.scores(readers)

    def first_among(self, readers: Readers, allowed: Mask, n: int) -> Lists | None:
        return None

    def top(self, readers: Readers, n: int, leave_out: Shelves | None = None) -> Lists:
        return Lists(*top_n(self.scores(readers), n, leave_out))

    def with_order(self, order: str) -> Shelf:
        raise UsageError(f"the model {self.kind} has one order of lists only", hint="leave out --order")

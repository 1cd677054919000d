"""Dropout at a tenth of the cost: a byte of randomness for each number instead of a call of the generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# Where masks are drawn from; None is torch's own random state, which threads would take turns at as it happens.
_source: ContextVar[torch.Generator | None] = ContextVar("_source", default=None)


class ByteDropout(nn.Module):
    """As nn.Dropout, with p rounded to the nearest n / 256, at most 255 / 256; the mean is kept exactly.

    For a CPU, where torch draws one mask number after another.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}, not from 0 up to 1")
        self.dropped = dropped_of_256(p)

    def forward(self, numbers: Tensor) -> Tensor:
        """`numbers` of any shape with a share of p at 0 and the others over 1 - p; in training alone."""
        if not (self.training and self.dropped):
            return numbers
        n = numbers.numel()
        words = random_words(-(-n // 8), numbers.device)
        drawn = words.view(torch.uint8)[:n].view(numbers.shape)
        kept = drawn.clamp_(self.dropped - 1, self.dropped).sub_(self.dropped - 1)  # 1 where drawn >= dropped
        return numbers * (kept * (256 / (256 - self.dropped)))


def dropped_of_256(p: float) -> int:
    """How many of the 256 values of a random byte drop its number, where a share of p is to be: at most 255."""
    return min(round(256 * p), 255)


def random_words(n: int, device: torch.device | str = "cpu") -> Tensor:
    """int64 [n], each bit fair."""
    return torch.empty(n, dtype=torch.int64, device=device).random_(-(2**63), None, generator=_source.get())


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """While inside, this thread's masks are drawn from a random state of their own."""
    token = _source.set(torch.Generator().manual_seed(seed))
    try:
        yield
    finally:
        _source.reset(token)

"""An MLP with dropout before each layer, in few passes over memory: for training with large batches on a CPU.

What torch's own layers spend beyond the products of matrices is most of their time. Here
- a mask is drawn as packed bits, 64 to a word, spread to 0 or -1 and applied by a bitwise and;
- what is kept is scaled within the layer's weights, which are far fewer than the numbers of a batch;
- ReLU and mask are one step back, since both leave 0 where no gradient passes;
- the parts of the input are joined in the pass that applies the first mask;
- products are oneDNN's where those that torch takes by itself, MKL's, are half as fast: on all processors but Intel's.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shelfwise.models.dropout import random_words

WORD = 64
HALF_WORD_BITS = torch.arange(32, dtype=torch.int32)[:, None]
SIGN = 31  # shifting by so much spreads the highest bit of an int32 over all


def few_passes(mlp: nn.Sequential, parts: list[Tensor]) -> Tensor:
    """What `mlp`, layers of (dropout, linear, ReLU), gives for rows whose `parts` (float32 [B, *]) lie side by side.

    In training dropout's p is taken to the nearest n / 256, at most 255 / 256, and the mean is kept exactly.
    """
    kept = _kept_of_256(mlp[0])
    hidden: Tensor = _JoinDrop.apply(kept, *parts)  # type: ignore[no-untyped-call]
    for place in range(1, len(mlp), 3):
        linear = mlp[place]
        assert isinstance(linear, nn.Linear)
        product = _linear(hidden, linear.weight * (256 / kept), linear.bias)
        kept = 256 if place + 2 == len(mlp) else _kept_of_256(mlp[place + 2])
        hidden = _ReLUDrop.apply(kept, product)  # type: ignore[no-untyped-call]
    return hidden


def keep_mask(like: Tensor, kept: int) -> Tensor:
    """int32, in the shape of `like`: -1 with a chance of kept / 256, else 0; drawn on torch's random state.

    A bit with a chance of 0.b1..b8 (binary) is 'r or rest' for b1 = 1 and 'r and rest' for b1 = 0, where r is a fair
    bit and `rest` a bit with a chance of 0.b2..b8.
    """
    if kept == 256:
        return torch.full(like.shape, -1, dtype=torch.int32)
    n = like.numel()
    bits = torch.zeros(-(-n // WORD), dtype=torch.int64)
    for place in range((kept & -kept).bit_length() - 1, 8):  # below the lowest 1 the rest is 0
        fair = random_words(len(bits))
        bits = fair.bitwise_or_(bits) if kept >> place & 1 else fair.bitwise_and_(bits)
    spread = torch.bitwise_left_shift(bits.view(torch.int32), HALF_WORD_BITS).bitwise_right_shift_(SIGN)
    return spread.view(-1)[:n].view(like.shape)


def _kept_of_256(dropout: nn.Module) -> int:
    """How many of 256 numbers are kept."""
    assert isinstance(dropout, nn.Dropout)
    return 256 - min(round(256 * dropout.p), 255) if dropout.training else 256


def _linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """rows @ weight.T + bias, by oneDNN where that is faster."""
    if mkl_is_fast() or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return nn.functional.linear(rows, weight, bias)
    return nn.functional.linear(rows.to_mkldnn(), weight, bias).to_dense()


@cache
def mkl_is_fast() -> bool:
    """Whether torch's own products are MKL's, and this is a processor that MKL has kernels for: its maker's."""
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        processor = platform.processor()
    return torch.backends.mkl.is_available() and "GenuineIntel" in processor  # type: ignore[no-untyped-call]


class _JoinDrop(torch.autograd.Function):
    """Parts side by side, each number with a chance of kept / 256, else 0: [B, width]."""

    @staticmethod
    def forward(ctx: Any, kept: int, *parts: Tensor) -> Tensor:
        widths = [part.shape[1] for part in parts]
        joined = parts[0].new_empty(len(parts[0]), sum(widths))
        ctx.masks = torch.split(keep_mask(joined, kept), widths, dim=1)
        for part, mask, place in zip(parts, ctx.masks, torch.split(joined, widths, dim=1), strict=True):
            torch.bitwise_and(part.view(torch.int32), mask, out=place.view(torch.int32))
        return joined

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        by_part = torch.split(grads[0].view(torch.int32), [mask.shape[1] for mask in ctx.masks], dim=1)
        return None, *[(grad & mask).view(torch.float32) for grad, mask in zip(by_part, ctx.masks, strict=True)]


class _ReLUDrop(torch.autograd.Function):
    """max(0, number) with a chance of kept / 256, else 0; in the place of the numbers."""

    @staticmethod
    def forward(ctx: Any, kept: int, numbers: Tensor) -> Tensor:
        numbers.relu_()
        if kept < 256:
            numbers.view(torch.int32).bitwise_and_(keep_mask(numbers, kept))
        ctx.mark_dirty(numbers)
        ctx.save_for_backward(numbers)
        return numbers

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, torch.ops.aten.threshold_backward(grads[0], ctx.saved_tensors[0], 0)

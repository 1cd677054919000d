"""Small networks on top of what is worked out in closed form: an MLP over standardised numbers, and stars from one."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from shelfwise.data.scale import Scale
from shelfwise.models.dropout import ByteDropout

LEAST_SPREAD = 1e-4


def layers(widths: list[int], dropout: float) -> nn.Sequential:
    """An MLP whose last layer starts at 0."""
    made: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths[:-1]):
        made += [nn.Linear(n_in, n_out), nn.ReLU(), ByteDropout(dropout)]
    last = nn.Linear(widths[-2], widths[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*made, last)


class Standardised(nn.Module):
    """An MLP over standardised numbers."""

    centre: Tensor
    spread: Tensor

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(widths[0]))
        self.register_buffer("spread", torch.ones(widths[0]))
        self.mlp = layers(widths, dropout)

    def standardise(self, numbers: Tensor) -> None:
        """Take centre and spread from training numbers [N, F]."""
        self.centre.copy_(numbers.mean(0))
        spread = numbers.std(0, correction=0)
        self.spread.copy_(torch.where(spread > LEAST_SPREAD, spread, 1.0))  # what never varies must not be magnified

    def forward(self, numbers: Tensor) -> Tensor:
        """[N, F] -> [N, outputs]"""
        outputs: Tensor = self.mlp((numbers - self.centre) / self.spread)
        return outputs


class StarHead(nn.Module):
    """Log-probability of each value of the scale: a discretised Gaussian round `base`, bent by an MLP.

    The MLP moves its mean and log-deviation and adds to each logit; at first it does nothing.
    """

    cuts: Tensor

    def __init__(self, n_numbers: int, hidden: tuple[int, ...], dropout: float, scale: Scale) -> None:
        super().__init__()
        values = torch.from_numpy(scale.values)
        self.register_buffer("cuts", (values[1:] + values[:-1]) / 2)
        self.log_deviation = nn.Parameter(torch.tensor(math.log(0.2 * (scale.high - scale.low))))
        self.net = Standardised([n_numbers, *hidden, len(values) + 2], dropout)

    def forward(self, base: Tensor, numbers: Tensor) -> Tensor:
        """base [N] (stars), numbers [N, F] -> [N, S]"""
        out = self.net(numbers)
        centre, deviation = base + out[:, 0], (self.log_deviation + out[:, 1]).clamp(-4, 3).exp()
        below = torch.special.ndtr((self.cuts - centre[:, None]) / deviation[:, None])
        ends = below.new_zeros(len(base), 1), below.new_ones(len(base), 1)
        gaussian = torch.diff(below, dim=1, prepend=ends[0], append=ends[1])
        logits: Tensor = gaussian.clamp(min=1e-6).log() + out[:, 2:]
        return logits.log_softmax(1)

"""ByteDropout beside torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.models.dropout import ByteDropout


@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 0.99, 0.999]))
@settings(max_examples=60, deadline=None)
def test_numbers_are_kept_over_the_share_kept_or_are_0(shape: list[int], p: float) -> None:
    numbers = torch.rand(shape) + 1
    dropout = ByteDropout(p)
    found = dropout(numbers)
    assert found.shape == numbers.shape
    scaled = numbers * 256 / (256 - min(round(256 * p), 255))
    assert bool(((found == 0) | torch.isclose(found, scaled)).all())
    assert torch.equal(dropout.eval()(numbers), numbers)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_it_drops_the_share_asked_for_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    n = 1_000_000
    found = ByteDropout(p)(torch.ones(n))
    share = float((found == 0).float().mean())
    assert share == pytest.approx(p, abs=1 / 512 + 4 * (p * (1 - p) / n) ** 0.5)
    assert float(found.mean()) == pytest.approx(1, abs=5 * (p / (1 - p) / n) ** 0.5)
    together = (found.view(-1, 2) == 0).all(1).float().mean()  # neighbours are dropped independently
    assert float(together) == pytest.approx(share**2, abs=5 * (share**2 / n) ** 0.5)


def test_gradients_flow_where_numbers_were_kept() -> None:
    torch.manual_seed(1)
    numbers = torch.ones(64, requires_grad=True)
    found = ByteDropout(0.5)(numbers)
    found.sum().backward()
    assert numbers.grad is not None
    assert torch.equal(numbers.grad, found.detach())


def test_the_same_random_state_drops_the_same() -> None:
    dropout = ByteDropout(0.3)
    torch.manual_seed(2)
    first, second = dropout(torch.ones(100)), dropout(torch.ones(100))
    torch.manual_seed(2)
    assert torch.equal(first, dropout(torch.ones(100)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="not from 0"):
        ByteDropout(p)

"""The MLP in few passes beside the same as one writes it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shelfwise.training import few_passes as few_passes_module
from shelfwise.training.few_passes import few_passes, keep_mask

SHARES = st.sampled_from([0.0, 0.001, 0.1, 0.3, 0.5, 0.9, 0.999])


def make_mlp(widths: list[int], drops: list[float]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, drop in zip(widths[:-1], widths[1:], drops, strict=False):
        layers += [nn.Dropout(drop), nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)


def plain(mlp: nn.Sequential, parts: list[Tensor]) -> Tensor:
    """Layer by layer, the masks drawn in the same order."""
    x = torch.cat(parts, -1)
    for layer in mlp:
        if isinstance(layer, nn.Dropout):
            kept = 256 - min(round(256 * layer.p), 255) if layer.training else 256
            x = x * (keep_mask(x, kept) == -1) * (256 / kept)
        else:
            x = layer(x)
    return x


@given(
    rows=st.integers(1, 70),
    parts=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    hidden=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    drops=st.lists(SHARES, min_size=3, max_size=3),
    training=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_numbers_and_gradients_are_those_of_the_plain_layers(
    rows: int, parts: list[int], hidden: list[int], drops: list[float], *, training: bool
) -> None:
    torch.manual_seed(rows)
    mlp = make_mlp([sum(parts), *hidden], drops).train(training)
    inputs = [torch.randn(rows, width, requires_grad=True) for width in parts]
    weight = torch.randn(rows, hidden[-1])
    found = []
    for run in (few_passes, plain):
        torch.manual_seed(3)
        output = run(mlp, inputs)
        gradients = torch.autograd.grad((output * weight).sum(), [*inputs, *mlp.parameters()])
        found.append([output.detach(), *gradients])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("there", [True, False])
def test_products_are_the_same_whichever_library_takes_them(monkeypatch: pytest.MonkeyPatch, *, there: bool) -> None:
    torch.manual_seed(0)
    mlp, parts = make_mlp([12, 6, 3], [0.5, 0.3]), [torch.randn(9, n, requires_grad=True) for n in (7, 5)]
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: there)
    found = []
    for is_fast in (True, False):
        monkeypatch.setattr(few_passes_module, "mkl_is_fast", lambda is_fast=is_fast: is_fast)
        torch.manual_seed(1)
        output = few_passes(mlp, parts)
        found.append([output, *torch.autograd.grad(output.square().sum(), [*parts, *mlp.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_evaluation_drops_nothing() -> None:
    torch.manual_seed(0)
    mlp, parts = make_mlp([12, 6, 3], [0.5, 0.3]).eval(), [torch.randn(9, 7), torch.randn(9, 5)]
    torch.testing.assert_close(few_passes(mlp, parts), mlp(torch.cat(parts, -1)))


@pytest.mark.parametrize("kept", [1, 26, 77, 128, 179, 230, 255])
def test_a_mask_keeps_the_share_asked_for_each_number_on_its_own(kept: int) -> None:
    torch.manual_seed(kept)
    n, share = 1 << 20, kept / 256
    mask = keep_mask(torch.empty(n), kept)
    assert set(mask.unique().tolist()) == {0, -1}
    kept_there = mask == -1
    assert float(kept_there.float().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)
    for apart in (1, 2, 64, n // 32, n // 64, n // 4):  # neighbours, and those that share a word
        both = (kept_there & kept_there.roll(apart)).float().mean()
        assert float(both) == pytest.approx(share**2, abs=5 * (share**2 / n) ** 0.5), apart


def test_the_same_random_state_drops_the_same_and_the_next_draw_another() -> None:
    like = torch.empty(3, 50)
    torch.manual_seed(2)
    first, second = keep_mask(like, 179), keep_mask(like, 179)
    torch.manual_seed(2)
    assert first.shape == like.shape
    assert torch.equal(first, keep_mask(like, 179))
    assert not torch.equal(first, second)
    assert torch.equal(keep_mask(like, 256), torch.full((3, 50), -1, dtype=torch.int32))

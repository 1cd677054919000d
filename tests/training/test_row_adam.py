"""Steps from row-sparse gradients beside those from dense ones."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shelfwise.engine import sharing_threads
from shelfwise.training import row_adam
from shelfwise.training.loop import make_optimiser
from shelfwise.training.settings import LoopSettings

N_ROWS = 6
Batches = list[list[int]]


class Tables(nn.Module):
    """Two embeddings, the one looked up by what is given and the other by its square, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Embedding(N_ROWS, 3), nn.Embedding(N_ROWS, 3), nn.Linear(3, 1)

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.last(self.first(rows) * self.second(rows * rows % N_ROWS))
        return found


def trained(batches: Batches, loop: LoopSettings, *, dense: bool) -> list[Tensor]:
    """The weights after a step for each batch, and what Adam keeps of the tables; tables in two parts."""
    network = Tables()
    optimiser = make_optimiser(network, loop, epoch=0)
    if dense:
        network.first.sparse = network.second.sparse = False
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        optimiser = kinds[loop.optimiser](network.parameters(), loop.learning_rate, weight_decay=loop.weight_decay)
    for rows in batches:
        optimiser.zero_grad()
        network(torch.tensor(rows, dtype=torch.int64)).square().sum().backward()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(row_adam, "ROWS_AT_ONCE", 4)
            optimiser.step()
    kept = [optimiser.state[table.weight] for table in (network.first, network.second)]
    names = ("step", "exp_avg", "exp_avg_sq") if loop.optimiser != "sgd" else ()
    return [*(value.detach() for value in network.parameters()), *(state[name] for state in kept for name in names)]


@given(st.lists(st.lists(st.integers(0, N_ROWS - 1), max_size=8), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_steps_are_those_of_dense_gradients(kind: str, decay: float, batches: Batches) -> None:
    """Untouched rows too: their momentum and decay go on. A batch of none, of one, of the same row again."""
    loop = LoopSettings.parse({"optimiser": kind, "weight_decay": decay, "learning_rate": 0.05}, where="test")
    ours, plain = trained(batches, loop, dense=False), trained(batches, loop, dense=True)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_what_is_kept_goes_on_as_torchs_own() -> None:
    """A state of dense steps, loaded as from a checkpoint, is gone on from."""
    loop = LoopSettings.parse({"optimiser": "adamw", "weight_decay": 0.1, "learning_rate": 0.05}, where="test")
    torch.manual_seed(1)
    whole = nn.Embedding(N_ROWS, 3, sparse=True), nn.Embedding(N_ROWS, 3)
    ours, plain = (
        make_optimiser(whole[0], loop, epoch=0),
        torch.optim.AdamW(whole[1].parameters(), 0.05, weight_decay=0.1),
    )

    def step(table: nn.Embedding, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        table(torch.tensor([1, 3, 1])).square().sum().backward()
        optimiser.step()

    step(whole[1], plain)
    whole[0].load_state_dict(whole[1].state_dict())
    ours.load_state_dict(deepcopy(plain.state_dict()))
    for table, optimiser in zip(whole, (ours, plain), strict=True):
        step(table, optimiser)
    torch.testing.assert_close(whole[0].weight, whole[1].weight)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_a_step_that_threads_share_is_that_of_one_thread(kind: str) -> None:
    """To the last bit, where no thread's part ends where a vector register does."""

    def stepped(n_threads: int) -> list[Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        torch.manual_seed(0)
        network = nn.Sequential(nn.Embedding(50, 1237), nn.Linear(1237, 331))
        loop = LoopSettings.parse({"optimiser": kind, "weight_decay": 0.1}, where="test")
        optimiser = make_optimiser(network, loop, epoch=0)
        try:
            with sharing_threads():
                for _ in range(3):
                    optimiser.zero_grad()
                    network(torch.randint(50, (30,))).square().mean().backward()
                    optimiser.step()
        finally:
            torch.set_num_threads(before)
        return [value.detach() for value in network.parameters()]

    for one, three in zip(stepped(1), stepped(3), strict=True):
        assert torch.equal(one, three)


def test_beyond_a_cpu_the_optimiser_steps_from_dense_gradients() -> None:
    """The device 'meta' is everywhere; compiled loops could not read its numbers."""
    table = nn.Embedding(N_ROWS, 3, sparse=True, device="meta")
    optimiser = row_adam.RowAdam(table.parameters(), lr=0.1, weight_decay=0, decoupled=False)
    optimiser.param_groups[0]["fused"] = False  # which torch has not for this device
    table(torch.tensor([1, 3, 1], device="meta")).square().sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.is_sparse
    optimiser.step()
    assert not table.weight.grad.is_sparse
    assert optimiser.state[table.weight]["exp_avg"].shape == (N_ROWS, 3)


def test_steps_from_dense_gradients_alone_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What most networks have, for which nothing is to be compiled or loaded."""
    monkeypatch.setattr(row_adam, "adam_rows", None)
    layer = nn.Linear(3, 2)
    plain = deepcopy(layer)
    optimisers = (
        row_adam.RowAdam(layer.parameters(), lr=0.1, weight_decay=0.1, decoupled=True),
        torch.optim.AdamW(plain.parameters(), 0.1, weight_decay=0.1, fused=True),
    )
    for network, optimiser in zip((layer, plain), optimisers, strict=True):
        network(torch.ones(4, 3)).square().sum().backward()
        optimiser.step()
    assert torch.equal(layer.weight, plain.weight)

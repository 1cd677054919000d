"""However many processes take up the hands, each row of a batch is with one of them, and at its place there."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as some

from shelfwise.training.peers import Peers, deal, gather


@given(n_rows=some.integers(1, 50), n_hands=some.integers(1, 9), data=some.data())
def test_every_row_is_with_one_process(n_rows: int, n_hands: int, data: some.DataObject) -> None:
    size = data.draw(some.integers(1, n_hands))
    batch = torch.tensor(data.draw(some.lists(some.integers(0, n_rows - 1), unique=True)), dtype=torch.int64)
    rows = [torch.arange(n_rows), torch.arange(2 * n_rows).reshape(n_rows, 2)]
    hands = [deal(rows, hand, n_hands) for hand in range(n_hands)]
    found = []
    for rank in range(size):
        held = Peers(rank, size, n_hands).held(batch)
        one, two = gather(hands[rank::size])
        assert torch.equal(two[:, 0], 2 * one)
        found.append(one[held])
    assert sorted(torch.cat(found).tolist()) == sorted(batch.tolist())
    for part in found:  # in the order of the batch
        places = [batch.tolist().index(row) for row in part.tolist()]
        assert places == sorted(places)

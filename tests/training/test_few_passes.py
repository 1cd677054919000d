"""Gradients in few passes beside those of the layers as one writes them, with the same masks."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shelfwise.engine import sharing_threads
from shelfwise.models.dropout import random_words
from shelfwise.models.notebook import BookNetwork, NotebookConfig, ReaderTable
from shelfwise.training.few_passes import few_passes
from shelfwise.training.kernels import draw_words
from shelfwise.training.pieces import by_pieces

N_READERS, N_BOOKS = 9, 7
SHARES = st.sampled_from([0.0, 0.001, 0.1, 0.3, 0.5, 0.9, 0.999])
CONFIG = NotebookConfig(kind="ncf", embedding_dim=3, layers=2)


def make(config: NotebookConfig, n_content: int = 0) -> nn.ModuleDict:
    """The network of a notebook's model, with weights large enough for gradients that can be told apart."""
    torch.manual_seed(1)
    content = torch.randn(N_BOOKS, n_content) if n_content else None
    network = nn.ModuleDict({"readers": ReaderTable(config, N_READERS), "books": BookNetwork(config, N_BOOKS, content)})
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = True
    return network.train()


def make_rows(n: int) -> list[Tensor]:
    torch.manual_seed(n)
    return [torch.randint(N_READERS, (n,)), torch.randint(N_BOOKS, (n,)), 5 * torch.rand(n)]


def bytes_of(seed: int, n_rows: int, width: int) -> Tensor:
    words = np.empty(n_rows * -(-width // 8), np.uint64)
    draw_words(np.uint64(seed), words)
    return torch.from_numpy(words.view(np.uint8).reshape(n_rows, -1)[:, :width])


def with_masks(network: nn.ModuleDict, rows: list[Tensor], places: Tensor, seeds: list[int]) -> Tensor:
    """The mean squared error layer by layer, with the masks that few_passes draws for one piece from these seeds."""
    users, items, stars = (values[places] for values in rows)
    readers, books = network["readers"], network["books"]
    x = torch.cat([readers.mlp(users), books.mlp_book(items)], -1)
    for layer in books.mlp:
        if isinstance(layer, nn.Dropout):
            dropped = min(round(256 * layer.p), 255) if layer.training else 0
            x = x * (bytes_of(seeds.pop(0), *x.shape) >= dropped) * (256 / (256 - dropped))
        else:
            x = layer(x)
    paths = [readers.gmf(users) * books.gmf(items), x]
    if books.content is not None:
        paths.insert(0, books.content[items])
    return (books.last(torch.cat(paths, -1))[:, 0] - stars).square().mean()


def gradients(network: nn.ModuleDict) -> list[Tensor]:
    found = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    return [gradient.to_dense().clone() for gradient in found if gradient is not None]


@given(
    n=st.integers(1, 70),
    piece=st.integers(1, 80),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 3)),
    drops=st.tuples(SHARES, SHARES),
    n_content=st.integers(0, 3),
    training=st.booleans(),
)
@example(n=700, piece=600, sizes=(3, 2), drops=(0.5, 0.3), n_content=2, training=True)
@settings(max_examples=60, deadline=None)
def test_gradients_are_those_of_the_plain_layers(
    n: int, piece: int, sizes: tuple[int, int], drops: tuple[float, float], n_content: int, *, training: bool
) -> None:
    """Of a batch of one, pieces that do not come out even, several blocks, half of a batch that others share."""
    config = CONFIG.model_copy(
        update=dict(zip(("embedding_dim", "layers", "first_dropout", "dropout"), (*sizes, *drops), strict=True))
    )
    network, rows, places = make(config, n_content), make_rows(n), torch.randperm(n)
    network.train(training)
    torch.manual_seed(3)
    error = few_passes(network["readers"], network["books"], rows, piece)(places, 2 * n)
    ours = [error, *gradients(network)]
    torch.manual_seed(3)
    parts = torch.split(places, piece)
    seeds = random_words(len(parts) * (config.layers + 1)).view(len(parts), -1).numpy().view(np.uint64).tolist()
    total = torch.zeros(())
    for part, of_part in zip(parts, seeds, strict=True):
        some = with_masks(network, rows, part, of_part) * (len(part) / (2 * n))
        some.backward()
        total += some.detach()
    plain = [total, *gradients(network)]
    assert len(ours) == len(plain) == 1 + 4 + 2 * config.layers + 2
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(theirs.abs().max())))


def test_evaluation_drops_nothing() -> None:
    network, rows = make(CONFIG, 2).eval(), make_rows(20)
    error = few_passes(network["readers"], network["books"], rows)(torch.arange(20), 20)
    predicted = network["books"](network["readers"](rows[0]), rows[1])
    torch.testing.assert_close(error, (predicted - rows[2]).square().mean().detach())


def test_tables_that_take_dense_gradients_get_them() -> None:
    network, rows = make(CONFIG), make_rows(30)
    found = []
    for sparse in (True, False):
        network["readers"].mlp.sparse = network["books"].gmf.sparse = sparse
        torch.manual_seed(1)
        few_passes(network["readers"], network["books"], rows)(torch.arange(30), 30)
        assert network["readers"].mlp.weight.grad.is_sparse == network["books"].gmf.weight.grad.is_sparse == sparse
        assert network["readers"].gmf.weight.grad.is_sparse
        found.append(gradients(network))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_threads_change_nothing_and_the_next_batch_drops_others() -> None:
    network, rows = make(CONFIG), make_rows(500)
    backward = partial(few_passes(network["readers"], network["books"], rows, 40), torch.arange(500), 500)
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        torch.manual_seed(1)
        try:
            with sharing_threads():
                found.append([[backward(), *gradients(network)] for _ in range(2)])
        finally:
            torch.set_num_threads(before)
    (one, next_one), (three, next_three) = found
    for mine, theirs in zip([*one, *next_one], [*three, *next_three], strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(one[0], next_one[0])


def test_without_dropout_autograd_finds_the_same() -> None:
    """The other way to gradients, and the network's own forward."""
    config = CONFIG.model_copy(update={"first_dropout": 0.0, "dropout": 0.0})
    network, rows = make(config, 2), make_rows(40)
    readers, books = network["readers"], network["books"]

    def loss(places: Tensor) -> Tensor:
        users, items, stars = (values[places] for values in rows)
        return (books(readers(users), items) - stars).square().mean()

    found = []
    for backward in (few_passes(readers, books, rows, 15), by_pieces(network, loss, 15)):
        found.append([backward(torch.arange(40), 50), *gradients(network)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)

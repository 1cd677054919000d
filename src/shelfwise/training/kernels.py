"""Forwards and back through the notebook's networks for some rows, as one compiled function (compiled.py).

It goes block by block, so that what lies between two layers stays in a core's own cache. Sums are taken in the order of
rows, so that results depend on nothing but what is given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from shelfwise.training.compiled import ONE, ZERO, Bytes, Floats, Places, Words, compiled
from shelfwise.training.products import sgemm

BLOCK = 256  # rows
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
NOTHING = np.uint8(0)
LINE = 64  # bytes of a cache's line


@compiled
def draw_words(seed: np.uint64, words: Words) -> None:
    """Fair bits in words [n], the same for the same seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    for i in range(words.size):
        z = seed + np.uint64(i) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        words[i] = z ^ (z >> np.uint64(31))


class Pairs(NamedTuple):
    """Rows `users` [B] of the table `mine` and `items` [B] of `theirs`."""

    mine: Floats
    theirs: Floats
    users: Places
    items: Places


@njit(inline="always")  # or its slices cost as much again
def keep(numbers: Floats, drawn: Bytes, dropped: np.uint8, kept: Floats) -> None:
    """kept [W] = numbers [W] where drawn >= dropped, else 0."""
    for i in range(kept.size):
        number = numbers[i]
        kept[i] = number if drawn[i] >= dropped else ZERO


@compiled
def keep_joined(pairs: Pairs, drawn: Bytes, dropped: np.uint8, joined: Floats) -> None:
    """joined [B, M + T]: the rows of pairs side by side, M and T wide, and 0 where drawn < dropped."""
    mine, theirs, users, items = pairs
    m, width = mine.shape[1], mine.shape[1] + theirs.shape[1]
    for place in range(users.size):
        draw, row = drawn[place], joined[place]
        keep(mine[users[place]], draw[:m], dropped, row[:m])
        keep(theirs[items[place]], draw[m:width], dropped, row[m:width])


@compiled
def joined_gradients(joined: Floats, drawn: Bytes, dropped: np.uint8, of_mine: Floats, of_theirs: Floats) -> None:
    """The way back of keep_joined: of_mine [B, M] and of_theirs [B, T] from joined [B, M + T]."""
    m, width = of_mine.shape[1], of_mine.shape[1] + of_theirs.shape[1]
    for place in range(of_mine.shape[0]):
        draw, row = drawn[place], joined[place]
        keep(row[:m], draw[:m], dropped, of_mine[place])
        keep(row[m:width], draw[m:width], dropped, of_theirs[place])


@compiled
def relu_keep(numbers: Floats, scale: np.float32, bias: Floats, drawn: Bytes, dropped: np.uint8) -> None:
    """numbers [B, W] * scale + bias [W] where that is above 0 and drawn >= dropped, else 0; in their place."""
    for place in range(numbers.shape[0]):
        row, draw = numbers[place], drawn[place]
        for i in range(bias.size):
            number = row[i] * scale + bias[i]
            row[i] = number if number > ZERO and draw[i] >= dropped else ZERO


@compiled
def relu_gradients(gradients: Floats, numbers: Floats, scale: np.float32, of_bias: Floats) -> None:
    """The way back of relu_keep, which gave `numbers`: gradients [B, W] in their place, added to of_bias [W]."""
    for place in range(gradients.shape[0]):
        row, number = gradients[place], numbers[place]
        for i in range(of_bias.size):
            gradient = row[i] if number[i] > ZERO else ZERO
            row[i] = gradient * scale
            of_bias[i] += gradient


@compiled
def last_layer(pairs: Pairs, content: Floats, hidden: Floats, weights: Floats, found: Floats) -> None:
    """found [B] += [content_i, p_u * q_i, hidden] . weights, where p_u and q_i are the rows of pairs."""
    mine, theirs, users, items = pairs
    n_content, width = content.shape[1], mine.shape[1]
    for_content, for_product = weights[:n_content], weights[n_content : n_content + width]
    for_hidden = weights[n_content + width :]
    for place in range(found.size):
        p, q, known, last = mine[users[place]], theirs[items[place]], content[items[place]], hidden[place]
        total = ZERO
        for i in range(n_content):
            total += known[i] * for_content[i]
        for i in range(width):
            total += p[i] * q[i] * for_product[i]
        for i in range(last.size):
            total += last[i] * for_hidden[i]
        found[place] += total


class LastGradients(NamedTuple):
    """Of what last_layer is given: of p_u and q_i [B, *], of hidden [B, *], of weights."""

    mine: Floats
    theirs: Floats
    hidden: Floats
    weights: Floats


@compiled
def last_layer_gradients(
    pairs: Pairs, content: Floats, hidden: Floats, weights: Floats, slopes: Floats, found: LastGradients
) -> None:
    """The way back of last_layer, whose result has the gradient slopes [B]."""
    mine, theirs, users, items = pairs
    of_mine, of_theirs, of_hidden, of_weights = found
    n_content, width = content.shape[1], mine.shape[1]
    for_product, for_hidden = weights[n_content : n_content + width], weights[n_content + width :]
    of_content, of_product = of_weights[:n_content], of_weights[n_content : n_content + width]
    of_last = of_weights[n_content + width :]
    for place in range(slopes.size):
        slope = slopes[place]
        p, q, known, last = mine[users[place]], theirs[items[place]], content[items[place]], hidden[place]
        row = of_mine[place]
        for i in range(width):
            row[i] = slope * for_product[i] * q[i]
        row = of_theirs[place]
        for i in range(width):
            row[i] = slope * for_product[i] * p[i]
        row = of_hidden[place]
        for i in range(last.size):
            row[i] = slope * for_hidden[i]
        for i in range(n_content):
            of_content[i] += slope * known[i]
        for i in range(width):
            of_product[i] += slope * (p[i] * q[i])
        for i in range(last.size):
            of_last[i] += slope * last[i]


@compiled
def add_product(a: Floats, a_turned: bool, b: Floats, b_turned: bool, kept: np.float32, found: Floats) -> None:
    """found [M, N] = a b + kept * found; a is [M, K], or if turned [K, M], and b [K, N] or [N, K].

    Fortran sees each matrix turned, so that it is asked for the turned product: of b and a.
    """
    letters, sizes, factors = np.empty(2, np.uint8), np.empty(5, np.int32), np.empty(2, np.float32)
    letters[0], letters[1] = ord("N"), ord("T")
    sizes[0], sizes[1], sizes[2] = found.shape[1], found.shape[0], a.shape[0] if a_turned else a.shape[1]
    sizes[3], sizes[4] = b.shape[1], a.shape[1]
    factors[0], factors[1] = ONE, kept
    letter, size, factor = letters.ctypes.data, sizes.ctypes.data, factors.ctypes.data
    of_a, of_b = letter + int(a_turned), letter + int(b_turned)
    n, m, inner, width_b, width_a = size, size + 4, size + 8, size + 12, size + 16
    from_a, from_b, to = a.ctypes.data, b.ctypes.data, found.ctypes.data
    sgemm(of_b, of_a, n, m, inner, factor, from_b, width_b, from_a, width_a, factor + 4, to, n)
    letters[0], sizes[0], factors[0] = 0, 0, 0  # used to here, or their memory would be free during the call


class Layers(NamedTuple):
    """Linear layers [O, I] behind dropout, which drops `dropped` of 256 numbers and leaves the others as they are.

    scales  of their products, which the numbers kept would have had
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    dropped: tuple[np.uint8, ...]
    scales: tuple[np.float32, ...]


class Network(NamedTuple):
    """Tables of readers and books for GMF and for the MLP, what is known of books, the layers, and the last one."""

    gmf: tuple[Floats, Floats]
    mlp: tuple[Floats, Floats]
    content: Floats
    layers: Layers
    last: Floats
    bias: Floats


class Batch(NamedTuple):
    """Readers, books and stars [R] of all rows, and the places [B] of a batch's."""

    users: Places
    items: Places
    stars: Floats
    places: Places


class Gradients(NamedTuple):
    """Of what a batch looks up: which rows of tables, [B], and their gradients, [B, *] in the order of Network; of
    layers and then the last one, weights and bias of each in turn: [pieces, *], to which they are added."""

    users: Places
    items: Places
    gmf: tuple[Floats, Floats]
    mlp: tuple[Floats, Floats]
    layers: Floats


@compiled
def draw(seed: np.uint64, first: int, n_rows: int, width: int, room: Words) -> Bytes:
    """Random bytes [n_rows, >= width]: those of rows from `first` of all that the seed draws."""
    n_words = (width + 7) // 8
    words = room[: n_rows * n_words]
    draw_words(seed + np.uint64(first * n_words) * GOLDEN, words)
    return words.view(np.uint8).reshape(n_rows, n_words * 8)


@compiled
def make_room(n: int) -> Floats:
    """[n], from where a cache's line begins: how a library goes about a product may depend on it."""
    room = np.empty(n + LINE // 4, np.float32)
    behind = (LINE - room.ctypes.data % LINE) % LINE // 4
    return room[behind : behind + n]


@compiled
def within(room: Floats, column: int, n_rows: int, width: int) -> Floats:
    """[n_rows, width] in the room of BLOCK rows behind `column` columns."""
    start = column * BLOCK
    return room[start : start + n_rows * width].reshape(n_rows, width)


@compiled
def part_of(flat: Floats, start: int, like: Floats) -> Floats:
    """What stands in flat from `start`, shaped as a matrix."""
    return flat[start : start + like.size].reshape(like.shape)


@compiled
def piece_gradients(
    network: Network, batch: Batch, n: int, seeds: Words, found: Gradients, piece: int, n_rows_of_piece: int
) -> float:
    """The sum of squared errors over n of a batch's `piece`, and its gradients; seeds [pieces, *] draw the masks."""
    layers, n_layers = network.layers, len(network.layers.weights)
    width = layers.weights[0].shape[1]
    columns = np.zeros(n_layers + 2, np.int64)  # where each layer's numbers begin; the first is given the rows joined
    starts = np.zeros(n_layers + 1, np.int64)  # and its gradients
    columns[1] = width
    for k in range(n_layers):
        columns[k + 2] = columns[k + 1] + layers.weights[k].shape[0]
        starts[k + 1] = starts[k] + layers.weights[k].size + layers.biases[k].size
    of_layers = found.layers[piece]
    of_last = of_layers[starts[-1] :]
    room, room_back = make_room(BLOCK * columns[-1]), make_room(BLOCK * columns[-1])
    n_words = BLOCK * ((width + 7) // 8)
    words_joined, words = np.empty(n_words, np.uint64), np.empty(n_words, np.uint64)
    first, last = piece * n_rows_of_piece, min((piece + 1) * n_rows_of_piece, batch.places.size)
    total = 0.0
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        n_rows, users, items = stop - start, found.users[start:stop], found.items[start:stop]
        slopes = np.empty(n_rows, np.float32)
        for at in range(n_rows):
            place = batch.places[start + at]
            users[at], items[at] = batch.users[place], batch.items[place]
            slopes[at] = network.bias[0] - batch.stars[place]
        drawn_joined = draw(seeds[piece, 0], start - first, n_rows, width, words_joined)
        hidden = within(room, 0, n_rows, width)
        keep_joined(Pairs(network.mlp[0], network.mlp[1], users, items), drawn_joined, layers.dropped[0], hidden)
        for k in range(n_layers):
            weight = layers.weights[k]
            after = within(room, columns[k + 1], n_rows, weight.shape[0])
            add_product(hidden, False, weight, True, ZERO, after)
            drawn = draw(seeds[piece, k + 1], start - first, n_rows, weight.shape[0], words)
            dropped = NOTHING if k + 1 == n_layers else layers.dropped[k + 1]
            relu_keep(after, layers.scales[k], layers.biases[k], drawn, dropped)
            hidden = after
        pairs = Pairs(network.gmf[0], network.gmf[1], users, items)
        last_layer(pairs, network.content, hidden, network.last, slopes)
        for at in range(n_rows):
            total += slopes[at] * slopes[at]
            slopes[at] *= np.float32(2 / n)
            of_last[-1] += slopes[at]
        gradient = within(room_back, columns[n_layers], n_rows, hidden.shape[1])
        of_paths = LastGradients(found.gmf[0][start:stop], found.gmf[1][start:stop], gradient, of_last[:-1])
        last_layer_gradients(pairs, network.content, hidden, network.last, slopes, of_paths)
        for k in range(n_layers - 1, -1, -1):
            weight, of_bias = layers.weights[k], of_layers[starts[k] + layers.weights[k].size : starts[k + 1]]
            given = within(room, columns[k], n_rows, weight.shape[1])
            after = within(room, columns[k + 1], n_rows, weight.shape[0])
            relu_gradients(gradient, after, layers.scales[k], of_bias)
            add_product(gradient, True, given, False, ONE, part_of(of_layers, starts[k], weight))
            before = within(room_back, columns[k], n_rows, weight.shape[1])
            add_product(gradient, False, weight, False, ZERO, before)
            gradient = before
        of_mine, of_theirs = found.mlp[0][start:stop], found.mlp[1][start:stop]
        joined_gradients(gradient, drawn_joined, layers.dropped[0], of_mine, of_theirs)
    return total / n

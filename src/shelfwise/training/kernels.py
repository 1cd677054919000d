"""Loops that torch would take several passes over memory for, compiled on first use and kept on disk (numba).

Each writes into numpy's views of CPU tensors and lets other threads go on meanwhile. The order of sums is that of the
rows, so that results depend on nothing but what is given. Loops go over slices of rows, which is what the compiler
makes vector instructions of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Kernel = Callable[..., None]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

ZERO = np.float32(0)


def compiled(loop: Kernel) -> Kernel:
    """The loop by numba; where no folder can be written to, it is compiled in each process anew."""
    # Sums over a row may be taken in lanes of a vector register.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc"}}
    try:
        made: Kernel = njit(cache=True, **options)(loop)
    except RuntimeError:  # no folder for the cache
        made = njit(**options)(loop)
    return made


@compiled
def draw_words(seed: np.uint64, words: NDArray[np.uint64]) -> None:
    """Fair bits in words [n], the same for the same seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    for i in range(words.size):
        z = seed + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        words[i] = z ^ (z >> np.uint64(31))


class Pairs(NamedTuple):
    """Rows `users` [B] of the table `mine` and `items` [B] of `theirs`."""

    mine: Floats
    theirs: Floats
    users: Places
    items: Places


@njit(inline="always")
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
    """The way back of relu_keep, which gave `numbers`: gradients [B, W] in their place, and of_bias [W]."""
    of_bias[:] = ZERO
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
    of_weights[:] = ZERO
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


class AdamStep(NamedTuple):
    """What a step of Adam multiplies by, float32 all."""

    beta1: np.float32
    rest1: np.float32  # 1 - beta1, which float32 itself would give four digits of
    beta2: np.float32
    rest2: np.float32
    size: np.float32  # the learning rate, for first moments that start at 0
    unbias: np.float32  # the same for the roots of second moments
    eps: np.float32
    l2: np.float32  # of the weights, which is added to their gradients
    kept: np.float32  # of the weights, by AdamW


class Table(NamedTuple):
    """A table and Adam's first and second moments of it, [N, W] each."""

    weights: Floats
    exp_avg: Floats
    exp_avg_sq: Floats


@compiled
def adam_rows(table: Table, rows: Places, values: Floats, first: int, last: int, step: AdamStep) -> None:
    """A step for a table's rows from `first` up to `last`; gradients are 0 but for values [B, W] of rows [B].

    Algorithm 1 of Kingma, Ba (ICLR 2015); 2 of Loshchilov, Hutter (ICLR 2019). A row's values are added up in order.
    """
    weights, exp_avg, exp_avg_sq = table
    beta1, rest1, beta2, rest2, size, unbias, eps, l2, kept = step
    n, width = last - first, weights.shape[1]
    ends = np.zeros(n + 1, np.int64)
    for place in range(rows.size):
        if first <= rows[place] < last:
            ends[rows[place] - first + 1] += 1
    for row in range(n):
        ends[row + 1] += ends[row]
    order = np.empty(ends[n], np.int64)
    for place in range(rows.size):
        if first <= rows[place] < last:
            row = rows[place] - first
            order[ends[row]] = place
            ends[row] += 1  # at the end ends[row] is where those of the row end
    gradient = np.empty(width, np.float32)
    start = 0
    for row in range(n):
        weight, mean, square = weights[first + row], exp_avg[first + row], exp_avg_sq[first + row]
        if start == ends[row] and l2 == ZERO:  # most rows of most tables
            for i in range(width):
                m, v = beta1 * mean[i], beta2 * square[i]
                mean[i], square[i] = m, v
                weight[i] = kept * weight[i] - size * m / (np.sqrt(v) * unbias + eps)
            continue
        gradient[:] = ZERO
        for at in range(start, ends[row]):
            value = values[order[at]]
            for i in range(width):
                gradient[i] += value[i]
        start = ends[row]
        for i in range(width):
            slope = gradient[i] + l2 * weight[i]
            m, v = beta1 * mean[i] + rest1 * slope, beta2 * square[i] + rest2 * slope * slope
            mean[i], square[i] = m, v
            weight[i] = kept * weight[i] - size * m / (np.sqrt(v) * unbias + eps)

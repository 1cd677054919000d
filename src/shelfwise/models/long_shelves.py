"""Shelves longer than a reader's linear system may be: cut for an answer, dealt into pieces for learning about books.

The system costs the square of a shelf's length in memory and the cube in time, so a few readers of thousands of books
would cost more than all others. With a longest shelf the cost of a rating is bounded, and that of all is linear.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shelfwise.data.shelves import Shelves


def shortened(shelves: Shelves, longest: int) -> Shelves:
    """At most `longest` ratings of each reader, spread evenly over the books of the shelf in order of index."""
    lengths = shelves.lengths
    if lengths.max(initial=0) <= longest:
        return shelves
    kept = np.minimum(lengths, longest)
    place, length = (
        np.arange(len(shelves.item_idx)) - np.repeat(shelves.indptr[:-1], lengths),
        np.repeat(lengths, lengths),
    )
    kept = np.repeat(kept, lengths)
    return shelves.where((place + 1) * kept // length > place * kept // length)


def in_pieces(shelves: Shelves, longest: int) -> Shelves:
    """The same ratings with each shelf of more than `longest` dealt like cards into as few as make no piece longer.

    A piece counts as a reader of its own: rows and the order of ratings are no longer those of `shelves`.
    """
    lengths = shelves.lengths
    if lengths.max(initial=0) <= longest:
        return shelves
    pieces = np.maximum(-(-lengths // longest), 1)
    first = np.cumsum(pieces) - pieces
    place = np.arange(len(shelves.item_idx)) - np.repeat(shelves.indptr[:-1], lengths)
    rows: npt.NDArray[np.int64] = np.repeat(first, lengths) + place % np.repeat(pieces, lengths)
    return Shelves.build(rows, shelves.item_idx, shelves.stars, int(pieces.sum()))

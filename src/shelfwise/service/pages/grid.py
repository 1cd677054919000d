"""Which books to ask a newcomer about: those whose stars would tell most."""

from __future__ import annotations

import numpy as np

from shelfwise.data.shelves import Indices, Shelves
from shelfwise.models.blocks import describe
from shelfwise.recommender import Recommender

POOL = 1500  # of the books that most have read: a book that nobody knows tells nothing
SIZE = 60


def telling_books(recommender: Recommender) -> Indices:
    """At most SIZE books, most telling first, int32 [N].

    Each in turn is the one with the largest sd x known x (1 - likeness): sd, how unsure the model is of the stars
    that somebody unknown gives it; known, the square root of the share of books that are read less; likeness, to the
    nearest book chosen before, so that all subjects come. A second book of an author or series waits for all others.
    """
    facts, model = recommender.facts, recommender.run.model
    counts = facts.counts if facts.popularity is None else facts.popularity
    pool = np.argsort(-counts, kind="stable")[:POOL].astype(np.int32)
    nobody = model.fold_in(Shelves.empty(1))
    chances = model.probabilities(nobody, np.zeros(len(pool), dtype=np.int64), pool)
    unsure = np.ones(len(pool)) if chances is None else describe(chances, model.scale)["sd"].astype(np.float64)
    known = np.sqrt((len(pool) - np.arange(len(pool))) / len(pool))
    value = unsure * known
    likeness, free = np.zeros(len(pool)), np.ones(len(pool), dtype=bool)
    groups = facts.groups[pool]
    chosen: list[int] = []
    while len(chosen) < min(SIZE, len(pool)):
        if not free.any():
            free[:] = True
            free[chosen] = False
        best = int(np.argmax(np.where(free, value * (1 - likeness), -1.0)))
        chosen.append(best)
        together = np.asarray((groups @ groups[best].T).todense()).ravel() > 0
        free &= ~together
        free[best] = False
        likeness = np.maximum(likeness, np.clip(facts.likeness(pool, pool[[best]])[:, 0], 0, 1))
    return pool[chosen]

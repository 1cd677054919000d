"""What the rules cost for one list: python benchmarks/rules.py RUN [READERS]. Scoring by the model is left out.

Prints the median and the 95th percentile over readers, in milliseconds, with each rule alone and with all of them.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import polars as pl

from shelfwise import Recommender, Rules
from shelfwise.rules.lists import choose
from shelfwise.rules.plan import allowed

N = 10
RULES = {
    "none but what was read": {},
    "filters": {"language": "en", "year_from": 1950, "not_tag": "horror"},
    "first unread": {"first_unread": True},
    "continue": {"list": "continue"},
    "new to you": {"list": "new"},
    "at most 1 by an author": {"per_author": 1},
    "diversity 0.3": {"diversity": 0.3},
    "obscurity 0.3": {"obscurity": 0.3},
    "all together": {
        "language": "en",
        "year_from": 1950,
        "not_tag": "horror",
        "first_unread": True,
        "list": "new",
        "per_author": 1,
        "per_series": 1,
        "diversity": 0.3,
        "obscurity": 0.1,
    },
}


def main(run: str, n_readers: int) -> None:
    recommender = Recommender.load(run)
    ids = recommender.run.readers.ids
    rows = np.random.default_rng(0).choice(len(ids), min(n_readers, len(ids)), replace=False)
    reader_ids = ids.gather(rows)
    histories = recommender.histories(reader_ids)
    scores = recommender.run.model.scores(recommender.run.model.fold_in(histories.rated))
    table = []
    for name, settings in RULES.items():
        plan = recommender.plan(Rules.parse(settings))
        milliseconds = []
        for row in (0, *range(len(rows))):  # the first is a warm-up
            reader = histories.take([row])
            start = time.perf_counter()
            may = allowed(plan, reader)[0]
            choose(plan, scores[row], may, may, N)
            milliseconds.append(1000 * (time.perf_counter() - start))
        table.append((name, *np.percentile(milliseconds[1:], [50, 95]).round(2)))
    print(pl.DataFrame(table, schema=["rules", "median ms", "95 % ms"], orient="row"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300)

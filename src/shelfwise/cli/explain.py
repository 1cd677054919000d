"""shelfwise explain"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from shelfwise.cli import options
from shelfwise.cli.console import print_frame, print_json, say
from shelfwise.errors import UsageError
from shelfwise.reasons import Why
from shelfwise.recommender import Recommender


def explain(
    run: options.RunFolder,
    book: Annotated[str, typer.Option("--book", metavar="ID", help="A book id of the catalogue.")],
    reader: Annotated[
        str | None, typer.Option("--reader", metavar="ID", help="A reader of the run or of --shelf.")
    ] = None,
    shelf: options.Shelf = None,
    ids: options.Ids = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain a prediction: book_id, title, stars, contribution, removal_effect, through, pickup of each rating.

    Contributions add up to the prediction, with the mean, the book's own average and a remainder; a removal effect is
    the prediction less what it would be without that rating. Both in stars.
    """
    recommender = Recommender.load(run)
    outside = options.read_shelf(recommender, shelf, ids)
    if reader is None:
        if outside is None or len(outside.readers.ids) != 1:
            raise UsageError("for whom?", hint="give --reader ID, or --shelf with the ratings of one reader")
        why = recommender.explain_to(outside.readers.ids[0], book, outside)
    else:
        why = recommender.explain_to(reader, book, outside)
    if as_json:
        parts = {name: value for name, value in vars(why).items() if name not in ("reasons", "ratings")}
        reasons = [{k: v for k, v in asdict(reason).items() if k != "item_idx"} for reason in why.reasons]
        print_json([parts | {"reasons": reasons, "ratings": json.loads(why.ratings.write_json())}])
        return
    say(_sum(why))
    for reason in why.reasons:
        say(f"  {reason.text}")
    print_frame(why.ratings, as_json=False)


def _sum(why: Why) -> str:
    moved = float(why.ratings["contribution"].sum())
    parts = (
        f"{why.book_average:+.2f} the book's own average",
        f"{moved:+.2f} your ratings",
        f"{why.remainder:+.2f} remainder",
    )
    return f"{why.title}: {why.stars:.2f} stars = {why.mean:.2f} mean {' '.join(parts)}"

"""Which id space a file's book ids are in: the catalogue's own, or Goodreads'.

A wrong join looks right: in goodbooks-10k 812 Goodreads ids are also catalogue ids, of other books.
So an id that exists in just one of the two spaces is a vote for it, and only a clear vote decides.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.vocabulary import Indices, Vocabulary
from shelfwise.errors import AmbiguousIdsError, UsageError

IdSpace = Literal["catalogue", "goodreads"]
CLEAR_SHARE = 0.95


def detect_id_space(book_ids: pl.Series, catalogue: Catalogue, where: str) -> IdSpace:
    """The id space of `book_ids`; `where` names their file in errors.

    Raises AmbiguousIdsError when no id tells the spaces apart, or the votes are split.
    """
    if not catalogue.has_goodreads_ids:
        return "catalogue"
    ids = book_ids.unique()
    own = catalogue.vocabulary.find(ids) >= 0
    goodreads = Vocabulary(catalogue.books["goodreads_id"].drop_nulls()).find(ids) >= 0
    for_own, for_goodreads = int((own & ~goodreads).sum()), int((goodreads & ~own).sum())
    votes = for_own + for_goodreads
    if votes == 0 and not (own & goodreads).any():
        return "catalogue"  # no id is known in either space: each is reported as an unknown book
    if votes and max(for_own, for_goodreads) >= CLEAR_SHARE * votes:
        return "catalogue" if for_own > for_goodreads else "goodreads"
    raise AmbiguousIdsError(
        f"{where}: cannot tell whether its book ids are the catalogue's or Goodreads' "
        f"({for_own} exist only in the catalogue, {for_goodreads} only at Goodreads, "
        f"{int((own & goodreads).sum())} in both)",
        hint="say which with --ids catalogue or --ids goodreads",
    )


def to_catalogue_ids(
    book_ids: pl.Series, catalogue: Catalogue, ids: IdSpace | None, where: str
) -> tuple[pl.Series, IdSpace]:
    """`book_ids` in the catalogue's id space, and the space they were in; unknown ids become null.

    `ids` states the space; None detects it (see detect_id_space).
    """
    space = ids or detect_id_space(book_ids, catalogue, where)
    if space == "catalogue":
        idx = catalogue.vocabulary.find(book_ids)
    elif catalogue.books["goodreads_id"].is_null().all():
        raise UsageError(f"{where}: this catalogue has no Goodreads ids", hint="leave out --ids goodreads")
    else:
        known = catalogue.books.select("book_id", "goodreads_id").drop_nulls().unique("goodreads_id", keep="first")
        known = known.sort("goodreads_id")
        place = Vocabulary(known["goodreads_id"]).find(book_ids)
        idx = catalogue.vocabulary.find(_gather(known["book_id"], place))
    return _gather(catalogue.vocabulary.ids, idx).alias("book_id"), space


def _gather(values: pl.Series, place: Indices) -> pl.Series:
    """values[place], null where place is -1."""
    at = pl.Series("place", place, dtype=pl.Int64)
    return values.gather(at.set(at < 0, None))

"""What became of lists: how often their books were opened, saved, dismissed, and the stars they got."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from shelfwise.errors import NotFoundError
from shelfwise.evaluation.intervals import Numbers, ratio_intervals, share_interval
from shelfwise.service.store import Store, lists, responses

ACTIONS = ("opened", "saved", "dismissed")
SUMS = ("shown", *ACTIONS, "rated", "stars")
GROUPS = {"by_model": "model", "by_kind": "kind", "by_position": "position"}


def feedback_report(store: Store) -> dict[str, Any]:
    """Shares and mean stars with intervals (95 %) by model, kind of list and position, and what they rest on.

    Shares are of books shown. Readers are taken as the units where they are known, else lists, since the books of one
    hang together. Raises NotFoundError where there is nothing yet, StoreError.
    """
    with store.reading(repeatable=True) as connection:
        columns = [lists.c[name] for name in ("list_id", "created", "model", "version", "kind", "reader_id", "n_books")]
        shown = _frame(connection, sa.select(*columns))
        columns = [responses.c[name] for name in ("list_id", "position", "action", "stars")]
        done = _frame(connection, sa.select(*columns))
    if shown is None:
        raise NotFoundError(
            "no list is kept yet", hint="lists that the service answers are, unless feedback_days is 0; ask for some"
        )
    rows = _rows(shown, done)
    found: dict[str, Any] = {"lists": len(shown), "from": shown["created"].min(), "until": shown["created"].max()}
    return found | {name: _groups(rows, column) for name, column in GROUPS.items()}


def _frame(connection: sa.Connection, asked: sa.Select[Any]) -> pl.DataFrame | None:
    rows = connection.execute(asked).all()
    names = [column.name for column in asked.selected_columns]
    return pl.DataFrame([tuple(row) for row in rows], names, orient="row", infer_schema_length=None) if rows else None


def _rows(shown: pl.DataFrame, done: pl.DataFrame | None) -> pl.DataFrame:
    """One row for each book shown: model, kind, position, unit, and SUMS."""
    rows = shown.select(
        "list_id",
        "kind",
        pl.concat_str("model", "version", separator=" ").alias("model"),
        pl.coalesce(pl.col("reader_id").cast(pl.String), pl.concat_str(pl.lit("\0"), "list_id")).alias("unit"),
        pl.int_ranges(1, pl.col("n_books") + 1).alias("position"),
    ).explode("position", empty_as_null=False)
    counts = [pl.lit(0.0).alias(name) for name in SUMS[1:]]
    if done is None:
        return rows.with_columns(pl.lit(1.0).alias("shown"), *counts)
    was = [(pl.col("action") == name).sum().cast(pl.Float64).alias(name) for name in (*ACTIONS, "rated")]
    by_book = done.group_by("list_id", pl.col("position").cast(pl.Int64)).agg(
        *was, pl.col("stars").cast(pl.Float64).sum()
    )
    joined = rows.with_columns(pl.col("position").cast(pl.Int64)).join(by_book, on=["list_id", "position"], how="left")
    return joined.with_columns(pl.lit(1.0).alias("shown"), *(pl.col(name).fill_null(0.0) for name in SUMS[1:]))


def _groups(rows: pl.DataFrame, column: str) -> list[dict[str, Any]]:
    found = []
    for (name,), group in rows.group_by(column, maintain_order=True):
        units = group.group_by("unit", maintain_order=True).agg(pl.col(*SUMS).sum())
        sums: dict[str, Numbers] = {one: units[one].to_numpy() for one in SUMS}
        entry = {column: name, "lists": group["list_id"].n_unique(), "shown": int(sums["shown"].sum())}
        for action in ACTIONS:
            low, high = share_interval(sums[action], sums["shown"])
            n = int(sums[action].sum())
            entry[action] = {"n": n, "share": n / entry["shown"], "low": low, "high": high}
        found.append(entry | {"stars": _stars(sums["stars"], sums["rated"])})
    return sorted(found, key=lambda entry: entry[column])


def _stars(stars: Numbers, rated: Numbers) -> dict[str, Any]:
    n = int(rated.sum())
    if not n:
        return {"n": 0, "mean": None, "low": None, "high": None}
    low, high = ratio_intervals(stars[:, None], rated[:, None])
    some = bool((rated > 0).sum() > 1)  # a single unit says nothing of how units differ
    return {
        "n": n,
        "mean": float(stars.sum() / n),
        "low": float(low[0]) if some and np.isfinite(low[0]) else None,
        "high": float(high[0]) if some and np.isfinite(high[0]) else None,
    }

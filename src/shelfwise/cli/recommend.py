"""shelfwise recommend"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from shelfwise.cli import options, rule_options
from shelfwise.cli.console import print_frame, progress, reasons_as_text, say, write_frames
from shelfwise.data.ids import IdSpace
from shelfwise.data.places import Place, Remote, place_of
from shelfwise.data.ratings import READER_NAMES, id_column
from shelfwise.data.tables import need_column, read_table
from shelfwise.data.vocabulary import Id
from shelfwise.engine import open_engine
from shelfwise.errors import UsageError
from shelfwise.everybody import lists_of_all, load_recommender, request_of, usual_workers, write_lists
from shelfwise.outside import OutsideRatings
from shelfwise.recommender import Recommender
from shelfwise.rules import Feedback, Shortfall
from shelfwise.rules.plan import OnShort

ListsOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PLACE",
        help="Write to this .csv or .parquet file instead of stdout; with --all also to a folder, or a URL of one "
        "(s3://bucket/lists), in parts, where what was broken off goes on.",
    ),
]


@rule_options.takes_rules
def recommend(
    context: typer.Context,
    run: options.RunFolder,
    reader: Annotated[str | None, typer.Option("--reader", metavar="ID", help="One reader.")] = None,
    readers: Annotated[
        Path | None, typer.Option("--readers", metavar="F", help="The readers in a file (column user_id).")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every reader the run knows.")] = False,
    shelf: options.Shelf = None,
    n: options.Number = 10,
    out: ListsOut = None,
    ids: options.Ids = None,
    order: options.ListOrder = None,
    why: Annotated[bool, typer.Option("--why", help="Add reasons.")] = False,
    as_json: options.AsJson = False,
    feedback: rule_options.FeedbackFile = None,
    group: rule_options.Group = None,
    engine: options.OnEngine = "local",
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Recommend books: user_id, rank, book_id, title, score, stars; with --why, reasons.

    With --shelf alone: for the readers in that file. Books already read are left out, in any edition. With --group:
    rank, book_id, title, score, members (the stars expected of each).
    """
    if sum((reader is not None, readers is not None, everybody)) > 1 or not (reader or readers or everybody or shelf):
        raise UsageError("for whom?", hint="give one of --reader ID, --readers F, --all, or --shelf RATINGS.csv")
    if group is not None and (reader is not None or everybody):
        raise UsageError("who is in the group?", hint="name its members with --readers F or --shelf RATINGS.csv")
    if (engine, workers, address) != ("local", None, None) and not everybody:
        raise UsageError("--engine, --workers and --address go with --all", hint="add --all, or leave them out")
    place = None if out is None else place_of(out)
    if isinstance(place, Remote) and not (everybody and is_folder(place)):
        raise UsageError(f"{out} is a URL, which takes lists in parts alone", hint="add --all, and name a folder there")
    recommender = load_recommender(run, order)
    outside = options.read_shelf(recommender, shelf, ids)
    reader_ids = None if everybody else _reader_ids(reader, readers, recommender, outside)
    rules = rule_options.read_rules(context.params, recommender.run.catalogue, ids)
    marks = _read_feedback(recommender, feedback, ids)
    shorts: list[tuple[Id, Shortfall]] = []
    on_short: OnShort = lambda who, missing: shorts.append((who, missing))  # noqa: E731
    with ExitStack() as stack:
        on_progress = stack.enter_context(progress())
        if everybody:
            asked = {"n": n, "order": order, "why": why, "rules": rules, "shelf": outside, "feedback": marks}
            request = request_of(run, recommender, **asked)
            workers = usual_workers(request) if (engine, workers) == ("local", None) else workers
            at_work = stack.enter_context(open_engine(engine, workers, address))
            frames = lists_of_all(request, at_work, on_progress, on_short)
        elif group is not None and reader_ids is not None:
            frame = recommender.recommend_group(
                reader_ids, outside, n=n, how=group, rules=rules, feedback=marks, why=why, on_short=on_short
            )
            frames = iter([frame if as_json else _members_as_text(frame)])
        else:
            frames = recommender.recommend_all(
                reader_ids,
                outside,
                n=n,
                rules=rules,
                feedback=marks,
                why=why,
                on_progress=on_progress,
                on_short=on_short,
            )
        if place is None:
            frame = pl.concat(list(frames))
        elif everybody and is_folder(place):
            n_rows = write_lists(request, place, at_work, on_progress, on_short)
        elif isinstance(place, Path):
            n_rows = write_frames(map(reasons_as_text, frames) if place.suffix == ".csv" else frames, place)
    rule_options.say_short(shorts)
    if place is not None:
        say(f"wrote {n_rows:,} rows to {place}")
    else:
        print_frame(frame if as_json else reasons_as_text(frame), as_json=as_json)


def is_folder(out: Place | None) -> bool:
    """Whether lists for everybody are to be written in parts."""
    return out is not None and (not out.suffixes or (isinstance(out, Path) and out.is_dir()))


def _reader_ids(
    reader: str | None, readers: Path | None, recommender: Recommender, outside: OutsideRatings | None
) -> pl.Series:
    """The reader or readers named, else those of the ratings from outside; says who is not known."""
    if reader is not None:
        reader_ids = pl.Series([reader])
        known = recommender.run.readers.find(reader_ids)
        if known[0] >= 0:
            return recommender.run.readers.take(known)
        if _n_unknown(reader_ids, recommender, outside):
            say(f"reader {reader!r} is not known: the list is what suits everybody")
        return reader_ids
    if readers is not None:
        table = read_table(readers)
        column = need_column(table, READER_NAMES, readers, "readers")
        reader_ids = id_column(table, column, readers, "reader id").unique(maintain_order=True)
        if n_unknown := _n_unknown(reader_ids, recommender, outside):
            say(f"{n_unknown:,} of {len(reader_ids):,} readers are not known: their lists are what suits everybody")
        return reader_ids
    if outside is None:
        raise UsageError("for whom?", hint="give one of --reader ID, --readers F, --all, or --shelf RATINGS.csv")
    return outside.readers.ids


def _read_feedback(recommender: Recommender, path: Path | None, ids: IdSpace | None) -> Feedback | None:
    if path is None:
        return None
    feedback = recommender.read_feedback(path, ids)
    if feedback.unknown:
        some = ", ".join(feedback.unknown[:5])
        say(f"{path}: left out {len(feedback.unknown):,} books and authors that are not in the catalogue ({some})")
    return feedback


def _members_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The list of a group with its members as 'ann 4.21; bob 3.90', with reasons, where there are any, in brackets."""
    said = ["; ".join(map(_member_as_text, members)) for members in frame["members"].to_list()]
    return frame.with_columns(pl.Series("members", said, dtype=pl.String))


def _member_as_text(member: dict[str, Any]) -> str:
    reasons = ", ".join(reason["text"] for reason in member.get("reasons", []))
    return f"{member['user_id']} {member['stars']:.2f}" + (f" ({reasons})" if reasons else "")


def _n_unknown(reader_ids: pl.Series, recommender: Recommender, outside: OutsideRatings | None) -> int:
    """How many readers neither the run nor the ratings from outside know."""
    unknown = recommender.run.readers.find(reader_ids) < 0
    if outside is not None:
        unknown &= outside.readers.find(reader_ids) < 0
    return int(unknown.sum())

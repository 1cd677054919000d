"""The options that are rules (docs/rules.md), and how they and a file of rules become one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from shelfwise.cli.console import say
from shelfwise.config import read_toml
from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ids import IdSpace
from shelfwise.data.vocabulary import Id
from shelfwise.recommender import GROUP
from shelfwise.rules import Rules, Shortfall
from shelfwise.rules.files import read_book_list
from shelfwise.rules.group import GroupRule
from shelfwise.rules.plan import ListKind

BOOK_LISTS = ("holdings", "exclude", "pins")

RulesFile = Annotated[
    Path | None, typer.Option("--rules", metavar="FILE.toml", help="Rules by the names of these options; options win.")
]
Language = Annotated[
    list[str] | None, typer.Option("--language", metavar="CODE", help="Only in this language: en, eng. Repeatable.")
]
YearFrom = Annotated[int | None, typer.Option("--year-from", metavar="Y", help="Only published in this year or later.")]
YearTo = Annotated[int | None, typer.Option("--year-to", metavar="Y", help="Only published in this year or earlier.")]
Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Only with this tag or subject. Repeatable: any."),
]
NotTag = Annotated[
    list[str] | None, typer.Option("--not-tag", metavar="TAG", help="None with this tag or subject. Repeatable.")
]
Author = Annotated[
    list[str] | None, typer.Option("--author", metavar="NAME", help="Only by this author. Repeatable: any of them.")
]
NotAuthor = Annotated[
    list[str] | None, typer.Option("--not-author", metavar="NAME", help="None by this author. Repeatable.")
]
Series = Annotated[
    list[str] | None, typer.Option("--series", metavar="NAME", help="Only of this series. Repeatable: any of them.")
]
Holdings = Annotated[
    Path | None, typer.Option("--holdings", metavar="FILE", help="Only the books in this file, by id or ISBN.")
]
Exclude = Annotated[
    Path | None, typer.Option("--exclude", metavar="FILE", help="None of the books in this file, in no edition.")
]
Pins = Annotated[
    Path | None, typer.Option("--pins", metavar="FILE", help="The books in this file first, in its order, unless read.")
]
List = Annotated[
    ListKind | None,
    typer.Option(
        "--list",
        help="All books; continue: the next volumes of series that the reader liked; new: authors not on the shelf. "
        "[default: all]",
    ),
]
FirstUnread = Annotated[
    bool | None, typer.Option("--first-unread/--any-volume", help="Of a series only the first unread volume.")
]
PerAuthor = Annotated[int | None, typer.Option("--per-author", min=1, metavar="N", help="At most N by an author.")]
PerSeries = Annotated[int | None, typer.Option("--per-series", min=1, metavar="N", help="At most N of a series.")]
Diversity = Annotated[
    float | None,
    typer.Option("--diversity", min=0, max=1, metavar="X", help="How much unlike each other the books are to be, 0-1."),
]
Obscurity = Annotated[
    float | None,
    typer.Option("--obscurity", min=-1, max=1, metavar="X", help="From what many read (-1) to what few read (1)."),
]
FeedbackFile = Annotated[
    Path | None,
    typer.Option(
        "--feedback",
        metavar="FILE",
        help="Rows of user_id, action (ignore, read, did-not-finish, dismiss, to-read, hide-author), book_id or "
        "author.",
    ),
]
Group = Annotated[
    GroupRule | None, typer.Option("--group", help="One list for all the readers of --readers or --shelf together.")
]


RULES = {
    "rules_file": RulesFile,
    "list_kind": List,
    "first_unread": FirstUnread,
    "per_author": PerAuthor,
    "per_series": PerSeries,
    "diversity": Diversity,
    "obscurity": Obscurity,
    "language": Language,
    "year_from": YearFrom,
    "year_to": YearTo,
    "tag": Tag,
    "not_tag": NotTag,
    "author": Author,
    "not_author": NotAuthor,
    "series": Series,
    "holdings": Holdings,
    "exclude": Exclude,
    "pins": Pins,
}


def takes_rules(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of RULES after its own; it finds them in its context, for read_rules."""
    own = inspect.signature(command, eval_str=True)
    rules = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind)
        for name, kind in RULES.items()
    ]

    @wraps(command)
    def with_rules(**given: Any) -> None:
        command(**{name: value for name, value in given.items() if name in own.parameters})

    parameters = [*own.parameters.values(), *rules]
    with_rules.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_rules.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_rules


def read_rules(options: Mapping[str, Any], catalogue: Catalogue, ids: IdSpace | None) -> Rules:
    """The rules in the file of --rules and those among `options`, which win; book lists are read.

    options  of the command as its context has them, by name of the parameter. Raises ConfigError, DataError.
    """
    file = None if options["rules_file"] is None else Path(options["rules_file"])
    settings = {} if file is None else read_toml(file)
    for name in BOOK_LISTS:
        if file is not None and isinstance(settings.get(name), str):
            settings[name] = _read_books(file.parent / settings[name], catalogue, ids)
        if options.get(name) is not None:
            settings[name] = _read_books(Path(options[name]), catalogue, ids)
    others = {"list": options["list_kind"]} | {name: options.get(name) for name in Rules.model_fields if name != "list"}
    given = {name: value for name, value in others.items() if value not in (None, [], ()) and name not in BOOK_LISTS}
    return Rules.parse(settings | given, "rules" if file is None else str(file))


def _read_books(path: Path, catalogue: Catalogue, ids: IdSpace | None) -> list[Id]:
    books, unknown = read_book_list(path, catalogue, ids)
    if unknown:
        some = ", ".join(unknown[:5])
        say(f"{path}: left out {len(unknown):,} books that are not in the catalogue ({some})")
    return books


def say_short(shorts: list[tuple[Id, Shortfall]]) -> None:
    """One line on stderr about lists that are shorter than asked for."""
    if not shorts:
        return
    reader, why = shorts[0]
    if len(shorts) == 1:
        say(f"{_whose(reader)}: {why}")
    else:
        say(f"{len(shorts):,} lists are shorter than asked for. The first is of {_whose(reader)}: {why}")


def _whose(reader: Id) -> str:
    return "the group" if reader == GROUP else f"reader {reader}"

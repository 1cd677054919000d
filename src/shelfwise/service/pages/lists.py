"""The lists of the page: asked for together, no book twice, and kept as those of the API are (service.feedback)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shelfwise.rules.plan import ListKind
from shelfwise.service import feedback
from shelfwise.service.desk import Answer, Question
from shelfwise.service.pages.cards import Card
from shelfwise.service.pages.texts import say
from shelfwise.service.pages.turn import Turn

# Of each kind how many are shown, and how many are asked for since some may stand above already.
SHOWN: dict[ListKind, int] = {"continue": 6, "all": 12, "new": 6}
ASKED: dict[ListKind, int] = {"continue": 6, "all": 18, "new": 18}
RESPONSES: dict[str, feedback.Action] = {"rate": "rated", "to-read": "saved", "dismiss": "dismissed"}


def question(turn: Turn) -> Question:
    """For all lists of the page, as the desk takes it."""
    ratings = tuple((turn.served.book_id(book), stars) for book, stars in turn.known.items())
    marks = tuple((a, s if a == "hide-author" else turn.served.book_id(s)) for a, s in turn.visit.marks)
    wanted = tuple((n, turn.look.rules(kind)) for kind, n in ASKED.items())
    return Question(ratings, marks, None, wanted, None, True)  # type: ignore[arg-type]


def shown(turn: Turn, asked: Question, answer: Answer) -> tuple[dict[str, list[Card]], str]:
    """The lists by kind, and their ids, by which a form says later what was done with a book of them."""
    above: set[str] = set()
    lists: dict[str, list[Card]] = {}
    ids = []
    for place, (kind, most) in enumerate(SHOWN.items()):
        cards = [one for one in _cards(turn, answer.lists[place]) if one.id not in above][:most]
        above |= {one.id for one in cards}
        kept = feedback.shown_list(asked, answer, place, [one.id for one in cards], turn.reader)
        turn.service.lists.keep(kept)
        ids.append(kept.list_id)
        lists[kind] = cards
    return lists, " ".join(ids)


def _cards(turn: Turn, rows: list[dict[str, Any]]) -> list[Card]:
    places = turn.library.catalogue.vocabulary.find([row["book_id"] for row in rows])
    return [
        turn.card(
            int(place),
            reasons=[_words(turn, reason) for reason in row["reasons"]],
            **{name: row[name] for name in ("stars", "low", "high")},
        )
        for place, row in zip(places, rows, strict=True)
        if place >= 0  # another catalogue may have taken over in between
    ]


def _words(turn: Turn, reason: Mapping[str, Any]) -> str:
    """A reason in words; a book that was not finished got no stars, whatever it counts as."""
    book = str(reason["book_id"])
    if reason["code"] in ("for", "against") and book in turn.unfinished:
        return say("unfinished", title=turn.library.title(book))
    text: str = reason["text"]
    return text


def tell(turn: Turn, opened: str | None = None) -> None:
    """Have it counted what was done with a book of a list: the button pressed, or that its page was opened.

    A rating is counted only of who is remembered here: to others the page says that ratings stay in their browser.
    """
    verb, _, book = turn.form.get("do", "").partition(":")
    action, stars = RESPONSES.get(verb), None
    if not verb and opened is not None:
        action, book = "opened", opened
    if verb == "rate":
        text, _, book = book.partition(":")
        stars = turn.library.stars_by_text[text]
        action = action if turn.reader is not None else None
    if action is not None:
        for list_id in turn.form.get("lists", "").split()[: len(SHOWN)]:
            turn.service.lists.tell(list_id, feedback.Response(book, action, stars))

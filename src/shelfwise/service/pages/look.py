"""How a visitor wants the list: the controls beside it, as rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import urlencode

from shelfwise.rules import Rules
from shelfwise.rules.plan import ListKind

DIAL = 5  # a dial goes from 0, or from -DIAL, to DIAL: tenths of the rule's own


@dataclass(frozen=True)
class Look:
    """As docs/rules.md has them, each as text of a form; the rules of a good list are on unless they are taken off."""

    language: str = ""
    year_from: int | None = None
    year_to: int | None = None
    tag: str = ""
    not_tag: str = ""
    first_unread: bool = True
    one_author: bool = True
    variety: int = 0
    fame: int = 0

    @classmethod
    def read(cls, form: Mapping[str, str]) -> Look:
        """Of a form or a link. What cannot be read counts as not said: a control never stops a list."""
        asked = "look" in form  # then a box that is not there was taken off
        return cls(
            language=form.get("language", "")[:40],
            year_from=_number(form.get("year_from", "")),
            year_to=_number(form.get("year_to", "")),
            tag=form.get("tag", "").strip()[:100],
            not_tag=form.get("not_tag", "").strip()[:100],
            first_unread="first_unread" in form if asked else True,
            one_author="one_author" in form if asked else True,
            variety=min(max(_number(form.get("variety", "")) or 0, 0), DIAL),
            fame=min(max(_number(form.get("fame", "")) or 0, -DIAL), DIAL),
        )

    def rules(self, kind: ListKind) -> Rules:
        """For one of the lists: all, continue or new."""
        return Rules(
            language=(self.language,) if self.language else (),
            year_from=self.year_from,
            year_to=self.year_to,
            tag=(self.tag,) if self.tag else (),
            not_tag=(self.not_tag,) if self.not_tag else (),
            list=kind,
            first_unread=self.first_unread,
            per_author=1 if self.one_author else None,
            diversity=self.variety / 10,
            obscurity=self.fame / 10,
        )

    @property
    def is_plain(self) -> bool:
        """Whether nothing was changed."""
        return self == Look()

    def query(self) -> str:
        """As part of an address, so that going back finds it again."""
        if self.is_plain:
            return ""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        said = {
            name: "on" if value is True else value
            for name, value in values.items()
            if value not in (None, "", False, 0)
        }
        return "?" + urlencode({"look": 1, **said})


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if len(text) < 6 and text.removeprefix("-").isdecimal() and text.isascii() else None

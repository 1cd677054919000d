"""What a list may hold, and in which order: for recommend, evaluate and the service (docs/rules.md)."""

from shelfwise.rules.facts import CatalogueFacts
from shelfwise.rules.feedback import Feedback
from shelfwise.rules.histories import Histories
from shelfwise.rules.lists import ruled_lists
from shelfwise.rules.plan import Plan, Rules, Shortfall, make_plan

__all__ = ["CatalogueFacts", "Feedback", "Histories", "Plan", "Rules", "Shortfall", "make_plan", "ruled_lists"]

"""Why a book is recommended: numbers that add up to the prediction, and words for the largest of them."""

from shelfwise.reasons import of_models, of_shelf  # registers how each model is explained
from shelfwise.reasons.explanation import Explanation, explain, explain_lists, without_each
from shelfwise.reasons.why import Why, as_column, explain_book, reasons_of
from shelfwise.reasons.words import TEXTS, Reason, Speaker

__all__ = [
    "TEXTS",
    "Explanation",
    "Reason",
    "Speaker",
    "Why",
    "as_column",
    "explain",
    "explain_book",
    "explain_lists",
    "of_models",
    "of_shelf",
    "reasons_of",
    "without_each",
]

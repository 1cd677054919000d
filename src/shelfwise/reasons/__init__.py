"""Why a book is recommended: numbers that add up to the prediction, and words for the largest of them."""

from shelfwise.reasons import of_models, of_shelf  # registers how each model is explained
from shelfwise.reasons.explanation import Explanation, explain, explain_lists, without_each
from shelfwise.reasons.why import Why, explain_book, reasons_column
from shelfwise.reasons.words import TEXTS, Reason, Speaker

__all__ = [
    "TEXTS",
    "Explanation",
    "Reason",
    "Speaker",
    "Why",
    "explain",
    "explain_book",
    "explain_lists",
    "of_models",
    "of_shelf",
    "reasons_column",
    "without_each",
]

"""Which tags are shelves or verdicts of readers, and say nothing of what a book is about.

A tag is read as words joined by '-' or '_'. It is dropped when it holds one of WORDS as a whole
word, or matches one of PATTERNS, or has no letter at all:

    state      what the reader does with it: to-read, currently-reading, did-not-finish, wish-list
    ownership  where it is and in what form: owned, my-books, library, kindle, audiobook, to-buy
    verdict    what the reader thinks of it: favourites, 5-stars, disappointing, best-ever, loved
    time       when it was read: read-in-2014, 2015-books
"""

from __future__ import annotations

import polars as pl

WORDS: dict[str, str] = {
    "state": "read reading reread rereads toread tbr currently finished unfinished dnf abandoned wish wishlist want "
    "wanted maybe someday unread stopped quit gave didn couldn started pending queue next hold listened reviewed reads",
    "ownership": "own owned owns i my mine me have had library libraries shelf shelves bookshelf bookshelves bookcase "
    "ebook ebooks e kindle nook audible audio audiobook audiobooks buy bought borrowed lent loan loaned paperback "
    "paperbacks hardcover hardback hardcovers pdf epub ibooks calibre physical default bookclub club challenge "
    "giveaway giveaways arc arcs netgalley signed home box collection storage format formats other misc overdrive "
    "purchased scanned get",
    "verdict": "favorite favorites favourite favourites fave faves favs fav star stars best worst liked loved hated "
    "disappointing disappointment disappointments disappointed overrated underrated boring meh amazing awesome "
    "excellent recommended recommend recommendations rating rated guilty wtf ok okay must beautiful brilliant great "
    "good bad perfect top enjoyed",
    "time": "january february march april june july august september october november december childhood-books",
}
PATTERNS = (
    r"^re-?read",
    r"did-?n?o?t?-?finish",
    r"not-for-me",
    r"^loves?$|^i-love",
    r"all-time",
    r"^books?$|^books-",
    r"^for-school$|^school-books$|^read-for-",
    r"^book-(?:club|group|box|challenge)",
    r"(?:^|[-_])(?:19[5-9]|20[0-3])\d(?:$|[-_])",
    r"great-(?:books?|reads?)|good-(?:books?|reads?)",
)
# Whole words that are a subject in these company, whatever WORDS says.
KEPT = (
    r"great-(?:britain|war|depression|expectations)|star-(?:wars|trek)|best-?sellers?|good-and-evil|me-too|home-front"
)

_WORD = "|".join(sorted({word for words in WORDS.values() for word in words.split()}))
SHELF_WORDS = "|".join((rf"(?:^|[-_])(?:{_WORD})(?:$|[-_])", *PATTERNS))


def is_shelf_word(tags: pl.Series) -> pl.Series:
    """Which tags are shelves or verdicts, Boolean [N]."""
    tags = tags.cast(pl.String).str.to_lowercase()
    shelf = tags.str.contains(SHELF_WORDS) & ~tags.str.contains(KEPT)
    return shelf | ~tags.str.contains(r"\pL")

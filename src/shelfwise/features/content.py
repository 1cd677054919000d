"""What books are about: a sparse matrix of weighted terms, from tags, subjects, authors, series and title words.

Every book is a set of facets (block, term, frequency). Per block, values are frequency x inverse
document frequency, scaled to length 1 (Salton and Buckley, Term-weighting approaches, 1988); the
matrix puts the blocks side by side, each with its weight, and scales a book's row to length 1. The
fitted terms are a table, so that a book that arrives later is described by the same columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import scipy.sparse as sp

from shelfwise.data.catalogue import SERIES, Catalogue, plain
from shelfwise.features.shelf_words import is_shelf_word

# Weight of each block in the joint matrix, and in how many books a term must occur to count.
BLOCK_WEIGHTS = {"tags": 1.0, "subjects": 1.0, "authors": 0.7, "series": 0.5, "title": 0.5}
MIN_BOOKS = {"tags": 20, "subjects": 2, "authors": 1, "series": 1, "title": 3}
STOP_WORDS = frozenset(
    "a an and are as at be but by de for from her his i in is it its la le my no not of on or our out "
    "she that the their they this to up was we what when who with you your".split()
)
_FACETS = {"item_idx": pl.Int32, "block": pl.String, "term": pl.String, "frequency": pl.Float64}


def facets(catalogue: Catalogue) -> pl.DataFrame:
    """One row for each term that describes a book: item_idx, block, term, frequency."""
    books = catalogue.books.with_row_index("item_idx").with_columns(pl.col("item_idx").cast(pl.Int32))
    tags = catalogue.tags.filter(~is_shelf_word(catalogue.tags["tag"]))
    parts = [
        tags.select(
            "item_idx",
            pl.lit("tags").alias("block"),
            pl.col("tag").alias("term"),
            pl.col("count").log1p().alias("frequency"),
        )
    ]
    for block in ("subjects", "authors"):
        terms = books.select("item_idx", pl.col(block).alias("term")).explode("term").drop_nulls()
        parts.append(_counted(terms, block))
    parts.append(_counted(books.select("item_idx", pl.col("series").alias("term")).drop_nulls(), "series"))
    words = [_title_words(*titles) for titles in books.select("title", "original_title").iter_rows()]
    titles = pl.DataFrame({"item_idx": books["item_idx"], "term": pl.Series(words, dtype=pl.List(pl.String))})
    parts.append(_counted(titles.explode("term").drop_nulls(), "title"))
    return pl.concat([part.select(pl.col(c).cast(t) for c, t in _FACETS.items()) for part in parts])


def _counted(terms: pl.DataFrame, block: str) -> pl.DataFrame:
    return terms.with_columns(pl.lit(block).alias("block"), pl.lit(1.0).alias("frequency"))


def _title_words(title: str, original: str | None) -> list[str]:
    """Distinct words of both titles, in order, without the series."""
    text = plain(SERIES.sub(r"\g<title>", title)) + " " + plain(original or "")
    return list(dict.fromkeys(word for word in text.split() if word not in STOP_WORDS))


@dataclass(frozen=True)
class ContentSpace:
    """The fitted terms: block, term, idf; the row of a term is its column in the matrix."""

    terms: pl.DataFrame

    @classmethod
    def fit(cls, catalogue: Catalogue) -> ContentSpace:
        """The terms that occur in enough books (MIN_BOOKS; in small catalogues 0.2 % of the books, at least 2)."""
        n_books = len(catalogue)
        enough = {block: min(n, max(2, round(0.002 * n_books))) for block, n in MIN_BOOKS.items()}
        counted = facets(catalogue).group_by("block", "term").agg(pl.col("item_idx").n_unique().alias("n"))
        counted = counted.filter(pl.col("n") >= pl.col("block").replace_strict(enough, return_dtype=pl.Int64))
        idf = ((1 + n_books) / (1 + pl.col("n"))).log() + 1
        return cls(counted.sort("block", "term").select("block", "term", idf.cast(pl.Float32).alias("idf")))

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """The columns of each block."""
        names = self.terms["block"].to_numpy()
        return {
            str(b): slice(int(np.argmax(names == b)), int((names == b).sum() + np.argmax(names == b)))
            for b in np.unique(names)
        }

    def tags_in(self, text: str) -> list[str]:
        """The tags of the space that stand in a text, as words of it."""
        tags = self.terms.filter(pl.col("block").is_in(["tags", "subjects"]))["term"].to_list()
        words = f" {plain(text)} "
        return [tag for tag in tags if f" {plain(tag)} " in words]

    def transform(self, catalogue: Catalogue) -> sp.csr_matrix:
        """Content of each book, float32 [I, F], rows of length 1 (or 0 for a book of which nothing is known)."""
        columns = self.terms.with_row_index("column")
        known = facets(catalogue).join(columns, on=["block", "term"], how="inner").sort("item_idx", "column")
        value = pl.col("frequency") * pl.col("idf")
        length = (value**2).sum().over("item_idx", "block").sqrt()
        weight = pl.col("block").replace_strict(BLOCK_WEIGHTS, return_dtype=pl.Float64)
        known = known.with_columns((weight * value / length).alias("value"))
        known = known.with_columns(pl.col("value") / (pl.col("value") ** 2).sum().over("item_idx").sqrt())
        return sp.csr_matrix(
            (
                known["value"].to_numpy().astype(np.float32),
                (known["item_idx"].to_numpy(), known["column"].to_numpy()),
            ),
            shape=(len(catalogue), len(self.terms)),
        )


def most_similar(content: sp.csr_matrix, item_idx: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n books whose content is nearest to that of a book, and the cosines; the book itself left out."""
    cosines = (content @ content[item_idx].T).toarray().ravel()
    cosines[item_idx] = -np.inf
    best = np.argsort(-cosines, kind="stable")[: min(n, len(cosines) - 1)]
    best = best[cosines[best] > 0]
    return best.astype(np.int32), cosines[best].astype(np.float32)

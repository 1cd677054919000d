"""The content matrix: known answers, lengths, and books that arrive later."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shelfwise.data.catalogue import Catalogue, build_catalogue, catalogue_of_ids, empty_tags
from shelfwise.features.content import BLOCK_WEIGHTS, ContentSpace, facets, most_similar


def make_catalogue(rows: list[dict[str, str]], tags: list[tuple[int, str, int]] | None = None) -> Catalogue:
    fields = ("book_id", "title", "authors", "series", "subjects")
    raw = pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in fields}, schema=dict.fromkeys(fields, pl.String)
    )
    frame = empty_tags()
    if tags:
        frame = pl.DataFrame(tags, schema=frame.schema, orient="row")
    return Catalogue(build_catalogue(raw, Path("books.csv")), frame)


@pytest.fixture
def shelf() -> Catalogue:
    return make_catalogue(
        [
            {
                "book_id": "1",
                "title": "The Silver Road (Roads, #1)",
                "authors": "Ann Ash|Bo Bell",
                "subjects": "fantasy|travel",
            },
            {"book_id": "2", "title": "The Golden Road (Roads, #2)", "authors": "Ann Ash", "subjects": "fantasy"},
            {"book_id": "3", "title": "Deep Seas", "authors": "Cy Cole", "subjects": "sea|travel"},
            {"book_id": "4", "title": "Deep Water", "authors": "Dee Dunn", "subjects": "sea"},
        ]
    )


def test_facets_name_authors_series_subjects_and_title_words_without_the_series(shelf: Catalogue) -> None:
    first = facets(shelf).filter(pl.col("item_idx") == 0)
    found = {block: set(first.filter(pl.col("block") == block)["term"]) for block in first["block"].unique()}
    assert found == {
        "authors": {"Ann Ash", "Bo Bell"},
        "series": {"Roads"},
        "subjects": {"fantasy", "travel"},
        "title": {"silver", "road"},
    }


def test_values_are_the_documented_formula(shelf: Catalogue) -> None:
    space = ContentSpace.fit(shelf)
    content = space.transform(shelf).toarray()
    column = {term: place for place, term in enumerate(space.terms["term"])}
    # Book 4: subject 'sea' (of 2 books, the only subject it has) and author 'Dee Dunn'; 'deep' is in 2 books, needs 2.
    weights = np.array([BLOCK_WEIGHTS["subjects"], BLOCK_WEIGHTS["authors"], BLOCK_WEIGHTS["title"]])
    expected = weights / np.linalg.norm(weights)
    assert content[3, [column["sea"], column["Dee Dunn"], column["deep"]]] == pytest.approx(expected, abs=1e-6)
    idf = np.log((1 + 4) / (1 + 2)) + 1
    assert space.terms.filter(pl.col("term") == "sea")["idf"].item() == pytest.approx(idf)


def test_every_row_has_length_one_or_nothing_is_known_of_the_book(shelf: Catalogue) -> None:
    content = ContentSpace.fit(shelf).transform(shelf)
    assert np.linalg.norm(content.toarray(), axis=1) == pytest.approx(np.ones(4))
    bare = catalogue_of_ids(pl.Series([10, 20, 30]))
    assert ContentSpace.fit(bare).transform(bare).nnz == 0


def test_the_next_volume_is_the_most_similar_and_a_book_is_not_similar_to_itself(shelf: Catalogue) -> None:
    books, cosines = most_similar(ContentSpace.fit(shelf).transform(shelf), 0, 3)
    assert books[0] == 1
    assert 0 not in books
    assert (np.diff(cosines) <= 0).all()


def test_a_book_that_arrives_later_is_described_by_the_fitted_terms(shelf: Catalogue) -> None:
    space = ContentSpace.fit(shelf)
    later = make_catalogue(
        [{"book_id": "9", "title": "Road Home", "authors": "Ann Ash", "subjects": "fantasy|never-seen"}]
    )
    vector = space.transform(later)
    assert vector.shape == (1, len(space.terms))
    assert (space.transform(shelf) @ vector.T).toarray().ravel().argmax() in (0, 1)


def test_shelf_words_and_rare_tags_do_not_count() -> None:
    rows = [{"book_id": str(i), "title": f"Book{i}", "authors": f"Author {i}"} for i in range(4)]
    tags = [(i, tag, 3) for i in range(4) for tag in ("to-read", "fantasy")] + [(0, "once", 5)]
    catalogue = make_catalogue(rows, tags)
    assert set(ContentSpace.fit(catalogue).terms.filter(pl.col("block") == "tags")["term"]) == {"fantasy"}


def test_order_of_tags_does_not_matter() -> None:
    rows = [{"book_id": str(i), "title": f"Book{i}", "authors": "A"} for i in range(3)]
    tags = [(i, tag, n) for i in range(3) for n, tag in enumerate(("fantasy", "dragons", "magic"), start=1)]
    one, other = make_catalogue(rows, tags), make_catalogue(rows, tags[::-1])
    difference = ContentSpace.fit(one).transform(one) - ContentSpace.fit(other).transform(other)
    assert abs(difference).max() < 1e-6

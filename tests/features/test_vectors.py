"""Dense vectors of books: what their dot products mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from shelfwise.data.catalogue import Catalogue, build_catalogue
from shelfwise.features.vectors import (
    BookFeatures,
    VectorSizes,
    content_vectors,
    default_embedding,
    sign_codes,
    truncated_svd,
)

BOOKS = pl.DataFrame(
    {
        "book_id": ["1", "2", "3", "4", "5"],
        "title": ["One", "Two", "Stars", "Steel", None],
        "authors": ["Ann", "Ann", "Bo", "Cy", None],
        "series": ["saga", "saga", None, None, None],
    }
)
TAGS = pl.DataFrame(
    [(0, "fantasy", 90), (0, "magic", 40), (1, "fantasy", 70), (1, "magic", 60), (2, "space", 80), (3, "space", 50)],
    schema={"item_idx": pl.Int32, "tag": pl.String, "count": pl.Int64},
    orient="row",
)
CATALOGUE = Catalogue(build_catalogue(BOOKS, Path("books.csv")), TAGS)
FEATURES = BookFeatures.of(CATALOGUE)


def test_a_truncated_svd_keeps_the_products_of_a_low_rank_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 30))
    vectors = truncated_svd(sp.csr_matrix(matrix.astype(np.float32)), 5)
    assert np.allclose(vectors @ vectors.T, matrix @ matrix.T, rtol=1e-3, atol=1e-2)
    assert truncated_svd(sp.csr_matrix((3, 4), dtype=np.float32), 2).tolist() == [[0, 0]] * 3
    wide = truncated_svd(sp.csr_matrix(np.eye(3, dtype=np.float32)), 8)
    assert wide.shape == (3, 8)
    assert not wide[:, 3:].any()


def test_codes_of_one_name_are_one_and_of_two_names_all_but_orthogonal() -> None:
    names = [f"name {i}" for i in range(200)]
    codes = sign_codes([*names, "name 7", None], 64)
    products = codes[:200] @ codes[:200].T
    assert np.allclose(np.diag(products), 1)
    off = products[~np.eye(200, dtype=bool)]
    assert abs(off.mean()) < 0.01
    assert off.std() < 0.15
    assert np.array_equal(codes[200], codes[7])
    assert not codes[201].any()


def test_content_vectors_add_up_subject_author_and_series() -> None:
    vectors = content_vectors(FEATURES, VectorSizes(about=4, author=256, series=256))
    products = vectors @ vectors.T
    assert np.isclose(products[0, 0], 1 + 0.35 + 0.55, atol=1e-4)
    assert products[0, 1] > 0.35 + 0.55
    assert abs(products[0, 2]) < 0.3
    assert np.isfinite(vectors).all()


def test_a_users_embedding_takes_the_place_of_what_a_book_is_about() -> None:
    own = np.array([[3.0, 4.0], [0, 1], [1, 0], [1, 1], [0, 2]], dtype=np.float32)
    features = BookFeatures(CATALOGUE, FEATURES.space, FEATURES.content, own)
    assert np.array_equal(default_embedding(features), own)
    vectors = content_vectors(features, VectorSizes(author=8, series=8))
    assert np.allclose(vectors[0, :2], [0.6, 0.8])


def test_the_default_embedding_has_no_ratings_in_it_and_length_one() -> None:
    embedding = default_embedding(FEATURES, 3)
    assert embedding.shape == (5, 3)
    assert np.allclose(np.linalg.norm(embedding[:4], axis=1), 1)
    assert embedding[0] @ embedding[1] > embedding[0] @ embedding[2]

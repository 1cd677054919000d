"""Metrics, computed by hand and against slow references."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_features

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.ratings import Ratings
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.data.split import GIVEN_TEST, TEST, TRAIN, VALID
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.evaluation.metrics import list_metrics, star_losses, star_metrics
from shelfwise.evaluation.protocol import Exam, Measures, measure, measure_with_rules
from shelfwise.models.bias import Bias, BiasConfig
from shelfwise.ranking import ranking_metrics
from shelfwise.rules import Rules

FIVE = Scale(1, 5)


def stars_of(predicted: np.ndarray, stars: np.ndarray, scale: Scale) -> dict[str, float]:
    return star_metrics(star_losses(predicted, stars, scale))


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


# Stars.


def test_star_metrics_by_hand() -> None:
    metrics = stars_of(floats(3.4, 4.6, 1.0, 2.0), floats(3, 4, 1, 5), FIVE)
    assert metrics == {
        "mse": pytest.approx((0.16 + 0.36 + 0 + 9) / 4, rel=1e-6),
        "rmse": pytest.approx(math.sqrt(9.52 / 4), rel=1e-6),
        "mae": pytest.approx((0.4 + 0.6 + 0 + 3) / 4, rel=1e-6),
        "hit": 0.5,
        "n": 4,
    }


def test_hits_are_counted_on_the_scale_of_the_data() -> None:
    assert stars_of(floats(3.3), floats(3.5), Scale(0.5, 5, 0.5))["hit"] == 1
    assert stars_of(floats(3.3), floats(3), FIVE)["hit"] == 1
    assert stars_of(floats(1.5, 2.5, 3.5), floats(1, 3, 3), FIVE)["hit"] == 1  # halves go to the even step
    assert stars_of(floats(8.9), floats(9), Scale(1, 10))["hit"] == 1


def test_no_rows_no_numbers() -> None:
    metrics = stars_of(floats(), floats(), FIVE)
    assert metrics["n"] == 0
    assert all(math.isnan(value) for name, value in metrics.items() if name != "n")


@given(st.lists(st.tuples(st.floats(1, 5, width=32), st.integers(1, 5)), min_size=1, max_size=30))
def test_star_metrics_are_those_of_a_loop(pairs: list[tuple[float, int]]) -> None:
    metrics = stars_of(floats(*(p for p, _ in pairs)), floats(*(s for _, s in pairs)), FIVE)
    errors = [p - s for p, s in pairs]
    assert metrics["mse"] == pytest.approx(fmean(e * e for e in errors), rel=1e-9, abs=1e-12)
    assert metrics["rmse"] == pytest.approx(math.sqrt(metrics["mse"]))
    assert metrics["mae"] == pytest.approx(fmean(map(abs, errors)), rel=1e-9, abs=1e-12)
    assert metrics["hit"] == pytest.approx(fmean(1 + round(p - 1) == s for p, s in pairs))


# Lists.


def shelves_of(sets: list[set[int]]) -> Shelves:
    rows = [row for row, books in enumerate(sets) for _ in books]
    books = [book for books in sets for book in sorted(books)]
    return Shelves.build(rows, books, np.ones(len(books)), len(sets))


def slow_metrics(chosen: list[int], relevant: set[int]) -> tuple[float, float]:
    if not relevant:
        return math.nan, math.nan
    gain = sum(1 / math.log2(rank + 1) for rank, book in enumerate(chosen, start=1) if book in relevant)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), len(chosen)) + 1))
    return gain / best, sum(book in relevant for book in chosen) / len(relevant)


def test_ndcg_and_recall_by_hand() -> None:
    lists = np.array([[7, 2, 5], [1, 2, 3], [1, 2, 3], [4, -1, -1], [9, 8, 7]], dtype=np.int32)
    relevant = shelves_of([{2, 9}, {1, 2, 3}, set(), {4}, {1, 2, 3, 4}])
    metrics = ranking_metrics(lists, relevant)
    third = 1 / math.log2(3)
    np.testing.assert_allclose(metrics["ndcg"], [third / (1 + third), 1, math.nan, 1, 0], rtol=1e-12)
    np.testing.assert_allclose(metrics["recall"], [1 / 2, 1, math.nan, 1, 0], rtol=1e-12)


def test_more_relevant_books_than_places_still_allow_a_perfect_ndcg() -> None:
    metrics = ranking_metrics(np.array([[0, 1]], dtype=np.int32), shelves_of([{0, 1, 2, 3}]))
    assert metrics["ndcg"].tolist() == [1]
    assert metrics["recall"].tolist() == [0.5]


@st.composite
def lists_and_relevant(draw: st.DrawFn) -> tuple[list[list[int]], list[set[int]]]:
    n_readers, k = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    lists = []
    for _ in range(n_readers):
        books = draw(st.lists(st.integers(0, 9), unique=True, max_size=k))
        lists.append(books + [-1] * (k - len(books)))
    return lists, draw(st.lists(st.sets(st.integers(0, 12)), min_size=n_readers, max_size=n_readers))


@given(lists_and_relevant())
def test_ndcg_and_recall_are_those_of_a_loop(case: tuple[list[list[int]], list[set[int]]]) -> None:
    lists, relevant = case
    metrics = ranking_metrics(np.array(lists, dtype=np.int32), shelves_of(relevant))
    for row, (chosen, wanted) in enumerate(zip(lists, relevant, strict=True)):
        ndcg, recall = slow_metrics(chosen, wanted)
        assert metrics["ndcg"][row] == pytest.approx(ndcg, nan_ok=True)
        assert metrics["recall"][row] == pytest.approx(recall, nan_ok=True)


# What may be seen and what must be predicted.


def a_model(book_bias: list[float]) -> Bias:
    config = BiasConfig(reader_shrinkage=0)
    return Bias(config, FIVE, 3.0, floats(*book_bias), np.ones(len(book_bias), dtype=np.int32))


def ratings_of(rows: list[tuple[int, int, float]], n_readers: int, n_books: int) -> Ratings:
    users, books, stars = zip(*rows, strict=True)
    return Ratings(
        np.array(users, dtype=np.int32),
        np.array(books, dtype=np.int32),
        floats(*stars),
        Vocabulary(range(n_readers)),
        Vocabulary(range(n_books)),
        FIVE,
    )


def measured(model: Bias, ratings: Ratings, parts: np.ndarray, part: int = TEST) -> Measures:
    return measure(model, Exam(ratings, parts, make_features(ratings.n_books), part)).measures


def test_measure_by_hand() -> None:
    """Reader 0: book 0 trained, 1 validation, 2 and 3 test. Reader 1: book 0 given, 2 test."""
    rows = [(0, 0, 4.0), (0, 1, 1.0), (0, 2, 5.0), (0, 3, 3.0), (1, 0, 2.0), (1, 2, 4.0)]
    parts = np.array([TRAIN, VALID, TEST, TEST, GIVEN_TEST, TEST], dtype=np.int8)
    model = a_model([0.0, 0.5, 0.2, 0.1])
    measures = measured(model, ratings_of(rows, 2, 4), parts)
    # Reader 0 has the bias 4 - 3 = 1, from train alone; reader 1 has -1, from what is given.
    errors = [4.2 - 5, 4.1 - 3, 2.2 - 4]
    assert measures.stars["mse"] == pytest.approx(fmean(e * e for e in errors), rel=1e-5)
    assert measures.stars["n"] == 3
    # Liked in the test: book 2 by both. Left to list: 2, 3 for reader 0 (1 is validation), 1, 2, 3 for reader 1.
    assert {name: measures.ranking[name] for name in ("ndcg@10", "recall@10", "mrr@10", "n_readers")} == {
        "ndcg@10": pytest.approx((1 + 1 / math.log2(3)) / 2),
        "recall@10": 1,
        "mrr@10": 0.75,
        "n_readers": 2,
    }
    valid = measured(model, ratings_of(rows, 2, 4), parts, VALID)
    assert valid.stars["n"] == 1
    assert valid.stars["mse"] == pytest.approx((4.5 - 1) ** 2, rel=1e-5)
    assert valid.ranking == {"n_readers": 0}


def test_other_editions_of_what_was_read_are_neither_listed_nor_wanted() -> None:
    """Book 1 is book 0 in another edition; the reader has read 0, and would like 1 and 2."""
    ratings = ratings_of([(0, 0, 4.0), (0, 1, 5.0), (0, 2, 5.0)], 1, 3)
    parts, features = np.array([TRAIN, TEST, TEST], dtype=np.int8), make_features(3)
    assert measured(a_model([0, 1, 0]), ratings, parts).ranking["ndcg@10"] == pytest.approx(1)
    two_editions = features.catalogue.books.with_columns(work_key=pl.Series(["same", "same", "other"]))
    features = replace(features, catalogue=Catalogue(two_editions, features.catalogue.tags))
    exam = Exam(ratings, parts, features)
    assert exam.seen.item_idx.tolist() == [0, 1]
    assert exam.relevant.item_idx.tolist() == [2]
    found = measure(a_model([0, 1, 0]), exam).measures
    assert found.ranking["mrr@10"] == 1  # book 2 comes first, though the model would put 1 before it
    assert found.stars["n"] == 2


def test_lists_by_rules_are_measured_on_the_same_liked_books() -> None:
    rows = [(0, 0, 4.0), (0, 2, 5.0), (0, 3, 5.0), (1, 0, 4.0), (1, 3, 4.0)]
    exam = Exam(ratings_of(rows, 2, 4), np.array([TRAIN, TEST, TEST, TRAIN, TEST], dtype=np.int8), make_features(4))
    model = a_model([0.0, 0.1, 0.2, 0.3])
    own = measure(model, exam)
    ruled = measure_with_rules(own, model, exam, Rules(author="Otto"), None)  # books 1 and 3
    assert ruled.measures.stars == own.measures.stars
    assert ruled.measures.segments == own.measures.segments
    ranking = ruled.measures.ranking
    assert ranking["recall@10"] == pytest.approx((1 / 2 + 1) / 2)
    assert (ranking["listed"], ranking["reachable"], ranking["n_readers"]) == (2, pytest.approx(2 / 3), 2)
    assert ruled.readers["recall@10"].to_list() == [0.5, 1]
    assert set(ruled.measures.intervals) == set(own.measures.intervals)
    assert "listed" not in own.measures.ranking


@pytest.mark.parametrize(("scale", "liked"), [(FIVE, 4), (Scale(1, 10), 7.75), (Scale(0.5, 5, 0.5), 3.875)])
def test_a_book_counts_as_liked_from_three_quarters_of_the_scale(scale: Scale, liked: float) -> None:
    for value in scale.values:
        ratings = ratings_of([(0, 0, scale.low), (0, 1, float(value))], 1, 2)
        ratings = Ratings(*(getattr(ratings, n) for n in ("user_idx", "item_idx", "stars", "readers", "books")), scale)
        found = measured(a_model([0, 0]), ratings, np.array([TRAIN, TEST], dtype=np.int8))
        assert found.ranking["n_readers"] == (value >= liked)


def test_only_readers_whose_shelf_is_the_trained_one_keep_their_trained_index() -> None:
    rows = [(0, 0, 4.0), (1, 0, 4.0), (1, 1, 2.0), (2, 1, 1.0), (3, 0, 1.0)]
    parts = np.array([TRAIN, TRAIN, GIVEN_TEST, GIVEN_TEST, TEST], dtype=np.int8)
    ratings = ratings_of(rows, 4, 2)
    assert Exam(ratings, parts, make_features(2)).trained_idx().tolist() == [0, -1, -1, -1]
    assert Exam(ratings, parts, make_features(2)).trained_idx(Vocabulary([-5, 0])).tolist() == [1, -1, -1, -1]


# Against other libraries.


def test_star_metrics_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

    rng = np.random.default_rng(0)
    stars = rng.integers(1, 6, 500).astype(np.float32)
    probabilities = rng.dirichlet(np.ones(5), 500).astype(np.float32)
    predicted = (probabilities @ FIVE.values).astype(np.float32)
    found = star_metrics(star_losses(predicted, stars, FIVE, probabilities))
    assert found["mse"] == pytest.approx(mean_squared_error(stars, predicted), rel=1e-5)
    assert found["mae"] == pytest.approx(mean_absolute_error(stars, predicted), rel=1e-5)
    assert found["hit"] == accuracy_score(stars, FIVE.values[probabilities.argmax(1)])
    double = probabilities.astype(float) / probabilities.astype(float).sum(1, keepdims=True)
    assert found["log_loss"] == pytest.approx(log_loss(stars, double, labels=[1, 2, 3, 4, 5]), rel=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_ranking_metrics_are_those_of_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(40)[:10] for _ in range(30)], dtype=np.int32)
    relevant = [set(rng.permutation(40)[: rng.integers(1, 20)].tolist()) for _ in range(30)]
    found = ranking_metrics(lists, shelves_of(relevant))
    qrels = ranx.Qrels({str(u): {str(b): 1 for b in books} for u, books in enumerate(relevant)})
    run = ranx.Run({str(u): {str(b): 10.0 - place for place, b in enumerate(row)} for u, row in enumerate(lists)})
    other = ranx.evaluate(qrels, run, ["ndcg@10", "recall@10", "mrr@10"])
    assert found["ndcg"].mean() == pytest.approx(other["ndcg@10"], rel=1e-9)
    assert found["recall"].mean() == pytest.approx(other["recall@10"], rel=1e-9)
    assert found["reciprocal_rank"].mean() == pytest.approx(other["mrr@10"], rel=1e-9)


def test_what_lists_are_like_by_hand() -> None:
    import scipy.sparse as sp

    lists = np.array([[0, 1], [1, -1]], dtype=np.int32)
    counts = np.array([3, 1, 0, 0], dtype=np.int32)
    content = sp.csr_matrix(np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1]], dtype=np.float32))
    shelves = Shelves.build([0, 1], [0, 1], [5, 5], 2)
    found = list_metrics(lists, counts, shelves, content)
    assert found["coverage"] == 0.5
    assert found["novelty"] == pytest.approx((-math.log2(4 / 8) - 2 * math.log2(2 / 8)) / 3)
    assert found["diversity"] == pytest.approx(1 - 0.6)
    assert found["popularity_bias"] == pytest.approx((3 + 1 + 1) / 3 / 2)

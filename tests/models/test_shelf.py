"""The shelf model: what leaving one rating out means, what a list is ordered by, and distributions of stars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import checkerboard, make_features, make_ratings

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.errors import UsageError
from shelfwise.models.blocks import RANGE_HOLDS, describe
from shelfwise.models.contract import FitInputs
from shelfwise.models.shelf import BEHIND, Shelf, ShelfConfig
from shelfwise.models.similarity import PARTS, KernelWeights, similarities
from shelfwise.ranking import top_n
from shelfwise.training.recipes import fit_model, loop_settings
from shelfwise.training.shelf import Rows, leave_one_out, training_rows

CONFIG = ShelfConfig(about_dim=6, coreading_dim=4, new_book_share=0.0, hidden=(16,), pick_hidden=(8,))
LOOP = loop_settings("default", {"epochs": 2})


def random_world(seed: int = 0, n_readers: int = 30, n_books: int = 25) -> FitInputs:
    rng = np.random.default_rng(seed)
    rows = [(u, i, float(rng.integers(1, 6))) for u in range(n_readers) for i in range(n_books) if rng.random() < 0.4]
    return FitInputs(make_ratings(rows, n_readers, n_books), features=make_features(n_books))


@pytest.fixture(scope="module")
def inputs() -> FitInputs:
    return random_world()


@pytest.fixture(scope="module")
def model(inputs: FitInputs) -> Shelf:
    fitted, _ = fit_model(CONFIG, LOOP, inputs)
    assert isinstance(fitted, Shelf)
    return fitted


def without(shelves: Shelves, row: int, book: int) -> Shelves:
    return shelves.take([row]).where(shelves.take([row]).item_idx != book)


def test_leaving_a_rating_out_is_the_same_as_never_having_had_it(inputs: FitInputs, model: Shelf) -> None:
    shelves, books = inputs.train.shelves(), model.books
    residuals = torch.from_numpy(shelves.stars) - books.mean - books.bias[torch.from_numpy(shelves.item_idx).long()]
    for _, at, book, unexplained in leave_one_out(shelves, books.traits, CONFIG.kernel, residuals):
        for place in range(0, len(at), 17):
            row, i = int(shelves.rows[at[place]]), int(book[place])
            base, _ = model.evidence(model.fold_in(without(shelves, row, i)), np.array([0]), np.array([[i]], np.int32))
            expected = base - books.mean - books.bias[i]
            assert float(residuals[at[place]] - unexplained[place]) == pytest.approx(float(expected), abs=2e-4)


def test_training_sees_of_a_pair_what_an_answer_sees_without_that_rating(inputs: FitInputs, model: Shelf) -> None:
    """The numbers of the shelf; those of the book differ by just the rating left out."""
    shelves = inputs.train.shelves()
    _, numbers = training_rows(
        shelves, model.books, Rows(torch.zeros(len(shelves.item_idx)), torch.zeros(25)), CONFIG, 0, model.scale
    )
    n_book = 3 + len(model.scale.values) + model.books.outside.shape[1]
    for place in range(0, len(shelves.item_idx), 13):
        row, book = int(shelves.rows[place]), int(shelves.item_idx[place])
        readers = model.fold_in(without(shelves, row, book))
        _, answer = model.evidence(readers, np.array([0]), np.array([[book]], np.int32))
        assert numbers[place, :-n_book].numpy() == pytest.approx(answer[0, :-n_book].numpy(), abs=2e-3)
        count = n_book - 2  # log1p of the ratings of the book
        ratings = [float(np.expm1(float(row[-count]))) for row in (numbers[place], answer[0])]
        assert ratings[0] == pytest.approx(ratings[1] - 1, abs=1e-3)


def test_similarities_by_hand(model: Shelf) -> None:
    """Even books are by Eve about the sea, odd ones by Otto about space."""
    parts = similarities(model.books.traits, torch.tensor([[0, 1]]), torch.tensor([[2, 3, 1]]))[:, 0]
    author = parts[PARTS.index("author")]
    assert author.tolist() == [[1, 0, 0], [0, 1, 1]]
    about = parts[PARTS.index("about")]
    assert about[0, 0] > about[0, 1]
    assert about[1, 2] == pytest.approx(1, abs=1e-5)
    assert not parts[PARTS.index("series")].any()


def test_lists_from_candidates_are_those_of_the_scores(inputs: FitInputs, model: Shelf) -> None:
    shelves = inputs.train.shelves()
    readers = model.fold_in(shelves)
    for n in (1, 5, 25):
        found, scores = model.top(readers, n, shelves)
        expected, expected_scores = top_n(model.scores(readers), n, shelves)
        assert np.array_equal(found, expected)
        assert scores == pytest.approx(expected_scores, abs=1e-4)


def test_candidates_are_sought_among_what_is_allowed(
    inputs: FitInputs, model: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shelfwise.models.shelf.CANDIDATES", 4)
    shelves = inputs.train.shelves()
    readers = model.fold_in(shelves)
    pickup = model.scores(readers)
    allowed = np.ones(pickup.shape, dtype=bool)
    np.put_along_axis(allowed, top_n(pickup.copy(), 4, shelves)[0], False, axis=1)  # none of the first candidates
    among = model.scores_among(readers, allowed)
    assert (pickup[allowed] < -BEHIND / 2).all()
    for row in range(len(readers)):
        left = allowed[row].copy()
        left[shelves.take([row]).item_idx] = False
        assert (among[row][left] > -BEHIND / 2).sum() == min(4, left.sum())


def test_each_order_orders_by_what_it_says(model: Shelf, inputs: FitInputs) -> None:
    shelves = inputs.train.shelves()
    by_stars = model.with_order("stars")
    readers = by_stars.fold_in(shelves)
    found, _ = by_stars.top(readers, 5, shelves)
    rows = np.repeat(np.arange(len(shelves)), 5)
    stars = by_stars.stars(readers, rows, found.ravel()).reshape(-1, 5)
    assert (np.diff(stars, axis=1) <= 1e-5).all()
    pickup = model.with_order("pickup")
    plain = model.changed(taste=0.0)
    assert np.array_equal(pickup.top(readers, 5, shelves)[0], plain.top(readers, 5, shelves)[0])
    with pytest.raises(UsageError, match="blend, stars, pickup"):
        model.with_order("luck")


def test_a_reader_of_one_colour_is_expected_to_like_it() -> None:
    world = checkerboard()
    model, _ = fit_model(CONFIG, loop_settings("default", {"epochs": 4}), world)
    readers = model.fold_in(Shelves.build([0, 0, 0], [0, 1, 2], [5, 1, 5], 1))
    stars = model.stars(readers, np.zeros(2, dtype=np.int64), np.array([4, 5], dtype=np.int32))
    assert stars[0] > stars[1] + 1


def test_a_world_without_content_outside_averages_or_years_is_fitted(inputs: FitInputs) -> None:
    assert inputs.features is not None
    bare = inputs.features.catalogue.books.with_columns(authors=None, series=None, subjects=None, title=pl.lit("?"))
    catalogue = type(inputs.features.catalogue)(
        bare.cast(dict(inputs.features.catalogue.books.schema)), inputs.features.catalogue.tags
    )
    model, _ = fit_model(CONFIG, LOOP, replace(inputs, features=type(inputs.features).of(catalogue)))
    assert np.isfinite(model.scores(model.fold_in(inputs.train.shelves()))).all()


@given(
    st.lists(st.tuples(st.integers(0, 24), st.sampled_from([1.0, 5.0])), max_size=60),
    st.integers(0, 24),
)
def test_no_shelf_gives_nonsense(ratings: list[tuple[int, float]], book: int) -> None:
    if "model" not in _cache:
        _cache["model"] = fit_model(CONFIG, LOOP, random_world())[0]
    model = _cache["model"]
    shelves = Shelves.build([0] * len(ratings), [b for b, _ in ratings], [s for _, s in ratings], 1)
    chances = model.probabilities(model.fold_in(shelves), np.array([0]), np.array([book], dtype=np.int32))
    assert chances is not None
    assert np.isfinite(chances).all()
    assert chances.sum() == pytest.approx(1, abs=1e-4)


_cache: dict[str, Shelf] = {}

# Distributions of stars.


def test_a_distribution_is_described_by_hand() -> None:
    found = describe(np.array([[0, 0.1, 0.5, 0.3, 0.1], [0.85, 0.15, 0, 0, 0], [0.2] * 5]), Scale(1, 5))
    assert found["most_likely"].tolist() == [3, 1, 1]
    assert found["low"].tolist() == [3, 1, 1]
    assert found["high"].tolist() == [4, 1, 4]
    assert found["sd"][1] == pytest.approx(np.sqrt(0.85 * 0.15), abs=1e-6)


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5))
def test_the_range_holds_enough_and_no_narrower_one_does(weights: list[float]) -> None:
    chances = np.array([weights]) / sum(weights)
    found = describe(chances, Scale(1, 5))
    low, high = int(found["low"][0]) - 1, int(found["high"][0]) - 1
    assert chances[0, low : high + 1].sum() >= RANGE_HOLDS - 1e-6
    width = high - low
    for start in range(5 - width + 1):
        assert width == 0 or chances[0, start : start + width].sum() < RANGE_HOLDS + 1e-6


def test_the_weights_of_parts_are_named_and_in_order() -> None:
    weights = KernelWeights(series=2.5)
    assert weights.parts()[PARTS.index("series")] == 2.5
    assert len(weights.parts()) == len(PARTS)

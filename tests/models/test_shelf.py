"""The shelf model: what leaving one rating out means, what a list is ordered by, and distributions of stars."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from worlds import checkerboard, make_features, make_ratings

from shelfwise.data.catalogue import Catalogue
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import UsageError
from shelfwise.features.vectors import BookFeatures
from shelfwise.models import shelf as shelf_module
from shelfwise.models.blocks import RANGE_HOLDS, describe
from shelfwise.models.contract import FitInputs
from shelfwise.models.evidence import shelf_evidence
from shelfwise.models.long_shelves import shortened
from shelfwise.models.ordinal_bias import OrdinalBias, OrdinalBiasConfig
from shelfwise.models.shelf import BEHIND, Shelf, ShelfConfig
from shelfwise.models.similarity import PARTS, KernelWeights, similarities
from shelfwise.ranking import top_n
from shelfwise.training import leave_one_out as leave_one_out_module
from shelfwise.training import pickup as pickup_module
from shelfwise.training import shelf as shelf_fit_module
from shelfwise.training.leave_one_out import leave_one_out, level_of_others
from shelfwise.training.pieces import by_pieces
from shelfwise.training.recipes import fit_model, loop_settings
from shelfwise.training.shelf import (
    Rows,
    fit_books,
    known_of_books,
    some_readers,
    star_head_error,
    training_rows,
)

CONFIG = ShelfConfig(about_dim=6, coreading_dim=4, new_book_share=0.0, hidden=(16,), pick_hidden=(8,))
LOOP = loop_settings(CONFIG, {"epochs": 2})


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


def test_without_content_the_closed_form_says_what_the_linear_systems_say(inputs: FitInputs) -> None:
    shelves, config = inputs.train.shelves(), OrdinalBiasConfig(hidden=(8,))
    model, _ = fit_model(config, LOOP, inputs)
    assert isinstance(model, OrdinalBias)
    shelves = Shelves.build([*shelves.rows, 30, 30], [*shelves.item_idx, 3, 4], [*shelves.stars, 1.0, 5.0], 32)
    rows, books = np.arange(32), np.tile(np.array([2, 7, -1], dtype=np.int32), (32, 1))
    base, numbers = model.evidence(model.fold_in(shelves), rows, books)
    slow_base, slow_numbers = Shelf.evidence(model, Shelf.fold_in(model, shelves), rows, books)
    assert numbers.numpy() == pytest.approx(slow_numbers.numpy(), abs=1e-4)
    assert base.numpy() == pytest.approx(slow_base.numpy(), abs=1e-4)
    residuals = torch.from_numpy(shelves.stars) - model.books.mean
    others = level_of_others(shelves, config.kernel, residuals, model.scale)
    steps = torch.from_numpy(model.scale.steps(shelves.stars))
    for side, at, _, unexplained in leave_one_out(shelves, model.books.traits, config.kernel, residuals, steps):
        expected = shelf_evidence(side, config.kernel, len(model.scale.values))
        assert others[at].numpy() == pytest.approx(expected.numpy(), abs=1e-4)
        assert (residuals[at] - others[at, 0]).numpy() == pytest.approx(unexplained.numpy(), abs=1e-4)


def test_of_a_long_shelf_stars_rest_on_what_is_kept_and_pickup_on_all_of_it(inputs: FitInputs, model: Shelf) -> None:
    shelves, cut = inputs.train.shelves(), model.changed(longest_shelf=4)
    assert (shelves.lengths > 4).sum() > 20
    rows, books = np.repeat(np.arange(len(shelves)), 25), np.tile(np.arange(25, dtype=np.int32), len(shelves))
    found = cut.probabilities(cut.fold_in(shelves), rows, books)
    expected = model.probabilities(model.fold_in(shortened(shelves, 4)), rows, books)
    assert found == pytest.approx(expected, abs=1e-5)
    assert cut.pickup_scores(shelves) == pytest.approx(model.pickup_scores(shelves))
    assert cut.pickup_scores(shelves) != pytest.approx(model.pickup_scores(shortened(shelves, 4)))


def test_evidence_in_blocks_is_the_same(inputs: FitInputs, model: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = model.fold_in(inputs.train.shelves())
    rows, books = np.arange(len(readers)), np.tile(np.arange(25, dtype=np.int32), (len(readers), 1))
    base, numbers = model.evidence(readers, rows, books)
    monkeypatch.setattr(shelf_module, "MAX_EVIDENCE", 300)
    in_blocks = model.evidence(readers, rows, books)
    assert in_blocks[0].numpy() == pytest.approx(base.numpy(), abs=1e-5)
    assert in_blocks[1].numpy() == pytest.approx(numbers.numpy(), abs=1e-4)


def test_the_sparse_pickup_matrix_of_all_books_gives_the_lists_of_the_dense_one(
    inputs: FitInputs, model: Shelf
) -> None:
    sparse, _ = fit_model(CONFIG.model_copy(update={"dense_books": 0}), LOOP, inputs)
    assert isinstance(sparse, Shelf)
    assert sparse.pickup.toarray() == pytest.approx(model.pickup.toarray(), abs=1e-5)
    shelves = inputs.train.shelves()
    swapped = Shelf(model.config, model.scale, model.books, model.star_head, sparse.pickup, model.pick_head)
    lists = [m.top(m.fold_in(shelves), 5, shelves).books for m in (swapped, model)]
    assert (lists[0] == lists[1]).mean() > 0.99


def test_the_pickup_matrix_of_a_large_catalogue_keeps_no_more_entries_than_there_is_room_for(
    inputs: FitInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickup_module, "MOST_ENTRIES", 25 * 3)
    model, _ = fit_model(CONFIG.model_copy(update={"dense_books": 0}), LOOP, inputs)
    assert isinstance(model, Shelf)
    assert np.diff(model.pickup.tocsc().indptr).max() <= 3
    assert 0 < model.pickup.nnz <= 75


def test_long_shelves_are_learned_from_in_pieces() -> None:
    """Of readers of a dozen books, in pieces of at most 4, all ratings still count."""
    world = checkerboard()
    config = CONFIG.model_copy(update={"longest_shelf": 4})
    model, _ = fit_model(config, loop_settings(CONFIG, {"epochs": 4}), world)
    assert isinstance(model, Shelf)
    assert model.book_counts.tolist() == np.bincount(world.train.item_idx, minlength=20).tolist()
    readers = model.fold_in(Shelves.build([0] * 6, [0, 1, 2, 3, 8, 9], [5, 1, 5, 1, 5, 1], 1))
    stars = model.stars(readers, np.zeros(2, dtype=np.int64), np.array([4, 5], dtype=np.int32))
    assert stars[0] > stars[1] + 1


def test_the_head_learns_from_whole_readers_with_no_more_ratings_than_allowed(inputs: FitInputs) -> None:
    lengths = inputs.train.shelves().lengths
    few = some_readers(lengths, 100, 0)
    assert 100 - lengths.max() < lengths[few].sum() <= 100
    assert (np.diff(few) > 0).all()
    assert some_readers(lengths, int(lengths.sum()), 0).tolist() == list(range(len(lengths)))
    assert len(some_readers(lengths, 1, 0)) == 1


def test_what_is_learned_of_books_rests_on_all_readers_and_on_no_blocks(
    inputs: FitInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever the head learns from, and however readers are dealt into blocks; its rows are those of its readers."""
    shelves, scale = inputs.train.shelves(), inputs.train.scale
    known, start = known_of_books(make_features(25), inputs, CONFIG), torch.zeros(25)
    everyone, some = np.arange(30), np.array([3, 4, 20])
    expected, all_rows = fit_books(shelves, everyone, known, start, CONFIG, scale)
    monkeypatch.setattr(leave_one_out_module, "BLOCK", 7)
    found, rows = fit_books(shelves, some, known, start, CONFIG, scale)
    assert found.bias.numpy() == pytest.approx(expected.bias.numpy(), abs=1e-5)
    assert found.histogram.numpy().tolist() == expected.histogram.numpy().tolist()
    theirs = np.isin(shelves.rows, some)
    assert rows.beyond.numpy() == pytest.approx(all_rows.beyond.numpy()[theirs], abs=1e-5)
    assert expected.histogram.sum(1).tolist() == np.bincount(shelves.item_idx, minlength=25).tolist()


def test_validation_of_the_head_is_bounded_too() -> None:
    world = checkerboard()
    assert world.valid is not None
    model, _ = fit_model(CONFIG, LOOP, world)
    assert isinstance(model, Shelf)
    everything, few = star_head_error(model, world), star_head_error(model.changed(head_rows=400), world)
    assert everything is not None
    assert few is not None
    chosen = some_readers(np.bincount(world.valid.user_idx, minlength=40), 20, world.seed)
    for error, readers in ((everything, np.arange(40)), (few, chosen)):
        valid = world.valid.where(np.isin(world.valid.user_idx, readers))
        stars = model.stars(model.fold_in(world.train.shelves()), valid.user_idx.astype(np.int64), valid.item_idx)
        assert error() == pytest.approx(float(np.mean((stars.astype(float) - valid.stars) ** 2)), abs=1e-4)


def test_similarities_by_hand(model: Shelf) -> None:
    """Even books are by Eve about the sea, odd ones by Otto about space."""
    books, shelf = torch.tensor([[0, 1]]), torch.tensor([[2, 3, 1]])
    parts = similarities(model.books.traits, model.config.kernel, books, shelf)[:, 0]
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
        top = model.top(readers, n, shelves)
        found, scores = top.books, top.scores
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
    found = by_stars.top(readers, 5, shelves).books
    rows = np.repeat(np.arange(len(shelves)), 5)
    stars = by_stars.stars(readers, rows, found.ravel()).reshape(-1, 5)
    assert (np.diff(stars, axis=1) <= 1e-5).all()
    pickup = model.with_order("pickup")
    plain = model.changed(taste=0.0)
    assert np.array_equal(pickup.top(readers, 5, shelves).books, plain.top(readers, 5, shelves).books)
    with pytest.raises(UsageError, match="blend, stars, pickup"):
        model.with_order("luck")


def test_a_reader_of_one_colour_is_expected_to_like_it() -> None:
    world = checkerboard()
    model, _ = fit_model(CONFIG, loop_settings(CONFIG, {"epochs": 4}), world)
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


def test_of_ranges_of_equal_width_the_most_probable_is_taken_and_of_equals_the_lowest() -> None:
    found = describe(
        np.array([[0.1, 0.4, 0.42, 0.05, 0.03], [0.4, 0.0, 0.0, 0.2, 0.4], [0, 0.1, 0.4, 0.4, 0.1]]), Scale(1, 5)
    )
    assert list(zip(found["low"].tolist(), found["high"].tolist(), strict=True)) == [(2, 3), (1, 5), (3, 4)]
    found = describe(np.array([[0.1, 0.4, 0.1, 0.4, 0.0], [0.0, 0.3, 0.3, 0.2, 0.2]]), Scale(1, 5))
    assert list(zip(found["low"].tolist(), found["high"].tolist(), strict=True)) == [(2, 4), (2, 4)]


def test_the_weights_of_parts_are_named_and_in_order() -> None:
    weights = KernelWeights(series=2.5)
    assert weights.parts()[PARTS.index("series")] == 2.5
    assert len(weights.parts()) == len(PARTS)


@pytest.mark.parametrize("dense_books", [0, 100])
def test_a_book_that_arrives_later_is_expected_to_get_what_an_unrated_one_gets(
    inputs: FitInputs, dense_books: int
) -> None:
    """Books 23 and 24 are in the catalogue but unrated; a model without them takes them in later."""
    config = CONFIG.model_copy(update={"dense_books": dense_books})
    rated = inputs.train.item_idx < 23
    train = inputs.train.where(rated)
    known = inputs.features
    assert known is not None
    catalogue = Catalogue(known.catalogue.books.head(23), known.catalogue.tags)
    fewer = BookFeatures(catalogue, known.space, known.content[:23])
    early = replace(inputs, train=replace(train, books=Vocabulary(range(23))), features=fewer)
    grown = fit_model(config, LOOP, early)[0].with_new_books(known)
    whole = fit_model(config, LOOP, replace(inputs, train=train))[0]
    assert isinstance(grown, Shelf)
    assert isinstance(whole, Shelf)
    assert grown.books.prior.tolist() == pytest.approx(whole.books.prior.tolist(), abs=1e-5)
    assert abs(float(grown.books.prior[23] - grown.books.prior[24])) > 0.01
    shelves, rows = train.shelves(), np.arange(10)
    for book in (23, 24):
        pairs = rows, np.full(10, book, np.int32)
        found, expected = (m.stars(m.fold_in(shelves), *pairs) for m in (grown, whole))
        assert found == pytest.approx(expected, abs=1e-4)
        assert grown.basis(grown.fold_in(shelves), *pairs).tolist() == [2] * 10
    lists = grown.top(grown.fold_in(shelves), 25, shelves).books
    assert lists.max() == 24
    again = Shelf.from_state(grown.config, grown.scale, grown.book_state(), {})
    assert np.array_equal(again.stars(again.fold_in(shelves), *pairs), found)


def test_a_model_without_content_takes_in_no_new_book(inputs: FitInputs) -> None:
    model, _ = fit_model(OrdinalBiasConfig(hidden=(4,)), LOOP, inputs)
    with pytest.raises(UsageError, match="knows no books but those"):
        model.with_new_books(make_features(26))


def test_however_many_threads_there_are_the_model_is_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leave_one_out_module, shelf_fit_module):
        monkeypatch.setattr(module, "BLOCK", 40)
    monkeypatch.setattr(shelf_fit_module, "by_pieces", partial(by_pieces, piece=500))
    inputs = random_world(n_readers=300, n_books=120)
    valid = random_world(seed=1, n_readers=300, n_books=120)
    states, before = [], torch.get_num_threads()
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        with threadpool_limits(n_threads):
            fitted, _ = fit_model(CONFIG, LOOP, replace(inputs, valid=valid.train))
        states.append(fitted.book_state())
        assert torch.get_num_threads() == n_threads
    torch.set_num_threads(before)
    assert states[0].keys() == states[1].keys()
    assert [name for name in states[0] if not np.array_equal(states[0][name], states[1][name], equal_nan=True)] == []

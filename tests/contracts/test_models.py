"""What every model of the registry promises, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from tiny_world import N_BOOKS as TINY_BOOKS
from tiny_world import N_READERS as TINY_READERS
from tiny_world import train_on, write_world
from worlds import checkerboard, make_features, make_ratings

from shelfwise.artifact import load_run, save_run
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.errors import FitError
from shelfwise.models import shelf as shelf_module
from shelfwise.models.blocks import predict
from shelfwise.models.contract import BASES, FitInputs, Model
from shelfwise.models.registry import MODELS, model_class, model_config
from shelfwise.ranking import top_n
from shelfwise.reasons import explain, explain_lists, without_each
from shelfwise.training.recipes import fit_model, loop_settings

Key = tuple[str, str]
KINDS = sorted(MODELS)  # a model that joins the registry joins these tests


@dataclass(frozen=True)
class Quick:
    """How a kind is fitted here: small, and just long enough.

    taste  by how many stars, at least, it puts books of a reader's colour above the others; None: it knows means only
    """

    model: dict[str, Any] = field(default_factory=dict)
    loop: dict[str, Any] = field(default_factory=lambda: {"epochs": 2})
    taste: float | None = 0.2


_SMALL = {"embedding_dim": 8}
_ADAM = {"epochs": 40, "adam_epochs": 40, "patience": 40, "adam_learning_rate": 0.02, "batch_size": 64}
_NOTEBOOK = Quick(_SMALL, _ADAM, taste=3)
QUICK: dict[Key, Quick] = {
    ("global-mean", "default"): Quick(taste=None),
    ("popularity", "default"): Quick(taste=None),
    ("bias", "default"): Quick(taste=None),
    ("bias-ordinal", "default"): Quick(taste=None),
    ("coreading-knn", "default"): Quick(taste=None),
    ("ease", "default"): Quick(taste=None),
    # These two know books by who read them, and here everybody reads everything.
    ("mf", "default"): Quick(_SMALL),
    ("ncf", "default"): Quick(_SMALL),
    ("hybrid", "default"): Quick(_SMALL, taste=2),
    ("shelf", "default"): Quick({"about_dim": 8, "coreading_dim": 8}, taste=1),
    ("mf", "notebook"): _NOTEBOOK,
    ("ncf", "notebook"): _NOTEBOOK,
    ("hybrid", "notebook"): _NOTEBOOK,
}
_fitted: dict[Key, Model] = {}


def quick(key: Key) -> Quick:
    return QUICK.get(key, Quick())


def fit(key: Key, inputs: FitInputs, **loop: Any) -> Model:
    kind, recipe = key
    config = model_config(kind, recipe, quick(key).model)
    return fit_model(config, loop_settings(config, quick(key).loop | loop), inputs)[0]


@pytest.fixture(params=KINDS, ids="-".join)
def key(request: pytest.FixtureRequest) -> Key:
    found: Key = request.param
    return found


@pytest.fixture
def model(key: Key) -> Model:
    """The model fitted to the checkerboard; models do not change, so each is fitted once."""
    if key not in _fitted:
        _fitted[key] = fit(key, checkerboard())
    return _fitted[key]


WORLD = checkerboard()
SHELVES = WORLD.train.shelves()
N_READERS, N_BOOKS = WORLD.train.n_readers, WORLD.train.n_books
ALL_ROWS = np.repeat(np.arange(N_READERS), N_BOOKS)
ALL_BOOKS = np.tile(np.arange(N_BOOKS, dtype=np.int32), N_READERS)
TRAINED = np.arange(N_READERS, dtype=np.int32)


def answers(*args: Any, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    found = predict(*args, **kwargs)
    return found.stars, found.basis


def test_probabilities_are_a_distribution_whose_mean_is_the_stars(model: Model) -> None:
    readers = model.fold_in(SHELVES)
    found = model.probabilities(readers, ALL_ROWS, ALL_BOOKS)
    if found is None:
        pytest.skip("it has none")
    assert found.shape == (len(ALL_ROWS), len(model.scale.values))
    assert (found >= 0).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(found)), abs=1e-5)
    assert found @ model.scale.values == pytest.approx(model.stars(readers, ALL_ROWS, ALL_BOOKS), abs=1e-4)


def states_of(model: Model) -> dict[str, np.ndarray]:
    """All that a model has learned, as copies."""
    states = {"book": model.book_state(), "reader": model.reader_state()}
    return {f"{side}.{name}": np.array(a) for side, arrays in states.items() for name, a in arrays.items()}


def assert_same_states(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape), name
        assert array.tobytes() == other[name].tobytes(), name


def test_stars_have_their_shape_and_type_and_lie_on_the_scale(model: Model) -> None:
    stars = model.stars(model.fold_in(SHELVES), ALL_ROWS, ALL_BOOKS)
    assert stars.dtype == np.float32
    assert stars.shape == ALL_ROWS.shape
    assert ((stars >= 1) & (stars <= 5)).all()
    scores = model.scores(model.fold_in(SHELVES))
    assert scores.dtype == np.float32
    assert scores.shape == (N_READERS, N_BOOKS)
    assert np.isfinite(scores).all()


def test_scores_among_some_books_are_finite_and_among_all_are_the_scores(model: Model) -> None:
    readers, allowed = model.fold_in(SHELVES), np.ones((N_READERS, N_BOOKS), dtype=bool)
    assert model.scores_among(readers, allowed) == pytest.approx(model.scores(readers), abs=2e-3)
    for few in (allowed & (np.arange(N_BOOKS) % 3 == 0), ~allowed):
        scores = model.scores_among(readers, few)
        assert (scores.dtype, scores.shape) == (np.float32, (N_READERS, N_BOOKS))
        assert np.isfinite(scores).all()


def test_first_books_are_those_that_come_first_among_all_scores(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_module, "CANDIDATES", 5)
    allowed = np.ones((N_READERS, N_BOOKS), dtype=bool) & (np.arange(N_BOOKS) % 3 > 0)
    allowed[SHELVES.rows, SHELVES.item_idx] = False
    allowed[0, 4:] = False  # less than five are left
    readers = model.fold_in(SHELVES)
    assert model.first_among(readers, allowed, N_BOOKS) is None
    found = model.first_among(readers, allowed, 3)
    if found is None:
        return
    scores = np.where(allowed, model.scores_among(readers, allowed), -np.inf)
    for row in range(N_READERS):
        n = min(5, int(allowed[row].sum()))
        expected = np.argsort(-scores[row], kind="stable")[:n]
        assert found.books[row].tolist() == [*expected.tolist(), *[-1] * (5 - n)]
        assert found.scores[row, :n] == pytest.approx(scores[row, expected], abs=1e-5)
        assert (found.scores[row, n:] == -np.inf).all()
        assert found.chances is not None
        chances = model.probabilities(readers, np.full(n, row), expected.astype(np.int32))
        assert found.chances[row, :n] == pytest.approx(chances, abs=1e-5)


def test_readers_of_one_colour_like_books_of_that_colour(model: Model, key: Key) -> None:
    taste = quick(key).taste
    same = ALL_ROWS % 2 == ALL_BOOKS % 2
    for trained_idx in (None, TRAINED):  # as new readers, and as those of the training
        stars = model.stars(model.fold_in(SHELVES, trained_idx), ALL_ROWS, ALL_BOOKS)
        if taste is None:
            assert abs(stars[same].mean() - stars[~same].mean()) < 0.2
        else:
            assert stars[same].mean() > stars[~same].mean() + taste


def test_a_block_of_readers_equals_its_readers_one_by_one(model: Model) -> None:
    trained_idx = np.where(TRAINED % 2, TRAINED, -1).astype(np.int32)  # every other reader is as in training
    block = model.fold_in(SHELVES, trained_idx)
    together, all_scores = model.stars(block, ALL_ROWS, ALL_BOOKS).reshape(N_READERS, N_BOOKS), model.scores(block)
    for reader in range(0, N_READERS, 7):
        alone = model.fold_in(SHELVES.take([reader]), trained_idx[[reader]])
        stars = model.stars(alone, np.zeros(N_BOOKS, np.int64), np.arange(N_BOOKS, dtype=np.int32))
        assert stars == pytest.approx(together[reader], abs=2e-3)
        assert model.scores(alone)[0] == pytest.approx(all_scores[reader], abs=2e-3)


def test_the_place_of_a_reader_in_a_block_does_not_matter(model: Model) -> None:
    order = np.random.default_rng(0).permutation(N_READERS)
    shuffled = model.fold_in(SHELVES.take(order), TRAINED[order])
    assert model.scores(shuffled) == pytest.approx(model.scores(model.fold_in(SHELVES, TRAINED))[order], abs=2e-3)


def test_trained_indices_matter_only_to_models_that_learned_about_single_readers(model: Model) -> None:
    as_new, as_trained = model.fold_in(SHELVES), model.fold_in(SHELVES, TRAINED)
    assert as_new.arrays.keys() == as_trained.arrays.keys()
    assert all(len(array) == N_READERS for array in as_trained.arrays.values())
    same = all(np.array_equal(as_new.arrays[name], array) for name, array in as_trained.arrays.items())
    assert same == (not model.reader_state())
    nobody = model.fold_in(SHELVES, np.full(N_READERS, -1, dtype=np.int32))
    assert all(np.array_equal(as_new.arrays[name], array) for name, array in nobody.arrays.items())


def test_what_is_about_single_readers_is_kept_apart(key: Key) -> None:
    n_readers = 41  # a number that no size of a network has
    model = fit(key, checkerboard(n_readers), epochs=1)
    assert not [name for name, array in model.book_state().items() if n_readers in array.shape]
    assert all(array.shape[0] == n_readers for array in model.reader_state().values())


def test_a_model_does_not_change_by_being_used(model: Model) -> None:
    before = states_of(model)
    readers = model.fold_in(SHELVES)
    arrays = {name: array.copy() for name, array in readers.arrays.items()}
    first, scores = model.stars(readers, ALL_ROWS, ALL_BOOKS), model.scores(readers)
    scores[:] = -np.inf  # top_n writes into scores
    assert np.array_equal(model.stars(readers, ALL_ROWS, ALL_BOOKS), first)
    assert np.isfinite(model.scores(readers)).all()
    assert all(np.array_equal(readers.arrays[name], array) for name, array in arrays.items())
    assert_same_states(states_of(model), before)


def test_scores_order_books_as_stars_do_where_both_are_stars(model: Model, key: Key) -> None:
    if key[0] in ("popularity", "coreading-knn", "ease", "shelf", "bias-ordinal"):
        pytest.skip("its lists are not by stars")
    readers = model.fold_in(SHELVES)
    stars = model.stars(readers, ALL_ROWS, ALL_BOOKS).reshape(N_READERS, N_BOOKS)
    assert np.clip(model.scores(readers), 1, 5) == pytest.approx(stars, abs=1e-3)


def test_the_size_of_blocks_does_not_matter(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, basis = answers(model, SHELVES, ALL_ROWS, ALL_BOOKS)
    monkeypatch.setattr("shelfwise.models.blocks.PREDICT_BLOCK", 3)
    parts, same_basis = answers(model, SHELVES, ALL_ROWS, ALL_BOOKS)
    assert parts == pytest.approx(whole, abs=2e-3)
    assert (basis == same_basis).all()


def test_predictions_of_many_pairs_in_any_order_are_those_of_each_reader(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    rows, books = rng.integers(0, N_READERS, 300), rng.integers(-1, N_BOOKS, 300, dtype=np.int32)
    shelves = SHELVES.where(SHELVES.rows % 5 > 0)  # some readers are unknown
    trained_idx = np.where(np.arange(N_READERS) % 3 == 1, TRAINED, -1).astype(np.int32)
    readers = model.fold_in(shelves, trained_idx)
    monkeypatch.setattr("shelfwise.models.blocks.PREDICT_BLOCK", 7)
    stars, basis = answers(model, shelves, rows, books, trained_idx=trained_idx)
    assert stars == pytest.approx(model.stars(readers, rows, books), abs=2e-3)
    assert (basis == model.basis(readers, rows, books)).all()
    assert len(set(basis.tolist())) > 2


def test_a_list_never_holds_what_was_read(model: Model) -> None:
    lists, _ = top_n(model.scores(model.fold_in(SHELVES)), N_BOOKS, SHELVES)
    for reader in range(N_READERS):
        read = set(SHELVES.take([reader]).item_idx.tolist())
        found = [book for book in lists[reader].tolist() if book >= 0]
        assert not read & set(found)
        assert len(found) == N_BOOKS - len(read)


def test_a_model_survives_its_state(model: Model) -> None:
    copy = model_class(model.config).from_state(model.config, model.scale, model.book_state(), model.reader_state())
    for idx in (None, TRAINED):
        before = model.stars(model.fold_in(SHELVES, idx), ALL_ROWS, ALL_BOOKS)
        assert (copy.stars(copy.fold_in(SHELVES, idx), ALL_ROWS, ALL_BOOKS) == before).all()
        assert (copy.scores(copy.fold_in(SHELVES, idx)) == model.scores(model.fold_in(SHELVES, idx))).all()
    assert copy.config == model.config
    assert_same_states(states_of(copy), states_of(model))


def test_a_model_survives_the_disk_bit_for_bit(key: Key, tmp_path: Path) -> None:
    settings = quick(key).model | (quick(key).loop if key[0] in {"mf", "ncf", "hybrid"} else {})
    run = train_on(write_world(tmp_path / "world"), model=key[0], recipe=key[1], settings=settings | {"epochs": 1})
    save_run(run, tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert type(loaded.model) is type(run.model)
    assert_same_states(states_of(loaded.model), states_of(run.model))
    shelves, trained = run.shelves, np.arange(TINY_READERS, dtype=np.int32)
    for idx in (None, trained):
        before = run.model.scores(run.model.fold_in(shelves, idx))
        assert np.array_equal(loaded.model.scores(loaded.model.fold_in(loaded.shelves, idx)), before)
    assert before.shape == (TINY_READERS, TINY_BOOKS)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_no_error(key: Key) -> None:
    one, other = fit(key, checkerboard(), epochs=2), fit(key, checkerboard(), epochs=2)
    assert_same_states(states_of(one), states_of(other))
    another = fit(key, replace(checkerboard(), seed=1), epochs=2)
    assert states_of(another).keys() == states_of(one).keys()


def test_the_number_of_threads_does_not_matter(key: Key) -> None:
    found, threads = [], torch.get_num_threads()
    try:
        for wanted in (1, 3):
            torch.set_num_threads(wanted)
            with threadpool_limits(wanted):
                found.append(answers(fit(key, WORLD), SHELVES, ALL_ROWS, ALL_BOOKS)[0])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_events_are_used_or_ignored_but_break_nothing(key: Key) -> None:
    rng = np.random.default_rng(0)
    users = rng.integers(0, N_READERS, 50, dtype=np.int32)
    for events in ((users, np.repeat(np.int32(7), 50)), (users[:0], users[:0])):
        model = fit(key, replace(checkerboard(), events=events), epochs=1)
        stars = model.stars(model.fold_in(SHELVES), ALL_ROWS, ALL_BOOKS)
        assert ((stars >= 1) & (stars <= 5)).all()


def test_unknown_readers_and_books_get_an_answer_that_rests_on_less(model: Model) -> None:
    shelves = Shelves.build([0], [3], [5.0], 2)  # reader 1 is empty
    rows, books = np.array([0, 1, 0, 1]), np.array([0, 0, -1, -1], np.int32)
    readers = model.fold_in(shelves)
    stars = model.stars(readers, rows, books)
    assert ((stars >= 1) & (stars <= 5)).all()
    assert [BASES[code] for code in model.basis(readers, rows, books)] == ["reader+book", "book", "reader", "mean"]


def test_an_unknown_book_is_judged_by_no_other_book(model: Model, key: Key) -> None:
    """Its index -1 is also that of the last book, and 0 stands in for it: neither's numbers may show."""
    state = {name: np.array(array) for name, array in model.book_state().items()}
    for name, array in state.items():
        if array.shape[:1] == (N_BOOKS,) and name not in {"book_counts", "blocks"}:
            array[[0, -1]] = 2 * array[[0, -1]] + 1
    changed = model_class(model.config).from_state(model.config, model.scale, state, model.reader_state())
    readers, rows = model.fold_in(SHELVES), np.arange(N_READERS)
    unknown = np.full(N_READERS, -1, dtype=np.int32)
    assert np.array_equal(changed.stars(readers, rows, unknown), model.stars(readers, rows, unknown))
    if key[0] not in {"global-mean", "popularity"}:
        assert not np.array_equal(changed.stars(readers, rows, unknown * 0), model.stars(readers, rows, unknown * 0))


def test_a_book_that_nobody_rated_is_known_but_not_by_ratings(key: Key) -> None:
    rows = [(u, i, 5.0 if u % 2 == i % 2 else 1.0) for u in range(6) for i in range(5)]  # of 6 books
    model = fit(key, FitInputs(make_ratings(rows, 6, 6), features=make_features(6)), epochs=1)
    readers = model.fold_in(Shelves.build([0], [3], [5.0], 2))
    pairs = np.array([0, 1]), np.array([5, 5], dtype=np.int32)
    assert [BASES[code] for code in model.basis(readers, *pairs)] == ["reader", "mean"]
    assert ((model.stars(readers, *pairs) >= 1) & (model.stars(readers, *pairs) <= 5)).all()


def test_stars_stay_on_the_scale_where_scores_go_beyond(key: Key) -> None:
    """A reader who likes everything, and books that everybody likes: together they would pass 5 stars."""
    rows = [(u, i, 5.0 if i < 4 or u == 0 else 1.0) for u in range(8) for i in range(8) if (u, i) != (0, 0)]
    train = make_ratings(rows, 8, 8)
    model = fit(key, FitInputs(train, features=make_features(8)))
    for trained_idx in (None, np.arange(8, dtype=np.int32)):
        readers = model.fold_in(train.shelves(), trained_idx)
        stars = model.stars(readers, np.repeat(np.arange(8), 8), np.tile(np.arange(8, dtype=np.int32), 8))
        assert ((stars >= 1) & (stars <= 5)).all()
    if key[0] == "bias":
        assert model.scores(readers).max() > 5.5


def test_nobody_and_nothing_is_an_answer_too(model: Model) -> None:
    none = np.zeros(0, dtype=np.int32)
    nobody = model.fold_in(Shelves.empty(0), none)
    assert len(nobody) == 0
    assert model.scores(nobody).shape == (0, N_BOOKS)
    assert model.stars(nobody, none.astype(np.int64), none).shape == (0,)
    strangers = model.fold_in(Shelves.empty(3))
    assert np.isfinite(model.scores(strangers)).all()
    assert model.stars(strangers, none.astype(np.int64), none).shape == (0,)
    stars, basis = answers(model, Shelves.empty(3), none, none)
    assert (stars.shape, basis.shape) == ((0,), (0,))


def test_the_order_of_a_shelf_does_not_matter(model: Model) -> None:
    books, stars = [1, 4, 7, 2], [5.0, 1.0, 4.0, 2.0]
    one = Shelves.build([0] * 4, books, stars, 1)
    other = Shelves.build([0] * 4, books[::-1], stars[::-1], 1)
    assert (model.scores(model.fold_in(one)) == model.scores(model.fold_in(other))).all()


def test_nothing_to_learn_from_is_said(key: Key) -> None:
    with pytest.raises(FitError, match="no ratings"):
        fit(key, FitInputs(make_ratings([], 3, 3), features=make_features(3)))


@pytest.mark.parametrize("key", KINDS, ids="-".join)
@pytest.mark.parametrize("scale", [Scale(1, 5), Scale(0.5, 5, 0.5), Scale(1, 10)], ids=str)
@settings(max_examples=3)
@given(data=st.data())
def test_degenerate_worlds_give_finite_stars_on_the_scale(key: Key, scale: Scale, data: st.DataObject) -> None:
    n_readers, n_books = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, n_readers - 1), st.integers(0, n_books - 1)), min_size=1, unique=True)
    )
    value = st.sampled_from([float(v) for v in scale.values])
    train = make_ratings([(u, i, data.draw(value)) for u, i in pairs], n_readers, n_books, scale)
    model = fit(key, FitInputs(train, features=make_features(n_books)), epochs=2)
    readers = model.fold_in(train.shelves())
    rows, books = np.repeat(np.arange(n_readers), n_books), np.tile(np.arange(n_books, dtype=np.int32), n_readers)
    stars = model.stars(readers, rows, books)
    assert ((stars >= scale.low) & (stars <= scale.high)).all()
    assert np.isfinite(model.scores(readers)).all()


@pytest.mark.parametrize("row", [0, 7])
def test_an_explanation_adds_up_to_the_prediction(model: Model, row: int) -> None:
    readers, books = model.fold_in(SHELVES), np.array([3, 0, -1], dtype=np.int32)
    found = explain(model, readers, row, books)
    assert found.shelf.item_idx.tolist() == SHELVES.take([row]).item_idx.tolist()
    assert found.stars == pytest.approx(model.stars(readers, np.full(3, row), books), abs=1e-5)
    whole = found.mean + found.book + found.contributions.sum(axis=1) + found.remainder
    assert whole == pytest.approx(found.stars, abs=1e-4)
    linear = {"bias", "item-knn", "ease", "coreading-knn"}  # of these nothing but the ends of the scale is not linear
    inside = (found.stars > model.scale.low) & (found.stars < model.scale.high)
    if model.kind in linear:
        assert found.remainder[inside] == pytest.approx(np.zeros(inside.sum()), abs=1e-4)


def test_a_removal_effect_is_what_happens_when_the_rating_is_removed(model: Model) -> None:
    """1,000 predictions for each model with a closed form, of readers with some of their ratings."""
    rng = np.random.default_rng(1)
    some = SHELVES.where(rng.random(len(SHELVES.item_idx)) < 0.4)
    readers, books = model.fold_in(some), rng.integers(-1, N_BOOKS, 25).astype(np.int32)
    closed = without_each.dispatch(type(model)) is not without_each.dispatch(object)
    for row in range(N_READERS if closed else 2):
        mine = some.take([row])
        stated = without_each(model, readers, row, books)
        assert stated.shape == (len(books), len(mine.item_idx))
        for place in rng.permutation(len(mine.item_idx))[:3]:
            rest = mine.where(np.arange(len(mine.item_idx)) != place)
            real = model.stars(model.fold_in(rest), np.zeros(len(books), dtype=np.int64), books)
            assert stated[:, place] == pytest.approx(real, abs=2e-4)


def test_a_reader_without_ratings_has_an_explanation_too(model: Model) -> None:
    found = explain(model, model.fold_in(Shelves.empty(1)), 0, np.array([1], dtype=np.int32))
    assert found.contributions.shape == (1, 0)
    assert without_each(model, model.fold_in(Shelves.empty(1)), 0, np.array([1], dtype=np.int32)).shape == (1, 0)


def test_lists_are_explained_together_as_each_alone(model: Model) -> None:
    shelves = SHELVES.where(np.random.default_rng(2).random(len(SHELVES.item_idx)) < 0.5)
    shelves = shelves.where(shelves.rows != 3)  # a reader without ratings among them
    readers, lists = model.fold_in(shelves), np.tile(np.array([3, 0, -1, 7], dtype=np.int32), (N_READERS, 1))
    for row, found in enumerate(explain_lists(model, readers, lists)):
        alone = explain(model, readers, row, lists[row])
        assert found.contributions == pytest.approx(alone.contributions, abs=1e-5)
        assert found.stars == pytest.approx(alone.stars, abs=1e-5)
        assert found.links.keys() == alone.links.keys()
        for name, link in alone.links.items():
            assert found.links[name] == pytest.approx(link, abs=1e-5)
        assert (found.pickup is None) == (alone.pickup is None)
        if found.pickup is not None:
            assert found.pickup == pytest.approx(alone.pickup, abs=1e-6)


def test_lists_of_many_readers_are_explained_as_those_of_few(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = np.tile(np.array([3, 0, -1, 7], dtype=np.int32), (N_READERS, 1))
    few = explain_lists(model, model.fold_in(SHELVES), lists)
    monkeypatch.setattr(shelf_module, "KEPT_FACTORS", 0)  # what is kept of few readers is worked out anew
    many = explain_lists(model, model.fold_in(SHELVES), lists)
    for one, other in zip(few, many, strict=True):
        assert one.contributions == pytest.approx(other.contributions, abs=1e-6)


@pytest.mark.parametrize("n", [2, N_BOOKS])
def test_chances_that_come_with_lists_are_those_of_the_pairs(model: Model, n: int) -> None:
    """Of all readers' lists, also where so many books are wanted that not all are among a model's candidates."""
    readers = model.fold_in(SHELVES)
    lists = model.top(readers, n, SHELVES)
    rows, columns = np.nonzero(lists.books >= 0)
    assert len(rows)
    if lists.chances is not None:
        expected = model.probabilities(readers, rows, lists.books[rows, columns])
        assert lists.chances[rows, columns] == pytest.approx(expected, abs=1e-5)

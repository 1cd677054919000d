"""What every model of the registry promises, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import checkerboard, make_features, make_ratings

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.errors import FitError
from shelfwise.models.blocks import predict
from shelfwise.models.contract import BASES, FitInputs, Model
from shelfwise.models.registry import MODELS, model_class, model_config
from shelfwise.ranking import top_n
from shelfwise.training.recipes import fit_model, loop_settings

KINDS = sorted(MODELS)
# Models that cannot tell readers of one colour from the other: they know means only, or hardly learn in so few steps.
COLOUR_BLIND = {"global-mean", "popularity", "bias"}
SMALL = {"mf": {"embedding_dim": 8}, "ncf": {"embedding_dim": 8}, "hybrid": {"embedding_dim": 8}}
_fitted: dict[tuple[str, str], Model] = {}


def fit(key: tuple[str, str], inputs: FitInputs) -> Model:
    kind, recipe = key
    loop = loop_settings(recipe, {"epochs": 2})  # type: ignore[arg-type]
    return fit_model(model_config(kind, recipe, SMALL.get(kind, {})), loop, inputs)[0]


@pytest.fixture(params=KINDS, ids="-".join)
def key(request: pytest.FixtureRequest) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def model(key: tuple[str, str]) -> Model:
    """The model fitted to the checkerboard; models do not change, so each is fitted once."""
    if key not in _fitted:
        _fitted[key] = fit(key, checkerboard())
    return _fitted[key]


WORLD = checkerboard()
SHELVES = WORLD.train.shelves()
N_READERS, N_BOOKS = WORLD.train.n_readers, WORLD.train.n_books
ALL_ROWS = np.repeat(np.arange(N_READERS), N_BOOKS)
ALL_BOOKS = np.tile(np.arange(N_BOOKS, dtype=np.int32), N_READERS)


def test_stars_have_their_shape_and_type_and_lie_on_the_scale(model: Model) -> None:
    stars = model.stars(model.fold_in(SHELVES), ALL_ROWS, ALL_BOOKS)
    assert stars.dtype == np.float32
    assert stars.shape == ALL_ROWS.shape
    assert ((stars >= 1) & (stars <= 5)).all()
    scores = model.scores(model.fold_in(SHELVES))
    assert scores.dtype == np.float32
    assert scores.shape == (N_READERS, N_BOOKS)
    assert np.isfinite(scores).all()


def test_readers_of_one_colour_like_books_of_that_colour(model: Model, key: tuple[str, str]) -> None:
    if key[0] in COLOUR_BLIND or key[1] == "notebook":
        pytest.skip("this model knows no taste")
    stars = model.stars(model.fold_in(SHELVES), ALL_ROWS, ALL_BOOKS)
    same = ALL_ROWS % 2 == ALL_BOOKS % 2
    # mf and ncf know books by who read them, and here everybody reads everything: only hybrid sees the colours.
    assert stars[same].mean() > stars[~same].mean() + (2 if key[0] == "hybrid" else 0.2)


def test_a_block_of_readers_equals_its_readers_one_by_one(model: Model) -> None:
    together = model.stars(model.fold_in(SHELVES), ALL_ROWS, ALL_BOOKS).reshape(N_READERS, N_BOOKS)
    all_scores = model.scores(model.fold_in(SHELVES))
    for reader in range(0, N_READERS, 7):
        alone = model.fold_in(SHELVES.take([reader]))
        stars = model.stars(alone, np.zeros(N_BOOKS, np.int64), np.arange(N_BOOKS, dtype=np.int32))
        assert stars == pytest.approx(together[reader], abs=2e-3)
        assert model.scores(alone)[0] == pytest.approx(all_scores[reader], abs=2e-3)


def test_scores_order_books_as_stars_do_where_both_are_stars(model: Model, key: tuple[str, str]) -> None:
    if key[0] == "popularity":
        pytest.skip("its lists are not by stars")
    readers = model.fold_in(SHELVES)
    stars = model.stars(readers, ALL_ROWS, ALL_BOOKS).reshape(N_READERS, N_BOOKS)
    assert np.clip(model.scores(readers), 1, 5) == pytest.approx(stars, abs=1e-3)


def test_the_size_of_blocks_does_not_matter(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, basis = predict(model, SHELVES, ALL_ROWS, ALL_BOOKS)
    monkeypatch.setattr("shelfwise.models.blocks.PREDICT_BLOCK", 3)
    parts, same_basis = predict(model, SHELVES, ALL_ROWS, ALL_BOOKS)
    assert parts == pytest.approx(whole, abs=2e-3)
    assert (basis == same_basis).all()


def test_a_list_never_holds_what_was_read(model: Model) -> None:
    lists, _ = top_n(model.scores(model.fold_in(SHELVES)), N_BOOKS, SHELVES)
    for reader in range(N_READERS):
        read = set(SHELVES.take([reader]).item_idx.tolist())
        found = [book for book in lists[reader].tolist() if book >= 0]
        assert not read & set(found)
        assert len(found) == N_BOOKS - len(read)


def test_a_model_survives_its_state(model: Model) -> None:
    copy = model_class(model.config).from_state(model.config, model.scale, model.book_state(), model.reader_state())
    trained = np.arange(N_READERS, dtype=np.int32)
    for idx in (None, trained):
        before = model.stars(model.fold_in(SHELVES, idx), ALL_ROWS, ALL_BOOKS)
        assert (copy.stars(copy.fold_in(SHELVES, idx), ALL_ROWS, ALL_BOOKS) == before).all()
    assert copy.config == model.config


def test_the_same_seed_gives_the_same_bytes(key: tuple[str, str]) -> None:
    one, other = fit(key, checkerboard()), fit(key, checkerboard())
    for before, after in ((one.book_state(), other.book_state()), (one.reader_state(), other.reader_state())):
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_unknown_readers_and_books_get_an_answer_that_rests_on_less(model: Model) -> None:
    shelves = Shelves.build([0], [3], [5.0], 2)  # reader 1 is empty
    rows, books = np.array([0, 1, 0, 1]), np.array([0, 0, -1, -1], np.int32)
    readers = model.fold_in(shelves)
    stars = model.stars(readers, rows, books)
    assert np.isfinite(stars).all()
    assert [BASES[code] for code in model.basis(readers, rows, books)] == ["reader+book", "book", "reader", "mean"]


def test_the_order_of_a_shelf_does_not_matter(model: Model) -> None:
    books, stars = [1, 4, 7, 2], [5.0, 1.0, 4.0, 2.0]
    one = Shelves.build([0] * 4, books, stars, 1)
    other = Shelves.build([0] * 4, books[::-1], stars[::-1], 1)
    assert (model.scores(model.fold_in(one)) == model.scores(model.fold_in(other))).all()


def test_nothing_to_learn_from_is_said(key: tuple[str, str]) -> None:
    with pytest.raises(FitError, match="no ratings"):
        fit(key, FitInputs(make_ratings([], 3, 3), features=make_features(3)))


@pytest.mark.parametrize("key", KINDS, ids="-".join)
@pytest.mark.parametrize("scale", [Scale(1, 5), Scale(0.5, 5, 0.5), Scale(1, 10)], ids=str)
@settings(max_examples=3)
@given(data=st.data())
def test_degenerate_worlds_give_finite_stars_on_the_scale(
    key: tuple[str, str], scale: Scale, data: st.DataObject
) -> None:
    n_readers, n_books = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, n_readers - 1), st.integers(0, n_books - 1)), min_size=1, unique=True)
    )
    value = st.sampled_from([float(v) for v in scale.values])
    train = make_ratings([(u, i, data.draw(value)) for u, i in pairs], n_readers, n_books, scale)
    model = fit(key, FitInputs(train, features=make_features(n_books)))
    readers = model.fold_in(train.shelves())
    rows, books = np.repeat(np.arange(n_readers), n_books), np.tile(np.arange(n_books, dtype=np.int32), n_readers)
    stars = model.stars(readers, rows, books)
    assert ((stars >= scale.low) & (stars <= scale.high)).all()
    assert np.isfinite(model.scores(readers)).all()
